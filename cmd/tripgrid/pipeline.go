package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/producer"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker"
	"github.com/tripgrid/tripgrid/worker/ingest"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

// kinesisStream is the name of the embedded stream.
const kinesisStream = "trips"

// options are what a run is made of, resolved from flags.
type options struct {
	dir        folder
	data       dataset.Dataset
	seek       time.Time
	speedup    float64
	profile    string
	window     time.Duration
	shards     int
	partitions int
	addr       string
	interval   time.Duration // between checkpoints
	log        *zap.Logger
}

// pipeline is a whole run in one process: the embedded services, every role
// and the page.
type pipeline struct {
	opt  options
	log  *zap.Logger
	spec checkpoint.Spec

	// Services; set by open, in this order.
	unlock   func()
	store    *filestore.Store
	db       *sink.SQLite
	listener net.Listener
	local    *localkinesis.Server
	nats     *natsd.Server
	conn     *nats.Conn

	client *kinesis.Client

	// Roles.
	board       *checkpoint.Board
	partlog     *stream.Log
	coordinator *checkpoint.Service
	ingest      *ingest.Worker
	source      *source.KCL
	windows     *worker.Windows
	pending     *sink.Pending
	producer    *producer.Producer

	status  *status
	started chan struct{} // closed once the roles are there
}

// run drives the roles until everything is finished, one of them fails, or
// ctx ends. It returns nil only when everything is finished.
func (p *pipeline) run(ctx context.Context) error {
	if p.status.finished() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	// Services outlive the roles that use them.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	var base errgroup.Group
	lost := make(chan error, 1)
	base.Go(func() error {
		err := p.local.Run(services)
		lost <- err
		return err
	})
	defer func() {
		stop()
		if err := base.Wait(); err != nil {
			p.log.Warn("local Kinesis did not close cleanly", zap.Error(err))
		}
	}()
	if err := p.openRoles(ctx); err != nil {
		return err
	}
	p.status.running(p)
	close(p.started)

	g, ctx := errgroup.WithContext(ctx)
	role := func(name string, run func(context.Context) error) {
		g.Go(func() error {
			err := run(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	partitions := make([]stream.Partition, p.opt.partitions)
	for i := range partitions {
		partitions[i] = stream.Partition(i)
	}
	role("sink", p.pending.Run)
	role("windows", func(ctx context.Context) error { return p.windows.Run(ctx, partitions) })
	role("checkpoints", p.coordinator.Run)
	role("barriers", func(ctx context.Context) error {
		return p.board.WatchBarrier(ctx, func(b checkpoint.Barrier) { p.ingest.Announce(b.N) })
	})
	role("local Kinesis", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return err
		}
	})
	role("ingest", p.ingest.Run)
	role("source", p.source.Run)
	role("positions", p.notePositions)
	role("producer", p.producer.Run)
	role("finish", func(ctx context.Context) error {
		err := p.finish(ctx)
		if err == nil {
			cancel()
		}
		return err
	})
	err := g.Wait()
	if p.status.finished() {
		return nil
	}
	return err
}

// finish waits until the run is: all shards FINAL in a checkpoint, nothing
// pending. It asks for the first such checkpoint as soon as there can be one,
// not an interval later; the coordinator follows it up until nothing is pending.
func (p *pipeline) finish(ctx context.Context) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for asked := false; !p.status.finished(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if !asked && p.final() {
			asked = true
			p.coordinator.Request()
		}
	}
	return nil
}

// notePositions writes the positions of completed checkpoints into the lease
// table, for people who look there; nothing reads them back (R10).
func (p *pipeline) notePositions(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-p.status.commits:
			restart := make(map[stream.ShardID]string, len(m.Vector))
			for _, s := range m.Vector {
				restart[s.Shard] = s.Restart
			}
			if err := p.source.Completed(ctx, m.N, restart); err != nil {
				p.log.Info("positions are not in the lease table", zap.Stringer("checkpoint", m.N), zap.Error(err))
			}
		}
	}
}

// final tells that every partition has applied the final watermark of all shards.
func (p *pipeline) final() bool {
	parts := p.windows.Status()
	for i := range parts {
		if parts[i].Watermark != finalWatermark {
			return false
		}
	}
	return len(parts) == p.opt.partitions
}

// openPipeline takes the folder and opens what is needed to say whether the
// run can go on, and whether it has anything left to do.
func openPipeline(ctx context.Context, opt options) (_ *pipeline, err error) {
	p := &pipeline{opt: opt, log: opt.log, started: make(chan struct{})}
	defer func() {
		if err == nil {
			return
		}
		if p.local != nil { // what its Open took its Run gives back
			ended, cancel := context.WithCancel(ctx)
			cancel()
			err = errors.Join(err, p.local.Run(ended))
		}
		p.close()
	}()
	if p.unlock, err = opt.dir.lock(); err != nil {
		return nil, err
	}
	queries, err := window.Queries(opt.profile, opt.window)
	if err != nil {
		return nil, err
	}
	p.spec = checkpoint.Spec{
		Job: job, Stream: kinesisStream, Partitions: opt.partitions, Hash: window.HashName, CellPrecision: cellPrecision,
		Geofence: opt.profile, Window: opt.window, Start: checkpoint.TrimHorizon,
		Data: identity(opt.data, opt.seek), Lanes: producer.Lanes,
	}
	for _, q := range queries {
		p.spec.Queries = append(p.spec.Queries, checkpoint.QueryRef{Name: q.Name, Hash: q.Hash()})
	}
	if p.store, err = filestore.Open(opt.dir.snapshots()); err != nil {
		return nil, err
	}
	p.status = newStatus(opt, p.spec)
	_, m, err := checkpoint.Recover(ctx, p.store, job)
	switch {
	case errors.Is(err, checkpoint.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if diff := m.Spec.Diff(p.spec); diff != "" {
			return nil, fmt.Errorf("cannot resume the run in %s: %s; give what it was started with, or another --dir", opt.dir, diff)
		}
		if have := len(m.Spec.Shards); have != opt.shards {
			return nil, fmt.Errorf("cannot resume the run in %s: --shards is %d in this folder, %d asked; give what it was started with, or another --dir", opt.dir, have, opt.shards)
		}
		if err := opt.dir.whole(m.N > 0); err != nil {
			return nil, err
		}
		p.status.committed(m, 0, 0)
	}
	if p.db, err = sink.OpenSQLite(opt.dir.results()); err != nil {
		return nil, err
	}
	for _, q := range p.spec.Queries {
		n, err := p.db.Count(ctx, q.Name)
		if err != nil {
			return nil, err
		}
		p.status.stored += uint64(n)
	}
	if p.listener, err = net.Listen("tcp", opt.addr); err != nil {
		return nil, fmt.Errorf("cannot serve the page at %s: %w; choose another --addr, or port 0 for a free one", opt.addr, err)
	}
	if p.status.finished() {
		return p, nil
	}
	if p.local, err = localkinesis.Open(localkinesis.Config{Dir: opt.dir.kinesis(), Logger: p.log.Named("kinesis")}); err != nil {
		return nil, err
	}
	if p.client, err = source.NewKinesisClient(ctx, p.local.Endpoint(), "us-east-1", nil); err != nil {
		return nil, err
	}
	if p.nats, err = natsd.Start(natsd.Config{Dir: opt.dir.nats(), Logger: p.log.Named("nats")}); err != nil {
		return nil, err
	}
	if p.conn, err = p.nats.Connect("tripgrid"); err != nil {
		return nil, err
	}
	return p, nil
}

// close ends what openPipeline opened, the last first.
func (p *pipeline) close() {
	if p.conn != nil {
		p.conn.Close()
	}
	if p.nats != nil {
		p.nats.Close()
	}
	if p.listener != nil {
		p.listener.Close()
	}
	if p.db != nil {
		p.db.Close()
	}
	if p.unlock != nil {
		p.unlock()
	}
}

// serve shows the page until ctx ends.
func (p *pipeline) serve(ctx context.Context) error {
	srv := &http.Server{
		Handler:           dashboard.New(dashboard.NewSource(p.db, p.status.state), p.log.Named("page")),
		ReadHeaderTimeout: 5 * time.Second,
	}
	stop := context.AfterFunc(ctx, func() {
		quiet, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(quiet) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
