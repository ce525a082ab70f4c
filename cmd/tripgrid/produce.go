package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/producer"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/worker/source"
)

type produceCmd struct {
	DryRun  bool `help:"Read the trips and send nothing."`
	Summary bool `help:"Tell what the files hold, what was rejected and why, and what the replay asks of the stream."`
	JSON    bool `help:"Print the summary as JSON."`

	Job      settings.Job      `embed:""`
	AWS      settings.AWS      `embed:"" prefix:"aws-"`
	Kinesis  settings.Kinesis  `embed:"" prefix:"kinesis-"`
	Producer settings.Producer `embed:""`
	Log      settings.Log      `embed:"" prefix:"log-"`
}

func (c *produceCmd) Run(ctx context.Context, std streams) (err error) {
	log, err := newLogger(std.err, c.Log)
	if err != nil {
		return err
	}
	dir := folder(c.Producer.Dir)
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	in := input{
		paths: c.Producer.Data, trips: c.Producer.Trips, seed: c.Producer.Seed, timezone: c.Producer.Timezone, zones: c.Producer.Zones,
		region: c.AWS.Region, endpoint: c.Producer.S3Endpoint,
	}
	refusals := log
	if c.Summary { // which tells more of them
		refusals = zap.NewNop()
	}
	data, err := openData(ctx, dir, in, std.err, refusals)
	if err != nil {
		return err
	}
	defer func() {
		if closer, ok := data.(io.Closer); ok {
			err = errors.Join(err, closer.Close())
		}
	}()
	if c.Summary || c.DryRun {
		if err := c.summarize(ctx, data, std.out); err != nil || c.DryRun {
			return err
		}
	}
	client, err := kinesisClient(ctx, c.Kinesis, c.AWS.Region)
	if err != nil {
		return err
	}
	// The producer tries again what it cannot reach; at the beginning it is a mistake.
	if _, err := source.ListShards(ctx, client, c.Kinesis.Stream); err != nil {
		return err
	}
	replay := producer.Config{
		Stream: c.Kinesis.Stream, Client: client, Job: c.Job.Name, Data: data, Speedup: c.Producer.Speedup, Seek: c.Producer.Seek,
		StateFile: dir.progress(), Logger: log.Named("producer"),
	}
	p, err := producer.New(replay)
	if err != nil {
		return err
	}
	// A replay that is refused leaves the other one's trips in the folder.
	if err := p.Check(); err != nil {
		return fmt.Errorf("%w, or another --dir", err)
	}
	if data, err = spooled(dir, data); err != nil {
		return err
	}
	replay.Data = data
	if p, err = producer.New(replay); err != nil {
		return err
	}
	reporting, stop := context.WithCancel(ctx)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		showProgress(reporting, std.err, p)
	}()
	err = p.Run(ctx)
	stop()
	<-reported
	switch {
	case err == nil:
		fmt.Fprintf(std.err, "tripgrid: all %s trips are in the stream %s\n", grouped(p.Stats().Sent), c.Kinesis.Stream)
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(std.err, "tripgrid: stopped; the same command with --dir %s goes on\n", c.Producer.Dir)
	default:
		log.Debug("replay failed", zap.Error(err))
	}
	return err
}

// summarize tells what the data set holds, and what its replay asks of the stream.
func (c *produceCmd) summarize(ctx context.Context, data dataset.Dataset, out io.Writer) error {
	s, err := producer.Summarize(ctx, data, producer.Config{Speedup: c.Producer.Speedup, Seek: c.Producer.Seek})
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(out, s)
	case c.Summary:
		_, err = s.WriteTo(out)
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s trips can be replayed; --summary tells more\n", s.Name, grouped(s.Trips))
	return err
}

// showProgress shows the producer's progress until it is done or ctx ends.
func showProgress(ctx context.Context, w io.Writer, p *producer.Producer) {
	tty := isTerminal(w)
	interval := 10 * time.Second
	if tty {
		interval = 200 * time.Millisecond
	}
	producer.Report(ctx, w, tty, interval, p.Stats)
}
