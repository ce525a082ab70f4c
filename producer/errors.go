package producer

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
	"github.com/tripgrid/tripgrid/internal/amazon"
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
	say := func(format string) error {
		return explained{fmt.Sprintf("producer: "+format+" (%s)", stream, amazon.Brief(err)), err}
	}
	switch api.ErrorCode() {
	case "ResourceNotFoundException":
		return say("stream %q does not exist or is not active yet: create it, or name another")
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "OptInRequired":
		return say("Kinesis denies access to stream %q: allow kinesis:PutRecords, kinesis:ListShards and kinesis:DescribeStreamSummary on it to these credentials")
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "IncompleteSignature",
		"ExpiredTokenException", "ExpiredToken":
		return say("Kinesis does not accept the credentials for stream %q: renew them and check this machine's clock")
	case "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException", "KMSOptInRequired":
		return say("the encryption key of stream %q cannot be used: enable it and allow kms:GenerateDataKey on it")
	case "InvalidArgumentException", "ValidationException", "ValidationError", "SerializationException", "UnknownOperationException":
		return say("Kinesis does not understand a request to stream %q: check the stream's name and that the endpoint is Kinesis")
	}
	return nil
}

// explained is an error in one sentence; the SDK's is below it.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// misrouted is what Run ends with when a record went where its explicit hash key
// does not lead.
func (p *Producer) misrouted(lane int, s *shard) error {
	return fmt.Errorf("producer: stream %q put lane %d into shard %s, whose hash keys begin at %s and end at %s, so it ignores explicit hash keys: "+
		"choose a distribution mode of the stream that follows them", p.cfg.Stream, lane, s.id, s.start, s.end)
}
