package dataset

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

func mustGenerate(t testing.TB, opt GeneratorOptions) Dataset {
	t.Helper()
	if err := opt.Validate(); err != nil {
		t.Fatal(err)
	}
	return Generate(opt)
}

func TestGeneratorIsADataset(t *testing.T) {
	t.Parallel()
	for _, opt := range []GeneratorOptions{
		{},
		{Seed: 1, Trips: 1},
		{Seed: 2, Trips: 50_000, PerDay: 5_000_000},
		{Seed: 3, Trips: 5_000, PerDay: 50}, // most minutes have none
		{Seed: 4, Trips: 300, PerDay: 1},
		{Seed: 5, Duration: 36 * time.Hour, PerDay: 9_000, Start: time.Date(2013, 7, 7, 23, 59, 30, 0, time.UTC)},
		{Seed: 6, Trips: 20_000, PerDay: 700, Start: time.Date(1969, 12, 27, 0, 0, 0, 0, time.UTC)},
		{Seed: 7, Duration: time.Second},
	} {
		checkDataset(t, mustGenerate(t, opt))
	}
}

func TestGeneratorIsAPureFunction(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		opt := GeneratorOptions{
			Seed:   rapid.Uint64().Draw(rt, "seed"),
			Trips:  rapid.Int64Range(1, 5000).Draw(rt, "trips"),
			PerDay: rapid.Int64Range(1, 1_000_000).Draw(rt, "per day"),
		}
		if rapid.Bool().Draw(rt, "start") {
			opt.Start = DefaultStart.Add(time.Duration(rapid.Int64Range(-1e6, 1e6).Draw(rt, "minutes")) * time.Minute)
		}
		one, other := mustGenerate(t, opt), mustGenerate(t, opt)
		trips := all(t, one)
		if one.Identity() != other.Identity() || !slices.Equal(trips, all(t, other)) {
			rt.Fatal("the same options give other trips")
		}
		// The number of trips only cuts; any trip can be read alone.
		opt.Trips *= 3
		longer := mustGenerate(t, opt)
		if longer.Identity().Digest == one.Identity().Digest || !slices.Equal(all(t, longer)[:len(trips)], trips) {
			rt.Fatal("more trips begin with others, or have the same identity")
		}
		var single [1]trip.Trip
		i := rapid.IntRange(0, len(trips)-1).Draw(rt, "index")
		if _, err := longer.Read(int64(i), single[:]); err != nil || single[0] != trips[i] {
			rt.Fatalf("trip %d alone is %+v, %v", i, single[0], err)
		}
		opt.Seed++
		if next := mustGenerate(t, opt); next.Identity().Digest == longer.Identity().Digest {
			rt.Fatal("another seed has the same identity")
		}
	})
}

// A later start leaves out what comes before and changes nothing else.
func TestGeneratorStartOnlyCuts(t *testing.T) {
	t.Parallel()
	day := all(t, mustGenerate(t, GeneratorOptions{Seed: 9}))
	start := DefaultStart.Add(7*time.Hour + 13*time.Minute)
	rest := all(t, mustGenerate(t, GeneratorOptions{Seed: 9, Start: start, Duration: 5 * time.Hour}))
	first := slices.IndexFunc(day, func(t trip.Trip) bool { return t.Dropoff >= start.UnixNano() })
	if !slices.Equal(day[first:first+len(rest)], rest) {
		t.Error("trips of a later start are others")
	}
	if got := rest[0].Dropoff; got != start.UnixNano() {
		t.Errorf("the first drop-off is %v, want %v", trip.Time(got), start)
	}
	end := start.Add(5 * time.Hour).UnixNano()
	if last := rest[len(rest)-1].Dropoff; last >= end || last < end-60e9 || day[first+len(rest)].Dropoff < end {
		t.Errorf("the last drop-off is %v", trip.Time(last))
	}
}

// The trips of a seed are facts that other people's results depend on.
func TestGeneratorNeverChanges(t *testing.T) {
	const want = "ee8910ccec09c5f4f2a54aa6958a0e12558308293361eebe1d9942cc4f79cef2"
	d := mustGenerate(t, GeneratorOptions{Seed: 42, Trips: 100_000})
	digest := digestOf([][]trip.Trip{all(t, d)})
	if got := hex.EncodeToString(digest[:]); got != want {
		t.Errorf("digest %s: the generator makes other trips, so generatorVersion and this digest have to change", got)
	}
}

func TestGeneratorHasTheShapeOfNewYork(t *testing.T) {
	t.Parallel()
	d := mustGenerate(t, GeneratorOptions{Seed: 1, Duration: 7 * 24 * time.Hour, PerDay: 60_000})
	fence, err := trip.GeofenceByName(trip.GeofenceBBox)
	if err != nil {
		t.Fatal(err)
	}
	trips := all(t, d)
	var whole, inside, zero, backward, long, atEdge int
	minutes := map[trip.Airport][]int64{}
	from := map[trip.Airport]int{}
	cells := map[trip.Cell]int{}
	hours := map[int]int{}
	for i := range trips {
		ride := &trips[i]
		took := (ride.Dropoff - ride.Pickup) / 1e9
		whole += count(ride.Dropoff%60e9 == 0)
		zero += count(ride.PickupLat == 0 && ride.DropoffLon == 0)
		backward += count(took < 0)
		long += count(took > 3*3600)
		hours[trip.Time(ride.Dropoff).Hour()]++
		if !fence.Inside(ride.PickupLat, ride.PickupLon) || !fence.Inside(ride.DropoffLat, ride.DropoffLon) {
			continue
		}
		inside++
		cell := trip.CellOf(ride.PickupLat, ride.PickupLon, 6)
		cells[cell]++
		latMin, _, lonMin, _ := cell.Box()
		atEdge += count(ride.PickupLat == latMin || ride.PickupLon == lonMin)
		from[fence.Airport(ride.PickupLat, ride.PickupLon)]++
		if airport := fence.Airport(ride.DropoffLat, ride.DropoffLon); airport != trip.NoAirport && took > 0 && took <= 3*3600 {
			minutes[airport] = append(minutes[airport], took/60)
		}
	}
	between := func(what string, got, low, high float64) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s is %.4f, want %v to %v", what, got, low, high)
		}
	}
	n := float64(len(trips))
	between("trips a day", n/7, 59_900, 60_100)
	between("share on whole minutes", float64(whole)/n, 0.49, 0.55)
	between("share inside", float64(inside)/n, 0.95, 0.99)
	between("share without coordinates", float64(zero)/n, 0.01, 0.02)
	between("share backward", float64(backward)/n, 0.0002, 0.001)
	between("share of 24 hours", float64(long)/n, 0.001, 0.004)
	between("cells", float64(len(cells)), 300, 1500)
	between("share on an edge", float64(atEdge)/n, 0.0003, 0.01)
	between("evening by night", float64(hours[19])/float64(hours[4]), 3, 15)
	for _, airport := range []trip.Airport{trip.JFK, trip.LGA} {
		between("share from "+airport.String(), float64(from[airport])/n, 0.01, 0.05)
		between("share to "+airport.String(), float64(len(minutes[airport]))/n, 0.01, 0.05)
	}
	slices.Sort(minutes[trip.JFK])
	slices.Sort(minutes[trip.LGA])
	between("median minutes to JFK", float64(minutes[trip.JFK][len(minutes[trip.JFK])/2]), 30, 60)
	between("median minutes to LGA", float64(minutes[trip.LGA][len(minutes[trip.LGA])/2]), 15, 40)
	hot, share := trip.Cell(0), 0
	for cell, n := range cells {
		if n > share {
			hot, share = cell, n
		}
	}
	if hot.Prefix(5).String() != "dr5ru" {
		t.Errorf("the busiest cell is %v, want one in Midtown", hot)
	}
	between("share of the busiest cell", float64(share)/n, 0.02, 0.1)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestGeneratorRefusesOptions(t *testing.T) {
	for _, opt := range []GeneratorOptions{
		{Trips: -1}, {Duration: -1}, {Trips: 1, Duration: 1}, {PerDay: -1}, {PerDay: maxPerDay + 1},
		{Start: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, {Start: time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Trips: 1 << 40, PerDay: 1}, {Duration: time.Minute, PerDay: 1, Start: DefaultStart.Add(3 * time.Hour)},
	} {
		if err := opt.Validate(); err == nil {
			t.Errorf("%+v is valid", opt)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	d := Generate(GeneratorOptions{Seed: 1, Trips: 10_000_000})
	buf := make([]trip.Trip, 1024)
	from := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Read(from, buf); err != nil {
			b.Fatal(err)
		}
		from = (from + 1024) % 9_000_000
	}
	b.ReportMetric(float64(b.N)*1024/b.Elapsed().Seconds(), "trips/s")
}
