package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files are left in the folder: %v", len(left), err)
	}
}

// On disk or in memory: the same order, the same digest, the same report.
func TestOpenSortsOnDisk(t *testing.T) {
	t.Parallel()
	random := newRandom(3, 0)
	var paths []string
	dir := t.TempDir()
	for file := range 3 {
		var b strings.Builder
		for range 3000 {
			minute := random.below(600) // many ties
			fmt.Fprintf(&b, "M,H,2014-05-06 00:00,2014-05-06 %02d:%02d,0,0,-73.9,40.7,-73.9,40.7,C,0,0,0,0,0,%d.%02d\n",
				minute/60, minute%60, random.below(1000), random.below(100))
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.csv", file))
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	want := open(t, paths...)
	for _, limit := range []int64{1, 7, 1000, 1024, 4500, 8999, 9000} {
		spill := t.TempDir()
		f, err := Open(t.Context(), paths, Options{MemoryTrips: limit, SpillDir: spill})
		if err != nil {
			t.Fatal(err)
		}
		if _, onDisk := f.trips.(*spilled); onDisk != (limit < 9000) {
			t.Errorf("limit %d: on disk %v", limit, onDisk)
		}
		if f.Identity() != want.Identity() || !slices.Equal(all(t, f), all(t, want)) {
			t.Errorf("limit %d: other trips", limit)
		}
		if limit == 7 || limit == 4500 {
			checkDataset(t, f)
			path := filepath.Join(t.TempDir(), "spool")
			if err := Spool(path, f); err != nil {
				t.Error(err)
			}
			again, err := OpenSpool(path)
			if err != nil || again.Identity() != want.Identity() {
				t.Errorf("limit %d: its spool: %v", limit, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		checkEmpty(t, spill)
	}
	spill := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Open(ctx, paths, Options{MemoryTrips: 100, SpillDir: spill, Progress: func(Report) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	checkEmpty(t, spill)
	_, err = Open(t.Context(), paths, Options{MemoryTrips: 100, SpillDir: filepath.Join(spill, "absent")})
	if err == nil || !strings.Contains(err.Error(), "name a folder that can be written") {
		t.Errorf("an absent folder: %v", err)
	}
}

// The merge is a stable sort, in however many passes.
func TestSorterIsStable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4000).Draw(t, "trips")
		times := rapid.Int64Range(1, 5000).Draw(t, "times")
		s := newSorter(rapid.Int64Range(1, 500).Draw(t, "limit"), dir)
		s.limit = max(s.limit, int64(n)/60)
		s.fanIn = rapid.IntRange(2, 9).Draw(t, "fan-in")
		defer s.close()
		random := newRandom(rapid.Uint64().Draw(t, "seed"), 0)
		var want []trip.Trip
		for i := range n {
			row := trip.Trip{Dropoff: random.below(times), TotalCents: int64(i)}
			*s.next() = row
			if err := s.add(context.Background()); err != nil {
				t.Fatal(err)
			}
			want = append(want, row)
		}
		got, digest, err := s.finish(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer got.close()
		slices.SortStableFunc(want, func(a, b trip.Trip) int { return int(a.Dropoff - b.Dropoff) })
		buf := make([]trip.Trip, n)
		if read, err := got.read(0, buf); read != n || err != nil || !slices.Equal(buf, want) {
			t.Fatalf("read %d trips, %v, or in another order than a stable sort", read, err)
		}
		if digest != digestOf([][]trip.Trip{want}) {
			t.Fatal("another digest")
		}
	})
}

// What the disk changes is noticed: while merging, and while reading.
func TestSorterDamage(t *testing.T) {
	t.Parallel()
	fill := func() *sorter {
		s := newSorter(1500, t.TempDir())
		for i := range int64(5000) {
			*s.next() = trip.Trip{Dropoff: i * 7919 % 5000}
			if err := s.add(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	damage := func(file *os.File, at int64) {
		b := make([]byte, 1)
		if _, err := file.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := file.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{0, 8, blockSize - 1, 2*blockSize + 5} {
		s := fill()
		damage(s.spill.file, at)
		if _, _, err := s.finish(t.Context()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d of a run: %v", at, err)
		}
		s.close()

		s = fill()
		sorted, _, err := s.finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		damage(sorted.(*spilled).blocks.file, at)
		if _, err := sorted.read(0, make([]trip.Trip, 5000)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d of the result: %v", at, err)
		}
		if err := sorted.close(); err != nil {
			t.Error(err)
		}
		s.close()
	}
}
