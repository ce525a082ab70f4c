package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/trip"
)

func spoolOf(t *testing.T, d Dataset) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "trips.spool")
	if err := Spool(path, d); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSpoolReadsBack(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 2, blockTrips - 1, blockTrips, blockTrips + 1, 5*blockTrips + 17} {
		want := mustGenerate(t, GeneratorOptions{Seed: 7, Trips: n})
		path := spoolOf(t, want)
		got, err := OpenSpool(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Identity() != want.Identity() || !slices.Equal(all(t, got), all(t, want)) {
			t.Errorf("%d trips: the spool has other trips, or identity %v", n, got.Identity())
		}
		checkDataset(t, got)
		// A spool of the spool is the same file.
		again := spoolOf(t, got)
		first, err1 := os.ReadFile(path)
		second, err2 := os.ReadFile(again)
		if err1 != nil || err2 != nil || !slices.Equal(first, second) {
			t.Errorf("%d trips: spooled again it is another file: %v, %v", n, err1, err2)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
			t.Errorf("files left: %v", left)
		}
	}
}

func TestSpoolReplacesAFile(t *testing.T) {
	path := spoolOf(t, mustGenerate(t, GeneratorOptions{Trips: 3000}))
	// What a crashed predecessor left.
	if err := os.WriteFile(path+".tmp", []byte(strings.Repeat("x", 1<<20)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Spool(path, mustGenerate(t, GeneratorOptions{Trips: 5})); err != nil {
		t.Fatal(err)
	}
	got, err := OpenSpool(path)
	if err != nil || got.Len() != 5 {
		t.Fatalf("%v, %v", got, err)
	}
	_ = got.Close()
}

// Any byte that is changed, and any cut, is noticed.
func TestSpoolRefusesDamage(t *testing.T) {
	t.Parallel()
	path := spoolOf(t, mustGenerate(t, GeneratorOptions{Trips: blockTrips + 5}))
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := OpenSpool(path)
		if err == nil {
			_ = d.Close()
			t.Fatalf("%s: not noticed", what)
		}
		if !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: the error does not name the file: %v", what, err)
		}
		if !errors.Is(err, ErrCorrupt) && !strings.Contains(err.Error(), "version") {
			t.Fatalf("%s: %v does not wrap ErrCorrupt", what, err)
		}
	}
	for i := 0; i < len(good); i++ {
		if i > 200 && i < len(good)-100 && i%2003 != 0 {
			continue
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		check("byte changed", bad)
	}
	for _, n := range []int{0, 7, 60, 100, len(good) / 2, len(good) - 1} {
		check("cut", good[:n])
	}
	check("extended", append(slices.Clone(good), 0))
	// Two whole blocks that changed places.
	path = spoolOf(t, mustGenerate(t, GeneratorOptions{Trips: 2 * blockTrips}))
	good, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	start := len(good) - 2*blockSize
	check("swapped", slices.Concat(good[:start], good[start+blockSize:], good[start:start+blockSize]))
	if _, err := OpenSpool(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

// Damage that comes after the opening is noticed by Read.
func TestSpoolReadRefusesDamage(t *testing.T) {
	path := spoolOf(t, mustGenerate(t, GeneratorOptions{Trips: 3 * blockTrips}))
	d, err := OpenSpool(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	info, _ := file.Stat()
	if _, err := file.WriteAt([]byte("damage"), info.Size()-1000); err != nil {
		t.Fatal(err)
	}
	buf := make([]trip.Trip, 100)
	if _, err := d.Read(0, buf); err != nil {
		t.Errorf("an undamaged block: %v", err)
	}
	if n, err := d.Read(3*blockTrips-50, buf); n != 0 || !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged block: %d, %v", n, err)
	}
}

type unsorted struct{ Dataset }

func (u unsorted) Read(from int64, buf []trip.Trip) (int, error) {
	n, err := u.Dataset.Read(from, buf)
	slices.Reverse(buf[:n])
	return n, err
}

func TestSpoolRefusesABrokenDataset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trips.spool")
	if err := Spool(path, unsorted{mustGenerate(t, GeneratorOptions{Trips: 100_000, PerDay: 1000})}); err == nil {
		t.Error("trips out of order were spooled")
	}
	if err := Spool(filepath.Join(path, "x"), mustGenerate(t, GeneratorOptions{Trips: 1})); err == nil {
		t.Error("a spool in no folder")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}
