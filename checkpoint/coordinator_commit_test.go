package checkpoint_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

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
			stop := take[checkpoint.Stop](s)
			if !errors.Is(stop.Err, checkpoint.ErrSuperseded) || errors.Is(stop.Err, checkpoint.ErrRival) != strings.Contains(name, "by another") {
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

func TestR12EndedShardsDoNotHoldThePurge(t *testing.T) {
	m := testManifest(t) // anchors at 70 and 75
	for _, c := range []struct {
		first, second checkpoint.ShardState
		want          uint64
	}{
		{checkpoint.Open, checkpoint.Open, 70},
		{checkpoint.Ended, checkpoint.Open, 75},
		{checkpoint.Open, checkpoint.Ended, 70},
		{checkpoint.Ended, checkpoint.Dormant, 0},
	} {
		m.Vector[0].State, m.Vector[1].State = c.first, c.second
		if got := checkpoint.PurgeBelow(m); len(got) != 2 || got[0] != c.want || got[1] != c.want {
			t.Errorf("%v and %v: purge below %v, want %d", c.first, c.second, got, c.want)
		}
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

// While sinks are away, checkpoints of a drained job become rarer.
func TestDrainedPausesGrow(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	var pauses []time.Duration
	for n := stream.BarrierID(1); n <= 8; n++ {
		s.landed()
		for p := range uint64(2) {
			s.ack(n, p, 1, func(a *checkpoint.Ack) {
				a.Vector[0].Final, a.Vector[1].Final, a.Pending = true, true, 1
			})
		}
		s.swapped(take[checkpoint.Commit](s))
		s.todo = nil
		pauses = append(pauses, s.c.Next().Sub(s.now))
		s.tick(pauses[len(pauses)-1])
	}
	want := []time.Duration{250, 500, 1000, 2000, 4000, 8000, 10000, 10000}
	for i := range want {
		if pauses[i] != want[i]*time.Millisecond {
			t.Fatalf("the pauses are %v, want %v", pauses, want)
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
	if got := s.c.Next().Sub(s.now); got != interval {
		t.Fatalf("the next checkpoint of a finished job is due in %v", got)
	}
}
