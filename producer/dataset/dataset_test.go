package dataset

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/tripgrid/tripgrid/trip"
)

// all reads a data set in one go.
func all(t testing.TB, d Dataset) []trip.Trip {
	t.Helper()
	trips := make([]trip.Trip, d.Len())
	n, err := d.Read(0, trips)
	if err != nil || int64(n) != d.Len() {
		t.Fatalf("Read(0) of %d trips = %d, %v", d.Len(), n, err)
	}
	return trips
}

// checkDataset is the conformance suite of Dataset.
func checkDataset(t *testing.T, d Dataset) {
	t.Helper()
	trips := all(t, d)
	if len(trips) == 0 || d.Identity().Trips != d.Len() || d.Identity().Name == "" || d.Identity().Digest == [32]byte{} {
		t.Fatalf("%d trips, identity %+v", len(trips), d.Identity())
	}
	if !slices.IsSortedFunc(trips, func(a, b trip.Trip) int { return int(min(1, max(-1, a.Dropoff-b.Dropoff))) }) {
		t.Error("drop-offs are not in order")
	}
	for i := range trips {
		if bad := trips[i].CheckCoordinates(); bad != nil {
			t.Fatalf("trip %d: %v", i, bad)
		}
	}
	random := rand.New(rand.NewPCG(1, uint64(len(trips))))
	for range 200 {
		from := random.IntN(len(trips))
		buf := make([]trip.Trip, 1+random.IntN(3000))
		n, err := d.Read(int64(from), buf)
		if err != nil || n != min(len(buf), len(trips)-from) || !slices.Equal(buf[:n], trips[from:from+n]) {
			t.Fatalf("Read(%d) into %d trips = %d, %v, or other trips than in one go", from, len(buf), n, err)
		}
		at := trips[random.IntN(len(trips))].Dropoff + random.Int64N(3) - 1
		want := sort.Search(len(trips), func(i int) bool { return trips[i].Dropoff >= at })
		if got := d.SearchTime(at); got != int64(want) {
			t.Fatalf("SearchTime(%d) = %d, want %d", at, got, want)
		}
	}
	for at, want := range map[int64]int64{trip.MinTime: 0, trip.FinalWatermark: d.Len(), -1 << 63: 0} {
		if got := d.SearchTime(at); got != want {
			t.Errorf("SearchTime(%d) = %d, want %d", at, got, want)
		}
	}
	buf := make([]trip.Trip, 2)
	for _, from := range []int64{d.Len(), d.Len() + 1, 1 << 62} {
		if n, err := d.Read(from, buf); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("Read(%d) = %d, %v, want 0, EOF", from, n, err)
		}
	}
	if n, err := d.Read(d.Len()-1, buf); n != 1 || err != nil {
		t.Errorf("Read of the last trip = %d, %v", n, err)
	}
	if n, err := d.Read(0, nil); n != 0 || err != nil {
		t.Errorf("Read into nothing = %d, %v", n, err)
	}
	if n, err := d.Read(-1, buf); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Read(-1) = %d, %v", n, err)
	}
}
