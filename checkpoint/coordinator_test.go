package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

const (
	interval = 10 * time.Second
	own      = 0xc0
)

// script drives the pure machine and keeps what it wants done.
type script struct {
	t    *testing.T
	now  time.Time
	c    *checkpoint.Coordinator
	todo []checkpoint.Action
	head checkpoint.Head
}

func begin(t *testing.T, partitions int, edit func(*checkpoint.Config, *checkpoint.Start)) *script {
	t.Helper()
	head, m, err := checkpoint.CreateJob(context.Background(), storetest.NewMemory(), testSpec(partitions), t0, 77)
	if err != nil {
		t.Fatal(err)
	}
	cfg := checkpoint.Config{Job: "taxi", Interval: interval, Nonce: own}
	start := checkpoint.Start{Now: t0, Head: head, Version: "v0", Manifests: []*checkpoint.Manifest{m}}
	if edit != nil {
		edit(&cfg, &start)
	}
	s := &script{t: t, now: t0, head: start.Head}
	s.c, s.todo = checkpoint.NewCoordinator(cfg, start)
	return s
}

func (s *script) step(e checkpoint.Event) { s.todo = append(s.todo, s.c.Step(e)...) }

func (s *script) tick(d time.Duration) {
	s.now = s.now.Add(d)
	s.step(checkpoint.Tick{Now: s.now})
}

// take removes the next action, which must be an A; reports are skipped unless asked for.
func take[A checkpoint.Action](s *script) A {
	s.t.Helper()
	for i, a := range s.todo {
		if v, ok := a.(A); ok {
			s.todo = s.todo[i+1:]
			return v
		}
		if _, ok := a.(checkpoint.Report); !ok {
			s.t.Fatalf("the next action is %T %+v, want %T", a, a, *new(A))
		}
	}
	s.t.Fatalf("no %T among %v", *new(A), s.todo)
	panic("unreachable")
}

// report removes the next action, which must be a report of a V.
func report[V any](s *script) V {
	s.t.Helper()
	if len(s.todo) > 0 {
		if r, ok := s.todo[0].(checkpoint.Report); ok {
			if v, ok := r.What.(V); ok {
				s.todo = s.todo[1:]
				return v
			}
		}
	}
	s.t.Fatalf("no report of %T first in %+v", *new(V), s.todo)
	panic("unreachable")
}

func (s *script) nothing() {
	s.t.Helper()
	if len(s.todo) > 0 {
		s.t.Fatalf("unexpected actions: %+v", s.todo)
	}
}

// landed takes an Announce and answers that it landed.
func (s *script) landed() checkpoint.Barrier {
	s.t.Helper()
	a := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: a.Barrier.N, There: a.Barrier})
	if got := report[checkpoint.Barrier](s); got != a.Barrier {
		s.t.Fatalf("started %+v, announced %+v", got, a.Barrier)
	}
	return a.Barrier
}

func (s *script) ack(n stream.BarrierID, p, k uint64, edit func(*checkpoint.Ack)) {
	s.t.Helper()
	a := testAck(s.t, nil, s.head.Generation, n, stream.Partition(p), k, 2)
	if edit != nil {
		edit(&a)
	}
	s.step(checkpoint.AckArrived{Ack: a})
}

// swapped answers a Commit as a store would.
func (s *script) swapped(c checkpoint.Commit) checkpoint.Head {
	s.t.Helper()
	h, err := checkpoint.DecodeHead("taxi", c.Head)
	if err != nil {
		s.t.Fatal(err)
	}
	s.step(checkpoint.CommitAnswered{N: c.N, Head: h, Version: fmt.Sprintf("v%d", c.N)})
	return h
}

// complete runs the announced checkpoint to its end.
func (s *script) complete(n stream.BarrierID, edit func(*checkpoint.Ack)) checkpoint.Head {
	s.t.Helper()
	s.ack(n, 0, uint64(n), edit)
	s.ack(n, 1, uint64(n), edit)
	h := s.swapped(take[checkpoint.Commit](s))
	if c := take[checkpoint.Complete](s); c.Completed.N != n {
		s.t.Fatalf("completed %d, want %d", c.Completed.N, n)
	}
	report[checkpoint.Committed](s)
	return h
}

func TestCheckpointsFollowTheInterval(t *testing.T) {
	s := begin(t, 2, nil)
	s.nothing()
	s.tick(interval - 1)
	s.nothing()
	s.tick(1)
	if b := s.landed(); b != (checkpoint.Barrier{N: 1, Base: 0, Nonce: own}) {
		t.Fatalf("announced %+v", b)
	}
	s.tick(interval / 2)
	s.complete(1, nil)
	take[checkpoint.Sweep](s)
	s.nothing()
	if got := s.c.Next().Sub(s.now); got != interval/2 {
		t.Fatalf("the next one begins in %v, want half an interval", got)
	}
	s.step(checkpoint.Wanted{})
	if b := s.landed(); b.N != 2 || b.Base != 1 {
		t.Fatalf("announced %+v", b)
	}
}

func TestR5OnePartitionDiffers(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 0, 5, nil)
	s.ack(1, 0, 6, nil) // a second owner of partition 0: the first ack counts
	s.ack(1, 1, 5, func(a *checkpoint.Ack) { a.Vector[1].Marks[0].Seq++ })
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	c := report[checkpoint.Cancelled](s)
	const want = "the partitions do not agree on the cut: partitions 0 against 1: shard shard-1: lane mark 8000000000000005/3/5 here, 8000000000000005/3/6 there"
	if c.Reason != want {
		t.Fatalf("the reason is %s", c.Reason)
	}
	if b := s.landed(); b.N != 2 || b.Base != 0 {
		t.Fatalf("announced %+v", b)
	}
	// A second dispute in a row waits a little, lest they chase each other.
	s.ack(2, 0, 5, nil)
	s.ack(2, 1, 6, nil)
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	report[checkpoint.Cancelled](s)
	s.nothing()
	s.tick(interval)
	if b := s.landed(); b.N != 3 {
		t.Fatalf("announced %+v", b)
	}
}

func TestR5LateAcksDoNotCount(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 0, 5, nil)
	report[checkpoint.Acked](s)
	s.step(checkpoint.Asked{Above: 1})
	report[checkpoint.Cancelled](s)
	s.landed()
	s.ack(1, 1, 5, nil)
	s.ack(9, 1, 5, nil)
	s.ack(2, 7, 5, nil)
	s.nothing()
}

func TestR6TimeoutAnnouncesTheNext(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 1, 5, nil)
	report[checkpoint.Acked](s)
	for i, timeout := range []time.Duration{3, 6, 12, 24, 24} {
		s.tick(timeout*interval - 1)
		s.nothing()
		s.tick(1)
		c := report[checkpoint.Cancelled](s)
		if c.N != stream.BarrierID(i+1) || i == 0 && c.Reason != "it timed out after 30s, no ack came from partition 0" {
			t.Fatalf("cancelled %+v", c)
		}
		if b := s.landed(); b.N != stream.BarrierID(i+2) || b.Base != 0 {
			t.Fatalf("announced %+v", b)
		}
	}
	s.complete(6, nil)
	take[checkpoint.Sweep](s)
	s.tick(interval)
	s.landed()
	s.tick(3 * interval) // a completed one ends the patience
	report[checkpoint.Cancelled](s)
}

func TestR6BarrierIsAboveHeadBoardAndLog(t *testing.T) {
	for _, c := range []struct {
		head, board, floor, want stream.BarrierID
	}{{0, 0, 0, 1}, {7, 0, 0, 8}, {7, 9, 0, 10}, {7, 9, 12, 13}} {
		s := begin(t, 2, func(cfg *checkpoint.Config, st *checkpoint.Start) {
			cfg.Floor = c.floor
			st.Head.N, st.Head.Manifests[0].N, st.Manifests[0].N = c.head, c.head, c.head
			if c.board > 0 {
				st.Announced = checkpoint.Barrier{N: c.board, Base: c.head, Nonce: 1}
			}
		})
		if c.head > 0 {
			take[checkpoint.Complete](s) // the board may not know it yet
			take[checkpoint.Sweep](s)
		}
		if c.board == 0 {
			s.step(checkpoint.Wanted{})
		}
		a := take[checkpoint.Announce](s)
		if a.Barrier.N != c.want || a.Barrier.Base != c.head || a.Prev.N != c.board {
			t.Errorf("%+v: announced %+v", c, a)
		}
	}
}

func TestR6LostAnnouncementIsResolved(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	a := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 1, Err: errors.New("timeout")})
	report[checkpoint.Failed](s)
	s.ack(1, 0, 5, nil) // it landed after all
	s.ack(1, 1, 5, nil)
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	s.nothing() // nothing is committed on a guess
	s.tick(interval)
	if again := take[checkpoint.Announce](s); again != a {
		t.Fatalf("announced %+v, then %+v", a, again)
	}
	s.step(checkpoint.Announced{N: 1, There: a.Barrier})
	take[checkpoint.Commit](s)
}

func TestR6OwnLateAnnouncementIsNoRival(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	first := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 1, Err: errors.New("timeout")})
	report[checkpoint.Failed](s)
	s.step(checkpoint.Asked{Above: 1})
	report[checkpoint.Cancelled](s)
	second := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 2, There: first.Barrier}) // the first landed late
	third := take[checkpoint.Announce](s)
	if third.Barrier != second.Barrier || third.Prev != first.Barrier {
		t.Fatalf("announced %+v", third)
	}
	s.step(checkpoint.Announced{N: 2, There: checkpoint.Barrier{N: 3, Nonce: 0xbad}})
	if stop := take[checkpoint.Stop](s); !errors.Is(stop.Err, checkpoint.ErrSuperseded) {
		t.Fatal(stop.Err)
	}
	s.tick(time.Hour)
	s.nothing()
}

func (s *script) untilCommit() checkpoint.Commit {
	s.t.Helper()
	s.step(checkpoint.Wanted{})
	b := s.landed()
	s.ack(b.N, 0, 5, nil)
	s.ack(b.N, 1, 5, nil)
	return take[checkpoint.Commit](s)
}

func TestR10LostAnswerOfACommit(t *testing.T) {
	s := begin(t, 2, nil)
	c := s.untilCommit()
	if c.Old != "v0" || c.N != 1 {
		t.Fatalf("commit %d on %s", c.N, c.Old)
	}
	s.step(checkpoint.CommitFailed{N: 1, Err: checkpoint.ErrUncertain})
	report[checkpoint.Failed](s)
	s.step(checkpoint.Asked{Above: 5}) // not while the outcome is open
	s.tick(100 * interval)
	again := take[checkpoint.Commit](s)
	if !reflect.DeepEqual(c, again) {
		t.Fatal("the same commit has other bytes")
	}
	s.step(checkpoint.CommitAnswered{N: 1, Head: s.head, Version: "v0"}) // not yet
	report[checkpoint.Failed](s)
	s.tick(interval)
	h := s.swapped(take[checkpoint.Commit](s)) // a conflict, and HEAD is by this nonce
	take[checkpoint.Complete](s)
	report[checkpoint.Committed](s)
	if h.N != 1 || len(h.Manifests) != 2 || h.Manifests[0] != c.Ref || h.Manifests[1] != s.head.Manifests[0] {
		t.Fatalf("HEAD is %+v", h)
	}
}

func TestR10StopsOn(t *testing.T) {
	for name, edit := range map[string]func(h *checkpoint.Head){
		"another generation": func(h *checkpoint.Head) { h.Generation++ },
		"another nonce":      func(h *checkpoint.Head) { h.Nonce++ },
		"n by another":       func(h *checkpoint.Head) { h.N, h.CommitNonce = 1, "another-1" },
		"n+1 by another":     func(h *checkpoint.Head) { h.N, h.CommitNonce = 2, "another-2" },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, 2, nil)
			s.untilCommit()
			h := s.head
			edit(&h)
			s.step(checkpoint.CommitAnswered{N: 1, Head: h, Version: "other"})
			if stop := take[checkpoint.Stop](s); !errors.Is(stop.Err, checkpoint.ErrSuperseded) {
				t.Fatal(stop.Err)
			}
			if !s.c.Next().IsZero() {
				t.Fatal("it wants another tick")
			}
		})
	}
}

// A predecessor's swap lands between the announcement and the commit: n was
// announced on a base that is gone, so it is announced anew.
func TestR10CommitsOnTheAnnouncedBaseOnly(t *testing.T) {
	s := begin(t, 2, func(_ *checkpoint.Config, st *checkpoint.Start) {
		st.Announced = checkpoint.Barrier{N: 4, Base: 0, Nonce: 1}
	})
	if b := s.landed(); b.N != 5 || b.Base != 0 {
		t.Fatalf("announced %+v", b)
	}
	s.ack(5, 0, 5, nil)
	s.ack(5, 1, 5, nil)
	take[checkpoint.Commit](s)
	h := s.head
	h.N, h.CommitNonce = 4, "predecessor-4"
	s.step(checkpoint.CommitAnswered{N: 5, Head: h, Version: "v4"})
	if c := report[checkpoint.Cancelled](s); c.Reason != "HEAD moved from checkpoint 0 to 4 meanwhile" {
		t.Fatal(c.Reason)
	}
	if b := s.landed(); b.N != 6 || b.Base != 4 {
		t.Fatalf("announced %+v", b)
	}
}

// A predecessor that is alive commits what its successor has adopted: the
// successor goes on from there, since the board fences the other.
func TestR6AdoptedCheckpointIsCommittedByItsOwner(t *testing.T) {
	for _, n := range []stream.BarrierID{4, 6} {
		s := begin(t, 2, func(_ *checkpoint.Config, st *checkpoint.Start) {
			st.Announced = checkpoint.Barrier{N: 4, Base: 0, Nonce: 1}
			st.Acks = []checkpoint.Ack{testAck(t, nil, 1, 4, 0, 5, 2), testAck(t, nil, 1, 4, 1, 5, 2)}
		})
		if c := take[checkpoint.Commit](s); c.N != 4 || c.Old != "v0" {
			t.Fatalf("commit %d on %s", c.N, c.Old)
		}
		h := s.head
		h.N, h.CommitNonce = n, "predecessor"
		s.step(checkpoint.CommitAnswered{N: 4, Head: h, Version: "v4"})
		report[checkpoint.Cancelled](s)
		a := take[checkpoint.Announce](s)
		if a.Barrier.N != n+1 || a.Barrier.Base != n || a.Prev.N != 4 {
			t.Fatalf("announced %+v", a)
		}
	}
}

// The acks of an unfinished checkpoint of another base, or of some partitions
// only, do not make a commit.
func TestR6UnfinishedCheckpointIsCancelledByTheSuccessor(t *testing.T) {
	for name, edit := range map[string]func(st *checkpoint.Start){
		"another base": func(st *checkpoint.Start) { st.Announced.Base = 3 },
		"one ack":      func(st *checkpoint.Start) { st.Acks = st.Acks[:1] },
	} {
		s := begin(t, 2, func(_ *checkpoint.Config, st *checkpoint.Start) {
			st.Announced = checkpoint.Barrier{N: 4, Base: 0, Nonce: 1}
			st.Acks = []checkpoint.Ack{testAck(t, nil, 1, 4, 0, 5, 2), testAck(t, nil, 1, 4, 1, 5, 2)}
			edit(st)
		})
		if a := take[checkpoint.Announce](s); a.Barrier.N != 5 || a.Barrier.Base != 0 {
			t.Fatalf("%s: announced %+v", name, a)
		}
	}
}

func TestR12PurgeBelowTheOldestRetained(t *testing.T) {
	s := begin(t, 2, nil)
	for n := stream.BarrierID(1); n <= 5; n++ {
		s.step(checkpoint.Wanted{})
		s.landed()
		h := s.complete(n, nil)
		if n >= 3 { // HEAD keeps n, n-1, n-2; anchors of m are at 10m
			for p := range 2 {
				if got := take[checkpoint.Purge](s); got != (checkpoint.Purge{Partition: stream.Partition(p), Below: 10 * uint64(n-2)}) {
					t.Fatalf("checkpoint %d purges %+v", n, got)
				}
			}
		}
		if sweep := take[checkpoint.Sweep](s); sweep.Head.N != n || len(sweep.Head.Manifests) != min(int(n)+1, 3) || sweep.Head.N != h.N {
			t.Fatalf("checkpoint %d sweeps as of %+v", n, sweep.Head)
		}
		s.nothing()
	}
}

func TestR12NoPurgeIfTheOldestIsUnreadable(t *testing.T) {
	s := begin(t, 2, func(_ *checkpoint.Config, st *checkpoint.Start) {
		st.Head.N = 7
		st.Manifests[0].N = 7
		ref := st.Head.Manifests[0]
		st.Head.Manifests = nil
		for n := stream.BarrierID(7); n >= 5; n-- {
			ref.N, ref.Name = n, fmt.Sprintf("taxi/1/%d/manifest-x", n)
			st.Head.Manifests = append(st.Head.Manifests, ref)
		}
	})
	take[checkpoint.Complete](s)
	take[checkpoint.Sweep](s)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.complete(8, nil)
	take[checkpoint.Sweep](s)
	s.nothing()
}

func TestR21ViolationIsRefused(t *testing.T) {
	s := begin(t, 2, nil)
	lose := func(a *checkpoint.Ack) { a.Counters.Shards[0].Items--; a.Counters.Shards[0].Applied-- }
	for n := stream.BarrierID(1); n <= 3; n++ {
		if n == 1 {
			s.step(checkpoint.Wanted{})
		} else {
			s.tick(interval)
		}
		s.landed()
		s.ack(n, 0, 5, lose)
		s.ack(n, 1, 5, nil)
		report[checkpoint.Acked](s)
		report[checkpoint.Acked](s)
		f := report[checkpoint.Failed](s)
		want := fmt.Sprintf("checkpoint %d: the conservation law is violated: partition 0, query hot: applied = filtered + late + open + retired is 9 on the left and 10 on the right, and 1 more", n)
		if f.Reason != want {
			t.Fatalf("the reason is %s", f.Reason)
		}
		if n < 3 {
			report[checkpoint.Cancelled](s)
		}
	}
	if stop := take[checkpoint.Stop](s); !errors.Is(stop.Err, checkpoint.ErrConservation) {
		t.Fatal(stop.Err)
	}
}

func TestBadAckIsRefused(t *testing.T) {
	for want, edit := range map[string]func(a *checkpoint.Ack){
		"shard shard-1 has no anchor": func(a *checkpoint.Ack) { a.Anchors = a.Anchors[:1] },
		"past the anchor of shard":    func(a *checkpoint.Ack) { a.Resume = 1 << 40 },
		"cannot be its part":          func(a *checkpoint.Ack) { a.Part.Name = strings.Replace(a.Part.Name, "/1/1/1/", "/1/1/0/", 1) },
		"has two anchors":             func(a *checkpoint.Ack) { a.Anchors[1] = a.Anchors[0] },
		"which is not in the log":     func(a *checkpoint.Ack) { a.Anchors[1].Seq = 0 },
		"is of no shard":              func(a *checkpoint.Ack) { a.Anchors[1].Shard = "nobody" },
	} {
		s := begin(t, 2, nil)
		s.step(checkpoint.Wanted{})
		s.landed()
		s.ack(1, 0, 5, nil)
		s.ack(1, 1, 5, edit)
		report[checkpoint.Acked](s)
		report[checkpoint.Acked](s)
		if f := report[checkpoint.Failed](s); !strings.HasPrefix(f.Reason, "partition 1: ") || !strings.Contains(f.Reason, want) {
			t.Errorf("the reason is %q, want %q", f.Reason, want)
		}
	}
}

func TestFinished(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	final := func(pending uint64) func(*checkpoint.Ack) {
		return func(a *checkpoint.Ack) {
			a.Vector[0].Final, a.Vector[1].State = true, checkpoint.Ended
			a.Pending = pending
		}
	}
	s.ack(1, 0, 1, final(0))
	s.ack(1, 1, 1, final(3))
	s.swapped(take[checkpoint.Commit](s))
	take[checkpoint.Complete](s)
	c := report[checkpoint.Committed](s)
	if !c.Manifest.Drained() || checkpoint.Finished(c.Manifest) || c.Manifest.Pending() != 3 {
		t.Fatal("with pending documents it is drained, not finished")
	}
	take[checkpoint.Sweep](s)
	s.tick(interval / 10) // it does not wait a whole interval for the sinks
	s.landed()
	s.ack(2, 0, 1, final(0))
	s.ack(2, 1, 1, final(0))
	s.swapped(take[checkpoint.Commit](s))
	take[checkpoint.Complete](s)
	if c := report[checkpoint.Committed](s); !checkpoint.Finished(c.Manifest) {
		t.Fatal("it is not finished")
	}
}
