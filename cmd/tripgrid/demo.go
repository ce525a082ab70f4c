package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	_ "time/tzdata" // --timezone works on machines without zone files

	"github.com/mattn/go-isatty"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"
)

type demoCmd struct {
	Data     []string  `placeholder:"PATH|URL" help:"Trips: the TLC's CSV and Parquet files of any year, ride events or JSON lines, plain or compressed: files, patterns, https:// URLs, s3:// prefixes. Repeatable. Without it trips are generated."`
	Timezone string    `placeholder:"ZONE" help:"Time zone of times that do not say theirs, such as America/New_York; UTC by default, like the reference architecture."`
	Zones    string    `placeholder:"FILE" help:"CSV of where the files' location ids are (LocationID, latitude, longitude); the TLC's taxi zones by default."`
	Trips    int64     `default:"3000000" help:"How many trips to generate; 3,000,000 are a week of New York."`
	Seed     uint64    `default:"1" help:"Seed of the generated trips."`
	Speedup  float64   `default:"1440" help:"Seconds of event time in one second; 1440 plays a day in a minute, 0 goes as fast as it can."`
	Seek     time.Time `placeholder:"TIME" help:"Start at the first trip that ends at or after this time, such as 2016-01-01T06:00:00Z."`

	Profile string        `enum:"bbox,seed" default:"bbox" help:"Geofence and rules: bbox, or seed for those of the reference architecture."`
	Window  time.Duration `default:"10m" help:"Length of the event-time windows."`

	Shards             int           `default:"4" help:"Shards of the local Kinesis stream; the KCL reads 2 MB/s from each."`
	Partitions         int           `default:"16" help:"Partitions of the log, by hash of the grid cell."`
	Dir                string        `default:"tripgrid-data" help:"Working folder. The same folder goes on where it stopped."`
	Addr               string        `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the page is served; port 0 takes a free one."`
	CheckpointInterval time.Duration `default:"2s" help:"Time between checkpoints."`

	Verbose bool `help:"Log debug detail to the folder's tripgrid.log."`

	ExitWhenDone bool   `help:"Exit once every window is closed, stored and checkpointed."`
	Export       string `placeholder:"FILE.jsonl" help:"Write the results there when done."`
}

// Validate is called by the parser: what it refuses is a usage error.
func (c *demoCmd) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > 256:
		return fmt.Errorf("--shards must be 1 to 256, not %d", c.Shards)
	case c.Partitions < 1 || c.Partitions > 1024:
		return fmt.Errorf("--partitions must be 1 to 1024, not %d", c.Partitions)
	case c.Addr == "":
		return errors.New("--addr must name an address, such as 127.0.0.1:0")
	case c.Speedup < 0:
		return fmt.Errorf("--speedup must be 0 or more, not %g", c.Speedup)
	case c.Window < time.Second || c.Window%time.Second != 0:
		return fmt.Errorf("--window must be whole seconds, at least 1s, not %v", c.Window)
	case c.CheckpointInterval < 100*time.Millisecond:
		return fmt.Errorf("--checkpoint-interval must be at least 100ms, not %v", c.CheckpointInterval)
	case c.Trips < 1:
		return fmt.Errorf("--trips must be 1 or more, not %d", c.Trips)
	}
	return nil
}

func (c *demoCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir := folder(c.Dir)
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return fmt.Errorf("make the working folder %s: %w; choose another --dir", c.Dir, err)
	}
	if c.Export != "" {
		if err := mayExport(c.Export); err != nil {
			return err
		}
	}
	log, closeLog, err := openLog(dir, std.err, c.Verbose)
	if err != nil {
		return err
	}
	defer closeLog()
	data, err := openData(ctx, dir, input{paths: c.Data, trips: c.Trips, seed: c.Seed, timezone: c.Timezone, zones: c.Zones}, std.err, log)
	if err != nil {
		return err
	}
	p, err := openPipeline(ctx, options{
		dir: dir, data: data, seek: c.Seek, speedup: c.Speedup, profile: c.Profile, window: c.Window,
		shards: c.Shards, partitions: c.Partitions, addr: c.Addr, interval: c.CheckpointInterval, log: log,
	})
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Fprintf(std.err, "tripgrid: %s (%s trips), results at http://%s\n", p.spec.Data.Name, grouped(p.spec.Data.Trips), p.listener.Addr())

	var page errgroup.Group
	page.Go(func() error { return p.serve(ctx) })
	reported := make(chan struct{})
	report, stopReport := context.WithCancel(ctx)
	go func() {
		defer close(reported)
		p.report(report, std.err)
	}()
	err = p.run(ctx)
	stopReport()
	<-reported
	if err == nil {
		err = c.finish(ctx, p, std)
	} else if errors.Is(err, context.Canceled) {
		fmt.Fprintln(std.err, "tripgrid: stopped; the same command goes on from the last checkpoint")
	} else {
		p.status.fail(err)
	}
	if err == nil && !c.ExitWhenDone {
		fmt.Fprintf(std.err, "tripgrid: finished; the page stays at http://%s until Ctrl-C\n", p.listener.Addr())
		<-ctx.Done()
	}
	cancel()
	if perr := page.Wait(); err == nil {
		err = perr
	}
	return err
}

// finish tells what came of a finished run, and exports it.
func (c *demoCmd) finish(ctx context.Context, p *pipeline, std streams) error {
	st, err := p.status.state(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.err, "tripgrid: done at checkpoint %d: %s trips read, %s in the grid, %s outside, %s late, %s undecodable, %s repeats dropped\n",
		st.Checkpoint.N, grouped(st.Trips.Read), grouped(st.Trips.Applied), grouped(st.Trips.Outside),
		grouped(st.Trips.Late), grouped(st.Trips.Dead), grouped(st.Trips.Repeated))
	if c.Export == "" {
		return nil
	}
	n, err := exportTo(ctx, p.db, c.Export)
	if err == nil {
		fmt.Fprintf(std.err, "tripgrid: %s documents written to %s\n", grouped(n), c.Export)
	}
	return err
}

// report shows the producer's progress, from when there is one.
func (p *pipeline) report(ctx context.Context, w io.Writer) {
	select {
	case <-p.started:
	case <-ctx.Done():
		return
	}
	showProgress(ctx, w, p.producer)
}

// openLog writes everything to a file in the folder, and warnings to people.
func openLog(dir folder, people io.Writer, verbose bool) (*zap.Logger, func(), error) {
	file, err := os.OpenFile(dir.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log file: %w", err)
	}
	enc := zap.NewProductionEncoderConfig()
	enc.EncodeTime, enc.EncodeDuration = zapcore.ISO8601TimeEncoder, zapcore.StringDurationEncoder
	brief := enc
	brief.TimeKey, brief.CallerKey, brief.StacktraceKey = "", "", ""
	brief.EncodeLevel = zapcore.CapitalLevelEncoder
	level := zap.InfoLevel
	if verbose {
		level = zap.DebugLevel
	}
	log := zap.New(zapcore.NewTee(
		zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.AddSync(file), level),
		zapcore.NewCore(zapcore.NewConsoleEncoder(brief), zapcore.Lock(zapcore.AddSync(people)), zap.WarnLevel),
	))
	return log, func() { file.Close() }, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
