package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tripgrid/tripgrid/trip"
)

// reader reads files one after the other.
type reader struct {
	ctx      context.Context
	opt      Options
	in       *inputs
	progress Report
	sorter   *sorter
	reports  []FileReport
	bounds   bounds // of the file at hand
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

// readFile reads the next file.
func (r *reader) readFile(i int) error {
	report := FileReport{Name: r.in.list[i].name, Rejected: map[trip.Reason]int64{}}
	file, done, err := r.in.open(r.ctx, i, func() { r.tell(&report) })
	if err != nil {
		return err
	}
	defer func() { _ = done() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return err
	}
	report.Bytes = info.Size()
	if r.in.list[i].size < 0 {
		r.progress.TotalBytes += report.Bytes
	}
	clock, err := newClock(r.opt.Timezone)
	if err != nil {
		return err
	}
	how := reading{clock: clock, zones: r.opt.Zones}
	r.bounds = nothing
	if isParquet(file) {
		err = r.readParquet(file, how, &report)
	} else {
		err = r.readLines(file, how, &report)
	}
	if err != nil {
		return err
	}
	report.Span = r.bounds.span()
	r.tell(&report)
	r.progress.Rows += report.Rows
	r.progress.Valid += report.Valid
	r.reports = append(r.reports, report)
	return r.ctx.Err()
}

// readLines reads a file of text.
func (r *reader) readLines(file io.Reader, how reading, report *FileReport) error {
	lines, err := newLines(countingReader{file, &r.progress.Bytes})
	if err != nil {
		return err
	}
	rows := rows{reading: how}
	for number := int64(1); ; number++ {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		text, what, reason := rows.read(number, line, r.sorter.next())
		switch what {
		case isTrip:
			if err := r.add(report); err != nil {
				return err
			}
		case isBad:
			report.reject(number, reason, text)
		case isWatermark:
			report.Watermarks++
		case isStart:
			report.Starts++
		}
		if err := r.pause(number, report); err != nil {
			return err
		}
	}
	for _, ride := range rows.unpaired() {
		report.Starts--
		report.reject(ride.line, ReasonUnpaired, []byte(ride.text))
	}
	report.Format = rows.found.String()
	if lines.packed != "" {
		report.Format += " in " + lines.packed
	}
	return nil
}

// readParquet reads a Parquet file.
func (r *reader) readParquet(file *os.File, how reading, report *FileReport) error {
	rows, err := openParquet(file, report.Bytes, how)
	if err != nil {
		return err
	}
	report.Format = (kindParquet | rows.kind).String()
	before, all := r.progress.Bytes, max(1, rows.file.NumRows())
	err = rows.read(r.sorter.next, func(number int64, reason trip.Reason) error {
		if reason == "" {
			if err := r.add(report); err != nil {
				return err
			}
		} else {
			var text []byte
			if report.Rejected[reason] < maxExamples {
				text = rows.describe(int((number - 1) % batchRows))
			}
			report.reject(number, reason, text)
		}
		r.progress.Bytes = before + int64(float64(report.Bytes)*min(1, float64(number)/float64(all)))
		return r.pause(number, report)
	})
	r.progress.Bytes = before + report.Bytes
	return err
}

// add keeps the trip that was read into what sorter.next gave.
func (r *reader) add(report *FileReport) error {
	if r.sorter.total == r.opt.MaxTrips {
		return fmt.Errorf("there are more than %d trips, which is the bound: give fewer files, or raise the bound", r.opt.MaxTrips)
	}
	report.Rows++
	report.Valid++
	r.bounds.add(r.sorter.next())
	return r.sorter.add(r.ctx)
}

// pause looks up from the rows now and then.
func (r *reader) pause(number int64, report *FileReport) error {
	if number%(1<<14) != 0 {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return err
	}
	r.tell(report)
	return nil
}

// reject counts a bad row.
func (f *FileReport) reject(line int64, reason trip.Reason, text []byte) {
	f.Rows++
	f.Rejected[reason]++
	if f.Rejected[reason] <= maxExamples {
		f.Examples = append(f.Examples, Example{line, reason, string(text[:min(len(text), exampleBytes)])})
	}
}

func (r *reader) tell(file *FileReport) {
	if r.opt.Progress == nil {
		return
	}
	now := r.progress
	now.Valid += file.Valid
	now.Rows += file.Rows
	now.Fetched = r.in.fetched()
	r.opt.Progress(now)
}
