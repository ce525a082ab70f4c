package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
	"github.com/tripgrid/tripgrid/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // a test that waits longer has failed

// world is what all processes of a test share: a lease table, HEAD's progress
// and everything that handlers saw.
type world struct {
	t     *testing.T
	table cluster.Store

	mu       sync.Mutex
	changed  chan struct{} // closed and renewed at every change
	head     map[stream.ShardID]headShard
	opened   []*handler
	problems []string
}

type headShard struct {
	restart string
	ended   bool
	skip    stream.Position
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, table: clustertest.NewMemory(), changed: make(chan struct{}), head: map[stream.ShardID]headShard{}}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range w.problems {
			t.Error(p)
		}
	})
	return w
}

// do changes or reads the world.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until f, called under the lock, holds.
func (w *world) await(what string, f func() bool) {
	w.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.mu.Lock()
		ok, changed := f(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, h := range w.opened {
				w.t.Logf("%s of %s at epoch %d: %d records, ended %v, closed %v", h.shard, h.proc.owner, h.epoch, len(h.recs), h.ended, h.closed)
			}
			w.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// process is one run of a source.
type process struct {
	w      *world
	owner  cluster.Owner
	kcl    *KCL
	cancel context.CancelFunc
	done   chan error
	stopd  bool
	cutOff func() bool // from the lease table; may be nil

	// Hooks of its handlers; may be nil.
	onOpen    func(ctx context.Context, shard stream.ShardID) error
	onRecords func(ctx context.Context, h *handler, recs []Record) error
	onEnd     func(ctx context.Context, h *handler) error
}

// handler notes what it is given and that the rules of Handler are kept.
type handler struct {
	proc    *process
	shard   stream.ShardID
	epoch   stream.Epoch
	parents []stream.ShardID

	busy     bool
	recs     []Record
	polls    int
	behind   time.Duration
	ended    bool
	children []stream.Child
	closed   bool
}

type setting func(*Config, *cluster.Options, *process)

func (w *world) start(owner cluster.Owner, client *kinesis.Client, settings ...setting) *process {
	w.t.Helper()
	p := &process{w: w, owner: owner, done: make(chan error, 1)}
	opt := cluster.Options{Owner: owner, ObserveEvery: 20 * time.Millisecond}
	cfg := Config{Stream: "trips", Client: client, SyncEvery: 50 * time.Millisecond, Open: p.open, Progress: p.progress}
	if testing.Verbose() {
		cfg.Logger = zaptest.NewLogger(w.t, zaptest.Level(zap.InfoLevel)).With(zap.String("owner", string(owner)))
	}
	opt.Logger = cfg.Logger
	for _, s := range settings {
		s(&cfg, &opt, p)
	}
	leases, err := cluster.New(w.table, opt)
	if err != nil {
		w.t.Fatal(err)
	}
	if cfg.Leases == nil {
		cfg.Leases = leases
	}
	if p.kcl, err = NewKCL(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.done <- p.kcl.Run(ctx) }()
	w.t.Cleanup(p.stop)
	return p
}

// stop ends the process and checks that it ended well: at once, every handler
// closed, every lease released.
func (p *process) stop() {
	p.w.t.Helper()
	if p.stopd {
		return
	}
	p.stopd = true
	began := time.Now()
	p.cancel()
	select {
	case err := <-p.done:
		if err != nil {
			p.w.t.Errorf("%s: Run: %v", p.owner, err)
		}
	case <-time.After(patience):
		p.w.t.Fatalf("%s: Run did not return", p.owner)
	}
	if d := time.Since(began); d > 2*time.Second {
		p.w.t.Errorf("%s: stopping took %s", p.owner, d)
	}
	p.w.do(func() {
		for _, h := range p.w.opened {
			if h.proc == p && !h.closed {
				p.w.t.Errorf("%s: the handler of %s is not closed", p.owner, h.shard)
			}
		}
	})
	rows, err := p.w.table.List(context.Background())
	if err != nil {
		p.w.t.Fatal(err)
	}
	for _, e := range rows {
		if e.Lease.Owner == p.owner && (p.cutOff == nil || !p.cutOff()) {
			p.w.t.Errorf("%s: the lease of %s is not released", p.owner, e.Lease.Resource)
		}
	}
}

func (p *process) progress(_ context.Context, shard stream.ShardID) (string, bool, bool, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	h, known := p.w.head[shard]
	return h.restart, h.ended, known, nil
}

func (p *process) open(ctx context.Context, shard stream.ShardID, lease stream.Epoch, parents []stream.ShardID) (Handler, stream.Position, error) {
	if p.onOpen != nil {
		if err := p.onOpen(ctx, shard); err != nil {
			return nil, stream.Position{}, err
		}
	}
	h := &handler{proc: p, shard: shard, epoch: lease, parents: parents}
	var skip stream.Position
	p.w.do(func() {
		skip = p.w.head[shard].skip
		for _, o := range p.w.opened {
			if o.shard == shard && o.epoch >= lease {
				p.w.problems = append(p.w.problems, fmt.Sprintf("R1: epoch %d of %s follows %d", lease, shard, o.epoch))
			}
			if o.shard == shard && o.proc == p && !o.closed {
				p.w.problems = append(p.w.problems, fmt.Sprintf("%s has two handlers of %s", p.owner, shard))
			}
		}
		p.w.opened = append(p.w.opened, h)
	})
	return h, skip, nil
}

func (h *handler) enter(what string) func() {
	h.proc.w.do(func() {
		if h.closed || h.busy || h.ended && what != "Close" {
			h.proc.w.problems = append(h.proc.w.problems,
				fmt.Sprintf("%s of %s: closed %v, another call in progress %v, ended %v", what, h.shard, h.closed, h.busy, h.ended))
		}
		h.busy = true
	})
	return func() { h.proc.w.do(func() { h.busy = false }) }
}

func (h *handler) Records(ctx context.Context, recs []Record, behind time.Duration) error {
	defer h.enter("Records")()
	if h.proc.onRecords != nil {
		if err := h.proc.onRecords(ctx, h, recs); err != nil {
			return err
		}
	}
	h.proc.w.do(func() {
		h.polls++
		h.behind = behind
		for _, r := range recs {
			if n := len(h.recs); n > 0 && h.recs[n-1].Pos.Compare(r.Pos) >= 0 {
				h.proc.w.problems = append(h.proc.w.problems, fmt.Sprintf("%s: %s follows %s", h.shard, r.Pos, h.recs[n-1].Pos))
			}
			h.recs = append(h.recs, r)
		}
	})
	return ctx.Err()
}

func (h *handler) End(ctx context.Context, children []stream.Child) error {
	defer h.enter("End")()
	if h.proc.onEnd != nil {
		if err := h.proc.onEnd(ctx, h); err != nil {
			return err
		}
	}
	h.proc.w.do(func() { h.ended, h.children = true, children })
	return nil
}

func (h *handler) Close() {
	defer h.enter("Close")()
	h.proc.w.do(func() { h.closed = true })
}

// of returns the handlers of a shard in the order of opening; call it under the lock.
func (w *world) of(shard stream.ShardID) []*handler {
	return slices.DeleteFunc(slices.Clone(w.opened), func(h *handler) bool { return h.shard != shard })
}

// count is how many records all handlers together were given; call it under the lock.
func (w *world) count() (n int) {
	for _, h := range w.opened {
		n += len(h.recs)
	}
	return n
}

func blockUntilDone(ctx context.Context, _ *handler, _ []Record) error {
	<-ctx.Done()
	return ctx.Err()
}

var errRefused = errors.New("refused by the test")
