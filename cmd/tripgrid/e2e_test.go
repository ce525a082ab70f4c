package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/producer/dataset"
)

// mainEnv makes the test binary be tripgrid, so that tests can kill it.
const mainEnv = "TRIPGRID_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
	}
	os.Exit(m.Run())
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
		equal(t, naive(t, dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips}), v.profile, 10*time.Minute), exported(t, out, 10*time.Minute))
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
	var out, errs bytes.Buffer
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
