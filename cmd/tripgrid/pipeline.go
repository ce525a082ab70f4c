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
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/producer"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/sink"
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
	opt     options
	log     *zap.Logger
	spec    checkpoint.Spec
	queries []window.Query

	// Services; set by open, in this order.
	unlock   func()
	store    *filestore.Store
	db       *sink.SQLite
	listener net.Listener
	local    *localkinesis.Server
	nats     *natsd.Server
	conn     *nats.Conn

	client *kinesis.Client

	// Roles; set by openRoles.
	ingest   *ingestRole
	windows  *windowRole
	producer *producer.Producer

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

	c := newCrew(ctx)
	c.add("local Kinesis", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return err
		}
	})
	p.windows.join(c)
	p.ingest.join(c)
	c.add("producer", p.producer.Run)
	c.add("finish", func(ctx context.Context) error {
		err := p.status.wait(ctx)
		if err == nil {
			cancel()
		}
		return err
	})
	err := c.g.Wait()
	if p.status.finished() {
		return nil
	}
	return err
}

// openRoles makes the job if there is none, and every role.
func (p *pipeline) openRoles(ctx context.Context) error {
	if err := source.EnsureStream(ctx, p.client, kinesisStream, p.opt.shards); err != nil {
		return err
	}
	js, err := jetstream.New(p.conn)
	if err != nil {
		return err
	}
	j, err := openJob(ctx, services{store: p.store, kinesis: p.client, js: js, log: p.log}, p.spec, p.queries)
	if err != nil {
		return err
	}
	if p.opt.data, err = spooled(p.opt.dir, p.opt.data); err != nil {
		return err
	}
	pending, err := sink.NewPending(p.db, sink.PendingConfig{Rejected: p.status.rejected, Log: p.log.Named("sink")})
	if err != nil {
		return err
	}
	shards, err := p.leases(ctx, j, shardLeases)
	if err != nil {
		return err
	}
	leader, err := p.leases(ctx, j, leaderLeases)
	if err != nil {
		return err
	}
	p.windows = j.newWindows(windowConfig{
		pending: pending, leases: leader, checkpoints: checkpoint.Config{Interval: p.opt.interval}, events: p.status.events(), fallback: p.status.fallback,
	})
	if p.ingest, err = j.newIngest(shards, 0, 0); err != nil {
		return err
	}
	p.producer, err = producer.New(producer.Config{
		Stream: kinesisStream, Client: p.client, Job: demoJob, Data: p.opt.data, Speedup: p.opt.speedup, Seek: p.opt.seek,
		StateFile: p.opt.dir.progress(), Logger: p.log.Named("producer"),
	})
	return err
}

// leases are in the embedded NATS. That the folder is locked
// proves every other owner dead.
func (p *pipeline) leases(ctx context.Context, j *job, of string) (*cluster.Leases, error) {
	// The nonce is as good as the folder: no other folder's run has it.
	owner, err := cluster.NewOwner(fmt.Sprintf("%016x", j.nonce))
	if err != nil {
		return nil, err
	}
	store, err := j.leaseBucket(ctx, of)
	if err != nil {
		return nil, err
	}
	return cluster.New(store, cluster.Options{Owner: owner, Proof: cluster.SameFolder(owner), Logger: p.log.Named("leases")})
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
	settings := settings.Job{Name: demoJob, Profile: opt.profile, Window: opt.window, Partitions: opt.partitions, Lanes: true}
	if p.spec, p.queries, err = specOf(settings, kinesisStream, checkpoint.TrimHorizon, identity(opt.data, opt.seek)); err != nil {
		return nil, err
	}
	if p.store, err = filestore.Open(opt.dir.snapshots()); err != nil {
		return nil, err
	}
	p.status = newStatus(opt, p.spec)
	_, m, err := checkpoint.Recover(ctx, p.store, demoJob)
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
