package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/worker/window"
)

type setupCmd struct {
	DryRun   bool   `help:"Show what would be done, and change nothing."`
	TakeOver bool   `help:"Take the aliases from the job that has them, in one step: how a replayed job is swapped in."`
	Objects  string `placeholder:"FILE.ndjson" help:"Write the job's dashboard there, to import by hand."`

	Job     settings.Job     `embed:""`
	AWS     settings.AWS     `embed:"" prefix:"aws-"`
	Results settings.Results `embed:"" prefix:"results-"`
	Indices settings.Indices `embed:""`
}

func (c *setupCmd) Run(ctx context.Context, std streams) (err error) {
	queries, err := window.Queries(c.Job.Profile, c.Job.Window)
	if err != nil {
		return err
	}
	client, err := opensearchClient(ctx, c.Results, c.AWS.Region)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	opt := opensearch.Options{
		Prefix: c.Results.Prefix, Job: c.Job.Name, Queries: fieldsOf(queries), Serve: c.Indices.Serve, TakeOver: c.TakeOver,
		Shards: c.Indices.Shards, Replicas: c.Indices.Replicas, Refresh: c.Indices.Refresh, Retention: c.Indices.Retention, DryRun: c.DryRun,
	}
	plan, err := client.Setup(ctx, opt)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprint(std.out, plan); err != nil {
		return err
	}
	return c.dashboard(ctx, opt, std)
}

// dashboard writes and imports the saved objects.
func (c *setupCmd) dashboard(ctx context.Context, opt opensearch.Options, std streams) error {
	objects, err := opensearch.SavedObjects(opt, opensearch.Dashboard{
		Maps:  []opensearch.Map{{Title: "Pick-ups by area", Query: window.PickupCount, Sum: "pickup_count"}},
		Lines: []opensearch.Lines{{Title: "Minutes to the airport", Query: window.TripDuration, Average: "avg_trip_duration", Weight: "trip_count"}},
	})
	if err != nil {
		return err
	}
	if c.Objects != "" && !c.DryRun {
		if err := os.WriteFile(c.Objects, objects, 0o644); err != nil {
			return fmt.Errorf("write the dashboard: %w: name a file that can be written as --objects", err)
		}
		fmt.Fprintf(std.out, "  wrote   dashboard           %s\n", c.Objects)
	}
	if c.Indices.Dashboards == "" {
		return nil
	}
	if c.DryRun {
		_, err := fmt.Fprintf(std.out, "  import  dashboard           %s\n", c.Indices.Dashboards)
		return err
	}
	done, err := opensearch.ImportDashboards(ctx, opensearch.DashboardsConfig{
		URL: c.Indices.Dashboards, Tenant: c.Indices.Tenant, Username: c.Results.User, Password: string(c.Results.Password), CAFile: c.Results.CA,
		SigV4: c.Results.SigV4, Region: c.AWS.Region, Timeout: c.Results.Timeout,
	}, objects)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(std.out, "  import  dashboard           %s (%d objects, %d of them replaced)\n", c.Indices.Dashboards, done.Objects, done.Replaced)
	return err
}
