package s3store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tripgrid/tripgrid/checkpoint"
)

const maxBackoff = 5 * time.Second

// once switches the SDK's retries off.
func once(o *s3.Options) { o.Retryer = aws.NopRetryer{} }

// call is a request with its retries; it describes what happened.
type call struct {
	op    string // verb of the errors: "put"
	key   string // "" is the bucket
	bytes int    // of the request's body
	// lost is set when a try may have been carried out without an answer.
	lost bool
}

// do tries fn, with a timeout for each try, as retry does.
func (s *Store) do(ctx context.Context, c *call, fn func(context.Context) error) error {
	timeout := s.cfg.Timeout + time.Duration(c.bytes>>20)*time.Second
	return s.retry(ctx, c, func(ctx context.Context) error {
		try, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout{timeout})
		defer cancel()
		return stalled(try, fn(try))
	})
}

// retry tries fn until it succeeds, it is pointless, or the attempts are used
// up. The error is that of the last try, and ctx's if it has ended.
func (s *Store) retry(ctx context.Context, c *call, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return errEnded{ctx: err}
	}
	for i := 1; ; i++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		v := judge(err)
		c.lost = c.lost || v.lost
		if !v.again || i == s.cfg.Attempts || !s.pause(ctx, i) {
			if ctx.Err() != nil {
				return errEnded{ctx.Err(), err}
			}
			return err
		}
	}
}

// pause waits after the nth try; false: ctx ended.
func (s *Store) pause(ctx context.Context, n int) bool {
	t := time.NewTimer(rand.N(min(s.cfg.Backoff<<min(n-1, 10), maxBackoff) + 1))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}

// fail makes the error of a write: ErrUncertain if a try may have been carried
// out, else a plain one.
func (s *Store) fail(c *call, err error) error {
	if c.lost {
		return fmt.Errorf("%s %s: %w: %w", c.op, s.url(c.key), checkpoint.ErrUncertain, s.describe(c, err))
	}
	return s.failRead(c, err)
}

// failRead makes the error of a request that changes nothing.
func (s *Store) failRead(c *call, err error) error {
	failed := fmt.Errorf("%s %s: %w", c.op, s.url(c.key), s.describe(c, err))
	if judge(err).again && !errors.Is(err, checkpoint.ErrCorrupt) {
		return unavailable{failed}
	}
	return failed
}

// unavailable marks an error that may pass, without a word in its text.
type unavailable struct{ error }

func (u unavailable) Unwrap() []error { return []error{u.error, checkpoint.ErrUnavailable} }

// stalled replaces the error of a try that was timed out by the reason.
func stalled(try context.Context, err error) error {
	var t errTimeout
	if err != nil && errors.As(context.Cause(try), &t) && !isUnreachable(err) {
		return t
	}
	return err
}

// errTimeout is the cause of a try's end.
type errTimeout struct{ after time.Duration }

func (e errTimeout) Error() string { return fmt.Sprintf("no answer within %v", e.after) }

// errEnded is the end of the caller's context and what the last try said.
type errEnded struct{ ctx, last error }

func (e errEnded) Error() string {
	if e.last == nil {
		return e.ctx.Error()
	}
	return fmt.Sprintf("%v: %v", e.ctx, e.last)
}

func (e errEnded) Unwrap() []error { return []error{e.ctx, e.last} }

// errCut says that an answer's body ended early.
type errCut struct{ err error }

func (e errCut) Error() string { return fmt.Sprintf("the answer was cut: %v", e.err) }
func (e errCut) Unwrap() error { return e.err }

// verdict is what an error says about the try.
type verdict struct {
	again bool // another try may go better
	lost  bool // the try may have been carried out
}

// judge sorts errors. What it does not know for certain counts as lost.
func judge(err error) verdict {
	if errors.Is(err, errRestart) {
		return verdict{}
	}
	switch errorCode(err) {
	case "ConditionalRequestConflict", "OperationAborted", // another writer is there
		"RequestTimeout", "RequestTimeTooSkewed", // the body was late; the SDK corrects its clock
		"BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch":
		return verdict{again: true}
	case "PreconditionFailed", "NoSuchKey", "NoSuchUpload", "NoSuchBucket":
		return verdict{}
	}
	var cut errCut
	var timeout errTimeout
	if errors.As(err, &cut) || errors.As(err, &timeout) || errors.Is(err, checkpoint.ErrCorrupt) {
		return verdict{again: true, lost: true}
	}
	switch status := errorStatus(err); {
	case status == http.StatusNotImplemented:
		return verdict{}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return verdict{again: true}
	case status >= 300 && status < 500:
		return verdict{}
	case status != 0: // 5xx, or an answer of success that could not be read
		return verdict{again: true, lost: true}
	}
	switch {
	case isTLS(err):
		return verdict{}
	case isUnreachable(err):
		return verdict{again: true}
	}
	var sent *smithyhttp.RequestSendError
	var canceled *smithy.CanceledError
	if errors.As(err, &sent) || errors.As(err, &canceled) {
		return verdict{again: true, lost: true}
	}
	return verdict{} // it was never sent: no credentials, say
}

// errorCode is S3's, "" if it gave none.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// errorStatus is that of the answer, 0 if there was none.
func errorStatus(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) && r.Response != nil && r.Response.Response != nil {
		return r.HTTPStatusCode()
	}
	return 0
}

func isPrecondition(err error) bool {
	return errorCode(err) == "PreconditionFailed" || errorStatus(err) == http.StatusPreconditionFailed
}

// isAbsent tells a missing object from a missing bucket. HEAD answers have no
// body and with it no code.
func isAbsent(err error) bool {
	code := errorCode(err)
	return code == "NoSuchKey" || code == "NotFound"
}

// isUnreachable tells errors of connecting: nothing was sent.
func isUnreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// isTLS tells errors of the handshake: nothing was sent.
func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &authority) ||
		errors.Is(err, http.ErrSchemeMismatch)
}
