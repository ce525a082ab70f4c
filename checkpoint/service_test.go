package checkpoint_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/stream"
)

const shellPartitions = 3

// rig is a job with its board, its store and workers that acknowledge.
type rig struct {
	t     *testing.T
	ctx   context.Context
	js    jetstream.JetStream
	store checkpoint.Store
	board *checkpoint.Board

	committed chan checkpoint.Committed
	cancelled chan checkpoint.Cancelled
	started   chan checkpoint.Barrier
	failed    chan checkpoint.Failed
	purged    chan uint64
	swept     chan []string
	log       *purgeLog
}

type purgeLog struct {
	mu    sync.Mutex
	below map[stream.Partition]uint64
}

func (l *purgeLog) Purge(_ context.Context, p stream.Partition, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.below[p] = below
	return nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	store, err := filestore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.CreateJob(ctx, store, testSpec(shellPartitions), t0, 77); err != nil {
		t.Fatal(err)
	}
	js := startNATS(t)
	board, err := checkpoint.OpenBoard(ctx, js, "taxi", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{
		t: t, ctx: ctx, js: js, store: store, board: board,
		committed: make(chan checkpoint.Committed, 100), cancelled: make(chan checkpoint.Cancelled, 100),
		started: make(chan checkpoint.Barrier, 100), failed: make(chan checkpoint.Failed, 100),
		purged: make(chan uint64, 100), swept: make(chan []string, 100),
		log: &purgeLog{below: map[stream.Partition]uint64{}},
	}
}

// run starts a coordinator; the returned function stops it and gives its error.
func (r *rig) run(cfg checkpoint.Config) (*checkpoint.Service, func() error) {
	s, _, stop := r.runDone(cfg)
	return s, stop
}

func (r *rig) runDone(cfg checkpoint.Config) (*checkpoint.Service, <-chan error, func() error) {
	cfg.Job = "taxi"
	s := checkpoint.NewService(cfg, r.store, r.board, r.log, checkpoint.Events{
		Started:   func(b checkpoint.Barrier) { r.started <- b },
		Committed: func(c checkpoint.Committed) { r.committed <- c },
		Cancelled: func(c checkpoint.Cancelled) { r.cancelled <- c },
		Failed:    func(f checkpoint.Failed) { r.failed <- f },
		Purged:    func(_ stream.Partition, below uint64) { r.purged <- below },
		Swept:     func(n []string) { r.swept <- n },
	})
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done <- s.Run(ctx)
	}()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-ended:
			return nil // the test has taken the error
		}
	})
	r.t.Cleanup(func() { _ = stop() })
	return s, done, stop
}

// wait returns the next value or fails the test.
func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}

func (r *rig) ack(n stream.BarrierID, p stream.Partition, k uint64) {
	r.t.Helper()
	if err := r.board.PutAck(r.ctx, testAck(r.t, r.store, 1, n, p, k, shellPartitions)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) ackAll(n stream.BarrierID, k uint64) {
	r.t.Helper()
	for p := range shellPartitions {
		r.ack(n, stream.Partition(p), k)
	}
}

func TestServiceCommitsPurgesAndSweeps(t *testing.T) {
	r := newRig(t)
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	completed := make(chan checkpoint.Completed, 10)
	go func() { _ = r.board.WatchCompleted(r.ctx, func(c checkpoint.Completed) { completed <- c }) }()
	for n := stream.BarrierID(1); n <= 4; n++ {
		s.Request()
		b := wait(t, r.started, "barrier")
		if b.N != n || b.Base != n-1 {
			t.Fatalf("announced %+v, want barrier %d on %d", b, n, n-1)
		}
		r.ackAll(n, uint64(n))
		c := wait(t, r.committed, "commit")
		if c.Manifest.N != n || c.Bytes == 0 {
			t.Fatalf("committed %d with %d bytes, want %d", c.Manifest.N, c.Bytes, n)
		}
		if got := wait(t, completed, "completed"); got.N != n || got.Manifest != c.Ref {
			t.Fatalf("completed %+v", got)
		}
	}
	// HEAD retains 4, 3, 2: checkpoint 2 bounds the purge at its anchor 20, and
	// checkpoint 1's objects, manifest included, are swept (R12, R11).
	for wait(t, r.purged, "purge") != 20 {
	}
	swept := 0
	for swept < 1+shellPartitions+1 { // manifest 0, then checkpoint 1
		swept += len(wait(t, r.swept, "sweep"))
	}
	head, m, err := checkpoint.Recover(r.ctx, r.store, "taxi")
	if err != nil || head.N != 4 || m.N != 4 || len(head.Manifests) != 3 {
		t.Fatalf("recovered %+v, %v", head, err)
	}
	objects, err := r.store.List(r.ctx, "taxi/1/")
	if err != nil || len(objects) != 3*(1+shellPartitions) {
		t.Fatalf("%d objects are left: %v %v", len(objects), objects, err)
	}
}

func TestR5ServiceRefusesUnequalCuts(t *testing.T) {
	r := newRig(t)
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	s.Request()
	wait(t, r.started, "barrier")
	r.ack(1, 0, 5)
	r.ack(1, 1, 6)
	r.ack(1, 2, 5)
	c := wait(t, r.cancelled, "cancellation")
	const want = "the partitions do not agree on the cut: partitions 0,2 against 1: shard shard-0: position 1005 here, 1006 there"
	if c.N != 1 || c.Reason != want {
		t.Fatalf("cancelled %d: %s", c.N, c.Reason)
	}
	if b := wait(t, r.started, "next barrier"); b.N != 2 || b.Base != 0 {
		t.Fatalf("announced %+v, want 2 on 0", b)
	}
	r.ackAll(2, 7)
	if c := wait(t, r.committed, "commit"); c.Manifest.N != 2 {
		t.Fatalf("committed %d", c.Manifest.N)
	}
}

func TestR6RequestedBarrierCancels(t *testing.T) {
	r := newRig(t)
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	barriers := make(chan checkpoint.Barrier, 10)
	go func() { _ = r.board.WatchBarrier(r.ctx, func(b checkpoint.Barrier) { barriers <- b }) }()
	s.Request()
	b := wait(t, barriers, "announcement")
	if err := r.board.RequestBarrier(r.ctx, b.N-1); err != nil { // satisfied already
		t.Fatal(err)
	}
	if err := r.board.RequestBarrier(r.ctx, b.N); err != nil {
		t.Fatal(err)
	}
	if c := wait(t, r.cancelled, "cancellation"); c.N != b.N {
		t.Fatalf("cancelled %d, want %d", c.N, b.N)
	}
	if got := wait(t, barriers, "next announcement"); got.N != b.N+1 {
		t.Fatalf("announced %d, want %d", got.N, b.N+1)
	}
	if got, err := r.board.Announced(r.ctx); err != nil || got.N != b.N+1 {
		t.Fatalf("the board shows %+v, %v", got, err)
	}
}

// A new coordinator commits what all partitions had acknowledged to its
// predecessor, and cancels what they had not.
func TestR6NewCoordinatorRebuildsFromAcks(t *testing.T) {
	r := newRig(t)
	s, stop := r.run(checkpoint.Config{Interval: time.Hour})
	s.Request()
	wait(t, r.started, "barrier")
	r.ack(1, 0, 5)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("the coordinator ended with %v", err)
	}
	r.ack(1, 1, 5)
	r.ack(1, 2, 5)

	s, stop = r.run(checkpoint.Config{Interval: time.Hour})
	if c := wait(t, r.committed, "commit by the successor"); c.Manifest.N != 1 {
		t.Fatalf("committed %d", c.Manifest.N)
	}
	s.Request()
	if b := wait(t, r.started, "barrier 2"); b.N != 2 {
		t.Fatalf("announced %d", b.N)
	}
	r.ack(2, 0, 6)
	_ = stop()

	r.run(checkpoint.Config{Interval: time.Hour, Floor: 9})
	if b := wait(t, r.started, "barrier above the log's"); b.N != 10 || b.Base != 1 {
		t.Fatalf("announced %+v, want 10 on 1", b)
	}
}

func TestR6SecondCoordinatorSupersedesTheFirst(t *testing.T) {
	r := newRig(t)
	s, done, _ := r.runDone(checkpoint.Config{Interval: time.Hour})
	s.Request()
	wait(t, r.started, "barrier 1")
	r.run(checkpoint.Config{Interval: time.Hour})
	if b := wait(t, r.started, "barrier 2"); b.N != 2 {
		t.Fatalf("announced %d", b.N)
	}
	if err := r.board.RequestBarrier(r.ctx, 1); err != nil { // makes the first announce, too
		t.Fatal(err)
	}
	if err := wait(t, done, "end of the first coordinator"); !errors.Is(err, checkpoint.ErrSuperseded) || !errors.Is(err, checkpoint.ErrRival) {
		t.Fatalf("the first coordinator ended with %v", err)
	}
	r.ackAll(2, 3)
	if c := wait(t, r.committed, "commit by the second"); c.Manifest.N != 2 {
		t.Fatalf("committed %d", c.Manifest.N)
	}
}

func TestBoardAcksOnlyGrow(t *testing.T) {
	r := newRig(t)
	r.ack(5, 0, 1)
	r.ack(4, 0, 2) // a late owner
	s, _ := r.run(checkpoint.Config{Interval: time.Hour, Floor: 4})
	s.Request()
	if b := wait(t, r.started, "barrier"); b.N != 5 {
		t.Fatalf("announced %d", b.N)
	}
	r.ack(5, 1, 1)
	r.ack(5, 2, 1)
	if c := wait(t, r.committed, "commit"); c.Manifest.N != 5 {
		t.Fatalf("committed %d", c.Manifest.N)
	}
}
