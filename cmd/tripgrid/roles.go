package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	kt "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/producer"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker"
	"github.com/tripgrid/tripgrid/worker/ingest"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

// openRoles makes the job if there is none, and every role.
func (p *pipeline) openRoles(ctx context.Context) error {
	shards, err := p.ensureStream(ctx)
	if err != nil {
		return err
	}
	p.spec.Shards = shards
	_, m, err := checkpoint.CreateJob(ctx, p.store, p.spec, time.Now(), checkpoint.NewNonce())
	if err != nil {
		return err
	}
	if p.opt.data, err = spooled(p.opt.dir, p.opt.data); err != nil {
		return err
	}
	js, err := jetstream.New(p.conn)
	if err != nil {
		return err
	}
	// Generation 1 begins with an empty cut, so any manifest tells its genesis.
	first := *m
	first.N, first.Vector, first.Partitions = 0, nil, nil
	p.partlog, err = stream.OpenLog(ctx, js, stream.Spec{
		Job: job, Generation: m.Generation, Partitions: p.opt.partitions, Nonce: m.Nonce, Genesis: checkpoint.Genesis(&first),
	})
	if err != nil {
		return err
	}
	if p.board, err = checkpoint.OpenBoard(ctx, js, job, m.Generation, 1); err != nil {
		return err
	}
	p.pending, err = sink.NewPending(p.db, sink.PendingConfig{Rejected: p.status.rejected, Log: p.log.Named("sink")})
	if err != nil {
		return err
	}
	p.ingest, err = ingest.New(ingest.Config{
		Log: p.partlog, Nonce: m.Nonce, Partitions: p.opt.partitions, CellPrecision: cellPrecision, Geofence: p.opt.profile,
		Manifest: func(ctx context.Context) (*checkpoint.Manifest, error) {
			_, m, err := checkpoint.Recover(ctx, p.store, job)
			return m, err
		},
		Board: p.board, Logger: p.log.Named("ingest"),
	})
	if err != nil {
		return err
	}
	floor, err := p.ingest.HighestBarrier(ctx, m.Spec.ShardIDs())
	if err != nil {
		return err
	}
	p.coordinator = checkpoint.NewService(
		checkpoint.Config{Job: job, Interval: p.opt.interval, Floor: floor},
		p.store, p.board, p.partlog,
		checkpoint.Tee(checkpoint.Logged(p.log.Named("checkpoint")), p.status.events()),
	)
	if err := p.openSource(ctx, js, m); err != nil {
		return err
	}
	queries, err := window.Queries(p.opt.profile, p.opt.window)
	if err != nil {
		return err
	}
	cfg := window.Config{
		Job: job, Generation: m.Generation, Nonce: m.Nonce, Partitions: p.opt.partitions, Queries: queries, Shards: m.Spec.ShardIDs(),
	}
	p.windows = worker.NewWindows(worker.WindowsConfig{
		Job: job, Store: p.store, Log: p.partlog, Board: p.board, Pending: p.pending, Machine: cfg,
		Fallback: p.status.fallback, Logger: p.log.Named("windows"),
	})
	p.producer, err = producer.New(producer.Config{
		Stream: kinesisStream, Client: p.client, Job: job, Data: p.opt.data, Speedup: p.opt.speedup, Seek: p.opt.seek,
		StateFile: p.opt.dir.progress(), Logger: p.log.Named("producer"),
	})
	return err
}

func (p *pipeline) openSource(ctx context.Context, js jetstream.JetStream, m *checkpoint.Manifest) error {
	// The nonce is as good as the folder: no other folder's run has it.
	owner, err := cluster.NewOwner(fmt.Sprintf("%016x", m.Nonce))
	if err != nil {
		return err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: fmt.Sprintf("%s-%s-leases", job, m.Generation), Description: "tripgrid: leases of shards",
	})
	if err != nil {
		return fmt.Errorf("open the lease table: %w", err)
	}
	leases, err := cluster.New(cluster.NewKV(kv, "shard."), cluster.Options{Owner: owner, Proof: cluster.SameFolder(owner)})
	if err != nil {
		return err
	}
	p.source, err = source.NewKCL(source.Config{
		Stream: kinesisStream, Client: p.client, Leases: leases,
		Open: p.ingest.Open, Progress: p.ingest.Progress, Logger: p.log.Named("source"),
	})
	return err
}

// ensureStream makes the embedded stream if there is none, and lists its shards.
func (p *pipeline) ensureStream(ctx context.Context) ([]checkpoint.ShardSpec, error) {
	_, err := p.client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String(kinesisStream), ShardCount: aws.Int32(int32(p.opt.shards))})
	var inUse *kt.ResourceInUseException
	if err != nil && !errors.As(err, &inUse) {
		return nil, fmt.Errorf("create the stream %s: %w", kinesisStream, err)
	}
	wait := kinesis.NewStreamExistsWaiter(p.client, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second })
	if err := wait.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String(kinesisStream)}, time.Minute); err != nil {
		return nil, fmt.Errorf("wait for the stream %s: %w", kinesisStream, err)
	}
	var shards []checkpoint.ShardSpec
	in := &kinesis.ListShardsInput{StreamName: aws.String(kinesisStream)}
	for {
		out, err := p.client.ListShards(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("list the shards of %s: %w", kinesisStream, err)
		}
		for _, s := range out.Shards {
			shards = append(shards, checkpoint.ShardSpec{
				ID: stream.ShardID(*s.ShardId), HashStart: *s.HashKeyRange.StartingHashKey, HashEnd: *s.HashKeyRange.EndingHashKey,
			})
		}
		if out.NextToken == nil {
			return shards, nil
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}
