package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/trip"
)

// memoryResult is what the child process says.
type memoryResult struct {
	Trips  int64
	OnDisk bool
	PeakKB int64 // of the process, resident
}

// TestMain lets the test program be the child of measure.
func TestMain(m *testing.M) {
	if paths := os.Getenv("TRIPGRID_TEST_MEMORY"); paths != "" {
		if err := replayAll(strings.Split(paths, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// replayAll opens files with the default options and reads all trips in order.
func replayAll(paths []string) error {
	f, err := Open(context.Background(), paths, Options{SpillDir: os.Getenv("TRIPGRID_TEST_SPILL")})
	if err != nil {
		return err
	}
	buf := make([]trip.Trip, 1000)
	last, read := int64(-1<<63), int64(0)
	for read < f.Len() {
		n, err := f.Read(read, buf)
		if err != nil {
			return err
		}
		for i := range buf[:n] {
			if buf[i].Dropoff < last {
				return fmt.Errorf("trip %d is out of order", read+int64(i))
			}
			last = buf[i].Dropoff
		}
		read += int64(n)
	}
	_, onDisk := f.trips.(*spilled)
	if err := f.Close(); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	result := memoryResult{Trips: read, OnDisk: onDisk}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(rest), &result.PeakKB); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// measure opens files in a process of its own.
func measure(t *testing.T, paths []string) (got memoryResult) {
	t.Helper()
	spill := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "TRIPGRID_TEST_MEMORY="+strings.Join(paths, "\n"), "TRIPGRID_TEST_SPILL="+spill)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	out, err := child.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, spill)
	t.Logf("%d trips, on disk %v, peak %d MiB resident", got.Trips, got.OnDisk, got.PeakKB>>10)
	if got.PeakKB > 512<<10 {
		t.Error("more than 512 MiB")
	}
	return got
}

// TLC's three months are opened and read in order within 512 MiB of memory, the
// whole process.
func TestRealMonthsMemory(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(realData(t), "parquet", "*.parquet"))
	if err != nil || len(paths) != 3 {
		t.Fatal(err, paths)
	}
	if got := measure(t, paths); got.OnDisk || got.Trips != 171_056 {
		t.Errorf("%+v", got)
	}
}

// So are more trips than are sorted in memory by default.
func TestOnDiskMemory(t *testing.T) {
	t.Parallel()
	random := newRandom(11, 0)
	rows := make([]yellow2011Row, 200_000)
	for i := range rows {
		rows[i] = yellow2011Row{Pickup: point(random.below(1e15)), From: point(int64(1)), To: point(int64(2))}
		rows[i].Dropoff = point(*rows[i].Pickup + 6e8)
	}
	path := write(t, "month.parquet", parquetFile(t, rows))
	if got := measure(t, slices.Repeat([]string{path}, 11)); !got.OnDisk || got.Trips != 2_200_000 {
		t.Errorf("%+v", got)
	}
}
