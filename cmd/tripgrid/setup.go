package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/worker/window"
)

type setupCmd struct {
	DryRun    bool          `help:"Show what would be done, and change nothing."`
	Serve     string        `placeholder:"NAME" help:"Name that readers use, in the aliases; that of the job by default."`
	TakeOver  bool          `help:"Take the aliases from the job that has them, in one step: how a replayed job is swapped in."`
	Shards    int           `default:"1" help:"Shards of each index."`
	Replicas  int           `default:"0" help:"Replicas of each shard; 0 lets OpenSearch keep one as soon as there are two nodes."`
	Refresh   time.Duration `default:"5s" help:"How soon a result can be found."`
	Retention time.Duration `placeholder:"DURATION" help:"Delete results so long after their index was made, where the cluster can; by default they are kept."`

	Job     settings.Job     `embed:""`
	AWS     settings.AWS     `embed:"" prefix:"aws-"`
	Results settings.Results `embed:"" prefix:"results-"`
}

func (c *setupCmd) Run(ctx context.Context, std streams) (err error) {
	if !strings.HasPrefix(c.Results.URL, "http") {
		return fmt.Errorf("there is nothing to set up in %q: give the address of OpenSearch as --results-url", c.Results.URL)
	}
	queries, err := window.Queries(c.Job.Profile, c.Job.Window)
	if err != nil {
		return err
	}
	client, err := opensearchClient(ctx, c.Results, c.AWS.Region)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	plan, err := client.Setup(ctx, opensearch.Options{
		Prefix: c.Results.Prefix, Job: c.Job.Name, Queries: fieldsOf(queries), Serve: c.Serve, TakeOver: c.TakeOver,
		Shards: c.Shards, Replicas: c.Replicas, Refresh: c.Refresh, Retention: c.Retention, DryRun: c.DryRun,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(std.out, plan)
	return err
}
