package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// PendingConfig configures a [Pending]. Zero values mean the documented default.
type PendingConfig struct {
	MaxBytes   int64         // bound of unconfirmed documents; 256 MiB
	BatchDocs  int           // documents per Write at most; 2,000
	BatchBytes int64         // bytes per Write at most; 4 MiB
	Writers    int           // Writes at a time; 1
	Linger     time.Duration // how long a small batch waits for company; 10 ms, negative for none
	Timeout    time.Duration // of one Write; 1 min
	BackoffMin time.Duration // pause after the first failure; 100 ms
	BackoffMax time.Duration // longest pause; 15 s

	// Rejected is told of each document that the store will never take, before
	// it leaves the queue; it may call Add with a dead letter in its place. It
	// is not called for a rejected dead letter. By default they are only counted.
	Rejected func(partition uint32, d Document, reason string)
	// Sleep waits for d or until ctx ends, and Jitter returns a number in
	// [0, 1); by default real time and real chance.
	Sleep  func(ctx context.Context, d time.Duration)
	Jitter func() float64
	Log    *zap.Logger
}

// Validate reports the first setting that makes no sense.
func (c PendingConfig) Validate() error {
	switch {
	case c.MaxBytes < 0, c.BatchDocs < 0, c.BatchBytes < 0, c.Writers < 0:
		return errors.New("pending documents: a bound is negative")
	case c.Timeout < 0, c.BackoffMin < 0, c.BackoffMax < 0:
		return errors.New("pending documents: a duration is negative")
	case c.BackoffMax > 0 && c.BackoffMin > c.BackoffMax:
		return fmt.Errorf("pending documents: the shortest pause, %v, is above the longest, %v", c.BackoffMin, c.BackoffMax)
	}
	return nil
}

func (c PendingConfig) withDefaults() PendingConfig {
	c.MaxBytes = or(c.MaxBytes, 256<<20)
	c.BatchDocs = or(c.BatchDocs, 2000)
	c.BatchBytes = or(c.BatchBytes, 4<<20)
	c.Writers = or(c.Writers, 1)
	c.Linger = or(c.Linger, 10*time.Millisecond)
	c.Timeout = or(c.Timeout, time.Minute)
	c.BackoffMin = or(c.BackoffMin, 100*time.Millisecond)
	c.BackoffMax = max(or(c.BackoffMax, 15*time.Second), c.BackoffMin)
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Pending holds the documents that the sink has not confirmed, of all
// partitions of one worker, and brings them there while Run runs. An id counts
// once: its newest version wins. Its methods may be called from any goroutine.
type Pending struct {
	sink Sink
	cfg  PendingConfig

	mu      sync.Mutex
	backlog *backlog
	changed chan struct{} // closed at the next change, if somebody waits for it
	stats   PendingStats
}

// PendingStats is what became of documents so far.
type PendingStats struct {
	Documents int    // not confirmed
	Bytes     int64  // what they take
	Written   uint64 // confirmed, each version that went out
	Rejected  uint64 // the store will never take them
	Retried   uint64 // went out in vain
	// Failing is the failure that Run is waiting out while the store takes
	// nothing, or empty; Since is when the first of the present run of failures came.
	Failing string
	Since   time.Time
}

// NewPending returns an empty queue before sink.
func NewPending(sink Sink, cfg PendingConfig) (*Pending, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Pending{sink: sink, cfg: cfg.withDefaults(), backlog: newBacklog()}, nil
}

// Add takes a partition's documents, newer versions last. It never blocks: the
// caller looks at [Pending.Full] between frames, so that the bound is passed by
// one frame's documents at most. The documents must not be changed afterwards.
func (p *Pending) Add(partition uint32, docs []Document) {
	if len(docs) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backlog.add(partition, docs)
	p.broadcast()
}

// Full reports that the bound is reached: the caller should [Pending.Wait].
func (p *Pending) Full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full()
}

func (p *Pending) full() bool { return p.backlog.bytes >= p.cfg.MaxBytes }

// Wait blocks while the queue is full. It returns ctx's error if that ends first.
func (p *Pending) Wait(ctx context.Context) error {
	return p.until(ctx, func() bool { return !p.full() })
}

// Flush blocks until every document is confirmed or rejected.
func (p *Pending) Flush(ctx context.Context) error {
	return p.until(ctx, func() bool { return p.backlog.docs == 0 })
}

// Unconfirmed returns the newest version of each document of a partition that
// was added and is not confirmed to be durable, in the order in which their ids
// came. Called by the partition's own goroutine it is exact: a document that is
// not in it is in the store.
func (p *Pending) Unconfirmed(partition uint32) []Document {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.unconfirmed(partition)
}

// Release forgets a partition's documents, because another worker has the
// partition now, and with its snapshot the documents.
func (p *Pending) Release(partition uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backlog.release(partition)
	p.broadcast()
}

// Len returns how many documents are not confirmed.
func (p *Pending) Len() int { return p.Stats().Documents }

// Bytes returns what the unconfirmed documents take in memory, about.
func (p *Pending) Bytes() int64 { return p.Stats().Bytes }

// Stats returns the counters.
func (p *Pending) Stats() PendingStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Documents, s.Bytes = p.backlog.docs, p.backlog.bytes
	return s
}

// Run brings documents to the sink until ctx ends, and then returns nil once
// the last Write has. What the sink fails to take is tried again, after a pause
// that doubles while it takes nothing, for as long as it takes: only ctx ends that.
func (p *Pending) Run(ctx context.Context) error {
	var g errgroup.Group
	for range p.cfg.Writers {
		g.Go(func() error {
			p.drain(ctx)
			return nil
		})
	}
	return g.Wait()
}

// drain is one writer: it takes a batch, writes it, and pauses after a failure.
func (p *Pending) drain(ctx context.Context) {
	failures := 0
	for {
		batch := p.next(ctx, failures > 0)
		if batch == nil {
			return
		}
		settled, err := p.write(ctx, batch)
		if err == nil || settled { // a busy store that takes some gets less, not later
			failures = 0
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		p.cfg.Sleep(ctx, backoff(failures, p.cfg.BackoffMin, p.cfg.BackoffMax, p.cfg.Jitter()))
		failures++
	}
}

// next waits for documents and takes a batch; nil when ctx ends. A batch that
// is not full waits for company, unless it is a repetition.
func (p *Pending) next(ctx context.Context, again bool) []*item {
	for {
		if p.until(ctx, func() bool { return p.backlog.queue.n > 0 }) != nil {
			return nil
		}
		if !again && p.cfg.Linger > 0 && p.ready() < p.cfg.BatchDocs {
			p.cfg.Sleep(ctx, p.cfg.Linger)
		}
		p.mu.Lock()
		batch := p.backlog.take(p.cfg.BatchDocs, p.cfg.BatchBytes)
		p.mu.Unlock()
		if len(batch) > 0 {
			return batch
		}
	}
}

func (p *Pending) ready() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.backlog.queue.n
}

// write writes one batch and notes the results. Its error says that a pause is
// due; settled, that the store has decided about some documents all the same.
func (p *Pending) write(ctx context.Context, batch []*item) (settled bool, err error) {
	docs := make([]Document, len(batch))
	for i, it := range batch {
		docs[i] = it.sent // ours while it flies
	}
	wctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	results, err := p.sink.Write(wctx, docs)
	cancel()
	if err == nil && len(results) != len(docs) {
		err = fmt.Errorf("write results: the store answered for %d of %d documents", len(results), len(docs))
	}
	if err != nil {
		results = nil
	}
	var rejected []int
	for i, r := range results {
		if r.Rejected == "" {
			continue
		}
		rejected = append(rejected, i)
		if p.cfg.Rejected != nil && docs[i].Query != DeadQuery {
			p.cfg.Rejected(batch[i].partition, docs[i], r.Rejected)
		}
	}
	if len(rejected) > 0 {
		p.cfg.Log.Error("the store of results refuses documents for good", zap.Int("documents", len(rejected)),
			zap.String("first", docs[rejected[0]].ID), zap.String("reason", results[rejected[0]].Rejected))
	}
	return p.settle(batch, results, err, ctx.Err() != nil)
}

// settle notes what became of a batch; results is nil if nothing is known.
func (p *Pending) settle(batch []*item, results []Result, err error, ending bool) (settled bool, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := 0
	for i, it := range batch {
		switch {
		case results == nil || results[i].Retry && results[i].Rejected == "":
			again++
			p.backlog.landed(it, false)
		case results[i].Rejected != "":
			p.stats.Rejected++
			p.backlog.landed(it, true)
		default:
			p.stats.Written++
			p.backlog.landed(it, true)
		}
	}
	p.broadcast()
	p.stats.Retried += uint64(again)
	settled = again < len(batch)
	if err == nil && again > 0 {
		err = fmt.Errorf("write results: the store put off %d of %d documents", again, len(batch))
	}
	switch {
	case settled && p.stats.Failing != "":
		p.cfg.Log.Info("results are stored again", zap.Duration("after", time.Since(p.stats.Since)))
		p.stats.Failing, p.stats.Since = "", time.Time{}
	case !settled && !ending:
		if p.stats.Failing == "" {
			p.stats.Since = time.Now()
			p.cfg.Log.Warn("results are not stored", zap.Error(err), zap.Int("documents", p.backlog.docs))
		}
		p.stats.Failing = err.Error()
	}
	return settled, err
}

// backoff is how long to wait after the n-th failure in a row, counted from 0:
// between a half and the whole of min doubled n times, at most max.
func backoff(n int, shortest, longest time.Duration, jitter float64) time.Duration {
	d := longest
	if n < 32 && shortest<<n>>n == shortest && shortest<<n < longest {
		d = shortest << n
	}
	return d/2 + time.Duration(float64(d/2)*jitter)
}

// until blocks until ok, which is called under the lock, or until ctx ends.
func (p *Pending) until(ctx context.Context, ok func() bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.mu.Lock()
		if ok() {
			p.mu.Unlock()
			return nil
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pending) broadcast() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
