package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/vmware/vmware-go-kcl-v2/clientlibrary/config"
	kcl "github.com/vmware/vmware-go-kcl-v2/clientlibrary/interfaces"
	"github.com/vmware/vmware-go-kcl-v2/clientlibrary/worker"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// KCL is the Source on vmware-go-kcl-v2. See the package comment.
type KCL struct {
	cfg  Config
	log  *zap.Logger
	warn *suppressor
	topo topology

	mu       sync.Mutex
	ran      bool
	ctx      context.Context // of Run; ends the sessions
	sessions map[stream.ShardID]*session
	byID     map[uint64]*session
	lastID   uint64
	retries  map[stream.ShardID]*retry
	ended    map[stream.ShardID]bool // SHARD_END or ended in HEAD; never unset
	plan     *cluster.Plan           // of the last look at the lease table; nil before the first
	wg       sync.WaitGroup          // the sessions' and Run's goroutines

	group *cluster.Group
	look  chan struct{} // asks for a look at the lease table

	// lib is the library's configuration. Its event loop alone reads
	// ShardSyncIntervalMillis, and only middleware that runs in that loop
	// changes it.
	lib   *config.KinesisClientLibConfiguration
	stuck bool // the last lease could not be asked for; used in the event loop alone
}

// retry spaces the attempts at a shard whose handler or reads fail.
type retry struct {
	delay time.Duration
	next  time.Time
}

const (
	retryFirst  = 200 * time.Millisecond
	retryAlone  = 5 * time.Second
	retryForget = 10 * time.Second // a session that lasted this long was in order
	syncEager   = 20 * time.Millisecond
	releaseTime = 2 * time.Second
)

// NewKCL returns a source that is ready to Run, once.
func NewKCL(cfg Config) (*KCL, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	return &KCL{
		cfg: cfg, log: cfg.Logger, warn: newSuppressor(),
		group: cfg.Leases.Group(members), look: make(chan struct{}, 1),
		sessions: map[stream.ShardID]*session{}, byID: map[uint64]*session{},
		retries: map[stream.ShardID]*retry{}, ended: map[stream.ShardID]bool{},
	}, nil
}

// Run implements Source. What it cannot end within StopTimeout, a handler that
// ignores its context for instance, it names in its error.
func (k *KCL) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.mu.Lock()
	if k.ran {
		k.mu.Unlock()
		return fmt.Errorf("source of stream %s ran already: make a new one", k.cfg.Stream)
	}
	k.ran, k.ctx = true, ctx
	k.mu.Unlock()

	options := k.cfg.Client.Options()
	options.Retryer = aws.NopRetryer{}
	options.APIOptions = append(slices.Clone(options.APIOptions), k.middleware)
	if options.Region == "" {
		options.Region = "none" // the library panics on an empty one and does not use it
	}
	k.lib = k.libraryConfig(options.Region)
	w := worker.NewWorker(k, k.lib).WithKinesis(kinesis.New(options)).WithCheckpointer(&checkpointer{k})
	if err := w.Start(); err != nil {
		return fmt.Errorf("start KCL worker on stream %s: %w", k.cfg.Stream, err)
	}
	k.wg.Go(func() { _ = k.group.Run(ctx) }) // ends with ctx, without an error
	k.wg.Go(func() { k.balance(ctx) })
	<-ctx.Done()

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.Shutdown()
		k.wg.Wait()
	}()
	limit := time.NewTimer(k.cfg.StopTimeout)
	defer limit.Stop()
	select {
	case <-stopped:
		return nil
	case <-limit.C:
		return fmt.Errorf("source of stream %s did not stop within %s: shards %v still run, their handlers ignore their context",
			k.cfg.Stream, k.cfg.StopTimeout, k.Owned())
	}
}

// Owned are the shards that this process holds, sorted.
func (k *KCL) Owned() []stream.ShardID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.sessions))
}

// Completed notes in the lease table that checkpoint n was committed with these
// restart sequences; of the shards that this process holds. The position there
// is informational (R10).
func (k *KCL) Completed(ctx context.Context, n stream.BarrierID, restart map[stream.ShardID]string) error {
	var failed error
	for shard, seq := range restart {
		if s := k.session(shard); s != nil {
			err := s.held.Record(ctx, uint64(n), seq)
			if err != nil && !errors.Is(err, cluster.ErrLost) && !errors.Is(err, cluster.ErrStale) {
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// CreateProcessor implements the library's factory.
func (k *KCL) CreateProcessor() kcl.IRecordProcessor { return &processor{k: k} }

func (k *KCL) libraryConfig(region string) *config.KinesisClientLibConfiguration {
	never := int((1000 * time.Hour).Milliseconds())
	c := config.NewKinesisClientLibConfig("tripgrid", k.cfg.Stream, region, string(k.cfg.Leases.Owner())).
		WithLogger(newKCLLog(k.ctx, k.cfg.Logger)).
		WithInitialPositionInStream(config.TRIM_HORIZON). // middleware sets each shard's own
		WithMaxRecords(k.cfg.MaxRecords).
		WithIdleTimeBetweenReadsInMillis(1). // ProcessRecords paces
		WithCallProcessRecordsEvenForEmptyRecordList(true).
		WithLeaseRefreshWaitTime(never). // sessions renew
		WithShardSyncIntervalMillis(int(syncEager.Milliseconds())).
		WithMaxRetryCount(1 << 30) // middleware retries, bounded by time
	c.ParentShardPollIntervalMillis = int(k.cfg.SyncEvery.Milliseconds()) // GetLease has waited for parents
	return c
}

// session returns the session of a shard, or nil.
func (k *KCL) session(shard stream.ShardID) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sessions[shard]
}

// begin makes a session of a lease and starts to renew it.
func (k *KCL) begin(held *cluster.Held, shard stream.ShardID, from origin, parents []stream.ShardID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lastID++
	s := &session{k: k, id: k.lastID, shard: shard, held: held, from: from, parents: parents,
		began: time.Now(), closed: make(chan struct{}), pace: pace{every: k.cfg.PollEvery}}
	s.ctx, s.cancel = context.WithCancelCause(k.ctx)
	k.sessions[shard], k.byID[s.id] = s, s
	k.wg.Go(s.watch)
}

// finish is the end of a session whose consumer has returned.
func (k *KCL) finish(shard stream.ShardID) {
	s := k.session(shard)
	if s == nil {
		return
	}
	s.end(errConsumerOver)
	<-s.closed
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), releaseTime)
	defer cancel()
	if err := s.held.Release(ctx); err != nil {
		k.log.Warn("lease not released, it will expire", zap.String("shard", string(shard)), zap.Error(err))
	}
	defer k.lookSoon()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.sessions, shard)
	delete(k.byID, s.id)
	if !s.failed() || time.Since(s.began) > retryForget {
		delete(k.retries, shard)
	}
	if s.failed() {
		k.putOff(shard, s.unread)
	}
}

// putOff makes the next attempt at a shard wait, each time longer: in the end,
// or at once, for so long that others find it neglected, if there are any. Call
// it under the lock.
func (k *KCL) putOff(shard stream.ShardID, forOthers bool) {
	r := k.retries[shard]
	if r == nil {
		r = &retry{delay: retryFirst / 2}
		k.retries[shard] = r
	}
	r.delay = min(2*r.delay, retryAlone)
	if others := k.plan != nil && k.plan.Members > 1; others && (forOthers || r.delay == retryAlone) {
		r.delay = k.cfg.Leases.Failover() * 3 / 2
	}
	r.next = time.Now().Add(r.delay)
}

// may tells whether the shard may be tried now. Call it under the lock.
func (k *KCL) may(shard stream.ShardID) bool {
	r := k.retries[shard]
	return k.ctx.Err() == nil && k.sessions[shard] == nil && (r == nil || !time.Now().Before(r.next))
}

func (k *KCL) noteEnded(shard stream.ShardID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ended[shard] {
		k.ended[shard] = true
		k.lookSoon() // its children may begin
	}
}

func (k *KCL) hasEnded(shard stream.ShardID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ended[shard]
}
