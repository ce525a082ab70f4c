package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/filestore"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker/window"
)

type checkpointCmd struct {
	Ls     checkpointLs     `cmd:"" help:"List the retained checkpoints, the newest first."`
	Show   checkpointShow   `cmd:"" help:"Show one checkpoint: positions, parts and counters."`
	Verify checkpointVerify `cmd:"" help:"Prove the retained checkpoints: every object whole, the counts conserved."`
}

// checkpointFlags are common to the sub-commands.
type checkpointFlags struct {
	Dir  string `default:"tripgrid-data" placeholder:"FOLDER" help:"Working folder of a demo; of no use where --snapshots-url is set."`
	JSON bool   `help:"Print JSON."`

	Job       string             `name:"job" key:"name" group:"job" default:"taxi" placeholder:"NAME" help:"Name of the job."`
	AWS       settings.AWS       `embed:"" prefix:"aws-"`
	Snapshots settings.Snapshots `embed:"" prefix:"snapshots-"`
}

// where is the store, for messages.
func (f checkpointFlags) where() string {
	if f.Snapshots.URL != "" {
		return f.Snapshots.URL
	}
	return f.Dir
}

// retained opens the store and reads what HEAD retains.
func (f checkpointFlags) retained(ctx context.Context) (checkpoint.Store, checkpoint.Head, []*checkpoint.Manifest, []checkpoint.Fallback, error) {
	store, err := f.open(ctx)
	if err != nil {
		return nil, checkpoint.Head{}, nil, nil, err
	}
	head, _, err := checkpoint.ReadJob(ctx, store, f.Job)
	if errors.Is(err, checkpoint.ErrNotFound) {
		err = fmt.Errorf("there is no job %s in %s: name the --job, or start it", f.Job, f.where())
	}
	if err != nil {
		return nil, checkpoint.Head{}, nil, nil, err
	}
	manifests, damaged, err := checkpoint.Retained(ctx, store, head)
	return store, head, manifests, damaged, err
}

func (f checkpointFlags) open(ctx context.Context) (checkpoint.Store, error) {
	if f.Snapshots.URL != "" {
		return openStore(ctx, f.Snapshots, f.AWS.Region)
	}
	dir := folder(f.Dir)
	if err := dir.mustHold(); err != nil {
		return nil, err
	}
	return filestore.Open(dir.snapshots())
}

type checkpointLs struct{ checkpointFlags }

// listed is one line of `checkpoint ls --json`.
type listed struct {
	N          stream.BarrierID  `json:"n"`
	Generation stream.Generation `json:"generation"`
	Created    time.Time         `json:"created"`
	Bytes      int64             `json:"bytes"`
	Read       uint64            `json:"read"`
	Pending    uint64            `json:"pending"`
	Watermark  string            `json:"watermark"`
	Finished   bool              `json:"finished"`
}

func (c checkpointLs) Run(ctx context.Context, std streams) error {
	_, _, manifests, damaged, err := c.retained(ctx)
	if err != nil {
		return err
	}
	rows := make([]listed, 0, len(manifests))
	for _, m := range manifests {
		row := listed{N: m.N, Generation: m.Generation, Created: m.Created, Bytes: m.Bytes(), Pending: m.Pending(), Finished: m.N > 0 && checkpoint.Finished(m)}
		low := finalWatermark
		for _, s := range m.Vector {
			row.Read += s.Read
			low = min(low, s.Watermark)
		}
		row.Watermark = watermarkText(low, len(m.Vector) > 0)
		rows = append(rows, row)
	}
	if c.JSON {
		if err := printJSON(std.out, rows); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "CHECKPOINT\tGENERATION\tCREATED\tSIZE\tRECORDS READ\tPENDING\tWATERMARK\t")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.N, r.Generation, r.Created.Format(time.RFC3339), size(r.Bytes), grouped(r.Read), grouped(r.Pending), r.Watermark)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return damage(damaged)
}

type checkpointShow struct {
	checkpointFlags
	N uint64 `arg:"" optional:"" help:"Checkpoint; the newest if not given."`
}

func (c checkpointShow) Run(ctx context.Context, std streams) error {
	_, head, manifests, damaged, err := c.retained(ctx)
	if err != nil {
		return err
	}
	n := stream.BarrierID(c.N)
	if n == 0 {
		n = head.N
	}
	for _, m := range manifests {
		if m.N == n {
			if c.JSON {
				return printJSON(std.out, m)
			}
			return show(std.out, m)
		}
	}
	if err := damage(damaged); err != nil {
		return err
	}
	return fmt.Errorf("checkpoint %s of job %s is not retained in %s: tripgrid checkpoint ls lists those that are", n, c.Job, c.where())
}

func show(out io.Writer, m *checkpoint.Manifest) error {
	fmt.Fprintf(out, "checkpoint %s of job %s, generation %s, taken %s, %s in %d parts\n", m.N, m.Job, m.Generation, m.Created.Format(time.RFC3339), size(m.Bytes()), len(m.Partitions))
	fmt.Fprintf(out, "data %s, window %v, geofence %s, %d partitions by %s\n\n", m.Spec.Data.Name, m.Spec.Window, m.Spec.Geofence, m.Spec.Partitions, m.Spec.Hash)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SHARD\tWATERMARK\tREAD\tPOSITION")
	for _, s := range m.Vector {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Shard, watermarkText(s.Watermark, true), grouped(s.Read), s.Position)
	}
	fmt.Fprintln(w, "\t\t\t")
	fmt.Fprintln(w, "PARTITION\tRESUMES AT\tPENDING\tPART")
	for _, p := range m.Partitions {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.Partition, p.Resume, grouped(p.Pending), p.Part.Name)
	}
	return w.Flush()
}

type checkpointVerify struct{ checkpointFlags }

// verified is what was proved of one checkpoint.
type verified struct {
	N         stream.BarrierID `json:"n"`
	Parts     int              `json:"parts"`
	Bytes     int64            `json:"bytes"`
	Read      uint64           `json:"read"`
	Watermark uint64           `json:"watermark_events"`
	Applied   uint64           `json:"applied"`
	Repeated  uint64           `json:"repeated"`
	Outside   uint64           `json:"outside"`
	Dead      uint64           `json:"dead"`
	Problems  []string         `json:"problems"`
}

func (c checkpointVerify) Run(ctx context.Context, std streams) error {
	store, _, manifests, damaged, err := c.retained(ctx)
	if err != nil {
		return err
	}
	var problems int
	rows := make([]verified, 0, len(manifests))
	for _, m := range manifests {
		v := verify(ctx, store, m)
		problems += len(v.Problems)
		rows = append(rows, v)
	}
	if c.JSON {
		if err := printJSON(std.out, rows); err != nil {
			return err
		}
	} else {
		for _, v := range rows {
			fmt.Fprintf(std.out, "checkpoint %s: %d parts, %s; %s records read = %s applied + %s repeated + %s outside + %s dead + %s watermark events\n",
				v.N, v.Parts, size(v.Bytes), grouped(v.Read), grouped(v.Applied), grouped(v.Repeated), grouped(v.Outside), grouped(v.Dead), grouped(v.Watermark))
			for _, p := range v.Problems {
				fmt.Fprintf(std.out, "  PROBLEM: %s\n", p)
			}
		}
	}
	if err := damage(damaged); err != nil {
		return err
	}
	if problems > 0 {
		return fmt.Errorf("%d problems in the checkpoints of %s: a restart refuses the damaged parts by name and goes on from older ones", problems, c.where())
	}
	if !c.JSON {
		fmt.Fprintln(std.out, "all objects are whole, all counts are conserved")
	}
	return nil
}

// verify reads every part of a checkpoint back into a machine, and checks the
// conservation law: of the manifest, and of the parts against the manifest.
func verify(ctx context.Context, store checkpoint.Store, m *checkpoint.Manifest) verified {
	v := verified{N: m.N, Bytes: m.Bytes(), Problems: []string{}}
	if m.N == 0 {
		return v
	}
	if err := checkpoint.Verify(m); err != nil {
		v.Problems = append(v.Problems, err.Error())
	}
	for _, s := range m.Vector {
		v.Read += s.Read
		v.Watermark += s.Watermarks
	}
	queries, err := window.Queries(m.Spec.Geofence, m.Spec.Window)
	if err != nil {
		v.Problems = append(v.Problems, err.Error())
		return v
	}
	cfg := window.Config{Job: m.Job, Generation: m.Generation, Nonce: m.Nonce, Partitions: m.Spec.Partitions, Queries: queries, Shards: m.Spec.ShardIDs()}
	for _, e := range m.Partitions {
		v.Parts++
		for _, s := range e.Counters.Shards {
			v.Applied += s.Applied
			v.Repeated += s.Repeated
			v.Outside += s.Outside
			v.Dead += s.Dead
		}
		if err := verifyPart(ctx, store, cfg, m, e); err != nil {
			v.Problems = append(v.Problems, err.Error())
		}
	}
	return v
}

func verifyPart(ctx context.Context, store checkpoint.Store, cfg window.Config, m *checkpoint.Manifest, e checkpoint.PartitionEntry) error {
	data, err := store.Get(ctx, e.Part.Name)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != e.Part.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %x, the manifest says %s", e.Part.Name, sum, e.Part.SHA256)
	}
	body, err := checkpoint.DecodePart(e.Part.Name, data)
	if err != nil {
		return err
	}
	cfg.Partition = e.Partition
	machine, pending, err := window.Restore(cfg, body)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Part.Name, err)
	}
	ack := machine.Ack()
	switch {
	case !ack.Vector.Equal(m.Vector):
		return fmt.Errorf("%s holds another cut than the manifest: %s", e.Part.Name, ack.Vector.Diff(m.Vector))
	case uint64(len(pending)) != e.Pending:
		return fmt.Errorf("%s holds %d pending documents, the manifest says %d", e.Part.Name, len(pending), e.Pending)
	case !reflect.DeepEqual(ack.Counters, e.Counters):
		return fmt.Errorf("%s counts %+v, the manifest says %+v", e.Part.Name, ack.Counters, e.Counters)
	case ack.Resume != e.Resume || !slices.Equal(ack.Anchors, e.Anchors):
		return fmt.Errorf("%s resumes at %d with anchors %v, the manifest says %d with %v", e.Part.Name, ack.Resume, ack.Anchors, e.Resume, e.Anchors)
	case ack.Ordinal != e.Ordinal:
		return fmt.Errorf("%s holds ordinal %d, the manifest says %d", e.Part.Name, ack.Ordinal, e.Ordinal)
	}
	return nil
}

// damage is an error that names the objects that could not be read.
func damage(all []checkpoint.Fallback) error {
	var errs []error
	for _, f := range all {
		errs = append(errs, errors.New(f.String()))
	}
	return errors.Join(errs...)
}

func watermarkText(w int64, known bool) string {
	switch {
	case !known:
		return "-"
	case w == finalWatermark:
		return "final"
	case w == stream.MinWatermark:
		return "none yet"
	}
	return time.Unix(0, w).UTC().Format(time.RFC3339)
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
