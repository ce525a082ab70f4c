package checkpoint_test

import (
	"context"
	"fmt"
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
