package dynamodb

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
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

// explain says what went wrong with what, and what to do. action is the name
// of the permission that the call needs.
func (t *Table) explain(what, action string, err error) error {
	say := func(format string, a ...any) error {
		return explained{text: what + ": " + fmt.Sprintf(format, a...), err: err}
	}
	var late lateError
	var ended endedError
	var missing *types.ResourceNotFoundException
	var dns *net.DNSError
	var host x509.HostnameError
	var garbled *smithy.DeserializationError
	var sent *smithyhttp.RequestSendError
	region := t.region
	if region == "" {
		region = "this region"
	}
	switch code := code(err); {
	case errors.As(err, &ended) && errors.Is(ended.ctx, context.Canceled):
		return explained{text: what + ": " + ended.ctx.Error(), err: err}
	case errors.As(err, &ended):
		return say("DynamoDB did not do it in time: %v", ended)
	case errors.As(err, &missing):
		return say("lease table %s does not exist: create it, or set the right table and region", t.where())
	case code == "AccessDeniedException":
		return say("this identity may not call dynamodb:%s on lease table %s: grant it (%s)", action, t.where(), brief(err))
	case refused[code]:
		return say("DynamoDB refused the credentials for lease table %s: check them, the region and the machine's clock (%s)", t.where(), brief(err))
	case throttled(err):
		return say("lease table %s is still throttled after %d attempts: raise its capacity or bill it on demand (%s)", t.where(), t.c.Attempts, brief(err))
	case code == "UnknownOperationException" || code == "InvalidAction":
		return say("what answers at the DynamoDB endpoint of %s does not know %s: check that the endpoint is that of DynamoDB (%s)", region, action, brief(err))
	case code == "ValidationException":
		return say("lease table %s does not take it: check that its keys are %s and %s (%s)", t.where(), attrScope, attrResource, brief(err))
	case unsigned(err):
		return say("there are no AWS credentials for lease table %s: give the machine a role or set a profile (%s)", t.where(), brief(err))
	case unplaced(err):
		return say("there is no DynamoDB endpoint for lease table %s: set a region or an endpoint (%s)", t.where(), brief(err))
	case errors.As(err, &dns):
		return say("the DynamoDB endpoint of %s has no address: check the region, the endpoint and the name server (%s)", region, brief(err))
	case errors.Is(err, http.ErrSchemeMismatch):
		return say("the DynamoDB endpoint of %s does not speak TLS: begin it with http:// (%s)", region, brief(err))
	case errors.As(err, &host):
		return say("the DynamoDB endpoint of %s shows a certificate for another name: use the name that it is for (%s)", region, brief(err))
	case untrusted(err):
		return say("the DynamoDB endpoint of %s shows a certificate that is not trusted: check the endpoint or set the CA bundle in AWS_CA_BUNDLE (%s)", region, brief(err))
	case errors.Is(err, syscall.ECONNREFUSED):
		return say("nothing listens at the DynamoDB endpoint of %s: check the endpoint (%s)", region, brief(err))
	case errors.As(err, &garbled):
		return say("what answers at the DynamoDB endpoint of %s is not DynamoDB: check the endpoint, and whether it begins with http:// or https://", region)
	case errors.As(err, &late):
		return say("DynamoDB gave no answer within %s in %d attempts: check the network to lease table %s", late.after, t.c.Attempts, t.where())
	case errors.As(err, &sent):
		return say("lease table %s failed: the connection broke: check the endpoint, whether it begins with http:// or https://, and the network (%s)", t.where(), brief(err))
	}
	return say("lease table %s failed: %s", t.where(), brief(err))
}

var refused = map[string]bool{"UnrecognizedClientException": true, "InvalidSignatureException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true, "MissingAuthenticationToken": true,
	"MissingAuthenticationTokenException": true, "ExpiredToken": true, "ExpiredTokenException": true,
	"InvalidClientTokenId": true, "RequestTimeTooSkewed": true, "SignatureDoesNotMatch": true}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
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
	var late lateError
	if errors.As(err, &late) {
		return late.Error()
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
