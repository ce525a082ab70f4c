package dataset

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/trip"
)

// realData returns the folder of TLC's real files: $TRIPGRID_DATA, or
// ../shared/data beside the repository. They may be absent.
func realData(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("TRIPGRID_DATA"); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("TRIPGRID_DATA: %v", err)
		}
		return dir
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			t.Fatal("no go.mod above the test's folder")
		}
		root = filepath.Dir(root)
	}
	dir := filepath.Join(root, "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the real trips are not here; the other tests have fixtures of every layout")
	}
	return dir
}

// What the batch oracle says about TLC's files.
func TestRealFilesAsTheOracleReadsThem(t *testing.T) {
	t.Parallel()
	dir := realData(t)
	for _, row := range []struct {
		pattern  string
		files    int
		valid    int64
		rejected map[trip.Reason]int64
	}{
		{"trips-csv/*.csv", 125, 124_763, map[trip.Reason]int64{trip.ReasonRange: 5}},
		{"trips-csv/yellow_*.csv", 90, 0, nil},
		{"trips-foil/*.csv", 3, 19_998, map[trip.Reason]int64{trip.ReasonRange: 2, trip.ReasonColumns: 10_000}},
		{"trips-foil/sample_merged_1.csv", 1, 9_999, map[trip.Reason]int64{trip.ReasonRange: 1}},
		{"dirty/dirty_trips.csv", 1, 2_734, map[trip.Reason]int64{trip.ReasonRange: 9}},
	} {
		t.Run(row.pattern, func(t *testing.T) {
			f, err := Open(t.Context(), []string{filepath.Join(dir, row.pattern)}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			rejected := map[trip.Reason]int64{}
			valid, rows := int64(0), int64(0)
			for _, report := range f.Report() {
				valid += report.Valid
				rows += report.Rows
				for reason, n := range report.Rejected {
					rejected[reason] += n
					rows -= n
				}
			}
			if len(f.Report()) != row.files || rows != valid || f.Len() != valid {
				t.Errorf("%d files, %d trips in %d good rows, Len %d", len(f.Report()), valid, rows, f.Len())
			}
			if row.rejected != nil && (valid != row.valid || !maps.Equal(rejected, row.rejected)) {
				t.Errorf("%d valid, rejected %v; want %d, %v", valid, rejected, row.valid, row.rejected)
			}
			checkDataset(t, f)
		})
	}
}

// Every file there is either counted by a naive reader in one of these tests, or
// has no trips and is refused in one sentence.
func TestRealFilesAreAllKnown(t *testing.T) {
	t.Parallel()
	dir := realData(t)
	counted := map[string]string{
		"trips-csv/*.csv": "TestRealCSVAsNaively", "trips-foil/*.csv": "TestRealCSVAsNaively", "dirty/*.csv": "TestRealCSVAsNaively",
		"headers/*.csv": "TestRealCSVAsNaively", "parquet/*.parquet": "TestRealParquetAsNaively", "rides/*.gz": "TestRealRidesAsNaively",
	}
	files := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		for pattern, by := range counted {
			if ok, err := filepath.Match(pattern, filepath.ToSlash(name)); ok || err != nil {
				files[by]++
				return err
			}
		}
		_, err = Open(t.Context(), []string{path}, Options{})
		if err == nil || !strings.Contains(err.Error(), "has no valid trip (bad rows: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s is counted by no test, and not refused for having no trips: %v", name, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"TestRealCSVAsNaively": 125 + 3 + 1 + 238, "TestRealParquetAsNaively": 3, "TestRealRidesAsNaively": 1}; !maps.Equal(files, want) {
		t.Errorf("%v files, want %v", files, want)
	}
}

// The start of a file alone: its header and a few rows, the last one cut. That
// is a data set if a row is whole, and else an error that names the file and
// what its rows lack.
func TestRealHeadersAlone(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(realData(t), "headers", "*.csv"))
	if err != nil || len(paths) != 238 {
		t.Fatal(len(paths), err)
	}
	outcomes := map[string]int{}
	for _, path := range paths {
		f, err := Open(t.Context(), []string{path}, Options{MemoryTrips: 1000})
		switch {
		case err == nil:
			if f.Report()[0].Span == (Span{}) {
				t.Errorf("%s: no span", path)
			}
			outcomes[f.Report()[0].Format]++
			f.Close()
		case strings.Contains(err.Error(), filepath.Base(path)+" has no valid trip (bad rows: ") && !strings.Contains(err.Error(), "\n"):
			outcomes["no valid trip"]++
		default:
			t.Errorf("%s: %v", path, err)
		}
	}
	t.Log(outcomes)
	for _, kind := range []string{"CSV with coordinates", "CSV with zone ids", "no valid trip"} {
		if outcomes[kind] == 0 {
			t.Errorf("no file is %q: %v", kind, outcomes)
		}
	}
}
