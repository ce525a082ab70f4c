package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

// TestModel drives two processes with clocks of their own over a table that
// loses answers, with pauses and jumps of clocks, and holds what happens
// against a naive model that sees true time and every acquisition:
//
//  1. Epochs of acquisitions grow strictly.
//  2. Only the holder of the highest epoch ever changes the row.
//  3. While clocks only run and pause with their process, no two processes
//     trust the lease at the same true time.
//  4. The recorded checkpoint never goes back.
//  5. An ended resource is not acquired.
func TestModel(t *testing.T) { rapid.Check(t, model) }

const (
	modelFailover = 10 * time.Second
	modelMargin   = 2 * time.Second
)

var errAnswerLost = errors.New("answer lost")

type process struct {
	*cluster.Leases
	id    cluster.Owner
	clock cluster.Instant
	held  []*cluster.Held // every one it ever had, the old ones too
}

type modelState struct {
	t      *rapid.T
	table  *clustertest.Memory
	faulty *clustertest.Faulty
	procs  []*process
	jumped bool
	last   cluster.Lease
	failed bool // the next write loses its answer
}

func model(t *rapid.T) {
	m := &modelState{t: t, table: clustertest.NewMemory()}
	m.faulty = clustertest.NewFaulty(m.table)
	m.faulty.After(func(op string) error {
		if m.failed && (op == "update" || op == "create") {
			m.failed = false
			return errAnswerLost
		}
		return nil
	})
	for _, id := range []cluster.Owner{"a/1", "b/1"} {
		p := &process{id: id, clock: cluster.Instant(rapid.Int64Range(0, 1e15).Draw(t, "origin"))}
		l, err := cluster.New(m.faulty, cluster.Options{Owner: id, Failover: modelFailover, Margin: modelMargin,
			ObserveEvery: time.Nanosecond, Clock: func() cluster.Instant { p.clock++; return p.clock }})
		if err != nil {
			t.Fatal(err)
		}
		p.Leases = l
		m.procs = append(m.procs, p)
	}
	pick := rapid.IntRange(0, 1)
	// Mostly steps about the times that matter.
	step := rapid.OneOf(
		rapid.SampledFrom([]time.Duration{time.Second, modelMargin, modelFailover - modelMargin, modelFailover, modelFailover + time.Second}),
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(modelFailover)*3/2).Draw(t, "ns"))
		}))
	jumps := rapid.Bool().Draw(t, "jumps")
	ctx := context.Background()
	t.Repeat(map[string]func(*rapid.T){
		"acquire": func(t *rapid.T) { m.acquire(t, m.procs[pick.Draw(t, "process")]) },
		"time passes, then both want it": func(t *rapid.T) {
			m.pass(step.Draw(t, "for"))
			for _, p := range m.procs {
				m.acquire(t, p)
			}
		},
		"observe": func(t *rapid.T) {
			if _, err := m.procs[pick.Draw(t, "process")].Views(ctx); err != nil {
				t.Fatal(err)
			}
		},
		"renew":   func(t *rapid.T) { m.use(pick, t, func(h *cluster.Held) error { return h.Renew(ctx) }) },
		"release": func(t *rapid.T) { m.use(pick, t, func(h *cluster.Held) error { return h.Release(ctx) }) },
		"record": func(t *rapid.T) {
			id := rapid.Uint64Range(0, 20).Draw(t, "id")
			pos := rapid.StringMatching(`[1-9][0-9]{0,2}`).Draw(t, "position")
			m.use(pick, t, func(h *cluster.Held) error { return h.Record(ctx, id, pos) })
		},
		"end": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "rarely") == 0 {
				m.use(pick, t, func(h *cluster.Held) error { return h.End(ctx) })
			}
		},
		"time passes": func(t *rapid.T) {
			m.pass(step.Draw(t, "for"))
		},
		"a clock jumps": func(t *rapid.T) {
			if !jumps {
				t.Skip("clocks run")
			}
			m.jumped = true
			m.procs[pick.Draw(t, "process")].clock += cluster.Instant(rapid.Int64Range(-1e14, 1e14).Draw(t, "by"))
		},
		"an answer is lost": func(*rapid.T) { m.failed = true },
		"":                  func(t *rapid.T) { m.check(t) },
	})
}

func (m *modelState) pass(d time.Duration) {
	for _, p := range m.procs {
		p.clock += cluster.Instant(d)
	}
}

func (m *modelState) acquire(t *rapid.T, p *process) {
	floor := cluster.Epoch(rapid.Uint64Range(0, 5).Draw(t, "floor"))
	before := m.row()
	h, err := p.Acquire(context.Background(), "r", nil, floor)
	if err != nil {
		return
	}
	if before.Ended {
		t.Fatalf("an ended resource was acquired by %s", p.id)
	}
	if h.Epoch() <= before.Epoch || h.Epoch() <= floor {
		t.Fatalf("%s acquired epoch %d after %d with floor %d", p.id, h.Epoch(), before.Epoch, floor)
	}
	p.held = append(p.held, h)
}

func (m *modelState) row() cluster.Lease {
	e, err := m.table.Get(context.Background(), "r")
	if err != nil {
		return cluster.Lease{Resource: "r"}
	}
	return e.Lease
}

// use lets a process use any lease it ever had, and checks who may change the row.
func (m *modelState) use(pick *rapid.Generator[int], t *rapid.T, f func(*cluster.Held) error) {
	p := m.procs[pick.Draw(t, "process")]
	if len(p.held) == 0 {
		return
	}
	h := p.held[rapid.IntRange(0, len(p.held)-1).Draw(t, "held")]
	before, epoch := m.row(), h.Epoch()
	err := f(h)
	after := m.row()
	if after.Equal(before) {
		return
	}
	if before.Owner != p.id || h != p.held[len(p.held)-1] || before.Epoch < epoch {
		t.Fatalf("%s at epoch %d changed %+v to %+v (%v)", p.id, epoch, before, after, err)
	}
}

func (m *modelState) check(t *rapid.T) {
	row := m.row()
	if row.Epoch < m.last.Epoch || row.Counter < m.last.Counter {
		t.Fatalf("the row went back from %+v to %+v", m.last, row)
	}
	if row.CheckpointID < m.last.CheckpointID || len(row.Checkpoint) < len(m.last.Checkpoint) ||
		len(row.Checkpoint) == len(m.last.Checkpoint) && row.Checkpoint < m.last.Checkpoint {
		t.Fatalf("the checkpoint went back from %+v to %+v", m.last, row)
	}
	m.last = row
	var trusting []cluster.Owner
	for _, p := range m.procs {
		for _, h := range p.held {
			if h.Trusted() > 0 {
				trusting = append(trusting, p.id)
			}
		}
	}
	if !m.jumped && len(trusting) > 1 {
		t.Fatalf("%v trust the lease at once: %+v", trusting, row)
	}
}
