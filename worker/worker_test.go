package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/ingest"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	job        = "test"
	partitions = 3
	shard      = stream.ShardID("shardId-000000000000")
)

// memory is a sink that keeps everything, and can be closed like a tap.
type memory struct {
	mu   sync.Mutex
	docs map[string]sink.Document
	tap  chan struct{} // closed: open
}

func newMemory() *memory {
	m := &memory{docs: map[string]sink.Document{}, tap: make(chan struct{})}
	close(m.tap)
	return m
}

func (m *memory) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	m.mu.Lock()
	tap := m.tap
	m.mu.Unlock()
	select {
	case <-tap:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range docs {
		if old, ok := m.docs[d.ID]; ok && old.Version == d.Version && string(old.Body) != string(d.Body) {
			return nil, fmt.Errorf("I6: %s has two contents at version %d", d.ID, d.Version)
		} else if !ok || old.Version < d.Version {
			m.docs[d.ID] = d
		}
	}
	return make([]sink.Result, len(docs)), nil
}

func (m *memory) Close() error { return nil }

func (m *memory) all() map[string]sink.Document {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.docs)
}

// rig is a job with its log, store and board, fed by hand.
type rig struct {
	t        *testing.T
	js       jetstream.JetStream
	log      *stream.Log
	store    *filestore.Store
	board    *checkpoint.Board
	manifest *checkpoint.Manifest
	spec     stream.Spec
	next     int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t}
	srv, err := natsd.Start(natsd.Config{Dir: t.TempDir()})
	r.must(err)
	t.Cleanup(srv.Close)
	nc, err := srv.Connect("test")
	r.must(err)
	t.Cleanup(nc.Close)
	r.js, err = jetstream.New(nc)
	r.must(err)
	r.store, err = filestore.Open(t.TempDir())
	r.must(err)
	spec := checkpoint.Spec{
		Job: job, Stream: "trips", Partitions: partitions, Hash: window.HashName, CellPrecision: 6, Geofence: "bbox",
		Window: 10 * time.Minute, Start: checkpoint.TrimHorizon,
		Shards: []checkpoint.ShardSpec{{ID: shard, HashStart: "0", HashEnd: "340282366920938463463374607431768211455"}},
	}
	for _, q := range r.queries() {
		spec.Queries = append(spec.Queries, checkpoint.QueryRef{Name: q.Name, Hash: q.Hash()})
	}
	_, r.manifest, err = checkpoint.CreateJob(t.Context(), r.store, spec, time.Now(), 99)
	r.must(err)
	r.spec = stream.Spec{Job: job, Generation: 1, Partitions: partitions, Nonce: 99, Genesis: checkpoint.Genesis(r.manifest)}
	r.log, err = stream.OpenLog(t.Context(), r.js, r.spec)
	r.must(err)
	r.board, err = checkpoint.OpenBoard(t.Context(), r.js, job, 1, 1)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) queries() []window.Query {
	q, err := window.Queries("bbox", 10*time.Minute)
	r.must(err)
	return q
}

func (r *rig) windows(pending *sink.Pending) *Windows {
	return NewWindows(WindowsConfig{
		Job: job, Store: r.store, Log: r.log, Board: r.board, Pending: pending,
		Machine: window.Config{Job: job, Generation: 1, Nonce: 99, Partitions: partitions, Queries: r.queries(), Shards: []stream.ShardID{shard}},
	})
}

func (r *rig) pending(to sink.Sink, bound int64) *sink.Pending {
	p, err := sink.NewPending(to, sink.PendingConfig{MaxBytes: bound, Linger: -1})
	r.must(err)
	return p
}

// trips makes n more trips, a watermark behind each tenth.
func (r *rig) trips(n int) []source.Record {
	base := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	var out []source.Record
	for range n {
		at := base + int64(r.next)*int64(5*time.Second)
		tr := trip.Trip{
			Pickup: at - int64(15*time.Minute), Dropoff: at,
			PickupLat: 40.70 + float64(r.next*7919%1000)/1e4, PickupLon: -74.0 + float64(r.next*104729%1000)/1e4, DropoffLat: 40.64, DropoffLon: -73.78,
		}
		data := trip.AppendTrip(nil, &tr, uint64(r.next), trip.Envelope{Producer: 5, Lane: 1, Seq: uint64(r.next)})
		out = append(out, r.record(data))
		if r.next++; r.next%10 == 0 {
			out = append(out, r.record(trip.AppendWatermark(nil, at)))
		}
	}
	return out
}

var sequence = 1000

func (r *rig) record(data []byte) source.Record {
	sequence++
	return source.Record{Pos: stream.Position{Seq: fmt.Sprint(sequence)}, Last: true, Data: data}
}

func (r *rig) final() []source.Record {
	return []source.Record{r.record(trip.AppendWatermark(nil, trip.FinalWatermark))}
}

// life is everything that runs between two restarts.
type life struct {
	*rig
	handler source.Handler
	windows *Windows
	pending *sink.Pending
	service *checkpoint.Service
	commits chan checkpoint.Committed
	stop    func() error
}

// live starts ingest, windows and coordinator.
func (r *rig) live(to sink.Sink, bound int64) *life {
	r.t.Helper()
	l := &life{rig: r, commits: make(chan checkpoint.Committed, 1000), pending: r.pending(to, bound)}
	l.windows = r.windows(l.pending)
	l.service = checkpoint.NewService(checkpoint.Config{Job: job, Interval: time.Hour}, r.store, r.board, r.log,
		checkpoint.Events{Committed: func(c checkpoint.Committed) { l.commits <- c }})
	w := r.ingest(r.manifestOf)
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failure error
	role := func(run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				mu.Lock()
				failure = errors.Join(failure, err)
				mu.Unlock()
			}
		})
	}
	role(l.pending.Run)
	role(func(ctx context.Context) error { return l.windows.Run(ctx, []stream.Partition{0, 1, 2}) })
	role(l.service.Run)
	role(func(ctx context.Context) error {
		return r.board.WatchBarrier(ctx, func(b checkpoint.Barrier) { w.Announce(b.N) })
	})
	h, _, err := w.Open(ctx, shard, 1, nil)
	r.must(err)
	l.handler = h
	l.stop = sync.OnceValue(func() error {
		h.Close()
		cancel()
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		return failure
	})
	r.t.Cleanup(func() { _ = l.stop() })
	return l
}

func (l *life) feed(recs []source.Record) {
	l.t.Helper()
	l.must(l.handler.Records(l.t.Context(), recs, 0))
}

// commit asks for checkpoints until one satisfies ok.
func (l *life) commit(ok func(*checkpoint.Manifest) bool) *checkpoint.Manifest {
	l.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case c := <-l.commits:
			if ok(c.Manifest) {
				return c.Manifest
			}
		case <-again.C:
			l.service.Request()
		case <-l.t.Context().Done():
			l.t.Fatal("no such checkpoint")
		}
	}
}

func anyCheckpoint(*checkpoint.Manifest) bool { return true }

// finish feeds the final watermark and waits until nothing is left to do.
func (l *life) finish() {
	l.t.Helper()
	l.feed(l.final())
	l.commit(checkpoint.Finished)
}

// checkpointed is a rig that stopped after a checkpoint with progress, its
// newest, with a log that goes on behind it on every partition.
func checkpointed(t *testing.T) (*rig, *checkpoint.Manifest) {
	r := newRig(t)
	l := r.live(newMemory(), 1<<20)
	l.feed(r.trips(300))
	l.commit(func(m *checkpoint.Manifest) bool { return m.Vector[0].Read >= 300 })
	r.must(l.stop())
	_, m, err := checkpoint.Recover(t.Context(), r.store, job)
	r.must(err)
	h, _, err := r.ingest(r.manifestOf).Open(t.Context(), shard, 2, nil)
	r.must(err)
	defer h.Close()
	r.must(h.Records(t.Context(), r.trips(300), 0))
	for p := range stream.Partition(partitions) {
		for {
			st, err := r.log.State(t.Context(), p)
			r.must(err)
			if st.Last > m.Partitions[p].Resume+1 {
				break
			}
		}
	}
	return r, m
}

// manifestOf reads the newest manifest.
func (r *rig) manifestOf(ctx context.Context) (*checkpoint.Manifest, error) {
	_, m, err := checkpoint.Recover(ctx, r.store, job)
	return m, err
}

// ingest makes a worker that writes small frames at once.
func (r *rig) ingest(manifest func(context.Context) (*checkpoint.Manifest, error)) *ingest.Worker {
	r.t.Helper()
	w, err := ingest.New(ingest.Config{
		Lanes: 256,
		Log:   r.log, Nonce: 99, Partitions: partitions, CellPrecision: 6, Geofence: "bbox", Board: r.board, FrameRows: 8, FrameRate: 1e6,
		Manifest: manifest,
	})
	r.must(err)
	return w
}

// run starts the windows over a log that is not what it was, and returns why
// they stopped.
func (r *rig) run() error {
	p := r.pending(newMemory(), 1<<20)
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	return r.windows(p).Run(ctx, []stream.Partition{0, 1, 2})
}

func TestRestartGoesOnWhereItStopped(t *testing.T) {
	straight, stopped := newMemory(), newMemory()
	a := newRig(t)
	l := a.live(straight, 1<<20)
	l.feed(a.trips(1000))
	l.finish()
	a.must(l.stop())

	b := newRig(t)
	var fed []source.Record
	for range 4 {
		l := b.live(stopped, 1<<20)
		fed = append(fed, b.trips(250)...)
		l.feed(fed) // a new owner is handed all again; it skips what the checkpoint has
		l.commit(anyCheckpoint)
		b.must(l.stop())
	}
	l = b.live(stopped, 1<<20)
	l.feed(fed)
	l.finish()
	b.must(l.stop())
	same(t, straight.all(), stopped.all())
}

// TestR19PendingDocumentsSurviveARestart: the sink takes nothing while windows
// fire and a checkpoint completes; then the process is gone, and with it the
// queue. The documents come from the snapshot.
func TestR19PendingDocumentsSurviveARestart(t *testing.T) {
	straight := newMemory()
	a := newRig(t)
	l := a.live(straight, 1<<20)
	l.feed(a.trips(1000))
	l.finish()
	a.must(l.stop())

	b := newRig(t)
	deaf := newMemory()
	deaf.tap = make(chan struct{}) // never opened: what goes there is lost
	l = b.live(deaf, 1<<20)
	fed := b.trips(600)
	l.feed(fed)
	m := l.commit(func(m *checkpoint.Manifest) bool { return m.Vector[0].Read >= 600 })
	if m.Pending() == 0 {
		t.Fatal("no documents are pending: the test shows nothing")
	}
	b.must(l.stop())
	after := newMemory()
	l = b.live(after, 1<<20)
	l.feed(append(fed, b.trips(400)...))
	l.finish()
	b.must(l.stop())
	same(t, straight.all(), after.all())
}

// same compares documents by id and content. Versions count applied frames, and
// two runs do not cut their frames at the same places.
func same(t *testing.T, want, got map[string]sink.Document) {
	t.Helper()
	if len(want) == 0 || len(want) != len(got) {
		t.Fatalf("%d documents, want %d", len(got), len(want))
	}
	for id, w := range want {
		if string(got[id].Body) != string(w.Body) {
			t.Fatalf("%s is %s, want %s", id, got[id].Body, w.Body)
		}
	}
}

// TestI2TwoOwnersOfThePartitions runs two windows workers over the same
// partitions at once: every document has the same id, version and content.
func TestI2TwoOwnersOfThePartitions(t *testing.T) {
	r := newRig(t)
	first, second := newMemory(), newMemory()
	l := r.live(first, 1<<20)
	l.feed(r.trips(200))
	l.commit(anyCheckpoint)
	other := r.pending(second, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = other.Run(ctx) })
	wg.Go(func() {
		if err := r.windows(other).Run(ctx, []stream.Partition{0, 1, 2}); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	l.feed(r.trips(600))
	l.finish()
	want := first.all()
	// The second began at a checkpoint, so it need not have what was confirmed
	// before; it has the rest, the last windows included.
	last := slices.MaxFunc(slices.Collect(maps.Values(want)), func(a, b sink.Document) int { return int(a.WindowEnd - b.WindowEnd) })
	for second.all()[last.ID].Version == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the second owner did not finish")
		}
		r.must(other.Flush(t.Context()))
	}
	for id, d := range second.all() {
		if w := want[id]; w.Version != d.Version || string(w.Body) != string(d.Body) {
			t.Fatalf("the owners differ at %s: version %d %s, and %d %s", id, w.Version, w.Body, d.Version, d.Body)
		}
	}
}

// TestR16LogThatBeganAnew: the log was lost and begun again under the same
// nonce; it is shorter than the snapshot says.
func TestR16LogThatBeganAnew(t *testing.T) {
	r, _ := checkpointed(t)
	r.must(r.log.Delete(t.Context()))
	var err error
	r.log, err = stream.OpenLog(t.Context(), r.js, r.spec)
	r.must(err)
	if err := r.run(); !errors.Is(err, stream.ErrBroken) || !strings.Contains(err.Error(), "R16") {
		t.Fatalf("the windows went on over another log: %v", err)
	}
}

// TestR16OtherFrameAtTheAnchor: the log lost its tail and grew past the
// recorded sequence with other frames.
func TestR16OtherFrameAtTheAnchor(t *testing.T) {
	r, _ := checkpointed(t)
	r.must(r.log.Delete(t.Context()))
	var err error
	r.log, err = stream.OpenLog(t.Context(), r.js, r.spec)
	r.must(err)
	// Another history: the store forgets, so that ingest begins at zero.
	store := r.store
	r.store, err = filestore.Open(t.TempDir())
	r.must(err)
	_, _, err = checkpoint.CreateJob(t.Context(), r.store, r.manifest.Spec, time.Now(), 99)
	r.must(err)
	w := r.ingest(func(context.Context) (*checkpoint.Manifest, error) { return r.manifest, nil })
	h, _, err := w.Open(t.Context(), shard, 7, nil)
	r.must(err)
	r.next = 0
	r.must(h.Records(t.Context(), append(r.trips(2000), r.final()...), 0))
	for p := range stream.Partition(partitions) { // all of it is in the log
		for {
			tail, err := r.log.Tail(t.Context(), p, shard)
			r.must(err)
			if tail.Header.Watermark == trip.FinalWatermark {
				break
			}
		}
	}
	h.Close()
	r.store = store
	if err := r.run(); !errors.Is(err, stream.ErrBroken) || !strings.Contains(err.Error(), "checksum") {
		t.Fatalf("the windows went on over another log: %v", err)
	}
}

// TestR12PurgedBeyondTheAnchor: somebody purged what the checkpoint needs. The
// server would silently start later; the worker refuses.
func TestR12PurgedBeyondTheAnchor(t *testing.T) {
	r, m := checkpointed(t)
	r.must(r.log.Purge(t.Context(), 1, m.Partitions[1].Resume+1))
	if err := r.run(); !errors.Is(err, stream.ErrBroken) || !strings.Contains(err.Error(), "partition 1") {
		t.Fatalf("the windows started over a purged log: %v", err)
	}
}

// TestR19PendingBoundStopsTheLoop: a store that takes nothing stops the loop at
// the bound, and with it the checkpoints; when it takes again everything goes on.
func TestR19PendingBoundStopsTheLoop(t *testing.T) {
	r := newRig(t)
	m := newMemory()
	m.tap = make(chan struct{})
	l := r.live(m, 2000)
	fed := make(chan error, 1)
	go func() { fed <- l.handler.Records(t.Context(), append(r.trips(3000), r.final()...), 0) }()
	for !l.pending.Full() {
		if t.Context().Err() != nil {
			t.Fatal("the bound was never reached")
		}
		r.must(t.Context().Err())
		if n := l.pending.Bytes(); n > 1<<20 {
			t.Fatalf("%d bytes are pending with a bound of 2000", n)
		}
	}
	close(m.tap)
	r.must(<-fed)
	l.commit(checkpoint.Finished)
	if len(m.all()) == 0 {
		t.Fatal("no documents")
	}
}

// TestStoreAwayAtTheStart: a partition that cannot read its snapshot because the
// store is out of reach waits for it, and does not take an older one.
func TestStoreAwayAtTheStart(t *testing.T) {
	r, m := checkpointed(t)
	away := storetest.NewFaulty(r.store)
	tried := make(chan struct{}, 100)
	away.Every(storetest.Get, func(do func() error) error {
		tried <- struct{}{}
		return storetest.Away(do)
	})
	pending := r.pending(newMemory(), 1<<20)
	w := r.windows(pending)
	w.cfg.Store = away
	w.cfg.Fallback = func(_ stream.Partition, f checkpoint.Fallback) { t.Errorf("fell back: %s", f) }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := w.Run(ctx, []stream.Partition{0, 1, 2}); err != nil {
			t.Error(err)
		}
	})
	for range 2 * partitions {
		<-tried
	}
	if n := len(w.Status()); n != 0 {
		t.Errorf("%d partitions run without a snapshot", n)
	}
	away.Every(storetest.Get, nil)
	for len(w.Status()) < partitions && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	for _, s := range w.Status() {
		if s.Next < m.Partitions[s.Partition].Resume {
			t.Errorf("partition %s is at sequence %d, its snapshot is at %d", s.Partition, s.Next, m.Partitions[s.Partition].Resume)
		}
	}
}
