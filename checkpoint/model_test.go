package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

// The model runs up to two coordinators, without any election between them,
// over one store and one board. Requests wait in a bag: they are done late, or
// never, their answers are lost, their callers crash. The log decides at which
// cut a partition acknowledges barrier n; now and then two owners of a shard
// have made the partitions' cuts differ. A checker looks at the store after
// every step.

const (
	modelPartitions = 2
	modelJob        = "taxi"
)

// request is an effect that a coordinator waits for.
type request struct {
	node   int // which life of a coordinator asked; a crashed one hears nothing
	action checkpoint.Action
	put    bool // Commit: the manifest is there, the swap comes next
}

// ghost is an effect whose caller has given up; it may still happen.
type ghost func()

type node struct {
	id    int
	c     *checkpoint.Coordinator
	now   time.Time
	ended error
}

type model struct {
	t     *rapid.T
	store *storetest.Memory

	barrier checkpoint.Barrier // the board's key
	acks    map[stream.Partition]checkpoint.Ack
	all     []checkpoint.Ack // ever put

	announced []stream.BarrierID // that ever landed, growing
	acked     map[stream.Partition]stream.BarrierID
	cuts      map[stream.BarrierID][modelPartitions]uint64

	nodes  []*node
	lives  int
	bag    []request
	ghosts []ghost
	purged [modelPartitions]uint64

	heads   []checkpoint.Head // every HEAD that was ever seen, in order
	commits int
	foreign bool // a restore has begun another generation
	dirty   bool // something that check looks at may have changed
}

func (m *model) head() (checkpoint.Head, string) {
	h, v, err := checkpoint.ReadJob(context.Background(), m.store, modelJob)
	if err != nil {
		m.t.Fatal(err)
	}
	return h, v
}

func (m *model) start() {
	h, v := m.head()
	if h.Generation != 1 {
		return // Service.start refuses
	}
	manifests, bad, err := checkpoint.Retained(context.Background(), m.store, h)
	if len(bad) > 0 || err != nil {
		m.t.Fatalf("I4: a retained manifest is unreadable: %v %v", bad, err)
	}
	s := checkpoint.Start{Now: t0, Head: h, Version: v, Manifests: manifests, Announced: m.barrier}
	for _, p := range slices.Sorted(maps.Keys(m.acks)) {
		if a := m.acks[p]; a.Barrier == m.barrier.N {
			s.Acks = append(s.Acks, a)
		}
	}
	m.lives++
	n := &node{id: m.lives, now: t0}
	var actions []checkpoint.Action
	n.c, actions = checkpoint.NewCoordinator(checkpoint.Config{Job: modelJob, Interval: time.Second, Nonce: uint64(m.lives)}, s)
	m.nodes = append(m.nodes, n)
	m.perform(n, actions)
}

func (m *model) perform(n *node, actions []checkpoint.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case checkpoint.Announce, checkpoint.Commit:
			m.bag = append(m.bag, request{node: n.id, action: a})
		case checkpoint.Purge: // a slow coordinator may purge very late
			m.ghosts = append(m.ghosts, func() { m.purged[a.Partition] = max(m.purged[a.Partition], a.Below) })
		case checkpoint.Sweep: // with the HEAD that it read, however old by then
			m.ghosts = append(m.ghosts, func() { m.sweep(a.Head) })
		case checkpoint.Stop:
			n.ended = a.Err
			if !errors.Is(a.Err, checkpoint.ErrSuperseded) {
				m.t.Fatalf("a coordinator stopped: %v", a.Err)
			}
			m.nodes = slices.DeleteFunc(m.nodes, func(x *node) bool { return x == n })
		}
	}
}

// deletes is a store whose deletions wait in the model's bag.
type deletes struct {
	checkpoint.Store
	m *model
}

func (d deletes) Delete(_ context.Context, name string) error {
	d.m.ghosts = append(d.m.ghosts, func() { _ = d.m.store.Delete(context.Background(), name) })
	return nil
}

func (m *model) sweep(h checkpoint.Head) {
	// A sweeper whose HEAD is so old that its manifests are gone sweeps nothing.
	_, _ = checkpoint.SweepObjects(context.Background(), deletes{m.store, m}, h)
}

func (m *model) step(id int, e checkpoint.Event) {
	for _, n := range m.nodes {
		if n.id == id {
			m.perform(n, n.c.Step(e))
			return
		}
	}
}

// serve does request i of the bag; fate says what becomes of it.
func (m *model) serve(i int, fate string) {
	ctx := context.Background()
	r := m.bag[i]
	m.dirty = true
	m.bag = slices.Delete(m.bag, i, i+1)
	switch a := r.action.(type) {
	case checkpoint.Announce:
		do := func() {
			if m.barrier == a.Prev {
				if a.Barrier.N <= m.barrier.N {
					m.t.Fatalf("R6: barrier %d was announced after %d", a.Barrier.N, m.barrier.N)
				}
				m.barrier = a.Barrier
				m.announced = append(m.announced, a.Barrier.N)
			}
		}
		if m.lose(fate, do) {
			m.step(r.node, checkpoint.Announced{N: a.Barrier.N, Err: checkpoint.ErrUncertain})
			return
		}
		do()
		m.step(r.node, checkpoint.Announced{N: a.Barrier.N, There: m.barrier})
	case checkpoint.Commit:
		if !r.put {
			do := func() { _ = m.store.Put(ctx, a.Ref.Name, a.Manifest) }
			if m.lose(fate, do) {
				m.step(r.node, checkpoint.CommitFailed{N: a.N, Err: checkpoint.ErrUncertain})
				return
			}
			do()
			r.put = true
			m.bag = append(m.bag, r)
			return
		}
		do := func() {
			if _, err := m.store.SwapHead(ctx, modelJob, a.Old, a.Head); err == nil {
				m.commits++
				m.sawHead()
			}
		}
		if m.lose(fate, do) && fate == "lost, HEAD unreadable" {
			m.step(r.node, checkpoint.CommitFailed{N: a.N, Err: checkpoint.ErrUncertain})
			return
		}
		if fate == "done" {
			do()
		}
		h, v := m.head() // what Service.commit does after a conflict or a lost answer
		m.step(r.node, checkpoint.CommitAnswered{N: a.N, Head: h, Version: v})
	}
}

// lose tells whether the answer is lost; then do happens now, later, or never.
func (m *model) lose(fate string, do func()) bool {
	switch fate {
	case "done":
		return false
	case "done, answer lost":
		do()
	case "late", "lost, HEAD unreadable":
		m.ghosts = append(m.ghosts, do)
	}
	return true
}

// align lets a partition reach a barrier that stands in its log: it uploads
// its part and acknowledges.
func (m *model) align(p stream.Partition, n stream.BarrierID) {
	if n <= m.acked[p] {
		return
	}
	m.acked[p] = n
	a := m.makeAck(n, p)
	m.all = append(m.all, a)
	if m.acks[p].Barrier < n {
		m.acks[p] = a
	}
}

func (m *model) makeAck(n stream.BarrierID, p stream.Partition) checkpoint.Ack {
	object := checkpoint.EncodePart(fmt.Appendf(nil, "partition %d at %d", p, m.cuts[n][p]))
	a := testAck(nopTB{}, nil, 1, n, p, uint64(n), modelPartitions)
	a.Vector = m.vector(n, int(p))
	a.Part = checkpoint.PartRef{
		Name: checkpoint.PartName(modelJob, checkpoint.UploadID{Generation: 1, N: n}, p, object),
		Size: int64(len(object)), SHA256: sumHex(object),
	}
	if err := m.store.Put(context.Background(), a.Part.Name, object); err != nil {
		m.t.Fatal(err)
	}
	return a
}

// vector is the cut of barrier n in a partition. Cuts of two owners differ in
// their positions alone, so the counters do not give them away.
func (m *model) vector(n stream.BarrierID, p int) checkpoint.Vector {
	v := testVector(uint64(n), modelPartitions)
	v[0].Position.Seq = fmt.Sprint(1000 + m.cuts[n][p])
	return v
}

type nopTB struct{ testing.TB }

func (nopTB) Helper() {}

func second[T any](_ T, err error) error { return err }

func TestI5R5R6R10R11R12Model(t *testing.T) {
	committed, restored := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			t: t, store: storetest.NewMemory(), acks: map[stream.Partition]checkpoint.Ack{},
			acked: map[stream.Partition]stream.BarrierID{}, cuts: map[stream.BarrierID][modelPartitions]uint64{},
		}
		head, _, err := checkpoint.CreateJob(context.Background(), m.store, testSpec(modelPartitions), t0, 77)
		if err != nil {
			t.Fatal(err)
		}
		m.heads = []checkpoint.Head{head}
		m.start()
		index := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		pick := func() *node { return m.nodes[index(len(m.nodes), "node")] }
		for range rapid.IntRange(20, 150).Draw(t, "steps") {
			switch a := rapid.SampledFrom([]string{
				"serve", "serve", "serve", "serve", "align", "align", "align", "align", "deliver", "deliver", "deliver", "deliver",
				"tick", "tick", "wanted", "asked", "start", "crash", "ghost", "ghost", "sweep", "old ack", "restore",
				"round", "round", "round",
			}).Draw(t, "action"); {
			case a == "serve" && len(m.bag) > 0:
				fate := rapid.SampledFrom([]string{
					"done", "done", "done", "done", "done, answer lost", "late", "lost, HEAD unreadable", "never",
				}).Draw(t, "fate")
				m.serve(index(len(m.bag), "request"), fate)
			case a == "align" && len(m.announced) > 0:
				n := m.announced[len(m.announced)-1-min(index(3, "age"), len(m.announced)-1)]
				if _, ok := m.cuts[n]; !ok {
					k := uint64(n) * 10
					m.cuts[n] = [modelPartitions]uint64{k, k + rapid.SampledFrom([]uint64{0, 0, 0, 0, 1}).Draw(t, "other owner")}
				}
				m.align(stream.Partition(index(modelPartitions, "partition")), n)
			case a == "deliver" && len(m.nodes) > 0:
				if ack, ok := m.acks[stream.Partition(index(modelPartitions, "partition"))]; ok {
					m.step(pick().id, checkpoint.AckArrived{Ack: ack})
				}
			case a == "old ack" && len(m.nodes) > 0 && len(m.all) > 0:
				m.step(pick().id, checkpoint.AckArrived{Ack: m.all[index(len(m.all), "ack")]})
			case a == "round" && len(m.nodes) > 0:
				m.round(pick())
			case a == "tick" && len(m.nodes) > 0:
				n := pick()
				n.now = n.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
				m.step(n.id, checkpoint.Tick{Now: n.now})
			case a == "wanted" && len(m.nodes) > 0:
				m.step(pick().id, checkpoint.Wanted{})
			case a == "asked" && len(m.nodes) > 0:
				m.step(pick().id, checkpoint.Asked{Above: m.barrier.N})
			case a == "start" && len(m.nodes) < 2:
				m.start()
			case a == "crash" && len(m.nodes) > 0 && rapid.IntRange(0, 2).Draw(t, "really") == 0:
				i := index(len(m.nodes), "node")
				m.nodes = slices.Delete(m.nodes, i, i+1)
			case a == "ghost" && len(m.ghosts) > 0:
				i := index(len(m.ghosts), "ghost")
				g := m.ghosts[i]
				m.ghosts = slices.Delete(m.ghosts, i, i+1)
				g()
				m.dirty = true
			case a == "sweep":
				m.sweep(m.heads[len(m.heads)-1-min(index(4, "age"), len(m.heads)-1)])
			case a == "restore" && !m.foreign && rapid.IntRange(0, 9).Draw(t, "really") == 0:
				m.restore()
				restored++
			}
			m.check()
		}
		if !m.foreign {
			m.settle()
		}
		committed += m.commits
	})
	t.Logf("%d commits, %d restores", committed, restored)
	if committed == 0 || restored == 0 {
		t.Fatal("the model did nothing")
	}
}

// settle ends all trouble: one new coordinator must complete a checkpoint soon.
func (m *model) settle() {
	m.nodes, m.bag = nil, nil
	for _, g := range m.ghosts {
		g()
	}
	m.ghosts, m.dirty = nil, true
	m.start()
	n, before := m.nodes[0], m.commits
	for range 40 {
		if m.commits > before {
			m.check()
			return
		}
		if len(m.nodes) == 0 {
			m.t.Fatalf("liveness: the only coordinator stopped: %v", n.ended)
		}
		m.round(n)
	}
	m.t.Fatalf("liveness: no checkpoint completed, HEAD is at %d, the board at %+v", m.heads[len(m.heads)-1].N, m.barrier)
}

// round lets everything go well for a while, as seen by n.
func (m *model) round(n *node) {
	n.now = n.now.Add(time.Second)
	m.step(n.id, checkpoint.Tick{Now: n.now})
	for len(m.bag) > 0 {
		m.serve(0, "done")
	}
	if b := m.barrier; b.N > 0 {
		if _, ok := m.cuts[b.N]; !ok {
			k := uint64(b.N) * 10
			m.cuts[b.N] = [modelPartitions]uint64{k, k}
		}
		for p := range modelPartitions {
			m.align(stream.Partition(p), b.N)
			if a, ok := m.acks[stream.Partition(p)]; ok {
				m.step(n.id, checkpoint.AckArrived{Ack: a})
			}
		}
	}
	for len(m.bag) > 0 {
		m.serve(0, "done")
	}
}
