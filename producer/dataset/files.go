package dataset

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/producer/remote"
	"github.com/tripgrid/tripgrid/producer/zones"
	"github.com/tripgrid/tripgrid/trip"
)

const (
	// DefaultMaxTrips bounds the disk that Open takes: a thousand million trips
	// are 60 GB, twice while they are sorted. A yellow month has up to 16 million.
	DefaultMaxTrips = 1 << 30
	// DefaultMemoryTrips bounds the memory of Open: 2 million trips take 150 MB.
	DefaultMemoryTrips = 2 << 20
)

// maxExamples is how many bad rows of each reason a FileReport keeps, and
// exampleBytes how much of each.
const (
	maxExamples  = 3
	exampleBytes = 120
)

// Options of Open. The zero value is the default.
type Options struct {
	// MaxTrips is the most valid trips that all files together may have; 0 means
	// DefaultMaxTrips.
	MaxTrips int64
	// MemoryTrips is the most trips to have in memory, at 72 bytes each; 0 means
	// DefaultMemoryTrips. More of them are sorted on disk, with the same result,
	// and stay there.
	MemoryTrips int64
	// SpillDir is the folder for what is on disk: trips being sorted and fetched
	// files. "" means os.TempDir(), which may be in memory on some machines. Nothing
	// is left there after Close, or, where a file in use can be removed, after a
	// crash.
	SpillDir string
	// Remote says how files that are given as URLs are fetched.
	Remote remote.Config
	// Timezone is the IANA name of the zone of all times that do not say theirs,
	// in CSV and Parquet files: as America/New_York; "" means UTC. JSON events
	// without a zone are in UTC always.
	Timezone string
	// Zones says where LocationIDs are; nil means zones.NewYork().
	Zones *zones.Table
	// Progress, if not nil, is called by Open now and then, and after each file.
	Progress func(Report)
}

// Validate refuses a bound that is negative or beyond the index of a sort, and a
// time zone that is unknown.
func (o Options) Validate() error {
	for name, n := range map[string]int64{"MaxTrips": o.MaxTrips, "MemoryTrips": o.MemoryTrips} {
		if n < 0 || n > 1<<32 {
			return fmt.Errorf("dataset: %s is %d: give 0 to %d", name, n, int64(1)<<32)
		}
	}
	if err := o.Remote.Validate(); err != nil {
		return err
	}
	_, err := newClock(o.Timezone)
	return err
}

// Report says how far Open is.
type Report struct {
	File        string // the one at hand
	Index       int    // its place in Files, from 0
	Files       int
	Bytes       int64 // read of all files, as they are on disk
	TotalBytes  int64 // it grows where a server does not say a size before
	Fetched     int64 // over the network
	Rows, Valid int64 // so far, of all files
}

// FileReport says what Open found in a file.
type FileReport struct {
	Name string `json:"name"`
	// Format says what the content is, as "CSV with zone ids in gzip", or all that
	// it is; "unknown" if it is nothing that Open knows.
	Format string `json:"format"`
	Bytes  int64  `json:"bytes"` // as it is on disk
	// Rows is Valid and all of Rejected; headers, watermarks and blank lines are
	// no rows.
	Rows       int64 `json:"rows"`
	Valid      int64 `json:"valid"`
	Watermarks int64 `json:"watermarks,omitempty"`
	// Starts are the START events of rides whose END came: the two are one row.
	Starts   int64                 `json:"starts,omitempty"`
	Rejected map[trip.Reason]int64 `json:"rejected,omitempty"`
	// Examples has the first three bad rows of each reason, in their order.
	Examples []Example `json:"examples,omitempty"`
	// Span is that of the valid trips.
	Span Span `json:"span,omitzero"`
}

// Example is a bad row.
type Example struct {
	Line   int64       `json:"line"` // from 1; in a Parquet file, of the row
	Reason trip.Reason `json:"reason"`
	Text   string      `json:"text"` // its first 120 bytes; of a Parquet file, the columns read
}

// Span is the time that trips take. It is zero without any.
type Span struct {
	FirstPickup  time.Time `json:"first_pickup"`
	LastPickup   time.Time `json:"last_pickup"`
	FirstDropoff time.Time `json:"first_dropoff"`
	LastDropoff  time.Time `json:"last_dropoff"`
}

// Files is a Dataset that was read from files: in memory, or sorted on disk.
type Files struct {
	trips    sorted
	identity Identity
	reports  []FileReport
}

// Open reads and sorts the trips of files. Each path is a file, a pattern as
// filepath.Match knows them if no file has that very name, or a URL as package
// remote knows them. The files are taken in the order of their names; one that is
// named twice counts twice. Bad rows are counted in Report; a file that cannot be
// read, a pattern without a match, no valid trip in all files, more than
// opt.MaxTrips, and a folder that cannot be written are errors.
func Open(ctx context.Context, paths []string, opt Options) (*Files, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if opt.MaxTrips == 0 {
		opt.MaxTrips = DefaultMaxTrips
	}
	if opt.MemoryTrips == 0 {
		opt.MemoryTrips = DefaultMemoryTrips
	}
	in, err := find(ctx, paths, opt)
	if err != nil {
		return nil, err
	}
	defer in.close()
	r := reader{ctx: ctx, opt: opt, in: in, progress: Report{Files: len(in.list)}, sorter: newSorter(opt.MemoryTrips, opt.SpillDir)}
	defer r.sorter.close()
	for _, one := range in.list {
		r.progress.TotalBytes += max(0, one.size)
	}
	for i, one := range in.list {
		r.progress.File, r.progress.Index = one.name, i
		if err := r.readFile(i); err != nil {
			return nil, fmt.Errorf("read trips of %s: %w", one.name, err)
		}
	}
	f := &Files{reports: r.reports}
	if r.sorter.total == 0 {
		return nil, fmt.Errorf("read trips: %s has no valid trip%s: give TLC's CSV or Parquet files, ride events or JSON lines",
			in.name(), f.rejections())
	}
	if f.trips, f.identity.Digest, err = r.sorter.finish(ctx); err != nil {
		return nil, err
	}
	f.identity.Name, f.identity.Trips = in.name(), r.sorter.total
	return f, nil
}

// rejections is " (25 bad rows: format 25)", or empty.
func (f *Files) rejections() string {
	total, count := int64(0), map[trip.Reason]int64{}
	for _, report := range f.reports {
		for reason, n := range report.Rejected {
			count[reason] += n
			total += n
		}
	}
	if total == 0 {
		return ""
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, count[reason]))
	}
	return fmt.Sprintf(" (bad rows: %s)", strings.Join(parts, ", "))
}

// Report says what was found in each file, in the order of their names.
func (f *Files) Report() []FileReport { return f.reports }

// Len implements Dataset.
func (f *Files) Len() int64 { return f.identity.Trips }

// Read implements Dataset.
func (f *Files) Read(from int64, buf []trip.Trip) (int, error) { return f.trips.read(from, buf) }

// SearchTime implements Dataset.
func (f *Files) SearchTime(t int64) int64 { return f.trips.searchTime(t) }

// Identity implements Dataset.
func (f *Files) Identity() Identity { return f.identity }

// Close gives memory and disk back. No other method may be called after it.
func (f *Files) Close() error { return f.trips.close() }
