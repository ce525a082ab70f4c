package amazon

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
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Code is the service's error code, "" if no service answered with one.
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Status is the HTTP status of the answer, 0 if there was none.
func Status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// Throttled tells whether asking less often helps.
func Throttled(err error) bool {
	code := Code(err)
	_, is := retry.DefaultThrottleErrorCodes[code]
	return is || code == "KMSThrottlingException"
}

// Unsent tells errors that will not go away and came before any byte of the
// request was sent.
func Unsent(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound || Untrusted(err) || unsigned(err) || unplaced(err)
}

// Untrusted tells errors of the TLS handshake.
func Untrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var header tls.RecordHeaderError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &header) ||
		errors.Is(err, http.ErrSchemeMismatch)
}

// The SDK has no types for these two.
func unsigned(err error) bool {
	return operational(err) && (strings.Contains(err.Error(), "get identity: ") || strings.Contains(err.Error(), "no identity"))
}

func unplaced(err error) bool {
	var region *aws.MissingRegionError
	return errors.As(err, &region) || operational(err) && (strings.Contains(err.Error(), "esolve service endpoint") ||
		strings.Contains(err.Error(), "endpoint rule error") || strings.Contains(err.Error(), "invalid input region"))
}

// operational tells whether the SDK's client says so, and not the service or
// the connection.
func operational(err error) bool {
	var op *smithy.OperationError
	var sent *smithyhttp.RequestSendError
	return errors.As(err, &op) && !errors.As(err, &sent) && Status(err) == 0
}

var refused = map[string]bool{"UnrecognizedClientException": true, "InvalidSignatureException": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true, "MissingAuthenticationToken": true,
	"MissingAuthenticationTokenException": true, "ExpiredToken": true, "ExpiredTokenException": true,
	"InvalidClientTokenId": true, "RequestTimeTooSkewed": true, "SignatureDoesNotMatch": true}

// Explain says what is wrong with the credentials or the way to a service, in
// one sentence with what to do; "" if it is neither. subject is what was asked
// for ("stream trips in eu-central-1"), region may be empty.
func Explain(err error, service, subject, region string) string {
	if region == "" {
		region = "this region"
	}
	endpoint := fmt.Sprintf("the %s endpoint of %s", service, region)
	because := " (" + Brief(err) + ")"
	var dns *net.DNSError
	var host x509.HostnameError
	var garbled *smithy.DeserializationError
	switch {
	case refused[Code(err)]:
		return service + " refused the credentials for " + subject + ": check them, the region and the machine's clock" + because
	case unsigned(err):
		return "there are no AWS credentials for " + subject + ": give the machine a role or set a profile" + because
	case unplaced(err):
		return "there is no " + service + " endpoint for " + subject + ": set a region or an endpoint" + because
	case errors.As(err, &dns):
		return endpoint + " has no address: check the region, the endpoint and the name server" + because
	case errors.Is(err, http.ErrSchemeMismatch):
		return endpoint + " does not speak TLS: begin it with http://" + because
	case errors.As(err, &host):
		return endpoint + " shows a certificate for another name: use the name that it is for" + because
	case Untrusted(err):
		return endpoint + " shows a certificate that is not trusted: check the endpoint or set the CA bundle in AWS_CA_BUNDLE" + because
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at " + endpoint + ": check the endpoint" + because
	case errors.As(err, &garbled):
		return "what answers at " + endpoint + " is not " + service + ": check the endpoint, and whether it begins with http:// or https://"
	}
	return ""
}

// Broken tells whether a connection that stood broke.
func Broken(err error) bool {
	var sent *smithyhttp.RequestSendError
	return errors.As(err, &sent)
}

// Brief is the service's own message, or the cause without the SDK's frame.
func Brief(err error) string {
	var api smithy.APIError
	var sent *smithyhttp.RequestSendError
	var op *smithy.OperationError
	switch {
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return api.ErrorCode() + ": " + api.ErrorMessage()
	case errors.As(err, &api):
		return api.ErrorCode()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &sent) && sent.Err != nil:
		return sent.Err.Error()
	case errors.As(err, &op) && op.Err != nil:
		err = op.Err
	}
	text, _, _ := strings.Cut(err.Error(), ", operation error ec2imds") // the last place where credentials were looked for
	return text
}
