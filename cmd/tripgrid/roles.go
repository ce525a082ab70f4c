package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker"
	"github.com/tripgrid/tripgrid/worker/ingest"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

// crew runs functions until one of them fails or ctx ends; an error names the
// function that it came from.
type crew struct {
	g   *errgroup.Group
	ctx context.Context
}

func newCrew(ctx context.Context) *crew {
	g, ctx := errgroup.WithContext(ctx)
	return &crew{g, ctx}
}

func (c *crew) add(name string, run func(context.Context) error) {
	c.g.Go(func() error {
		err := run(c.ctx)
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// ingestRole reads shards into the partition log.
type ingestRole struct {
	job    *job
	worker *ingest.Worker
	source *source.KCL
}

func (j *job) newIngest(leases *cluster.Leases, poll time.Duration, maxRecords int) (*ingestRole, error) {
	start, err := j.start()
	if err != nil {
		return nil, err
	}
	r := &ingestRole{job: j}
	r.worker, err = ingest.New(ingest.Config{
		Log: j.partlog, Nonce: j.nonce, Partitions: j.spec.Partitions, CellPrecision: j.spec.CellPrecision, Geofence: j.spec.Geofence,
		Lanes: j.spec.Lanes, Manifest: j.manifest, Board: j.board, Logger: j.log.Named("ingest"),
	})
	if err != nil {
		return nil, err
	}
	r.source, err = source.NewKCL(source.Config{
		Stream: j.spec.Stream, Client: j.kinesis, Leases: leases, Start: start, PollEvery: poll, MaxRecords: maxRecords,
		Open: r.worker.Open, Progress: r.worker.Progress, Logger: j.log.Named("source"),
	})
	return r, err
}

// join adds the role's functions to a crew.
func (r *ingestRole) join(c *crew) {
	c.add("barriers", func(ctx context.Context) error {
		return r.job.board.WatchBarrier(ctx, func(b checkpoint.Barrier) { r.worker.Announce(b.N) })
	})
	c.add("ingest", r.worker.Run)
	c.add("source", r.source.Run)
	c.add("positions", func(ctx context.Context) error {
		return r.job.board.WatchCompleted(ctx, func(checkpoint.Completed) { r.notePositions(ctx) })
	})
}

// notePositions writes the positions of the newest checkpoint into the lease
// table, for people who look there; nothing reads them back (R10).
func (r *ingestRole) notePositions(ctx context.Context) {
	m, err := r.job.manifest(ctx)
	if err == nil {
		restart := make(map[stream.ShardID]string, len(m.Vector))
		for _, s := range m.Vector {
			restart[s.Shard] = s.Restart
		}
		err = r.source.Completed(ctx, m.N, restart)
	}
	if err != nil && ctx.Err() == nil {
		r.job.log.Info("positions are not in the lease table", zap.Error(err))
	}
}

// windowRole aggregates the partition log, stores results and coordinates
// checkpoints.
type windowRole struct {
	job     *job
	windows *worker.Windows
	pending *sink.Pending
	leases  *cluster.Leases
	// coordinator is the one that runs here, if any.
	coordinator atomic.Pointer[checkpoint.Service]
	checkpoints checkpoint.Config
	events      checkpoint.Events
}

// windowConfig is what a windowRole is made of, besides its job.
type windowConfig struct {
	pending     *sink.Pending
	leases      *cluster.Leases // elect the coordinator
	checkpoints checkpoint.Config
	events      checkpoint.Events
	fallback    func(stream.Partition, checkpoint.Fallback)
}

func (j *job) newWindows(cfg windowConfig) *windowRole {
	cfg.checkpoints.Job = j.spec.Job
	return &windowRole{
		job: j, pending: cfg.pending, leases: cfg.leases, checkpoints: cfg.checkpoints,
		events: checkpoint.Tee(checkpoint.Logged(j.log.Named("checkpoint")), cfg.events),
		windows: worker.NewWindows(worker.WindowsConfig{
			Job: j.spec.Job, Store: j.store, Log: j.partlog, Board: j.board, Pending: cfg.pending,
			Machine: window.Config{
				Job: j.spec.Job, Generation: j.generation, Nonce: j.nonce, Partitions: j.spec.Partitions,
				Queries: j.queries, Shards: j.spec.ShardIDs(),
			},
			Fallback: cfg.fallback, Logger: j.log.Named("windows"),
		}),
	}
}

// join adds the role's functions to a crew.
func (r *windowRole) join(c *crew) {
	partitions := make([]stream.Partition, r.job.spec.Partitions)
	for i := range partitions {
		partitions[i] = stream.Partition(i)
	}
	c.add("sink", r.pending.Run)
	c.add("windows", func(ctx context.Context) error { return r.windows.Run(ctx, partitions) })
	c.add("checkpoints", r.coordinate)
	c.add("end", r.requestLast)
}

// coordinate runs the checkpoint coordinator while this process is elected. Two
// at once would do no harm (R10), but cancel each other's checkpoints.
func (r *windowRole) coordinate(ctx context.Context) error {
	return cluster.Lead(ctx, r.leases, "coordinator", func(ctx context.Context) error {
		for {
			err := r.lead(ctx)
			if ctx.Err() != nil || !errors.Is(err, checkpoint.ErrRival) {
				return err
			}
			// Was it this process that slept through its lease, or the other? Soon
			// the lease tells, and ends ctx, or the other has stopped.
			r.job.log.Info("another process coordinates, too", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
}

// lead is one life of the coordinator.
func (r *windowRole) lead(ctx context.Context) error {
	cfg := r.checkpoints
	shards := r.job.spec.ShardIDs()
	m, err := r.job.manifest(ctx)
	if err != nil {
		return err
	}
	for _, c := range m.Vector { // those that came by splits and merges
		if !slices.Contains(shards, c.Shard) {
			shards = append(shards, c.Shard)
		}
	}
	if cfg.Floor, err = ingest.HighestBarrier(ctx, r.job.partlog, shards); err != nil {
		return err
	}
	s := checkpoint.NewService(cfg, r.job.store, r.job.board, r.job.partlog, r.events)
	r.coordinator.Store(s)
	defer r.coordinator.Store(nil)
	return s.Run(ctx)
}

// requestLast asks for a checkpoint as soon as every partition has applied the
// final watermark of all shards, not an interval later; the coordinator follows
// it up until nothing is pending.
func (r *windowRole) requestLast(ctx context.Context) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if s := r.coordinator.Load(); s != nil && r.final() {
			s.Request()
			return nil
		}
	}
}

func (r *windowRole) final() bool {
	parts := r.windows.Status()
	for i := range parts {
		if parts[i].Watermark != finalWatermark {
			return false
		}
	}
	return len(parts) == r.job.spec.Partitions
}
