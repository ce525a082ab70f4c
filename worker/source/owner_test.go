package source

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
	"github.com/tripgrid/tripgrid/stream"
)

func oneShard() *fakeShard { return &fakeShard{id: "s0", lo: "0", hi: "99"} }

func failover(d time.Duration) setting {
	return func(_ *Config, o *cluster.Options, _ *process) { o.Failover = d }
}

// paused makes a process's table calls fail from now on, as if it were cut off,
// and lets the others go on.
func paused(w *world) (setting, func()) {
	var cut atomic.Bool
	faulty := clustertest.NewFaulty(w.table)
	faulty.Before(func(string) error {
		if cut.Load() {
			return errors.New("cut off by the test")
		}
		return nil
	})
	return func(c *Config, o *cluster.Options, p *process) {
		p.cutOff = cut.Load
		// Settings that follow do not reach this table.
		l, err := cluster.New(faulty, *o)
		if err != nil {
			w.t.Fatal(err)
		}
		c.Leases = l
	}, func() { cut.Store(true) }
}

// Trap 5 and R1: an owner that cannot renew is taken over; its handler is
// closed, although the library calls no Shutdown and although it blocks at the
// time; the new owner has a higher epoch.
func TestTrap5LeaseStolenWhileBlocked(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a", "b", "c"))
	w := newWorld(t)
	cutOff, cut := paused(w)
	a := w.start("f/a", client, failover(time.Second), cutOff, func(_ *Config, _ *cluster.Options, p *process) {
		p.onRecords = blockUntilDone
	})
	w.await("A blocks", func() bool { return len(w.opened) == 1 && w.opened[0].busy })
	b := w.start("g/b", client, failover(time.Second))
	cut()
	w.await("A's handler is closed", func() bool { return w.opened[0].closed })
	w.await("B reads", func() bool { return len(w.opened) == 2 && w.opened[1].proc == b && len(w.opened[1].recs) == 3 })
	w.do(func() {
		if w.opened[1].epoch != w.opened[0].epoch+1 {
			t.Errorf("epoch %d follows %d", w.opened[1].epoch, w.opened[0].epoch)
		}
	})
	a.stop()
}

// Trap 5: the same process may own the shard again; the old handler is closed
// before the new one is opened.
func TestTrap5TheHandlerThatFailsIsReplaced(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a", "b"))
	w := newWorld(t)
	var failures atomic.Int64
	w.start("f/a", client, func(_ *Config, _ *cluster.Options, p *process) {
		p.onRecords = func(context.Context, *handler, []Record) error {
			if failures.Add(1) <= 2 {
				return errRefused
			}
			return nil
		}
	})
	w.await("the third handler reads", func() bool { return len(w.opened) == 3 && len(w.opened[2].recs) == 2 })
	w.do(func() {
		if !w.opened[0].closed || !w.opened[1].closed || w.opened[2].epoch != 3 {
			t.Errorf("closed %v %v, epoch %d", w.opened[0].closed, w.opened[1].closed, w.opened[2].epoch)
		}
	})
}

// A failure to open gives the shard up, and it is tried again.
func TestOpenFailsOnce(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a"))
	w := newWorld(t)
	var tries atomic.Int64
	w.start("f/a", client, func(_ *Config, _ *cluster.Options, p *process) {
		p.onOpen = func(context.Context, stream.ShardID) error {
			if tries.Add(1) == 1 {
				return errRefused
			}
			return nil
		}
	})
	w.await("a record", func() bool { return w.count() == 1 })
}

// R10: a handler whose progress lies before the restart would lose what lies
// between; it is refused until HEAD and handler agree.
func TestR10SkipBeforeRestartIsAGap(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, oneShard().put("a", "b", "c"))
	w := newWorld(t)
	w.head["s0"] = headShard{restart: "101", skip: stream.Position{Seq: "100"}}
	w.start("f/a", client)
	w.await("it is refused", func() bool { return len(w.opened) >= 1 && w.opened[0].closed })
	w.do(func() { w.head["s0"] = headShard{restart: "101", skip: stream.Position{Seq: "101"}} })
	w.await("the rest", func() bool { return w.count() == 1 })
	f.do(func() {
		for _, it := range f.shards[0].iterators {
			if it != "AFTER_SEQUENCE_NUMBER 101" {
				t.Errorf("an iterator was taken %s", it)
			}
		}
	})
}

// Two processes share a stream; what one gives up in good order the other has
// at once, not after the failover time.
func TestReleaseHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a", "b", "c"))
	w := newWorld(t)
	a := w.start("f/a", client)
	w.await("A reads", func() bool { return w.count() == 3 })
	w.start("g/b", client)
	began := time.Now()
	a.stop()
	w.await("B reads", func() bool { return len(w.opened) == 2 && len(w.opened[1].recs) == 3 })
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the hand-over took %s, the failover time is 10s", d)
	}
}

// R10: what a checkpoint covers is noted in the table, and late news is no
// failure.
func TestCompleted(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a"))
	w := newWorld(t)
	p := w.start("f/a", client)
	w.await("a record", func() bool { return w.count() == 1 })
	if err := p.kcl.Completed(t.Context(), 3, map[stream.ShardID]string{"s0": "100", "elsewhere": "5"}); err != nil {
		t.Error(err)
	}
	if err := p.kcl.Completed(t.Context(), 2, map[stream.ShardID]string{"s0": "99"}); err != nil {
		t.Error(err)
	}
	row, err := w.table.Get(t.Context(), "s0")
	if err != nil || row.Lease.CheckpointID != 3 || row.Lease.Checkpoint != "100" || row.Lease.Epoch != 1 {
		t.Errorf("the row is %+v: %v", row.Lease, err)
	}
}

// Stopping is prompt and leaves nothing, whatever the handler is blocked in.
func TestStopWhileBlocked(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]setting{
		"Open": func(_ *Config, _ *cluster.Options, p *process) {
			p.onOpen = func(ctx context.Context, _ stream.ShardID) error {
				p.w.do(func() { p.w.head["blocked"] = headShard{} })
				<-ctx.Done()
				return ctx.Err()
			}
		},
		"Records": func(_ *Config, _ *cluster.Options, p *process) {
			p.onRecords = func(ctx context.Context, h *handler, recs []Record) error {
				p.w.do(func() { p.w.head["blocked"] = headShard{} })
				return blockUntilDone(ctx, h, recs)
			}
		},
		"End": func(_ *Config, _ *cluster.Options, p *process) {
			p.onEnd = func(ctx context.Context, h *handler) error {
				p.w.do(func() { p.w.head["blocked"] = headShard{} })
				return blockUntilDone(ctx, h, nil)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := oneShard().put("a")
			s.closed = name == "End"
			_, client := newFake(t, s, &fakeShard{id: "s1", parent: "s0", lo: "0", hi: "99"})
			w := newWorld(t)
			p := w.start("f/a", client, hook)
			w.await("it blocks", func() bool { _, ok := w.head["blocked"]; return ok })
			p.stop() // checks all else
			row, err := w.table.Get(t.Context(), "s0")
			if err != nil || row.Lease.Ended {
				t.Errorf("the row is %+v: %v", row.Lease, err)
			}
		})
	}
}

// A handler that ignores its context does not hold Run up for ever.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, oneShard().put("a"))
	w := newWorld(t)
	release := make(chan struct{})
	p := w.start("f/a", client, func(c *Config, _ *cluster.Options, p *process) {
		c.StopTimeout = 100 * time.Millisecond
		p.onRecords = func(context.Context, *handler, []Record) error { <-release; return nil }
	})
	w.await("it blocks", func() bool { return len(w.opened) == 1 && w.opened[0].busy })
	p.cancel()
	if err := <-p.done; err == nil || !strings.Contains(err.Error(), "s0") {
		t.Errorf("Run returned %v", err)
	}
	p.stopd = true
	close(release)
	w.await("the handler is closed", func() bool { return w.opened[0].closed })
}
