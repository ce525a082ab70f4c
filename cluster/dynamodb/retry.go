package dynamodb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// again tells whether another attempt may succeed. Whether the failed one had
// its effect does not matter here: write finds out by reading back.
func again(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		return throttled(api) || status(err) >= http.StatusInternalServerError || api.ErrorFault() == smithy.FaultServer ||
			passing[api.ErrorCode()]
	}
	return !unsent(err)
}

// The client corrects its clock by the answer RequestTimeTooSkewed.
var passing = map[string]bool{"InternalServerError": true, "InternalFailure": true, "ServiceUnavailable": true,
	"ServiceUnavailableException": true, "RequestTimeout": true, "RequestTimeoutException": true, "RequestTimeTooSkewed": true}

func throttled(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	_, is := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
	return is
}

func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// unsent tells errors that will not go away and came before any byte of the
// request was sent.
func unsent(err error) bool {
	return unresolved(err) || untrusted(err) || unsigned(err) || unplaced(err)
}

func unresolved(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

func untrusted(err error) bool {
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &header)
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

// operational tells whether the SDK's client says so, and not the server.
func operational(err error) bool {
	var op *smithy.OperationError
	var sent *smithyhttp.RequestSendError
	return errors.As(err, &op) && !errors.As(err, &sent) && status(err) == 0
}

// call tries f until it succeeds, is refused, the attempts are used up or the
// context ends.
func (t *Table) call(ctx context.Context, f func(context.Context) error) error {
	pause := t.c.Backoff
	for n := 1; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, t.c.Timeout)
		err := f(attempt)
		late := attempt.Err() != nil
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return endedError{ctx.Err(), err}
		}
		if !again(err) {
			return err
		}
		if late {
			err = lateError{t.c.Timeout, err}
		}
		if n >= t.c.Attempts {
			return err
		}
		if !sleep(ctx, rand.N(pause)+1) {
			return endedError{ctx.Err(), err}
		}
		pause = min(2*pause, t.c.MaxBackoff)
	}
}

// sleep waits, or returns false if the context ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// endedError is a call that the caller's context ended; what happened last
// stays visible.
type endedError struct{ ctx, last error }

func (e endedError) Error() string   { return e.ctx.Error() + ", last: " + brief(e.last) }
func (e endedError) Unwrap() []error { return []error{e.ctx, e.last} }

// lateError is an attempt that ran out of its own time.
type lateError struct {
	after time.Duration
	err   error
}

func (e lateError) Error() string { return "no answer within " + e.after.String() }
func (e lateError) Unwrap() error { return e.err }
