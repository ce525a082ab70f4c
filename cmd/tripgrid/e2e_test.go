package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/producer/dataset"
)

// mainEnv makes the test binary be tripgrid, so that tests can kill it.
const mainEnv = "TRIPGRID_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// shared is the folder with real trips and the independent oracle, "" where it
// is not.
func shared() string {
	dir := os.Getenv("TRIPGRID_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "trips-csv")); err != nil {
		return ""
	}
	return dir
}

// variant is one way to run the demo.
type variant struct {
	data       string // "csv", "foil" or "generated"
	profile    string
	partitions int
	shards     int
}

func (v variant) String() string {
	return fmt.Sprintf("%s-%s-%dpartitions-%dshards", v.data, v.profile, v.partitions, v.shards)
}

// pairwise covers every pair of settings with the fewest runs.
func pairwise(a, b string) []variant {
	return []variant{
		{a, "bbox", 16, 8},
		{a, "seed", 4, 1},
		{b, "bbox", 4, 1},
		{b, "seed", 16, 1},
		{b, "seed", 4, 8},
	}
}

// TestDemoEqualsOracle runs the whole program over real trips, where they are,
// and over generated ones where they are not, and compares every document.
func TestDemoEqualsOracle(t *testing.T) {
	variants := pairwise("csv", "foil")
	if shared() == "" {
		variants = pairwise("generated", "generated")
	}
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) { demoEqualsOracle(t, v) })
	}
}

// TestDemoGenerated needs nothing but Go.
func TestDemoGenerated(t *testing.T) {
	demoEqualsOracle(t, variant{"generated", "bbox", 8, 4})
}

// TestDemoOneTrip: a data set of one row is a data set.
func TestDemoOneTrip(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "one.csv"), filepath.Join(dir, "got.jsonl")
	row := "pickup_datetime,dropoff_datetime,pickup_longitude,pickup_latitude,dropoff_longitude,dropoff_latitude\n" +
		"2016-03-01 00:07:55,2016-03-01 00:47:54,-73.9840,40.7549,-73.7826,40.6440\n"
	if err := os.WriteFile(in, []byte(row), 0o644); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "demo", "--data", in, "--exit-when-done", "--export", out, "--dir", filepath.Join(dir, "run"), "--addr", "127.0.0.1:0", "--window", "1h")
	equal(t, map[string]result{
		"pickup_count dr5ru7  2016-03-01T00:00:00Z":     {Pickups: 1},
		"trip_duration dr5ru7 JFK 2016-03-01T00:00:00Z": {Trips: 1, Minutes: 39},
	}, exported(t, out, time.Hour))
}

// TestDemoSeek starts in mid-data, exactly.
func TestDemoSeek(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "got.jsonl")
	at := time.Date(2016, 1, 4, 2, 3, 4, 0, time.UTC)
	mustRun(t, "demo", "--speedup", "0", "--trips", "30000", "--seek", at.Format(time.RFC3339), "--window", "5m",
		"--exit-when-done", "--export", out, "--dir", filepath.Join(dir, "run"), "--addr", "127.0.0.1:0", "--partitions", "3", "--shards", "2")
	data := dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: 30000})
	from := data.SearchTime(at.UnixNano())
	if from == 0 || from == data.Len() {
		t.Fatalf("the time is not within the data: %d of %d", from, data.Len())
	}
	equal(t, naive(t, data, from, "bbox", 5*time.Minute), exported(t, out, 5*time.Minute))
}

// TestErrorsOfPeople tries what people get wrong: one sentence each, that says
// what to do.
func TestErrorsOfPeople(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.csv")
	if err := os.WriteFile(empty, []byte("a,b\n1,2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"demo", "--data", filepath.Join(dir, "absent.csv")}, 1, "there is no file"},
		{[]string{"demo", "--data", empty}, 1, "has no valid trip"},
		{[]string{"demo", "--profile", "mars"}, 2, "--profile"},
		{[]string{"demo", "--shards", "0"}, 2, "--shards must be 1 to 256"},
		{[]string{"demo", "--window", "1500ms"}, 2, "--window must be whole seconds"},
		{[]string{"demo", "--addr", "256.0.0.1:0"}, 1, "--addr"},
		{[]string{"demo", "--addr="}, 2, "--addr must name"},
		{[]string{"export", "--dir", filepath.Join(dir, "absent"), "--out", "-"}, 1, "there is no folder"},
		{[]string{"checkpoint", "ls", "--dir", dir}, 1, "holds no run"},
		{[]string{"frobnicate"}, 2, "frobnicate"},
	} {
		args := c.args
		if args[0] == "demo" {
			args = append(args, "--dir", filepath.Join(dir, "run"))
		}
		code, stdout, stderr := program(t, args...)
		if code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("tripgrid %s: exit status %d, want %d and %q\n%s%s", strings.Join(args, " "), code, c.code, c.want, stdout, stderr)
		}
	}
}

func demoEqualsOracle(t *testing.T, v variant) {
	dir := t.TempDir()
	out := filepath.Join(dir, "got.jsonl")
	args := []string{
		"demo", "--speedup", "0", "--exit-when-done", "--export", out, "--dir", filepath.Join(dir, "run"), "--addr", "127.0.0.1:0",
		"--profile", v.profile, "--partitions", fmt.Sprint(v.partitions), "--shards", fmt.Sprint(v.shards), "--checkpoint-interval", "1s",
	}
	var pattern string
	switch v.data {
	case "csv":
		pattern = filepath.Join(shared(), "data/trips-csv/*.csv")
	case "foil":
		pattern = filepath.Join(shared(), "data/trips-foil/sample_merged_1.csv")
	default:
		const trips = 60_000
		args = append(args, "--trips", fmt.Sprint(trips))
		mustRun(t, args...)
		equal(t, naive(t, dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips}), 0, v.profile, 10*time.Minute), exported(t, out, 10*time.Minute))
		return
	}
	mustRun(t, append(args, "--data", pattern)...)
	want := filepath.Join(dir, "want.jsonl")
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no trips at %s: %v", pattern, err)
	}
	profile := map[string]string{"bbox": "default", "seed": "seed"}[v.profile]
	python(t, "oracle.py", append([]string{"--profile", profile, "--out", want}, files...)...)
	python(t, "compare.py", want, out)
	mustRun(t, "checkpoint", "verify", "--dir", filepath.Join(dir, "run"))
}

// mustRun runs the program in this process.
func mustRun(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := program(t, args...)
	if code != 0 {
		t.Fatalf("tripgrid %s: exit status %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout, stderr
}

func program(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var out, errs hearing
	code = run(ctx, args, streams{&out, &errs})
	return code, out.String(), errs.String()
}

// python runs one of the independent oracle's programs.
func python(t *testing.T, script string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", append([]string{filepath.Join(shared(), "tools/oracle", script)}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
