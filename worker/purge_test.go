package worker

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

// TestR3SlowOwnerBehindAPurge: a second owner of the partitions stands still,
// because its sink takes nothing, while the first one's checkpoints go on and
// the log is purged ahead of it. It must not be moved forward, nor take the log
// for broken: it starts over from the newest snapshot and writes what the first
// one writes.
func TestR3SlowOwnerBehindAPurge(t *testing.T) {
	r := newRig(t)
	first, slow := newMemory(), newMemory()
	l := r.live(first, 1<<20)
	l.feed(r.trips(300))
	l.commit(anyCheckpoint)

	slow.tap = make(chan struct{})
	pending := r.pending(slow, 1)
	windows := r.windows(pending)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = pending.Run(ctx) })
	ended := make(chan error, 1)
	wg.Go(func() { ended <- windows.Run(ctx, []stream.Partition{0, 1, 2}) })
	defer wg.Wait()
	defer cancel()
	l.feed(r.trips(300)) // documents for the slow one to stop at
	for !pending.Full() {
		r.must(t.Context().Err())
	}
	for behind := true; behind; { // beyond what a reader has fetched ahead
		l.feed(r.trips(3000))
		read := r.next
		l.commit(func(m *checkpoint.Manifest) bool { return m.Vector[0].Read >= uint64(read) })
		behind = false
		for _, st := range windows.Status() {
			log, err := r.log.State(t.Context(), st.Partition)
			r.must(err)
			behind = behind || log.First < st.Next+100
		}
	}
	close(slow.tap)
	l.finish()
	want := first.all()
	for _, st := range windows.Status() {
		for windows.Status()[st.Partition].Watermark != l.windows.Status()[st.Partition].Watermark {
			select {
			case err := <-ended:
				t.Fatalf("the slow owner ended: %v", err)
			case <-t.Context().Done():
				t.Fatal("the slow owner does not catch up")
			default:
			}
		}
	}
	r.must(pending.Flush(t.Context()))
	if len(slow.all()) == 0 {
		t.Fatal("the slow owner wrote nothing")
	}
	for id, d := range slow.all() {
		if w := want[id]; w.Version != d.Version || string(w.Body) != string(d.Body) {
			t.Fatalf("the owners differ at %s: version %d %s, and %d %s", id, w.Version, w.Body, d.Version, d.Body)
		}
	}
}

// before is a store as it was when a reader began: HEAD once, objects for ever.
type before struct {
	checkpoint.Store
	head    []byte
	version string
	objects map[string][]byte
}

func (s *before) ReadHead(ctx context.Context, job string) ([]byte, string, error) {
	if head := s.head; head != nil {
		s.head = nil
		return head, s.version, nil
	}
	return s.Store.ReadHead(ctx, job)
}

func (s *before) Get(ctx context.Context, name string) ([]byte, error) {
	if data, ok := s.objects[name]; ok {
		return data, nil
	}
	return s.Store.Get(ctx, name)
}

// TestR16PurgedWhileLoading: between an owner's look at HEAD and its proof of
// the log, checkpoints were completed and the log was purged for them. That is
// no broken generation.
func TestR16PurgedWhileLoading(t *testing.T) {
	r := newRig(t)
	l := r.live(newMemory(), 1<<20)
	fed := r.trips(300)
	l.feed(fed)
	m := l.commit(func(m *checkpoint.Manifest) bool { return m.Vector[0].Read >= 300 })
	r.must(l.stop())
	old := &before{Store: r.store, objects: map[string][]byte{}}
	var err error
	old.head, old.version, err = r.store.ReadHead(t.Context(), job)
	r.must(err)
	objects, err := r.store.List(t.Context(), job+"/")
	r.must(err)
	for _, o := range objects {
		old.objects[o.Name], err = r.store.Get(t.Context(), o.Name)
		r.must(err)
	}
	l = r.live(newMemory(), 1<<20)
	l.feed(fed) // a new owner is handed all again
	for purged := false; !purged; {
		l.feed(r.trips(100))
		l.commit(anyCheckpoint)
		st, err := r.log.State(t.Context(), 0)
		r.must(err)
		purged = st.First > m.Partitions[0].Resume
	}
	r.must(l.stop())
	w := r.windows(r.pending(newMemory(), 1<<20))
	w.cfg.Store = old
	head := old.head
	away := storetest.NewFaulty(r.store)
	away.On(storetest.ReadHead, 1, storetest.Away)
	old.Store = away
	if _, err := w.load(t.Context(), 0); !errors.Is(err, checkpoint.ErrUnavailable) || errors.Is(err, stream.ErrBroken) {
		t.Fatalf("an owner that is overtaken, and cannot ask whether it is: %v", err)
	}
	old.head = head
	part, err := w.load(t.Context(), 0)
	if err != nil || part.machine.Next() <= m.Partitions[0].Resume {
		t.Fatalf("an owner that is overtaken while it loads: %v", err)
	}
}

// TestR16UnreadableIsNotBroken: that the log cannot be asked says nothing about it.
func TestR16UnreadableIsNotBroken(t *testing.T) {
	r, m := checkpointed(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.windows(r.pending(newMemory(), 1<<20)).prove(ctx, 0, m); err == nil || errors.Is(err, stream.ErrBroken) {
		t.Fatalf("a proof that could not be made says: %v", err)
	}
}
