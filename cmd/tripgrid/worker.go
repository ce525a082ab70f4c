package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
)

type workerCmd struct {
	Role         []string `enum:"ingest,window" default:"ingest,window" env:"TRIPGRID_ROLE" help:"What to do: ingest reads shards into the log, window aggregates the log; both by default."`
	ExitWhenDone bool     `help:"Exit once the replay in the stream is at its end, and every result stored and checkpointed."`

	Job        settings.Job        `embed:""`
	AWS        settings.AWS        `embed:"" prefix:"aws-"`
	Kinesis    settings.Kinesis    `embed:"" prefix:"kinesis-"`
	Leases     settings.Leases     `embed:"" prefix:"leases-"`
	NATS       settings.NATS       `embed:"" prefix:"nats-"`
	Snapshots  settings.Snapshots  `embed:"" prefix:"snapshots-"`
	Checkpoint settings.Checkpoint `embed:"" prefix:"checkpoint-"`
	Results    settings.Results    `embed:"" prefix:"results-"`
	Log        settings.Log        `embed:"" prefix:"log-"`
}

func (c *workerCmd) Run(ctx context.Context, std streams) (err error) {
	log, err := newLogger(std.err, c.Log)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, c.Snapshots, c.AWS.Region)
	if err != nil {
		return err
	}
	client, err := kinesisClient(ctx, c.Kinesis, c.AWS.Region)
	if err != nil {
		return err
	}
	conn, js, err := openNATS(ctx, c.NATS, log)
	if err != nil {
		return err
	}
	defer conn.Close()
	start, err := c.Kinesis.SpecStart()
	if err != nil {
		return err
	}
	spec, queries, err := specOf(c.Job, c.Kinesis.Stream, start, checkpoint.Data{})
	if err != nil {
		return err
	}
	j, err := openJob(ctx, services{
		store: store, kinesis: client, js: js, log: log, prefix: c.NATS.Prefix, replicas: c.NATS.Replicas, maxBytes: c.NATS.MaxBytes,
	}, spec, queries)
	if err != nil {
		return err
	}

	owner, err := newOwner()
	if err != nil {
		return err
	}

	// All is opened before any of it runs.
	var roles []interface{ join(*crew) }
	if slices.Contains(c.Role, "ingest") {
		leases, err := openLeases(ctx, c.Leases, c.AWS.Region, j, owner)
		if err != nil {
			return err
		}
		r, err := j.newIngest(leases, c.Kinesis.PollEvery, c.Kinesis.MaxRecords)
		if err != nil {
			return err
		}
		roles = append(roles, r)
	}
	if slices.Contains(c.Role, "window") {
		out, err := openResults(ctx, c.Results, c.AWS.Region, j)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, out.Close()) }()
		pending, err := newPending(out, c.Results, log)
		if err != nil {
			return err
		}
		election, err := j.leaseBucket(ctx, leaderLeases)
		if err != nil {
			return err
		}
		leases, err := cluster.New(election, cluster.Options{Owner: owner, Failover: c.Leases.Failover, Logger: log.Named("leader")})
		if err != nil {
			return err
		}
		roles = append(roles, j.newWindows(windowConfig{
			pending:     pending,
			leases:      leases,
			checkpoints: checkpoint.Config{Interval: c.Checkpoint.Interval, Timeout: c.Checkpoint.Timeout, Retain: c.Checkpoint.Retain},
		}))
	}
	told := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	crew := newCrew(ctx)
	for _, r := range roles {
		r.join(crew)
	}
	done := false
	if c.ExitWhenDone {
		crew.add("end", func(ctx context.Context) error {
			err := j.finished(ctx)
			if err == nil {
				done = true
				cancel()
			}
			return err
		})
	}
	log.Info(fmt.Sprintf("worker starts: %s of job %s", strings.Join(c.Role, " and "), j.spec.Job),
		zap.Stringer("generation", j.generation), zap.String("stream", j.spec.Stream), zap.Int("shards", len(j.spec.Shards)), zap.Int("partitions", j.spec.Partitions))
	err = crew.g.Wait()
	switch {
	case done:
		log.Info("worker ends: the replay is at its end, all results are stored")
		return nil
	case told.Err() == nil || !errors.Is(err, context.Canceled):
		return err
	}
	log.Info("worker ends, it was told to")
	if c.ExitWhenDone { // it is not
		return told.Err()
	}
	return nil
}
