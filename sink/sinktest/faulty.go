package sinktest

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tripgrid/tripgrid/sink"
)

// ErrInjected is the failure that Faulty makes.
var ErrInjected = errors.New("injected failure")

// Fault is what goes wrong in one call of Write. The zero value is: nothing.
type Fault struct {
	// Before fails the call before anything is stored, After when everything is:
	// an answer that was lost.
	Before, After bool
	// Retry and Reject pick documents that are put off, or refused for good,
	// and not stored; nil picks none.
	Retry, Reject func(sink.Document) bool
	// Hold is waited for before anything is stored, unless the context ends;
	// nil holds nothing up.
	Hold <-chan struct{}
}

// Faulty is a sink before another one, to which Plan says what goes wrong in
// the n-th call, from 0. Plan may be called from several goroutines.
type Faulty struct {
	Sink  sink.Sink
	Plan  func(n int, docs []sink.Document) Fault
	calls atomic.Int64
}

// Calls returns how often Write was called.
func (f *Faulty) Calls() int { return int(f.calls.Load()) }

// Write implements sink.Sink.
func (f *Faulty) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	n := int(f.calls.Add(1)) - 1
	var fault Fault
	if f.Plan != nil {
		fault = f.Plan(n, docs)
	}
	write := f.Sink.Write
	if m, ok := f.Sink.(*Memory); ok { // it watches the whole call, the hold included
		defer m.end(m.begin(docs))
		write = m.store
	}
	if fault.Hold != nil {
		select {
		case <-fault.Hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fault.Before {
		return nil, ErrInjected
	}
	results := make([]sink.Result, len(docs))
	var pass []sink.Document
	var at []int
	for i, d := range docs {
		switch {
		case fault.Reject != nil && fault.Reject(d):
			results[i].Rejected = "injected rejection"
		case fault.Retry != nil && fault.Retry(d):
			results[i].Retry = true
		default:
			pass, at = append(pass, d), append(at, i)
		}
	}
	if len(pass) > 0 {
		got, err := write(ctx, pass)
		if err != nil {
			return nil, err
		}
		for i, r := range got {
			results[at[i]] = r
		}
	}
	if fault.After {
		return nil, ErrInjected
	}
	return results, nil
}

// Close closes the sink behind it.
func (f *Faulty) Close() error { return f.Sink.Close() }
