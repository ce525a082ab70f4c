package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/worker/source"
)

type localCmd struct {
	Dir         string `default:"tripgrid-local" placeholder:"FOLDER" help:"Folder of the services."`
	KinesisAddr string `default:"127.0.0.1:4567" placeholder:"HOST:PORT" help:"Where Kinesis is served; port 0 takes a free one."`
	NATSAddr    string `name:"nats-addr" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"Where NATS is served; port 0 takes a free one."`
	Stream      string `default:"trips" placeholder:"NAME" help:"Name of the stream, made if there is none."`
	Shards      int    `default:"4" help:"Its shards."`

	Log settings.Log `embed:"" prefix:"log-"`
}

// Validate is called by the parser: what it refuses is a usage error.
func (c *localCmd) Validate() error {
	if c.Shards < 1 || c.Shards > 256 {
		return fmt.Errorf("--shards must be 1 to 256, not %d", c.Shards)
	}
	return nil
}

func (c *localCmd) Run(ctx context.Context, std streams) error {
	log, err := newLogger(std.err, c.Log)
	if err != nil {
		return err
	}
	dir := folder(c.Dir)
	unlock, err := dir.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for flag, addr := range map[string]string{"nats-addr": c.NATSAddr, "kinesis-addr": c.KinesisAddr} {
		if err := mayListen(flag, addr); err != nil {
			return err
		}
	}
	nats, err := natsd.Start(natsd.Config{Dir: dir.nats(), Listen: c.NATSAddr, Logger: log.Named("nats")})
	if err != nil {
		return err
	}
	defer nats.Close()
	local, err := localkinesis.Open(localkinesis.Config{Dir: dir.kinesis(), Addr: c.KinesisAddr, Logger: log.Named("kinesis")})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return local.Run(ctx) })
	g.Go(func() error {
		client, err := source.NewKinesisClient(ctx, local.Endpoint(), "us-east-1", nil)
		if err != nil {
			return err
		}
		if err := source.EnsureStream(ctx, client, c.Stream, c.Shards); err != nil {
			return err
		}
		text, err := c.settings(local.Endpoint(), nats.URL())
		if err != nil {
			return err
		}
		name := filepath.Join(c.Dir, "tripgrid.yaml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the settings of the other commands: %w", err)
		}
		fmt.Fprint(std.out, text)
		fmt.Fprintf(std.err, "tripgrid: serving until Ctrl-C; these settings are in %s:\n  tripgrid worker --config %s\n  tripgrid produce --config %s\n", name, name, name)
		log.Debug("serving", zap.String("kinesis", local.Endpoint()), zap.String("nats", nats.URL()))
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// mayListen refuses an address that cannot be served at, by its flag.
func mayListen(flag, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot serve at %s: %w; choose another --%s, or port 0 for a free one", addr, err, flag)
	}
	return l.Close()
}

// settings is the file that lets the other commands use these services, from
// any folder.
func (c *localCmd) settings(kinesis, nats string) (string, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The services of tripgrid local, for tripgrid produce and tripgrid worker.\n")
	fmt.Fprintf(&b, "job:\n  partitions: 16\n")
	fmt.Fprintf(&b, "kinesis:\n  endpoint: %s\n  stream: %s\n", kinesis, c.Stream)
	fmt.Fprintf(&b, "leases:\n  store: nats\n")
	fmt.Fprintf(&b, "nats:\n  url: [%s]\n", nats)
	fmt.Fprintf(&b, "snapshots:\n  url: %q\n", filepath.Join(dir, "snapshots"))
	fmt.Fprintf(&b, "checkpoint:\n  interval: 2s\n")
	fmt.Fprintf(&b, "results:\n  url: %q\n", filepath.Join(dir, "results.db"))
	fmt.Fprintf(&b, "producer:\n  dir: %q\n", filepath.Join(dir, "producer"))
	return b.String(), nil
}
