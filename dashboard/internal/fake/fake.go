// Package fake makes up a run with New York's shape, for the dashboard's tests
// and for looking at the page without a job.
package fake

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mmcloughlin/geohash"

	"github.com/tripgrid/tripgrid/dashboard"
)

const (
	step  = 600
	first = 1456790400 // 2016-03-01 00:00 UTC
)

// Run is a dashboard.Source of a made-up run. It is a function of its fields.
type Run struct {
	Phase      dashboard.Phase
	Closed     int // how many windows are closed
	Total      int // how many there will be
	Partitions int
	Shards     int
	Now        func() time.Time
}

// spot is a place where people get into taxis: around a point, about so wide
// (degrees), with that many pick-ups in ten minutes at noon.
type spot struct{ lat, lon, width, pickups float64 }

var spots = []spot{
	{40.755, -73.984, 0.013, 190}, {40.738, -73.992, 0.012, 150}, {40.773, -73.960, 0.011, 120}, {40.784, -73.977, 0.010, 90},
	{40.722, -73.998, 0.010, 95}, {40.708, -74.009, 0.007, 60}, {40.809, -73.952, 0.013, 22}, {40.715, -73.957, 0.012, 24},
	{40.690, -73.988, 0.014, 16}, {40.744, -73.925, 0.016, 14}, {40.677, -73.975, 0.016, 8}, {40.770, -73.872, 0.005, 46},
	{40.644, -73.784, 0.006, 40}, {40.765, -73.920, 0.012, 12}, {40.846, -73.935, 0.015, 5}, {40.70, -73.80, 0.06, 3},
	{40.65, -73.95, 0.05, 4}, {40.84, -73.90, 0.04, 3}, {40.73, -73.88, 0.04, 5}, {40.60, -73.98, 0.04, 1.5},
}

// busy is the daily curve: a factor by the hour.
func busy(unix int64) float64 {
	h := float64(unix%86400) / 3600
	hump := func(height, at, width float64) float64 { return height * math.Exp(-(h-at)*(h-at)/width) }
	return 0.12 + hump(0.75, 8.7, 5) + hump(0.95, 19, 9) + hump(0.6, 13.5, 14) + hump(0.35, 24, 6) + hump(0.35, 0, 4)
}

func random(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a, b)) }

func (r Run) last() int64 { return first + int64(r.Closed-1)*step }

// Windows implements dashboard.Source.
func (r Run) Windows(context.Context) (dashboard.Windows, error) {
	if r.Closed == 0 {
		return dashboard.Windows{}, nil
	}
	return dashboard.Windows{First: first, Last: r.last(), Size: step, Step: step}, nil
}

// Starts implements dashboard.Source.
func (r Run) Starts(_ context.Context, from int64, limit int) ([]int64, error) {
	var starts []int64
	for i := range r.Closed {
		if start := int64(first + i*step); start >= from {
			starts = append(starts, start)
		}
	}
	return starts[max(0, len(starts)-limit):], nil
}

// Cells implements dashboard.Source.
func (r Run) Cells(_ context.Context, from, to int64) ([]dashboard.Cell, error) {
	counts := map[string]int64{}
	for i := range r.Closed {
		if start := int64(first + i*step); start >= from && start < to {
			pickups(start, counts)
		}
	}
	var cells []dashboard.Cell
	for _, h := range slices.Sorted(maps.Keys(counts)) {
		cells = append(cells, dashboard.Cell{Geohash: h, Count: counts[h]})
	}
	return cells, nil
}

// pickups adds one window's pick-ups to counts.
func pickups(start int64, counts map[string]int64) {
	rnd := random(uint64(start), 1)
	for _, s := range spots {
		for range int(s.pickups * busy(start) * (0.9 + 0.2*rnd.Float64())) {
			lat, lon := s.lat+rnd.NormFloat64()*s.width, s.lon+rnd.NormFloat64()*s.width
			if lat < 40.56 || lat > 40.878 || lon < -74.054 || lon > -73.722 {
				continue
			}
			counts[geohash.EncodeWithPrecision(lat, lon, 6)]++
		}
	}
}

// Airports implements dashboard.Source.
func (r Run) Airports(_ context.Context, from, to int64) ([]dashboard.AirportSum, error) {
	var sums []dashboard.AirportSum
	for start := int64(first); r.Closed > 0 && start <= r.last(); start += step {
		if start < from || start >= to {
			continue
		}
		for i, a := range []struct {
			code          string
			trips, length float64
		}{{"JFK", 34, 36}, {"LGA", 42, 22}} {
			rnd := random(uint64(start), uint64(i+2))
			n := int64(a.trips * busy(start) * (0.7 + 0.6*rnd.Float64()))
			if n == 0 {
				continue
			}
			average := a.length * (0.72 + 0.42*busy(start-1200)) * (1 + 0.35*rnd.NormFloat64()/math.Sqrt(float64(n)))
			sums = append(sums, dashboard.AirportSum{Start: start, End: start + step, Airport: a.code, Trips: n, Minutes: int64(average * float64(n))})
		}
	}
	return sums, nil
}

// State implements dashboard.Source.
func (r Run) State(context.Context) (dashboard.State, error) {
	now := r.Now()
	started := now.Add(-time.Duration(r.Closed) * 417 * time.Millisecond)
	total := uint64(r.Total) * 2311
	read := min(uint64(r.Closed)*2311+1207, total)
	s := dashboard.State{
		Job: "taxi", DataSet: "yellow_tripdata_2016-03.csv", Phase: r.Phase, Version: "0.1.0", Speedup: 1440, Profile: "bbox", Started: &started,
		Trips: dashboard.Trips{Total: total},
	}
	if r.Phase == dashboard.Starting {
		return s, nil
	}
	s.Trips = dashboard.Trips{Total: total, Sent: min(read+512, total), Read: read, Applied: read - read/61 - 14, Repeated: 1024, Outside: read / 61, Dead: 14, Rate: 5871.4}
	at := time.Unix(r.last()+step+83, 0).UTC()
	s.Watermark = &at
	switch r.Phase {
	case dashboard.Finished:
		s.Trips.Rate, s.Trips.Sent, s.Trips.Read, s.Ended = 0, total, total, &now
	case dashboard.Failed:
		s.Trips.Rate, s.Ended, s.Failure = 0, &now, "partition 3: the log lost its tail: last sequence 4711 is below the recorded 4802 (R16)"
	default:
		s.PendingDocuments = 1311
		s.Warnings = []string{
			"Checkpoint 41 was cancelled: partition 7 queued more than 64 MiB behind a barrier.",
			"Shard shardId-000000000002 was throttled 3 times in the last minute.",
		}
	}
	for i := range r.Shards {
		w := at.Add(time.Duration(i*7) * time.Second)
		s.Shards = append(s.Shards, dashboard.Shard{ID: fmt.Sprintf("shardId-%012d", i), Watermark: &w, BehindMS: int64(i*i*130) % 900,
			Position: fmt.Sprintf("4965%052d", 83_911_204+i*7919)})
	}
	for i := range r.Partitions {
		w := at.Add(time.Duration(i%5*11) * time.Second)
		s.Partitions = append(s.Partitions, dashboard.Partition{ID: uint32(i), Watermark: &w, Ordinal: uint64(r.Closed*41 + i*13), OpenPanes: 1 + i%2,
			QueuedBytes: int64(i%4) * 48_211, Checkpoint: uint64(r.Closed/4 + 1)})
	}
	s.WrittenDocuments = uint64(r.Closed) * 341
	s.Checkpoint = dashboard.Checkpoint{N: uint64(r.Closed/4 + 1), DurationMS: 184, Bytes: 3_412_884, AgeMS: now.UnixMilli() % 10_000, IntervalMS: 10_000}
	return s, nil
}
