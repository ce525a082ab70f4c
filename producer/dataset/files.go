package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tripgrid/tripgrid/trip"
)

// DefaultMaxTrips bounds the memory of Open: 32 million trips take 2.3 GB while
// they are sorted and 1.8 GB afterwards. A yellow month has up to 16 million.
const DefaultMaxTrips = 32_000_000

// maxExamples is how many bad rows of each reason a FileReport keeps.
const maxExamples = 3

// Options of Open. The zero value is the default.
type Options struct {
	// MaxTrips is the most valid trips that all files together may have; 0 means
	// DefaultMaxTrips.
	MaxTrips int64
	// Progress, if not nil, is called by Open now and then, and after each file.
	Progress func(Report)
}

// Validate refuses a bound that is negative or beyond the index of a sort.
func (o Options) Validate() error {
	if o.MaxTrips < 0 || o.MaxTrips > 1<<32 {
		return fmt.Errorf("dataset: MaxTrips is %d: give 0 to %d", o.MaxTrips, int64(1)<<32)
	}
	return nil
}

// Report says how far Open is.
type Report struct {
	File        string // the one at hand
	Index       int    // its place in Files, from 0
	Files       int
	Bytes       int64 // read of all files, as they are on disk
	TotalBytes  int64
	Rows, Valid int64 // so far, of all files
}

// FileReport says what Open found in a file.
type FileReport struct {
	Name string
	// Rows is Valid and all of Rejected; headers, watermarks and blank lines are
	// no rows.
	Rows, Valid int64
	Watermarks  int64
	Rejected    map[trip.Reason]int64
	// Examples has the first three bad rows of each reason, in their order.
	Examples []Example
}

// Example is a bad row.
type Example struct {
	Line   int64 // from 1
	Reason trip.Reason
	Text   string // its first 120 bytes
}

// Files is a Dataset that was read from files into memory.
type Files struct {
	table    table
	identity Identity
	reports  []FileReport
}

// Open reads and sorts the trips of files. Each path is a file, or a pattern as
// filepath.Match knows them if no file has that very name. The files are taken
// in the order of their names; one that is named twice counts twice. Bad rows are
// counted in Report; a file that cannot be read, a pattern without a match, no
// valid trip in all files, and more than opt.MaxTrips are errors.
func Open(ctx context.Context, paths []string, opt Options) (*Files, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if opt.MaxTrips == 0 {
		opt.MaxTrips = DefaultMaxTrips
	}
	names, err := expand(paths)
	if err != nil {
		return nil, err
	}
	r := reader{ctx: ctx, opt: opt, progress: Report{Files: len(names)}, files: new(Files)}
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("read trips: %w", err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("read trips of %s: it is a folder: name the files in it, as %s", name, filepath.Join(name, "*.csv"))
		}
		r.progress.TotalBytes += info.Size()
	}
	for i, name := range names {
		r.progress.File, r.progress.Index = name, i
		if err := r.readFile(name); err != nil {
			return nil, fmt.Errorf("read trips of %s: %w", name, err)
		}
	}
	f := r.files
	if f.table.len == 0 {
		return nil, fmt.Errorf("read trips: %s has no valid trip%s: give TLC's CSV files with coordinates or JSON lines",
			nameOf(names), f.rejections())
	}
	f.table.sort()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.identity = Identity{nameOf(names), digestOf(f.table.chunks), f.table.len}
	return f, nil
}

// expand replaces patterns by the files that match, and sorts all by name.
func expand(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, errors.New("read trips: no file is given: name one or more")
	}
	var names []string
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil || !strings.ContainsAny(path, `*?[\`) {
			names = append(names, path)
			continue
		}
		matches, err := filepath.Glob(path)
		if err != nil {
			return nil, fmt.Errorf("read trips: the pattern %s is malformed: %w", path, err)
		}
		if len(matches) == 0 {
			return nil, fmt.Errorf("read trips: no file matches %s: check the path", path)
		}
		names = append(names, matches...)
	}
	slices.Sort(names)
	return names, nil
}

func nameOf(names []string) string {
	first := filepath.Base(names[0])
	if len(names) == 1 {
		return first
	}
	return fmt.Sprintf("%s and %d more files", first, len(names)-1)
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
func (f *Files) Len() int64 { return f.table.len }

// Read implements Dataset.
func (f *Files) Read(from int64, buf []trip.Trip) (int, error) { return f.table.read(from, buf) }

// SearchTime implements Dataset.
func (f *Files) SearchTime(t int64) int64 { return f.table.searchTime(t) }

// Identity implements Dataset.
func (f *Files) Identity() Identity { return f.identity }

// Close gives the memory back. No other method may be called after it.
func (f *Files) Close() error {
	f.table.chunks = nil
	return nil
}

// reader reads files one after the other.
type reader struct {
	ctx      context.Context
	opt      Options
	progress Report
	files    *Files
}

// countingReader counts the bytes of a file for the progress report.
type countingReader struct {
	r io.Reader
	n *int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	*c.n += int64(n)
	return n, err
}

func (r *reader) readFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return errors.Unwrap(err) // the caller names the file
	}
	defer func() { _ = file.Close() }() // it was only read
	lines, err := newLines(countingReader{file, &r.progress.Bytes})
	if err != nil {
		return err
	}
	report := FileReport{Name: name, Rejected: map[trip.Reason]int64{}}
	var rows rows
	for number := int64(1); ; number++ {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		text, what, reason := rows.read(number, line, r.files.table.next())
		switch what {
		case isTrip:
			if r.files.table.len == r.opt.MaxTrips {
				return fmt.Errorf("there are more than %d trips, which is the bound for memory: give fewer files, or raise the bound", r.opt.MaxTrips)
			}
			r.files.table.add()
			report.Rows++
			report.Valid++
		case isBad:
			report.reject(number, reason, text)
		case isWatermark:
			report.Watermarks++
		}
		if number%(1<<14) == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			r.tell(&report)
		}
	}
	r.tell(&report)
	r.progress.Rows += report.Rows
	r.progress.Valid += report.Valid
	r.files.reports = append(r.files.reports, report)
	return r.ctx.Err()
}

// reject counts a bad row.
func (f *FileReport) reject(line int64, reason trip.Reason, text []byte) {
	f.Rows++
	f.Rejected[reason]++
	if f.Rejected[reason] <= maxExamples {
		f.Examples = append(f.Examples, Example{line, reason, string(text[:min(len(text), 120)])})
	}
}

func (r *reader) tell(file *FileReport) {
	if r.opt.Progress == nil {
		return
	}
	now := r.progress
	now.Valid += file.Valid
	now.Rows += file.Rows
	r.opt.Progress(now)
}
