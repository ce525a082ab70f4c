package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

// keyspace is n shards with three records each.
func keyspace(n int) []*fakeShard {
	shards := make([]*fakeShard, n)
	for i := range shards {
		shards[i] = (&fakeShard{id: fmt.Sprintf("s%02d", i), lo: fmt.Sprint(i * 10), hi: fmt.Sprint(i*10 + 9)}).put("a", "b", "c")
	}
	return shards
}

// defaults are the settings of a real process.
func defaults(c *Config, o *cluster.Options, _ *process) {
	c.SyncEvery, o.ObserveEvery = 0, 0
}

// reading counts a process's shards that are open and have been read; call it
// under the lock.
func (w *world) reading(p *process) (n int) {
	for _, h := range w.opened {
		if h.proc == p && !h.closed && len(h.recs) == 3 {
			n++
		}
	}
	return n
}

// A process that is alone starts all shards at once; a second one has its half
// within seconds of default settings, and then nothing moves. One that stops
// hands over at once; one that dies is replaced after the failover time.
func TestShardsAreSharedOut(t *testing.T) {
	t.Parallel()
	const shards = 8
	_, client := newFake(t, keyspace(shards)...)
	w := newWorld(t)
	began := time.Now()
	passed := func(what string, most time.Duration) {
		t.Helper()
		d := time.Since(began)
		t.Logf("%s: %s", what, d.Round(time.Millisecond))
		if d > most {
			t.Errorf("%s: %s, want %s at most", what, d, most)
		}
		began = time.Now()
	}
	a := w.start("f/a", client, defaults)
	w.await("A reads all", func() bool { return w.reading(a) == shards })
	passed("A alone reads all shards", 2*time.Second)

	b := w.start("g/b", client, defaults)
	w.await("A and B read a half each", func() bool { return w.reading(a) == shards/2 && w.reading(b) == shards/2 })
	passed("B has its half", 6*time.Second)
	opened := 0
	w.do(func() { opened = len(w.opened) })

	time.Sleep(3 * time.Second) // nothing is to be seen, so nothing can be awaited
	w.do(func() {
		if len(w.opened) != opened {
			t.Errorf("%d shards moved after all was balanced", len(w.opened)-opened)
		}
	})
	began = time.Now()
	b.stop()
	w.await("A reads all again", func() bool { return w.reading(a) == shards })
	passed("A has what B released", 4*time.Second)

	cutOff, cut := paused(w) // the death of C, for the others
	c := w.start("h/c", client, defaults, func(_ *Config, o *cluster.Options, _ *process) { o.Failover = 2 * time.Second }, cutOff)
	d := w.start("i/d", client, defaults, failover(2*time.Second))
	w.await("three share", func() bool { return w.reading(a) >= 2 && w.reading(c) >= 2 && w.reading(d) >= 2 })
	a.stop()
	w.await("C and D read a half each", func() bool { return w.reading(c) == shards/2 && w.reading(d) == shards/2 })
	began = time.Now()
	cut()
	w.await("D reads all", func() bool { return w.reading(d) == shards })
	passed("D has what C had, the failover time is 2s", 6*time.Second)
}

// A process that cannot read Kinesis leaves its shards to one that can.
func TestWhoCannotReadLeavesItToOthers(t *testing.T) {
	t.Parallel()
	shards := keyspace(2)
	broken, client := newFake(t, shards...)
	broken.fault = func(op, _ string) string {
		if op == "GetRecords" {
			return "AccessDeniedException"
		}
		return ""
	}
	_, good := newFake(t, shards...)
	w := newWorld(t)
	core, logs := observer.New(zap.WarnLevel)
	w.start("f/a", client, failover(time.Second), func(c *Config, _ *cluster.Options, _ *process) { c.Logger = zap.New(core) })
	b := w.start("g/b", good, failover(time.Second))
	w.await("B reads both", func() bool { return w.reading(b) == 2 })
	for _, e := range logs.All() {
		t.Logf("%s: %v", e.Message, e.ContextMap())
		if why := fmt.Sprint(e.ContextMap()["reason"]); !strings.Contains(why, ": this identity may not call kinesis:GetRecords on stream trips in us-east-1") {
			t.Errorf("the reason is %s", why)
		}
	}
	if n := logs.Len(); n == 0 || n > 2 { // one a shard
		t.Errorf("%d warnings", n)
	}
}

// icy is a table that can be frozen: calls wait until it thaws or their caller
// gives up; what its caller gave up is done all the same when it thaws, as a
// server does that was stopped.
type icy struct {
	cluster.Store
	mu     sync.Mutex
	thawed chan struct{} // closed: not frozen
	late   []func()
	done   int // of late
}

func newIcy(s cluster.Store) *icy {
	i := &icy{Store: s, thawed: make(chan struct{})}
	close(i.thawed)
	return i
}

func (i *icy) freeze() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.thawed = make(chan struct{})
}

func (i *icy) thaw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, f := range i.late {
		f()
	}
	i.done, i.late = len(i.late), nil
	close(i.thawed)
}

func chilled[T any](ctx context.Context, i *icy, call func(context.Context) (T, error)) (T, error) {
	var none T
	i.mu.Lock()
	thawed := i.thawed
	i.mu.Unlock()
	select {
	case <-thawed:
		return call(ctx)
	default:
	}
	select {
	case <-thawed:
		return call(ctx)
	case <-ctx.Done():
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.thawed == thawed {
			i.late = append(i.late, func() { _, _ = call(context.WithoutCancel(ctx)) })
		}
		return none, ctx.Err()
	}
}

func (i *icy) Get(ctx context.Context, r cluster.Resource) (cluster.Entry, error) {
	return chilled(ctx, i, func(ctx context.Context) (cluster.Entry, error) { return i.Store.Get(ctx, r) })
}

func (i *icy) Create(ctx context.Context, l cluster.Lease) (cluster.Revision, error) {
	return chilled(ctx, i, func(ctx context.Context) (cluster.Revision, error) { return i.Store.Create(ctx, l) })
}

func (i *icy) Update(ctx context.Context, l cluster.Lease, at cluster.Revision) (cluster.Revision, error) {
	return chilled(ctx, i, func(ctx context.Context) (cluster.Revision, error) { return i.Store.Update(ctx, l, at) })
}

func (i *icy) List(ctx context.Context) ([]cluster.Entry, error) {
	return chilled(ctx, i, func(ctx context.Context) ([]cluster.Entry, error) { return i.Store.List(ctx) })
}

// A lease table that is frozen for twice the failover time costs the sessions,
// and nothing else: when it thaws, every shard is read again, although calls
// are applied that their callers gave up.
func TestTheLeaseTableFreezes(t *testing.T) {
	t.Parallel()
	const shards, fail = 6, 2 * time.Second
	_, client := newFake(t, keyspace(shards)...)
	w := newWorld(t)
	table := newIcy(clustertest.NewMemory())
	w.table = table
	core, logs := observer.New(zapcore.WarnLevel)
	logged := func(c *Config, o *cluster.Options, _ *process) {
		c.Logger = zap.New(core)
		o.Logger = c.Logger
	}
	procs := []*process{w.start("f/a", client, failover(fail), logged), w.start("g/b", client, failover(fail), logged), w.start("h/c", client, failover(fail), logged)}
	balanced := func() bool {
		for _, p := range procs {
			if w.reading(p) != shards/len(procs) {
				return false
			}
		}
		return true
	}
	w.await("three processes read two shards each", balanced)
	for round := range 2 {
		table.freeze()
		frozen := time.Now()
		w.await("every session is over", func() bool {
			for _, h := range w.opened {
				if !h.closed {
					return false
				}
			}
			return true
		})
		if d := time.Since(frozen); d >= fail {
			t.Errorf("the last handler was closed %s after the table froze, the failover time is %s", d, fail)
		}
		time.Sleep(2*fail - time.Since(frozen))
		table.thaw()
		thawed := time.Now()
		w.await("three processes read two shards each", balanced)
		t.Logf("round %d: %d calls were applied late; balanced %s after the thaw", round, table.done, time.Since(thawed).Round(time.Millisecond))
		if table.done == 0 {
			t.Error("no call was applied late")
		}
		if d := time.Since(thawed); d > 3*fail {
			t.Errorf("balanced %s after the thaw", d)
		}
	}
	kinds := map[string]int{}
	for _, e := range logs.All() {
		kinds[e.Message]++
	}
	t.Logf("warnings of three processes: %v", kinds)
	if logs.Len() > 40 {
		t.Errorf("%d warnings: %v", logs.Len(), kinds)
	}
}

// A table that answers nothing but errors, at once, does not make processes
// busy nor loud, and does not end them.
func TestTheLeaseTableFailsAtOnce(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, keyspace(4)...)
	w := newWorld(t)
	core, logs := observer.New(zapcore.WarnLevel)
	var calls int
	var mu sync.Mutex
	failing := true
	faulty := clustertest.NewFaulty(w.table)
	faulty.Before(func(string) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		if failing {
			return errors.New("no connection")
		}
		return nil
	})
	w.table = faulty
	began := time.Now()
	p := w.start("f/a", client, defaults, func(c *Config, o *cluster.Options, _ *process) {
		c.Logger = zap.New(core)
		o.Logger = c.Logger
	})
	time.Sleep(2 * time.Second)
	mu.Lock()
	failing = false
	rate := float64(calls) / time.Since(began).Seconds()
	mu.Unlock()
	w.await("it reads", func() bool { return w.reading(p) == 4 })
	t.Logf("%.0f calls a second, %d warnings", rate, logs.Len())
	if rate > 20 || logs.Len() > 3 {
		t.Errorf("%.0f calls a second, warnings %v", rate, logs.All())
	}
}

// A stream that is throttled for longer than Config.ReadFailure is waited for:
// no shard is given up, and the log has a sentence.
func TestAThrottledStreamIsWaitedFor(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, keyspace(4)...)
	throttle := func(op, _ string) string {
		if op == "GetRecords" {
			return "ProvisionedThroughputExceededException"
		}
		return ""
	}
	f.fault = throttle
	w := newWorld(t)
	core, logs := observer.New(zapcore.WarnLevel)
	p := w.start("f/a", client, func(c *Config, _ *cluster.Options, _ *process) {
		c.ReadFailure = 500 * time.Millisecond
		c.Logger = zap.New(core)
	})
	w.await("it has all shards", func() bool { return len(w.opened) == 4 })
	time.Sleep(2 * time.Second)
	f.do(func() { f.fault = nil })
	w.await("it reads", func() bool { return w.reading(p) == 4 })
	w.do(func() {
		if len(w.opened) != 4 {
			t.Errorf("%d handlers were opened for four shards", len(w.opened))
		}
	})
	if logs.Len() != 1 {
		t.Errorf("%d warnings: %v", logs.Len(), logs.All())
	}
	for _, e := range logs.All() {
		t.Logf("%s: %v", e.Message, e.ContextMap())
	}
}

// Kinesis that does not list its shards is waited for; the log has a sentence.
func TestShardsThatAreNotListed(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, keyspace(1)...)
	f.fault = func(op, _ string) string {
		if op == "ListShards" {
			return "ResourceNotFoundException"
		}
		return ""
	}
	w := newWorld(t)
	core, logs := observer.New(zapcore.WarnLevel)
	p := w.start("f/a", client, func(c *Config, _ *cluster.Options, _ *process) { c.Logger = zap.New(core) })
	time.Sleep(time.Second)
	f.do(func() { f.fault = nil })
	w.await("it reads", func() bool { return w.reading(p) == 1 })
	for _, e := range logs.All() {
		t.Logf("%s: %v", e.Message, e.ContextMap()["error"])
	}
	if logs.Len() != 1 {
		t.Errorf("%d warnings", logs.Len())
	}
}

// A call that Kinesis never answers is tried again.
func TestKinesisHangs(t *testing.T) {
	t.Parallel()
	f, client := newFake(t, keyspace(1)...)
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	var once sync.Map
	f.hang = func(op string) <-chan struct{} {
		if _, hung := once.LoadOrStore(op, true); !hung {
			return hang
		}
		return nil
	}
	w := newWorld(t)
	p := w.start("f/a", client, func(c *Config, _ *cluster.Options, _ *process) { c.CallTimeout = 300 * time.Millisecond })
	w.await("it reads", func() bool { return w.reading(p) == 1 })
}

// Stopping is bounded and in order while the lease table is frozen.
func TestStopWhileTheLeaseTableIsFrozen(t *testing.T) {
	t.Parallel()
	_, client := newFake(t, keyspace(4)...)
	w := newWorld(t)
	table := newIcy(w.table)
	w.table = table
	p := w.start("f/a", client)
	w.await("it reads", func() bool { return w.reading(p) == 4 })
	table.freeze()
	began := time.Now()
	p.cancel()
	if err := <-p.done; err != nil {
		t.Error(err)
	}
	p.stopd = true
	if d := time.Since(began); d > 2*releaseTime {
		t.Errorf("stopping took %s", d)
	}
	w.do(func() {
		for _, h := range w.opened {
			if !h.closed {
				t.Errorf("the handler of %s is not closed", h.shard)
			}
		}
	})
	table.thaw()
}
