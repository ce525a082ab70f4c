package dynamodb

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/smithy-go"
	"github.com/tripgrid/tripgrid/internal/amazon"
)

// again tells whether another attempt may succeed. Whether the failed one had
// its effect does not matter here: write finds out by reading back.
func again(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		return amazon.Throttled(err) || amazon.Status(err) >= http.StatusInternalServerError || api.ErrorFault() == smithy.FaultServer ||
			passing[api.ErrorCode()]
	}
	return !amazon.Unsent(err)
}

// The client corrects its clock by the answer RequestTimeTooSkewed.
var passing = map[string]bool{"InternalServerError": true, "InternalFailure": true, "ServiceUnavailable": true,
	"ServiceUnavailableException": true, "RequestTimeout": true, "RequestTimeoutException": true, "RequestTimeTooSkewed": true}

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
