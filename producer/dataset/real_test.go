package dataset

import (
	"maps"
	"os"
	"path/filepath"
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
