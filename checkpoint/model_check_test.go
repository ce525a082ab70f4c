package checkpoint_test

import (
	"context"
	"errors"
	"slices"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

// sawHead checks what a swap of HEAD did: I5, the announced base, I3.
func (m *model) sawHead() {
	h, _ := m.head()
	last := m.heads[len(m.heads)-1]
	if h.Upload().Compare(last.Upload()) <= 0 {
		m.t.Fatalf("I5: HEAD went from %v to %v", last.Upload(), h.Upload())
	}
	m.heads = append(m.heads, h)
	if h.Generation != 1 {
		if h.N > 0 {
			m.t.Fatalf("R10: a coordinator of generation 1 committed %d in generation 2", h.N)
		}
		return
	}
	got, err := checkpoint.LoadManifest(context.Background(), m.store, h.Manifests[0])
	if err != nil {
		m.t.Fatalf("I4: %v", err)
	}
	if got.Base != last.N {
		m.t.Fatalf("R10: checkpoint %d of base %d was committed on %d", got.N, got.Base, last.N)
	}
	for p := range modelPartitions {
		if want := m.vector(h.N, p); !got.Vector.Equal(want) {
			m.t.Fatalf("I3: checkpoint %d has another cut than partition %d: %s", h.N, p, got.Vector.Diff(want))
		}
	}
}

// check looks at the store: I4, and R12 for the log.
func (m *model) check() {
	if !m.dirty {
		return
	}
	m.dirty = false
	ctx := context.Background()
	h, _ := m.head()
	refs := slices.Clone(h.Manifests)
	for _, pin := range h.Pins {
		refs = append(refs, pin.Manifest)
	}
	for _, ref := range refs {
		mf, err := checkpoint.LoadManifest(ctx, m.store, ref)
		if err != nil {
			m.t.Fatalf("I4: %v", err)
		}
		for p, e := range mf.Partitions {
			if mf.N == 0 {
				continue
			}
			data, err := m.store.Get(ctx, e.Part.Name)
			if err != nil || sumHex(data) != e.Part.SHA256 {
				m.t.Fatalf("I4: HEAD %d retains manifest %d, whose part is not there: %v", h.N, mf.N, err)
			}
			for _, a := range e.Anchors {
				if ref.Generation == h.Generation && a.Seq < m.purged[p] {
					m.t.Fatalf("R12: partition %d is purged below %d, checkpoint %d needs %d", p, m.purged[p], mf.N, a.Seq)
				}
			}
		}
	}
}

// restore begins generation 2 from HEAD's newest checkpoint, as an operator would.
func (m *model) restore() {
	ctx := context.Background()
	h, v := m.head()
	base, err := checkpoint.LoadManifest(ctx, m.store, h.Manifests[0])
	if err != nil {
		m.t.Fatal(err)
	}
	zero := &checkpoint.Manifest{Job: modelJob, Generation: 2, Nonce: 99, Created: t0, Spec: base.Spec, Vector: base.Vector}
	for p := range modelPartitions {
		zero.Partitions = append(zero.Partitions, checkpoint.PartitionEntry{Partition: stream.Partition(p)})
	}
	data, ref, err := zero.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	next := checkpoint.Head{
		Job: modelJob, Generation: 2, Nonce: 99, CommitNonce: "restore", Manifests: []checkpoint.ManifestRef{ref},
		Pins: []checkpoint.Pin{{Reason: "restored from it", Manifest: h.Manifests[0]}},
	}
	head, err := next.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := errors.Join(m.store.Put(ctx, ref.Name, data), second(m.store.SwapHead(ctx, modelJob, v, head))); err != nil {
		m.t.Fatal(err)
	}
	m.foreign, m.dirty = true, true
	m.purged = [modelPartitions]uint64{}
	m.sawHead()
	m.ghosts = append(m.ghosts, func() { m.sweep(next) })
}
