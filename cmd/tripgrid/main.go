// Command tripgrid turns a stream of trips into live per-cell results.
// `tripgrid --help` lists its sub-commands; each has a file of its own here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
)

// version is set by the release build; a build from a checkout says "devel".
var version = "devel"

// cli is the whole command line.
type cli struct {
	Demo       demoCmd       `cmd:"" help:"Run everything in one process: trips in, results on a local page."`
	Local      localCmd      `cmd:"" help:"Run the embedded services alone, for the commands below."`
	Produce    produceCmd    `cmd:"" help:"Replay trips into a Kinesis stream."`
	Worker     workerCmd     `cmd:"" help:"Read the stream, aggregate, store results: as many as you like."`
	Setup      setupCmd      `cmd:"" help:"Prepare OpenSearch for a job."`
	Export     exportCmd     `cmd:"" help:"Write a run's results as JSON lines."`
	Checkpoint checkpointCmd `cmd:"" help:"List, show and verify a run's checkpoints."`
	Config     configCmd     `cmd:"" help:"Check and print the configuration."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// streams are where commands print: results to out, everything else to err.
type streams struct {
	out, err io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit status, 0 for success,
// 1 for failure and 2 for a command line that is not understood.
func run(ctx context.Context, args []string, std streams) int {
	var c cli
	parser, err := kong.New(&c, append(settings.Options(),
		kong.Name("tripgrid"),
		kong.Description("Exactly-once, event-time stream processing over Kinesis: where is demand, how long to the airport."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(std.out, std.err),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
	)...)
	if err != nil {
		fmt.Fprintln(std.err, "tripgrid:", err)
		return 2
	}
	exited := -1
	parser.Exit = func(code int) { exited = code }
	parsed, err := parser.Parse(args)
	if exited >= 0 { // --help
		return exited
	}
	if err != nil {
		fmt.Fprintf(std.err, "tripgrid: %v\nTry 'tripgrid --help'.\n", err)
		return 2
	}
	if err := parsed.Run(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return 130 // interrupted, as a shell would say it
		}
		fmt.Fprintln(std.err, "tripgrid:", err)
		return 1
	}
	return 0
}

type versionCmd struct{}

func (versionCmd) Run(std streams) error {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += " " + s.Value[:min(12, len(s.Value))]
			}
		}
		v += " " + info.GoVersion
	}
	_, err := fmt.Fprintln(std.out, "tripgrid", v)
	return err
}
