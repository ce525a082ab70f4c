package stream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/internal/natsd"
)

func TestReaderDeliversInOrderAcrossShards(t *testing.T) {
	l := newTestLog(t)
	a, b := l.Writer(0, "a", Identity{1, 1}), l.Writer(0, "b", Identity{1, 2})
	for i := range 100 {
		mustPublish(t, a, i, i+1, 0)
		mustPublish(t, b, 2*i, 2*i+2, 0)
	}
	if got := checkI1(t, l, 0); got["a"] != at(100) || got["b"] != at(200) {
		t.Errorf("read up to %v", got)
	}
}

func TestReaderWaitsAndEndsPromptly(t *testing.T) {
	l := newTestLog(t)
	r, err := l.Reader(testContext(t), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan Message)
	go func() {
		m, err := r.Next(testContext(t))
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	mustPublish(t, l.Writer(0, "a", Identity{1, 1}), 0, 1, 0)
	if m := <-got; m.Seq != 2 || m.Subject != "taxi.1.0.a" || time.Since(m.Time) > time.Minute {
		t.Errorf("%+v", m)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := r.Next(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	go func() {
		_, err := r.Next(testContext(t))
		ended <- err
	}()
	r.Close()
	r.Close()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestR3StartOutsideOfTheLog(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	w := l.Writer(0, "a", Identity{1, 1})
	for i := range 5 {
		mustPublish(t, w, i, i+1, 0) // sequences 2 to 6
	}
	if err := l.Purge(ctx, 0, 4); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[uint64]error{0: ErrPurged, 3: ErrPurged, 4: nil, 6: nil, 7: nil, 8: ErrRegressed, 100: ErrBroken} {
		r, err := l.Reader(ctx, 0, from)
		if !errors.Is(err, want) {
			t.Errorf("from %d: %v, want %v", from, err, want)
		}
		if r != nil {
			r.Close()
		}
	}
}

// A slow reader, behind which the log is purged, must not be moved forward.
func TestR3GapBehindAPurge(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 1, 0)
	r, err := l.Reader(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if m, err := r.Next(ctx); err != nil || m.Seq != 2 {
		t.Fatal(m, err)
	}
	// More than it prefetches, then a purge of what it has not fetched.
	const last = 10 * pullMessages
	for i := 1; i < last; i++ {
		mustPublish(t, w, i, i+1, 0)
	}
	if err := l.Purge(ctx, 0, last); err != nil {
		t.Fatal(err)
	}
	next := uint64(3)
	for ; ; next++ {
		m, err := r.Next(ctx)
		if err != nil {
			if !errors.Is(err, ErrPurged) && !errors.Is(err, ErrGap) {
				t.Fatal(err)
			}
			break
		}
		if m.Seq != next {
			t.Fatalf("sequence %d instead of %d", m.Seq, next)
		}
	}
	if next >= last {
		t.Errorf("read over the purge, up to %d", next)
	}
}

// A consumer that was deleted, or starved, is replaced without a loss.
func TestReaderReplacesItsConsumer(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	w := l.Writer(0, "a", Identity{1, 1})
	r, err := l.Reader(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 6 {
		mustPublish(t, w, i, i+1, 0)
		if i%2 == 1 {
			if err := l.parts[0].stream.DeleteConsumer(ctx, r.sub.Load().consumer); err != nil {
				t.Fatal(err)
			}
		}
		if m, err := r.Next(ctx); err != nil || m.Seq != uint64(i+2) {
			t.Fatal(m, err)
		}
	}
}

// After a lost tail, sequence numbers are used again; a reader that waited
// there must not go on (R16).
func TestR16ReaderOfAnotherLog(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	spec := testSpec()
	spec.Partitions = 1
	l := openTestLog(t, js, spec)
	ctx := testContext(t)
	w := l.Writer(0, "a", Identity{1, 1})
	for i := range 3 {
		mustPublish(t, w, i, i+1, 0)
	}
	r, err := l.Reader(ctx, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	recreate := func() {
		if err := js.DeleteStream(ctx, "taxi-1-0"); err != nil {
			t.Fatal(err)
		}
		openTestLog(t, js, spec)
	}
	recreate()
	if _, err := r.Next(ctx); !errors.Is(err, ErrRegressed) || !errors.Is(err, ErrBroken) {
		t.Errorf("lost tail: %v", err)
	}
	spec.Nonce++
	recreate()
	if _, err := r.Next(ctx); !errors.Is(err, ErrBroken) {
		t.Errorf("another nonce: %v", err)
	}
	if _, err := l.Tail(ctx, 0, "a"); err != nil {
		t.Error(err) // nothing there, so nothing to compare
	}
	if err := js.DeleteStream(ctx, "taxi-1-0"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(ctx); !errors.Is(err, ErrBroken) || !errors.Is(err, ErrNotFound) {
		t.Errorf("stream gone: %v", err)
	}
}

func TestLogSurvivesTheServersRestart(t *testing.T) {
	dir := t.TempDir()
	start := func() (*natsd.Server, *Log) {
		s, err := natsd.Start(natsd.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := s.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return s, openTestLog(t, js, testSpec())
	}
	for round := range 3 {
		s, l := start()
		id := Identity{Epoch(round + 1), uint64(round)}
		tail, err := l.Tail(testContext(t), 1, "a")
		if err != nil || tail.Header.Upto != at(5*round) {
			t.Fatalf("round %d: %+v, %v", round, tail, err)
		}
		w := l.Writer(1, "a", id)
		w.Start(tail)
		for i := range 5 {
			mustPublish(t, w, 5*round+i, 5*round+i+1, 0)
		}
		if got := checkI1(t, l, 1); got["a"] != at(5*round+5) {
			t.Fatalf("round %d: read up to %v", round, got)
		}
		s.Close()
	}
}
