package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// explained is an error in one sentence; the SDK's is below it.
type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// Explain says in one sentence what a failed call for a stream means and what
// to do. The SDK's error is below the result; nil, a cancelled call and what is
// explained already stay as they are.
func Explain(client *kinesis.Client, stream string, err error) error {
	var known explained
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return err
	}
	o := client.Options()
	region, where := o.Region, "stream "+stream
	if region == "" {
		region = "this region"
	} else {
		where += " in " + region
	}
	if o.BaseEndpoint != nil {
		where += " at " + *o.BaseEndpoint
	}
	say := func(format string, a ...any) error {
		return explained{text: fmt.Sprintf(format, a...), err: err}
	}
	operation := "this action"
	var sent *smithyhttp.RequestSendError
	var op *smithy.OperationError
	if errors.As(err, &op) {
		operation = op.OperationName
	}
	switch code := errorCode(err); {
	case code == "ResourceNotFoundException" && (operation == "GetShardIterator" || operation == "GetRecords"):
		return say("Kinesis %s is gone or has lost a shard: check that nobody deleted or replaced it (%s)", where, brief(err))
	case code == "ResourceNotFoundException":
		return say("Kinesis %s does not exist: create it, or set the right stream and region", where)
	case code == "AccessDeniedException":
		return say("this identity may not call kinesis:%s on %s: grant it (%s)", operation, where, brief(err))
	case refusedCodes[code]:
		return say("Kinesis refused the credentials for %s: check them, the region and the machine's clock (%s)", where, brief(err))
	case code == "LimitExceededException" && operation == "CreateStream":
		return say("%s was not created: the account's limit of streams or shards is reached: raise it or delete some (%s)", where, brief(err))
	case throttled(err):
		return say("%s is throttled: add shards, or let fewer applications read it (%s)", where, brief(err))
	case code == "UnknownOperationException" || code == "InvalidAction":
		return say("what answers for %s does not know %s: check that the endpoint is that of Kinesis (%s)", where, operation, brief(err))
	case strings.HasPrefix(code, "KMS"):
		return say("the KMS key of %s cannot be used: enable it and grant kms:Decrypt (%s)", where, brief(err))
	case unsigned(err):
		return say("there are no AWS credentials for %s: give the machine a role or set a profile (%s)", where, brief(err))
	case unplaced(err):
		return say("there is no Kinesis endpoint for %s: set a region or an endpoint (%s)", where, brief(err))
	case unresolved(err):
		return say("the Kinesis endpoint of %s has no address: check the region, the endpoint and the name server (%s)", region, brief(err))
	case errors.Is(err, http.ErrSchemeMismatch):
		return say("the Kinesis endpoint of %s does not speak TLS: begin it with http:// (%s)", region, brief(err))
	case misnamed(err):
		return say("the Kinesis endpoint of %s shows a certificate for another name: use the name that it is for (%s)", region, brief(err))
	case untrusted(err):
		return say("the Kinesis endpoint of %s shows a certificate that is not trusted: check the endpoint or set the CA bundle in AWS_CA_BUNDLE (%s)", region, brief(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("nothing listens at the Kinesis endpoint of %s: check the endpoint (%s)", region, brief(err))
	case garbled(err):
		return say("what answers for %s is not Kinesis: check the endpoint, and whether it begins with http:// or https://", where)
	case errors.Is(err, context.DeadlineExceeded):
		return say("Kinesis gave no answer in time: check the network to %s", where)
	case errors.As(err, &sent):
		return say("the connection to Kinesis for %s broke: check the endpoint, whether it begins with http:// or https://, and the network (%s)", where, brief(err))
	}
	return say("Kinesis failed for %s: %s", where, brief(err))
}

var refusedCodes = map[string]bool{"UnrecognizedClientException": true, "InvalidSignatureException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true, "MissingAuthenticationToken": true,
	"MissingAuthenticationTokenException": true, "ExpiredToken": true, "ExpiredTokenException": true,
	"InvalidClientTokenId": true, "RequestTimeTooSkewed": true, "SignatureDoesNotMatch": true}

func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// throttled tells whether asking less often helps.
func throttled(err error) bool {
	code := errorCode(err)
	_, is := sdkretry.DefaultThrottleErrorCodes[code]
	return is || code == "KMSThrottlingException"
}

func unresolved(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

func misnamed(err error) bool {
	var host x509.HostnameError
	return errors.As(err, &host)
}

// garbled tells whether the answer was none of the protocol's.
func garbled(err error) bool {
	var answer *smithy.DeserializationError
	return errors.As(err, &answer)
}

func untrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &header)
}

// The SDK has no types for these two.
func unsigned(err error) bool {
	return unsent(err) && (strings.Contains(err.Error(), "get identity: ") || strings.Contains(err.Error(), "no identity"))
}

func unplaced(err error) bool {
	var region *aws.MissingRegionError
	return errors.As(err, &region) || unsent(err) && (strings.Contains(err.Error(), "esolve service endpoint") ||
		strings.Contains(err.Error(), "endpoint rule error") || strings.Contains(err.Error(), "invalid input region"))
}

// unsent tells whether the SDK's client says so, and not the server or the
// connection.
func unsent(err error) bool {
	var op *smithy.OperationError
	var sent *smithyhttp.RequestSendError
	var answer *smithyhttp.ResponseError
	return errors.As(err, &op) && !errors.As(err, &sent) && !errors.As(err, &answer)
}

// brief is the server's own message, or the cause without the SDK's frame.
func brief(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		if api.ErrorMessage() == "" {
			return api.ErrorCode()
		}
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	var sent *smithyhttp.RequestSendError
	if errors.As(err, &sent) && sent.Err != nil {
		return sent.Err.Error()
	}
	var op *smithy.OperationError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	text, _, _ := strings.Cut(err.Error(), ", operation error ec2imds") // the last place where credentials were looked for
	return text
}
