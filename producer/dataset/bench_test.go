package dataset

import (
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

func BenchmarkOpenParquet(b *testing.B) {
	random := newRandom(5, 0)
	rows := make([]yellow2011Row, 200_000)
	for i := range rows {
		rows[i] = yellow2011Row{Pickup: point(random.below(1e15)), From: point(1 + random.below(50)), To: point(1 + random.below(50)), Total: point(1.5)}
		rows[i].Dropoff = point(*rows[i].Pickup + random.below(1e9))
	}
	path := write(b, "month.parquet", parquetFile(b, rows))
	for name, opt := range map[string]Options{
		"memory": {}, "disk": {MemoryTrips: 20_000, SpillDir: b.TempDir()}, "zone": {Timezone: "America/New_York"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f, err := Open(b.Context(), []string{path}, opt)
				if err != nil {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(len(rows))/b.Elapsed().Seconds(), "trips/s")
		})
	}
}

func BenchmarkClock(b *testing.B) {
	clock, err := newClock("America/New_York")
	if err != nil {
		b.Fatal(err)
	}
	text := trip.AppendTime(nil, time.Date(2025, 7, 1, 12, 0, 0, 0, time.UTC).UnixNano())[:19]
	for b.Loop() {
		if _, ok := clock.parse(text); !ok {
			b.Fatal("no time")
		}
	}
}
