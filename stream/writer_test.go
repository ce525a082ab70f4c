package stream

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/natsd"
)

// fault is what happens to one publish.
type fault int

const (
	faultNone    fault = iota
	faultLostAck       // stored, but nobody is told
	faultLost          // not stored, nobody is told
	faultGhost         // not stored now; a copy is delivered later
)

// faults stands between a writer and its log.
type faults struct {
	send   publishFunc
	next   func() fault
	ghosts []func() error // deliver a delayed copy
	sent   []string       // what was sent, as bytes
}

// inject puts faults before l's publishes; writers of l go through them.
func inject(l *Log, next func() fault) *faults {
	f := &faults{send: l.send, next: next}
	l.publish = f.publish
	return f
}

func (f *faults) publish(ctx context.Context, subject string, data []byte, expected uint64) (uint64, error) {
	f.sent = append(f.sent, string(data))
	switch f.next() {
	case faultLostAck:
		_, _ = f.send(ctx, subject, data, expected)
		return 0, context.DeadlineExceeded
	case faultLost:
		return 0, context.DeadlineExceeded
	case faultGhost:
		data = append([]byte(nil), data...)
		f.ghosts = append(f.ghosts, func() error {
			_, err := f.send(context.Background(), subject, data, expected)
			return err
		})
		return 0, context.DeadlineExceeded
	}
	return f.send(ctx, subject, data, expected)
}

// script is faults in order, then none.
func script(list ...fault) func() fault {
	return func() (f fault) {
		if len(list) > 0 {
			f, list = list[0], list[1:]
		}
		return f
	}
}

func TestR2LostAck(t *testing.T) {
	l := newTestLog(t)
	f := inject(l, script(faultNone, faultLostAck))
	id := Identity{1, 1}
	w := l.Writer(0, "a", id)
	first := mustPublish(t, w, 0, 3, 0)
	data, h := frameOf("a", id, 3, 6, 0)
	r, err := w.Publish(testContext(t), data, h)
	if err != nil || !r.Rebased || r.Tail.Seq != first.Seq+1 || r.Tail.Header.Upto != at(6) || r.Tail.Checksum != Checksum(data) {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(f.sent) != 2 {
		t.Errorf("sent %d times: the frame had landed", len(f.sent))
	}
	mustPublish(t, w, 6, 9, 0)
	if got := checkI1(t, l, 0); got["a"] != at(9) {
		t.Errorf("read up to %v", got)
	}
}

func TestR2NotLandedResendsIdenticalBytes(t *testing.T) {
	l := newTestLog(t)
	var causes atomic.Int32
	l.spec.Observer = &Observer{Retried: func(p Partition, s ShardID, attempt int, cause error) {
		if p != 0 || s != "a" || cause == nil || attempt != int(causes.Add(1)) {
			t.Errorf("observed %v, %s, %d, %v", p, s, attempt, cause)
		}
	}}
	f := inject(l, script(faultLost, faultLost, faultLost))
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 3, 0)
	if len(f.sent) != 4 || f.sent[0] != f.sent[3] || causes.Load() != 3 {
		t.Errorf("sent %d times, observed %d", len(f.sent), causes.Load())
	}
	checkI1(t, l, 0)
}

// A copy that is delivered after its resent twin, and after its successor,
// must be refused both times.
func TestR2LateGhost(t *testing.T) {
	l := newTestLog(t)
	f := inject(l, script(faultGhost))
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 3, 0)
	if err := f.ghosts[0](); !refused(err) {
		t.Errorf("ghost of a resent frame: %v", err)
	}
	mustPublish(t, w, 3, 6, 0)
	if err := f.ghosts[0](); !refused(err) {
		t.Errorf("ghost behind the next frame: %v", err)
	}
	if got := checkI1(t, l, 0); got["a"] != at(6) {
		t.Errorf("read up to %v", got)
	}
}

// A Publish is given up; its ghost lands only when the next, longer frame over
// the same positions is under way.
func TestR2GhostOfAGivenUpPublish(t *testing.T) {
	l := newTestLog(t)
	f := inject(l, script(faultGhost))
	id := Identity{1, 1}
	w := l.Writer(0, "a", id)
	ctx, cancel := context.WithCancel(testContext(t))
	l.spec.Observer = &Observer{Retried: func(Partition, ShardID, int, error) { cancel() }}
	data, h := frameOf("a", id, 0, 3, 0)
	if _, err := w.Publish(ctx, data, h); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	next := l.publish
	l.publish = func(ctx context.Context, subject string, data []byte, expected uint64) (uint64, error) {
		for _, ghost := range f.ghosts {
			if err := ghost(); err != nil {
				t.Error(err)
			}
		}
		f.ghosts = nil
		return next(ctx, subject, data, expected)
	}
	data, h = frameOf("a", id, 0, 6, 0)
	r, err := w.Publish(testContext(t), data, h)
	if err != nil || !r.Rebased || r.Tail.Header.Upto != at(3) {
		t.Fatalf("%+v, %v", r, err)
	}
	mustPublish(t, w, 3, 6, 0)
	checkI1(t, l, 0)
}

func TestR2LowerEpochIsRebasedOnHigherFences(t *testing.T) {
	l := newTestLog(t)
	old, id := l.Writer(0, "a", Identity{1, 1}), Identity{2, 2}
	mustPublish(t, old, 0, 3, 0)
	w := l.Writer(0, "a", id)
	tail, err := l.Tail(testContext(t), 0, "a")
	if err != nil {
		t.Fatal(err)
	}
	w.Start(tail)
	mustPublish(t, old, 3, 5, 0) // the paused owner is not paused after all
	data, h := frameOf("a", id, 3, 6, 0)
	r, err := w.Publish(testContext(t), data, h)
	if err != nil || !r.Rebased || r.Tail.Header.Upto != at(5) || r.Tail.Header.Epoch != 1 {
		t.Fatalf("a lower epoch must be rebased on: %+v, %v", r, err)
	}
	mustPublish(t, w, 5, 6, 0)
	data, h = frameOf("a", old.Identity(), 5, 7, 0)
	r, err = old.Publish(testContext(t), data, h)
	if !errors.Is(err, ErrFenced) || r.Tail.Header.Epoch != 2 || !strings.Contains(err.Error(), "shard a in taxi-1-0") {
		t.Fatalf("a higher epoch must fence: %+v, %v", r, err)
	}
	if got := checkI1(t, l, 0); got["a"] != at(6) {
		t.Errorf("read up to %v", got)
	}
}

// A lease table that was recreated hands out epoch 1 again: the new owner
// takes 1 + the highest epoch on the subject; two writers of one epoch are told.
func TestR1RecreatedLease(t *testing.T) {
	l := newTestLog(t)
	mustPublish(t, l.Writer(0, "a", Identity{7, 1}), 0, 3, 0)
	data, h := frameOf("a", Identity{1, 2}, 3, 6, 0)
	if _, err := l.Writer(0, "a", Identity{1, 2}).Publish(testContext(t), data, h); !errors.Is(err, ErrFenced) {
		t.Fatalf("epoch 1 again: %v", err)
	}
	tail, err := l.Tail(testContext(t), 0, "a")
	if err != nil {
		t.Fatal(err)
	}
	b, c := Identity{tail.Header.Epoch + 1, 2}, Identity{tail.Header.Epoch + 1, 3}
	mustPublish(t, l.Writer(0, "a", b), 3, 6, 0)
	data, h = frameOf("a", c, 3, 6, 0)
	r, err := l.Writer(0, "a", c).Publish(testContext(t), data, h)
	if !errors.Is(err, ErrSameEpoch) || r.Tail.Header.Writer != 2 {
		t.Fatalf("the same epoch: %+v, %v", r, err)
	}
	checkI1(t, l, 0)
}

func TestR16TailBelowAnAcknowledgedSequence(t *testing.T) {
	l := newTestLog(t)
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 3, 0)
	if err := l.js.DeleteStream(testContext(t), "taxi-1-0"); err != nil {
		t.Fatal(err)
	}
	openTestLog(t, l.js, testSpec())
	data, h := frameOf("a", w.id, 3, 6, 0)
	_, err := w.Publish(testContext(t), data, h)
	if !errors.Is(err, ErrBroken) || !errors.Is(err, ErrRegressed) || !strings.Contains(err.Error(), "last sequence is 0, 2 was acknowledged") {
		t.Fatal(err)
	}
	if got := checkI1(t, l, 0); len(got) != 0 {
		t.Errorf("continued in place: %v", got)
	}
}

func TestR16FrameOfAnotherNonce(t *testing.T) {
	l := newTestLog(t)
	f := &Frame{Header: Header{Nonce: 1, Shard: "a", Upto: at(1)}}
	if _, err := l.send(testContext(t), "taxi.1.0.a", Append(nil, f), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Tail(testContext(t), 0, "a"); !errors.Is(err, ErrBroken) {
		t.Error(err)
	}
	if _, err := l.send(testContext(t), "taxi.1.0.b", []byte("no frame"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Tail(testContext(t), 0, "b"); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestI7NothingAfterEnd(t *testing.T) {
	l := newTestLog(t)
	id := Identity{1, 1}
	w := l.Writer(0, "a", id)
	mustPublish(t, w, 0, 3, FlagEnd)
	data, h := frameOf("a", id, 3, 4, 0)
	if _, err := w.Publish(testContext(t), data, h); !errors.Is(err, ErrEnded) {
		t.Errorf("known: %v", err)
	}
	r, err := l.Writer(0, "a", id).Publish(testContext(t), data, h)
	if err != nil || !r.Rebased || r.Tail.Header.Flags&FlagEnd == 0 {
		t.Errorf("learnt: %+v, %v", r, err)
	}
}

func TestPublishRefusesMistakes(t *testing.T) {
	l := newTestLog(t)
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 3, 0)
	for name, id := range map[string]Identity{"epoch": {2, 1}, "nonce": {1, 2}} {
		if data, h := frameOf("a", id, 3, 6, 0); errors.Is(tryPublish(t, w, data, h), nil) {
			t.Errorf("another %s published", name)
		}
	}
	if data, h := frameOf("b", w.id, 3, 6, 0); tryPublish(t, w, data, h) == nil {
		t.Error("another shard published")
	}
	if data, h := frameOf("a", w.id, 2, 6, 0); tryPublish(t, w, data, h) == nil {
		t.Error("an overlap published")
	}
	_, h := frameOf("a", w.id, 3, 6, 0)
	if tryPublish(t, w, make([]byte, MaxFrameBytes+1), h) == nil {
		t.Error("a giant published")
	}
	mustPublish(t, w, 3, 6, 0)
}

func tryPublish(t testing.TB, w *Writer, data []byte, h *Header) error {
	_, err := w.Publish(testContext(t), data, h)
	return err
}

func TestR13Reserve(t *testing.T) {
	spec := testSpec()
	spec.MaxBytes = 64 << 10
	holds := make(chan uint64, 16)
	spec.Observer = &Observer{Held: func(_ Partition, _ ShardID, bytes, limit uint64) {
		if bytes < limit {
			t.Errorf("held at %d of %d bytes", bytes, limit)
		}
		holds <- bytes
	}}
	l := openTestLog(t, testServer(t, natsd.Config{SyncInterval: time.Minute}), spec)
	w := l.Writer(0, "a", Identity{1, 1})

	// Data until it is held up.
	ctx, cancel := context.WithCancel(testContext(t))
	pos, ended := 0, make(chan error)
	go func() {
		for {
			data, h := frameOf("a", w.id, pos, pos+200, 0)
			if _, err := w.Publish(ctx, data, h); err != nil {
				ended <- err
				return
			}
			pos += 200
		}
	}()
	<-holds
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// The waiting frame goes out as a barrier, watermarks and END pass too.
	barrier := mustPublish(t, w, pos, pos+200, FlagBarrier)
	mustPublish(t, w, pos+200, pos+200, FlagWatermarkOnly)
	if st, err := l.State(testContext(t), 0); err != nil || st.Bytes < softLimit(spec.MaxBytes) || st.Bytes >= uint64(spec.MaxBytes) {
		t.Fatalf("%+v, %v", st, err)
	}

	// Data goes on once the checkpoint has purged.
	go func() {
		data, h := frameOf("a", w.id, pos+200, pos+400, 0)
		ended <- tryPublish(t, w, data, h)
	}()
	<-holds
	if err := l.Purge(testContext(t), 0, barrier.Seq); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	mustPublish(t, w, pos+400, pos+400, FlagEnd)
}

// A full stream refuses even the reserve; the publish waits and then lands.
func TestR13FullStreamIsRetried(t *testing.T) {
	l := newTestLog(t)
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 1, 0)
	tail := mustPublish(t, w, 1, 100, FlagBarrier)
	cfg := l.parts[0].stream.CachedInfo().Config
	cfg.MaxBytes = 2 << 10
	if _, err := l.js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	held := make(chan bool, 1)
	l.spec.Observer = &Observer{Held: func(Partition, ShardID, uint64, uint64) { held <- true }}
	ended := make(chan error)
	go func() {
		data, h := frameOf("a", w.id, 100, 300, FlagBarrier)
		ended <- tryPublish(t, w, data, h)
	}()
	<-held
	cfg.MaxBytes = 1 << 20
	if _, err := l.js.UpdateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got, err := l.Tail(testContext(t), 0, "a"); err != nil || got.Seq != tail.Seq+1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPublishEndsWithTheConnection(t *testing.T) {
	l := newTestLog(t)
	w := l.Writer(0, "a", Identity{1, 1})
	mustPublish(t, w, 0, 1, 0)
	l.js.Conn().Close()
	data, h := frameOf("a", w.id, 1, 2, 0)
	if err := tryPublish(t, w, data, h); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
