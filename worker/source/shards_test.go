package source

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// resharded is a split of s0 into s1 and s2, and a merge of s1 and s2 into s3.
func resharded() []*fakeShard {
	s0 := &fakeShard{id: "s0", lo: "0", hi: "99", closed: true}
	s1 := &fakeShard{id: "s1", parent: "s0", lo: "0", hi: "49", closed: true}
	s2 := &fakeShard{id: "s2", parent: "s0", lo: "50", hi: "99", closed: true}
	s3 := &fakeShard{id: "s3", parent: "s1", adjacent: "s2", lo: "0", hi: "99"}
	return []*fakeShard{s0.put("a", "b"), s1.put("c"), s2.put("d"), s3.put("e")}
}

// R9 and trap 2: a child is leased only when every parent, the adjacent one
// included, has ended; SHARD_END is written only when End returned nil.
func TestR9ChildrenWaitForEveryParent(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, resharded()...)
	f.noChilden = true // so the list of shards must tell
	w := newWorld(t)
	gate := make(chan struct{})
	var refusals atomic.Int64
	w.start("f/a", client, func(c *Config, _ *cluster.Options, p *process) {
		c.Start.Timestamp = time.Unix(1e9, 0)
		p.onEnd = func(ctx context.Context, h *handler) error {
			switch h.shard {
			case "s0":
				if refusals.Add(1) == 1 {
					return errRefused // END is not acknowledged everywhere
				}
			case "s2":
				select {
				case <-gate:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		}
	})
	w.await("s1 ended, s2 is about to", func() bool {
		return len(w.of("s1")) == 1 && w.of("s1")[0].ended && len(w.of("s2")) == 1 && w.of("s2")[0].busy
	})
	f.awaitLooks(w, 3)
	w.do(func() {
		if n := len(w.of("s3")); n != 0 {
			t.Errorf("s3 was opened before its adjacent parent ended")
		}
	})
	close(gate)
	w.await("the child of the merge reads", func() bool { return len(w.of("s3")) == 1 && len(w.of("s3")[0].recs) == 1 })
	w.do(func() {
		if len(w.of("s0")) != 2 || w.of("s0")[0].ended {
			t.Errorf("s0 was opened %d times", len(w.of("s0")))
		}
		split := []stream.Child{{Shard: "s1", Parents: []stream.ShardID{"s0"}}, {Shard: "s2", Parents: []stream.ShardID{"s0"}}}
		if got := w.of("s0")[1].children; !reflect.DeepEqual(got, split) {
			t.Errorf("s0 ended with %+v", got)
		}
		merge := []stream.Child{{Shard: "s3", Parents: []stream.ShardID{"s1", "s2"}}}
		if got := w.of("s1")[0].children; !reflect.DeepEqual(got, merge) {
			t.Errorf("s1 ended with %+v", got)
		}
		if got := w.of("s3")[0].parents; !reflect.DeepEqual(got, []stream.ShardID{"s1", "s2"}) {
			t.Errorf("s3 was opened with parents %v", got)
		}
	})
	f.do(func() { // the start applies to the shard without a parent alone
		if f.shard("s0").iterators[0] != "AT_TIMESTAMP" || f.shard("s3").iterators[0] != "TRIM_HORIZON" {
			t.Errorf("iterators were taken %v and %v", f.shard("s0").iterators, f.shard("s3").iterators)
		}
	})
}

// R8: END waits until the children cover the parent's hash range; half of a
// split is not enough.
func TestR8EndWaitsForChildrenThatCover(t *testing.T) {
	t.Parallel()
	shards := resharded()[:2]
	f, client := newFake(t, shards...)
	w := newWorld(t)
	w.start("f/a", client, func(_ *Config, _ *cluster.Options, p *process) {
		p.onEnd = func(context.Context, *handler) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.shards) != 4 {
				return errors.New("ended before the second child was there")
			}
			return nil
		}
	})
	w.await("s0 is read", func() bool { return w.count() == 2 })
	f.awaitLooks(w, 3)
	f.do(func() { f.shards = resharded() })
	w.await("s0 ended", func() bool { return len(w.opened) > 0 && w.opened[0].ended })
}

// R9: what HEAD says has ended needs no SHARD_END in the lease table, and is
// not read again.
func TestR9EndedInHEADIsEnough(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, resharded()...)
	w := newWorld(t)
	for _, s := range []stream.ShardID{"s0", "s1", "s2"} {
		w.head[s] = headShard{ended: true}
	}
	w.start("f/a", client)
	w.await("s3 reads", func() bool { return w.count() == 1 })
	w.do(func() {
		if len(w.opened) != 1 || w.opened[0].shard != "s3" || len(w.opened[0].parents) != 2 {
			t.Errorf("%d handlers were opened, the first of %s", len(w.opened), w.opened[0].shard)
		}
	})
}

// R9: after a restart SHARD_END in the lease table counts although HEAD lags.
func TestR9SHARDENDSurvivesARestart(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, resharded()...)
	w := newWorld(t)
	p := w.start("f/a", client)
	w.await("everything", func() bool { return w.count() == 5 })
	p.stop()
	w.start("f/b", client)
	w.await("s3 reads again", func() bool { return len(w.of("s3")) == 2 && w.count() == 6 })
	w.do(func() {
		if len(w.of("s0")) != 1 || len(w.of("s1")) != 1 {
			t.Error("an ended shard was read again")
		}
	})
}

// A parent that was trimmed before the job began is not waited for; one that
// left unread is a gap, and its child is refused (R17).
func TestR17ParentsThatLeftTheStream(t *testing.T) {
	t.Parallel()
	orphan := &fakeShard{id: "s4", parent: "long-gone", lo: "0", hi: "49"}
	late := &fakeShard{id: "s5", parent: "unread", lo: "50", hi: "99"}
	f, client := newFake(t, orphan.put("x"), late.put("y"))
	w := newWorld(t)
	w.head["unread"] = headShard{restart: "7"}
	w.start("f/a", client)
	w.await("s4 reads", func() bool { return w.count() == 1 })
	f.awaitLooks(w, 3)
	w.do(func() {
		if len(w.opened) != 1 || w.opened[0].shard != "s4" || len(w.opened[0].parents) != 0 {
			t.Errorf("opened %s with parents %v, and %d in all", w.opened[0].shard, w.opened[0].parents, len(w.opened))
		}
	})
}

// Trap 7: a process that waits for a parent of another's stops at once.
func TestTrap7StopWhileAParentIsAwaited(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, resharded()...)
	w := newWorld(t)
	a := w.start("f/a", client, func(_ *Config, _ *cluster.Options, p *process) { p.onRecords = blockUntilDone })
	w.await("A has s0", func() bool { return len(w.opened) == 1 && w.opened[0].busy })
	f2, client2 := newFake(t, resharded()...)
	b := w.start("g/b", client2)
	f2.awaitLooks(w, 3)
	b.stop()
	a.stop()
}

// Traps 8 and 10: an expired iterator is replaced after the last record read,
// throttling and failures are waited out, and a reply without
// MillisBehindLatest is unknown, not a crash; one handler sees it all.
func TestTrap8ExpiredIteratorsAndFailures(t *testing.T) {
	t.Parallel()
	s := oneShard()
	for i := range 10 {
		s.put(fmt.Sprint(i))
	}
	f, client := newFake(t, s)
	f.noBehind = true
	calls := 0
	f.fault = func(op, _ string) string {
		if op != "GetRecords" {
			return ""
		}
		calls++
		switch calls {
		case 1, 4, 5:
			return "ExpiredIteratorException"
		case 2, 7:
			return "ProvisionedThroughputExceededException"
		}
		return ""
	}
	w := newWorld(t)
	w.start("f/a", client, func(c *Config, _ *cluster.Options, _ *process) { c.MaxRecords = 4 })
	w.await("all records", func() bool { return w.count() == 10 })
	w.do(func() {
		if len(w.opened) != 1 || w.opened[0].behind >= 0 {
			t.Errorf("%d handlers, behind %s", len(w.opened), w.opened[0].behind)
		}
	})
	f.do(func() {
		if got := strings.Join(s.iterators, ", "); !strings.HasPrefix(got, "TRIM_HORIZON, TRIM_HORIZON, AFTER_SEQUENCE_NUMBER 103") {
			t.Errorf("iterators were taken %s", got)
		}
	})
}

// A shard that cannot be read for good is given up, so that another may try.
func TestReadFailureGivesTheShardUp(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, oneShard().put("a"))
	f.fault = func(op, _ string) string {
		if op == "GetRecords" {
			return "AccessDeniedException"
		}
		return ""
	}
	w := newWorld(t)
	w.start("f/a", client)
	w.await("it is given up and tried again", func() bool { return len(w.opened) >= 2 && w.opened[0].closed })
	f.do(func() { f.fault = nil })
	w.await("a record", func() bool { return w.count() == 1 })
}
