package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

// Summary says what a data set is, and what its replay asks of the stream.
type Summary struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Files are the files that were read; none of a spool or generated trips.
	Files []dataset.FileReport `json:"files,omitempty"`
	// Bytes, Rows and Rejected are sums over Files.
	Bytes    int64                 `json:"bytes,omitempty"`
	Rows     int64                 `json:"rows,omitempty"`
	Rejected map[trip.Reason]int64 `json:"rejected,omitempty"`
	Trips    int64                 `json:"trips"`
	Span     dataset.Span          `json:"span"`
	Replay   Replay                `json:"replay"`
}

// Replay is what a replay asks of the stream, as an estimate.
type Replay struct {
	Speedup   float64 `json:"speedup"`
	Aggregate int     `json:"aggregate"`
	// Seconds is how long it takes; with Speedup 0, into one shard.
	Seconds float64 `json:"seconds"`
	// Records and RecordBytes are what is put, all in all, without watermarks.
	Records     int64 `json:"records"`
	RecordBytes int64 `json:"record_bytes"`
	// PeakTrips is how many trips a second are due in the busiest ten seconds of
	// the replay, 0 with Speedup 0.
	PeakTrips float64 `json:"peak_trips_per_second,omitempty"`
	// Shards is how many the stream needs for that; 1 with Speedup 0, where
	// more of them make it faster.
	Shards int `json:"shards"`
}

// What a shard takes in a second.
const (
	shardBytes      = 1_000_000
	shardMaxRecords = 1_000
)

// peakSeconds is the time over which a peak is measured: what is more is put off
// by less than that.
const peakSeconds = 10

// What records have beside trips, in bytes: a plain one its partition key, an
// aggregate both keys, its digest, and a frame for each trip.
const (
	plainOverhead     = 4
	aggregateOverhead = 96
	tripOverhead      = 10
)

// maxBuckets bounds the memory of the search for the peak.
const maxBuckets = 1 << 16

// Summarize reads a data set once, to say what it is and what its replay with
// cfg.Speedup, cfg.Seek and cfg.Aggregate takes; of cfg nothing else is used.
func Summarize(ctx context.Context, data dataset.Dataset, cfg Config) (*Summary, error) {
	cfg.setDefaults()
	if err := cfg.validateReplay(); err != nil {
		return nil, err
	}
	id := data.Identity()
	s := &Summary{Name: id.Name, Digest: fmt.Sprintf("%x", id.Digest), Trips: id.Trips}
	if files, ok := data.(interface{ Report() []dataset.FileReport }); ok {
		s.Files, s.Rejected = files.Report(), map[trip.Reason]int64{}
	}
	for i := range s.Files {
		s.Bytes += s.Files[i].Bytes
		s.Rows += s.Files[i].Rows
		for reason, n := range s.Files[i].Rejected {
			s.Rejected[reason] += n
		}
	}
	from := int64(0)
	if !cfg.Seek.IsZero() {
		from = data.SearchTime(cfg.Seek.UnixNano())
	}
	scan, err := scanTrips(ctx, data, from, cfg.Speedup)
	if err != nil {
		return nil, err
	}
	s.Span = scan.span
	s.Replay = scan.replay(&cfg)
	return s, nil
}

// scan is what one pass over a data set finds.
type scan struct {
	span        dataset.Span // of all trips
	trips       int64        // that are replayed
	seconds     float64      // of event time, from the first drop-off of those to the last
	bytesATrip  float64
	peak        float64 // trips in a second of event time, over peakTime
	bucketTime  float64 // of event time, in seconds
	bucketTrips []int64
}

func scanTrips(ctx context.Context, data dataset.Dataset, from int64, speedup float64) (*scan, error) {
	sc := &scan{trips: data.Len() - from}
	buf := make([]trip.Trip, chunk)
	var encoded []byte
	var ends [2]trip.Trip
	for i, at := range []int64{min(from, data.Len()-1), data.Len() - 1} {
		if _, err := data.Read(at, buf[:1]); err != nil {
			return nil, err
		}
		ends[i] = buf[0]
	}
	start := ends[0].Dropoff
	// Not in nanoseconds: data may span all of them.
	sc.seconds = float64(ends[1].Dropoff)/1e9 - float64(start)/1e9
	peakTime := max(1e-3, speedup, min(sc.seconds, speedup*peakSeconds)) // a second of the replay at least
	peakAt, peakTrips := 0.0, 0
	sc.bucketTime = max(peakTime, sc.seconds/maxBuckets)
	sc.bucketTrips = make([]int64, max(1, int(math.Ceil(sc.seconds/sc.bucketTime))))
	first, last := trip.Trip{Pickup: math.MaxInt64}, trip.Trip{Pickup: math.MinInt64}
	samples, sampled := max(1, data.Len()/1000), 0
	for at := int64(0); at < data.Len(); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := data.Read(at, buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		for i := range buf[:n] {
			t := &buf[i]
			first.Pickup, last.Pickup = min(first.Pickup, t.Pickup), max(last.Pickup, t.Pickup)
			if at == 0 && i == 0 {
				first.Dropoff = t.Dropoff
			}
			last.Dropoff = t.Dropoff
			index := at + int64(i)
			if index%samples == 0 {
				encoded = trip.AppendTrip(encoded, t, uint64(index+1), trip.Envelope{Producer: math.MaxUint64, Lane: Lanes - 1, Seq: uint64(index / Lanes)})
				sampled++
			}
			if index < from {
				continue
			}
			since := float64(t.Dropoff)/1e9 - float64(start)/1e9
			sc.bucketTrips[min(int(since/sc.bucketTime), len(sc.bucketTrips)-1)]++
			if now := min(math.Floor(since/peakTime), math.Ceil(sc.seconds/peakTime)-1); now > peakAt {
				peakAt, peakTrips = now, 0
			}
			peakTrips++
			sc.peak = max(sc.peak, float64(peakTrips)/peakTime)
		}
		at += int64(n)
	}
	sc.bytesATrip = float64(len(encoded)) / float64(sampled)
	sc.span = dataset.Span{FirstPickup: trip.Time(first.Pickup), LastPickup: trip.Time(last.Pickup),
		FirstDropoff: trip.Time(first.Dropoff), LastDropoff: trip.Time(last.Dropoff)}
	return sc, nil
}

// replay estimates what the trips take. A paced lane sends what a linger brings
// it, so that records are small where trips are few; else records are full.
func (sc *scan) replay(cfg *Config) Replay {
	r := Replay{Speedup: cfg.Speedup, Aggregate: cfg.Aggregate, Shards: 1}
	full := max(1, min(float64(cfg.Aggregate), math.Floor(maxAggregate/(sc.bytesATrip+tripOverhead))))
	var records, bytes float64
	put := func(trips, inRecord float64) (float64, float64) {
		if inRecord <= 1 {
			return trips, trips * (sc.bytesATrip + plainOverhead)
		}
		n := trips / min(full, inRecord)
		return n, trips*(sc.bytesATrip+tripOverhead) + n*aggregateOverhead
	}
	if cfg.Speedup == 0 {
		records, bytes = put(float64(sc.trips), full)
		r.Seconds = max(bytes/shardBytes, records/shardMaxRecords)
	} else {
		r.Seconds = sc.seconds / cfg.Speedup
		bucket := sc.bucketTime / cfg.Speedup // in seconds of the replay
		r.PeakTrips = sc.peak * cfg.Speedup
		n, size := put(r.PeakTrips, full)
		r.Shards = max(1, int(math.Ceil(max(size/shardBytes, n/shardMaxRecords))))
		linger := max(cfg.Linger.Seconds(), Lanes/float64(shardRecords*r.Shards))
		for _, trips := range sc.bucketTrips {
			n, size := put(float64(trips), min(full, float64(trips)/bucket*linger/Lanes))
			records, bytes = records+n, bytes+size
		}
	}
	r.Records, r.RecordBytes = int64(math.Ceil(records)), int64(bytes)
	return r
}

// maxLines bounds the table of files.
const maxLines = 60

// WriteTo writes the summary as text for a terminal.
func (s *Summary) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, s.String())
	return int64(n), err
}

// String is the text of WriteTo.
func (s *Summary) String() string {
	var b strings.Builder
	if len(s.Files) > 0 {
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "FILE\tFORMAT\tSIZE\tROWS\tTRIPS\tREJECTED\tDROP-OFFS")
		for i := range s.Files[:min(len(s.Files), maxLines)] {
			f := &s.Files[i]
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", shorten(f.Name, 60), f.Format, bytesText(f.Bytes), f.Rows, f.Valid,
				rejections(f.Rejected), spanText(f.Span))
		}
		_ = table.Flush() // a Builder takes all
		if more := len(s.Files) - maxLines; more > 0 {
			fmt.Fprintf(&b, "and %d more files\n", more)
		}
		s.examples(&b)
		b.WriteByte('\n')
	}
	total := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(total, "data set\t%s, digest %.12s\n", s.Name, s.Digest)
	if len(s.Files) > 0 {
		fmt.Fprintf(total, "files\t%d, %s, %d rows, rejected: %s\n", len(s.Files), bytesText(s.Bytes), s.Rows, rejections(s.Rejected))
	}
	fmt.Fprintf(total, "trips\t%d\n", s.Trips)
	fmt.Fprintf(total, "pick-ups\t%s to %s\n", timeText(s.Span.FirstPickup), timeText(s.Span.LastPickup))
	fmt.Fprintf(total, "drop-offs\t%s\n", spanText(s.Span))
	r := &s.Replay
	took := secondsText(r.Seconds)
	if r.Speedup == 0 {
		fmt.Fprintf(total, "replay\tas fast as the stream takes it: %s into one shard, less into more\n", took)
	} else {
		fmt.Fprintf(total, "replay\t%s at %s times the speed\n", took, strconv.FormatFloat(r.Speedup, 'f', -1, 64))
		fmt.Fprintf(total, "shards\t%d, for %.0f trips/s at most\n", r.Shards, math.Ceil(r.PeakTrips))
	}
	fmt.Fprintf(total, "records\tabout %d of up to %d trips, %s\n", r.Records, r.Aggregate, bytesText(r.RecordBytes))
	_ = total.Flush()
	return b.String()
}

// examples writes the first bad row of each reason in all files.
func (s *Summary) examples(b *strings.Builder) {
	shown := map[trip.Reason]bool{}
	for i := range s.Files {
		for _, e := range s.Files[i].Examples {
			if shown[e.Reason] {
				continue
			}
			shown[e.Reason] = true
			fmt.Fprintf(b, "\n%s, line %d: %s\n  %s\n", s.Files[i].Name, e.Line, e.Reason, printable(e.Text))
		}
	}
}

// printable replaces what would steer a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}

// shorten cuts a name at its beginning, so that its end is seen.
func shorten(name string, limit int) string {
	runes := []rune(printable(name))
	if len(runes) <= limit {
		return string(runes)
	}
	return "…" + string(runes[len(runes)-limit+1:])
}

// rejections is "25 (format 20, zone 5)", or "0".
func rejections(rejected map[trip.Reason]int64) string {
	total := int64(0)
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(rejected)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, rejected[reason]))
		total += rejected[reason]
	}
	if total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

func spanText(s dataset.Span) string {
	if s == (dataset.Span{}) {
		return "none"
	}
	return timeText(s.FirstDropoff) + " to " + timeText(s.LastDropoff)
}

func timeText(t time.Time) string { return t.UTC().Format(time.DateTime) }

// secondsText is "1h2m3s" or "12.5 days".
func secondsText(seconds float64) string {
	if days := seconds / (24 * 3600); days >= 2 {
		return fmt.Sprintf("%.1f days", days)
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// bytesText is "1.4 MB".
func bytesText(n int64) string {
	const units = "kMGTPE"
	x, unit := float64(n), -1
	for x >= 999.5 && unit+1 < len(units) {
		x /= 1000
		unit++
	}
	if unit < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %cB", x, units[unit])
}
