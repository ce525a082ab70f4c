package producer

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/tripgrid/tripgrid/producer/dataset"
)

// counted counts the records with trips that a stream takes, and their bytes as
// Kinesis counts them.
type counted struct {
	*limited
	mu            sync.Mutex
	records, size int64
}

func (c *counted) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, o ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out, err := c.limited.PutRecords(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range in.Records {
		if out.Records[i].ErrorCode == nil && bytes.Contains(e.Data, []byte(`"type":"trip"`)) {
			c.records++
			c.size += int64(len(e.Data) + len(*e.PartitionKey))
		}
	}
	return out, nil
}

// What a summary estimates is what a run then sends.
func TestSummaryEstimates(t *testing.T) {
	for _, c := range []struct {
		name      string
		speedup   float64
		aggregate int
		gap       time.Duration
	}{
		{"as fast as it goes", 0, 0, time.Second},
		{"plain records", 0, 1, time.Second},
		{"slow", 60, 0, time.Second},
		{"fast", 7200, 0, time.Second},
		{"fast, plain", 600, 1, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := someTrips(20_000, c.gap)
				cfg := Config{Data: data, Speedup: c.speedup, Aggregate: c.aggregate}
				s, err := Summarize(t.Context(), data, cfg)
				if err != nil {
					t.Fatal(err)
				}
				l := &counted{limited: &limited{fake: &fake{shards: s.Replay.Shards}}}
				cfg.Client = l
				p := mustNew(t, cfg)
				start := time.Now()
				if err := p.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(start).Seconds()
				t.Logf("%+v; sent %d records of %d bytes in %.1f s, throttled %d", s.Replay, l.records, l.size, took, p.Stats().Throttled)
				for what, pair := range map[string][2]float64{
					"records": {float64(s.Replay.Records), float64(l.records)},
					"bytes":   {float64(s.Replay.RecordBytes), float64(l.size)},
					"seconds": {s.Replay.Seconds + 1, took + 1},
				} {
					if ratio := pair[0] / pair[1]; ratio < 0.8 || ratio > 1.25 {
						t.Errorf("%s: estimated %.0f, was %.0f", what, pair[0], pair[1])
					}
				}
				if c.speedup > 0 && p.Stats().Throttled > 0 {
					t.Errorf("%d shards throttled %d times", s.Replay.Shards, p.Stats().Throttled)
				}
			})
		})
	}
}

func TestSummaryOfFiles(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"b.csv": "pickup_time,dropoff_time,pickup_long,pickup_lat,dropoff_long,dropoff_lat\n" +
			"2014-05-06 07:08:09,2014-05-06 07:20:00,-73.985,40.75,-73.7825,40.644\n" +
			"2014-05-06 06:08:09,2014-05-06 08:20:00,-73.985,40.75,-73.7825,40.644\n" +
			"\x1b[31mx\xff,2014-05-06 08:20:00,-73.985,40.75,-73.7825,40.644\n",
		"a.csv": "pickup_datetime,dropoff_datetime,PULocationID,DOLocationID\n",
		"c.csv": "what is this?\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := dataset.Open(t.Context(), []string{filepath.Join(dir, "*")}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	s, err := Summarize(t.Context(), files, Config{Speedup: 60})
	if err != nil {
		t.Fatal(err)
	}
	text := s.String()
	for _, want := range []string{
		"FILE ", "a.csv  CSV with zone ids     59 B   0     0      0                  none\n",
		"b.csv  CSV with coordinates  271 B  3     2      1 (pickup_time 1)  2014-05-06 07:20:00 to 2014-05-06 08:20:00\n",
		"c.csv  unknown               14 B   1     0      1 (format 1)       none\n",
		"b.csv, line 4: pickup_time\n  ?[31mx\ufffd,2014-05-06 08:20:00,", "c.csv, line 1: format\n  what is this?\n",
		"data set   a.csv and 2 more files, digest ", "files      3, 344 B, 4 rows, rejected: 2 (format 1, pickup_time 1)\n",
		"trips      2\n", "pick-ups   2014-05-06 06:08:09 to 2014-05-06 07:08:09\n", "drop-offs  2014-05-06 07:20:00 to 2014-05-06 08:20:00\n",
		"replay     1m0s at 60 times the speed\n", "shards     1, for 1 trips/s at most\n", "records    about 2 of up to 32 trips, ",
	} {
		if !strings.Contains(strings.ReplaceAll(text, dir+string(filepath.Separator), ""), want) && !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	if strings.ContainsRune(text, '\x1b') {
		t.Error("it steers the terminal")
	}
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Summary
	if err := json.Unmarshal(raw, &back); err != nil || back.String() != text {
		t.Errorf("JSON and back, %v:\n%s", err, back.String())
	}
	var buf strings.Builder
	if n, err := s.WriteTo(&buf); err != nil || n != int64(len(text)) || buf.String() != text {
		t.Errorf("WriteTo: %d, %v", n, err)
	}
}

func TestSummaryOfGenerated(t *testing.T) {
	data := dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: 50_000})
	whole, err := Summarize(t.Context(), data, Config{})
	if err != nil {
		t.Fatal(err)
	}
	middle := whole.Span.FirstDropoff.Add(whole.Span.LastDropoff.Sub(whole.Span.FirstDropoff) / 2)
	half, err := Summarize(t.Context(), data, Config{Seek: middle})
	if err != nil {
		t.Fatal(err)
	}
	left := float64(data.Len()-data.SearchTime(middle.UnixNano())) / float64(data.Len())
	if ratio := float64(half.Replay.Records) / float64(whole.Replay.Records); math.Abs(ratio-left) > 0.01 || half.Span != whole.Span || half.Trips != 50_000 {
		t.Errorf("from the middle: %+v, of %+v", half, whole)
	}
	if text := whole.String(); strings.Contains(text, "FILE") || !strings.Contains(text, "as fast as the stream takes it: ") {
		t.Error(text)
	}
	late, err := Summarize(t.Context(), data, Config{Seek: whole.Span.LastDropoff.Add(time.Hour), Speedup: 60})
	if err != nil || late.Replay.Records != 0 || late.Replay.Seconds != 0 || late.Replay.Shards != 1 {
		t.Errorf("behind the end: %v, %+v", err, late)
	}
	// Ten busy seconds in a century are found.
	rare := someTrips(1000, 0)
	rare[999].Dropoff += 100 * 365 * 24 * int64(time.Hour)
	busy, err := Summarize(t.Context(), rare, Config{Speedup: 1})
	if err != nil || busy.Replay.PeakTrips != 99.9 || !strings.Contains(busy.String(), "36500.0 days at 1 times the speed") {
		t.Errorf("%v: %s", err, busy)
	}
	if one, err := Summarize(t.Context(), rare[:1], Config{Speedup: 1}); err != nil || one.Replay.Records != 1 || one.Replay.PeakTrips != 1 || one.Replay.Shards != 1 {
		t.Errorf("one trip: %v: %+v", err, one)
	}
	if _, err := Summarize(t.Context(), data, Config{Speedup: -1}); err == nil {
		t.Error("a negative speedup")
	}
}
