package producer

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

const throughputExceeded = "ProvisionedThroughputExceededException"

// ErrRefused is what a state file of another replay is refused with.
var ErrRefused = errors.New("state file refused")

// fatal returns the sentence that ends Run if trying again cannot help, else
// nil: everything that is not known to be final is tried again.
func (p *Producer) fatal(err error) error {
	var api smithy.APIError
	if err == nil || !errors.As(err, &api) {
		return nil
	}
	stream := p.cfg.Stream
	switch api.ErrorCode() {
	case "ResourceNotFoundException":
		return fmt.Errorf("producer: stream %q does not exist or is not active yet: create it, or name another: %w", stream, err)
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "OptInRequired":
		return fmt.Errorf("producer: Kinesis denies access to stream %q: allow kinesis:PutRecords and kinesis:ListShards on it to these credentials: %w", stream, err)
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignature",
		"ExpiredTokenException", "ExpiredToken":
		return fmt.Errorf("producer: Kinesis does not accept the credentials for stream %q: renew them and check this machine's clock: %w", stream, err)
	case "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired":
		return fmt.Errorf("producer: the encryption key of stream %q cannot be used: enable it and allow kms:GenerateDataKey on it: %w", stream, err)
	case "InvalidArgumentException", "ValidationException", "ValidationError", "SerializationException", "UnknownOperationException":
		return fmt.Errorf("producer: Kinesis does not understand a request to stream %q: check the stream's name and that the endpoint is Kinesis: %w", stream, err)
	}
	return nil
}

// misrouted is what Run ends with when a record went where its explicit hash key
// does not lead.
func (p *Producer) misrouted(lane int, s *shard) error {
	return fmt.Errorf("producer: stream %q put lane %d into shard %s, whose hash keys begin at %s and end at %s, so it ignores explicit hash keys: "+
		"choose a distribution mode of the stream that follows them", p.cfg.Stream, lane, s.id, s.start, s.end)
}
