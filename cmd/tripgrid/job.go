package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/producer"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

const (
	finalWatermark = trip.FinalWatermark
	// cellPrecision is that of the cells that are hashed to partitions: the
	// coarsest that a query groups by.
	cellPrecision = 6
)

// services are what a job's roles work on, embedded or external.
type services struct {
	store   checkpoint.Store
	kinesis *kinesis.Client
	js      jetstream.JetStream
	log     *zap.Logger
	// prefix, replicas and maxBytes are of the log in NATS; zero is the default.
	prefix   string
	replicas int
	maxBytes int64
}

// job is an opened job: what its roles share.
type job struct {
	services
	// spec is the generation's, nonce its identity.
	spec       checkpoint.Spec
	generation stream.Generation
	nonce      uint64
	queries    []window.Query
	partlog    *stream.Log
	board      *checkpoint.Board

	mu     sync.Mutex
	newest *checkpoint.Manifest // that was read here
}

// specOf is the spec of a job, but for its shards.
func specOf(s settings.Job, kinesisStream, start string, data checkpoint.Data) (checkpoint.Spec, []window.Query, error) {
	queries, err := window.Queries(s.Profile, s.Window)
	if err != nil {
		return checkpoint.Spec{}, nil, err
	}
	spec := checkpoint.Spec{
		Job: s.Name, Stream: kinesisStream, Partitions: s.Partitions, Hash: window.HashName, CellPrecision: cellPrecision,
		Geofence: s.Profile, Window: s.Window, Start: start, Data: data,
	}
	if s.Lanes {
		spec.Lanes = producer.Lanes
	}
	for _, q := range queries {
		spec.Queries = append(spec.Queries, checkpoint.QueryRef{Name: q.Name, Hash: q.Hash()})
	}
	return spec, queries, nil
}

// openJob begins the job if there is none, else resumes it: with the shards
// that it began with, and only if its spec is the one asked for.
func openJob(ctx context.Context, svc services, spec checkpoint.Spec, queries []window.Query) (*job, error) {
	latest := spec.Start == startLatest
	_, m, err := checkpoint.Recover(ctx, svc.store, spec.Job)
	if errors.Is(err, checkpoint.ErrNotFound) {
		if latest {
			spec.Start = time.Now().UTC().Format(time.RFC3339Nano)
		}
		if spec.Shards, err = firstShards(ctx, svc.kinesis, spec.Stream); err != nil {
			return nil, err
		}
		_, m, err = checkpoint.CreateJob(ctx, svc.store, spec, time.Now(), checkpoint.NewNonce())
		if errors.Is(err, checkpoint.ErrMismatch) { // another starter was faster: its shards and its now are the job's
			_, m, err = checkpoint.Recover(ctx, svc.store, spec.Job)
		}
	}
	if err != nil {
		return nil, err
	}
	spec.Shards = nil
	if latest {
		spec.Start = m.Spec.Start
	}
	if diff := m.Spec.Diff(spec); diff != "" {
		return nil, fmt.Errorf("cannot resume job %s: %s; give what it was started with, or another --job", spec.Job, diff)
	}
	j := &job{services: svc, spec: m.Spec, generation: m.Generation, nonce: m.Nonce, queries: queries, newest: m}
	// Generation 1 begins with an empty cut, so any manifest tells its genesis.
	first := *m
	first.N, first.Vector, first.Partitions = 0, nil, nil
	j.partlog, err = stream.OpenLog(ctx, svc.js, stream.Spec{
		Job: spec.Job, Generation: m.Generation, Partitions: spec.Partitions, Nonce: m.Nonce, Genesis: checkpoint.Genesis(&first),
		Prefix: svc.prefix, MaxBytes: svc.maxBytes, Replicas: svc.replicas,
	})
	if err != nil {
		return nil, err
	}
	board := checkpoint.BoardSpec{Prefix: svc.prefix, Job: spec.Job, Generation: m.Generation, Replicas: svc.replicas, Partitions: spec.Partitions}
	if j.board, err = board.Open(ctx, svc.js); err != nil {
		return nil, err
	}
	return j, nil
}

// startLatest as a spec's start is resolved to a time when the job begins.
const startLatest = "latest"

// start is where shards without a parent begin.
func (j *job) start() (source.Start, error) {
	if j.spec.Start == checkpoint.TrimHorizon {
		return source.Start{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, j.spec.Start)
	if err != nil {
		return source.Start{}, fmt.Errorf("job %s starts at %q, which is no time: %w", j.spec.Job, j.spec.Start, err)
	}
	return source.Start{Timestamp: at}, nil
}

// manifest is that of the newest checkpoint, or, while the store is
// unavailable, the newest that was read before: shards may begin from any
// (package checkpoint, Reading back).
func (j *job) manifest(ctx context.Context) (*checkpoint.Manifest, error) {
	_, m, err := checkpoint.Recover(ctx, j.store, j.spec.Job)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case errors.Is(err, checkpoint.ErrUnavailable):
		return j.newest, nil
	case err != nil:
		return nil, err
	case m.N >= j.newest.N:
		j.newest = m
	}
	return m, nil
}

// finished waits until a checkpoint says that all shards are at their end and
// no document is pending.
func (j *job) finished(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := false
	err := j.board.WatchCompleted(ctx, func(checkpoint.Completed) {
		// It may be the last one, so it must be read, outage or not.
		for ctx.Err() == nil {
			_, m, err := checkpoint.Recover(ctx, j.store, j.spec.Job)
			if err == nil {
				if done = m.N > 0 && checkpoint.Finished(m); done {
					cancel()
				}
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	if done {
		return nil
	}
	return err
}
