package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/s3store"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/producer/remote"
	"github.com/tripgrid/tripgrid/producer/zones"
)

// input says which trips to replay: files, or a generator where it names none.
type input struct {
	paths []string
	// seed and trips are of the generator.
	trips    int64
	seed     uint64
	timezone string
	zones    string // a file, or empty
	// region and endpoint are of S3.
	region, endpoint string
}

// openData opens the input. Files are read and sorted, in the folder where they
// do not fit in memory; what is elsewhere is fetched into the folder.
func openData(ctx context.Context, dir folder, in input, people io.Writer, log *zap.Logger) (dataset.Dataset, error) {
	if len(in.paths) == 0 {
		return dataset.Generate(dataset.GeneratorOptions{Seed: in.seed, Trips: in.trips}), nil
	}
	progress, erase := readingProgress(people)
	opt := dataset.Options{
		Timezone: in.timezone, SpillDir: string(dir), Progress: progress,
		Remote: remote.Config{Cache: dir.downloads(), S3: func(ctx context.Context) (remote.S3, error) {
			cfg, err := awsConfig(ctx, in.region, in.endpoint)
			if err != nil {
				return nil, err
			}
			return s3store.NewClient(ctx, in.endpoint, cfg.Region, cfg.Credentials)
		}},
	}
	if in.zones != "" {
		var err error
		if opt.Zones, err = zones.Open(in.zones); err != nil {
			return nil, err
		}
	}
	files, err := dataset.Open(ctx, in.paths, opt)
	erase()
	if err != nil {
		return nil, err
	}
	for _, r := range files.Report() {
		for reason, n := range r.Rejected {
			log.Info("rows refused", zap.String("file", r.Name), zap.String("reason", string(reason)), zap.Int64("rows", n))
		}
	}
	return files, nil
}

// readingProgress shows on a terminal how far files are read: a line that is
// drawn over itself. erase takes it away.
func readingProgress(w io.Writer) (show func(dataset.Report), erase func()) {
	if !isTerminal(w) {
		return nil, func() {}
	}
	var last time.Time
	show = func(r dataset.Report) {
		if time.Since(last) < 200*time.Millisecond {
			return
		}
		last = time.Now()
		line := fmt.Sprintf("reading %s, file %d of %d: %s trips", path.Base(r.File), r.Index+1, r.Files, grouped(r.Valid))
		if r.TotalBytes > 0 {
			line = fmt.Sprintf("%3d%% %s", min(100, 100*r.Bytes/r.TotalBytes), line)
		}
		fmt.Fprintf(w, "\r%.79s\x1b[K", line)
	}
	return show, func() { fmt.Fprint(w, "\r\x1b[K") }
}

// spooled replaces a data set of files by its sorted copy in the folder, so
// that the run does not keep the trips in memory.
func spooled(dir folder, d dataset.Dataset) (dataset.Dataset, error) {
	files, ok := d.(*dataset.Files)
	if !ok {
		return d, nil
	}
	if old, err := dataset.OpenSpool(dir.spool()); err == nil {
		if old.Identity().Digest == files.Identity().Digest {
			return old, files.Close()
		}
		old.Close()
	}
	if err := dataset.Spool(dir.spool(), files); err != nil {
		return nil, err
	}
	if err := files.Close(); err != nil {
		return nil, err
	}
	return dataset.OpenSpool(dir.spool())
}

// identity is the data set as the job's spec names it: another --seek is
// another data set.
func identity(d dataset.Dataset, seek time.Time) checkpoint.Data {
	id := d.Identity()
	if seek.IsZero() {
		return checkpoint.Data{Name: id.Name, Digest: hex.EncodeToString(id.Digest[:]), Trips: uint64(id.Trips)}
	}
	first := d.SearchTime(seek.UnixNano())
	h := sha256.New()
	h.Write(id.Digest[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(first)))
	return checkpoint.Data{
		Name:   id.Name + " from " + seek.UTC().Format(time.RFC3339),
		Digest: hex.EncodeToString(h.Sum(nil)),
		Trips:  uint64(id.Trips - first),
	}
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
