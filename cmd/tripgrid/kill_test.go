package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/producer/dataset"
)

// child is tripgrid in a process of its own.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	addr   string
	stderr bytes.Buffer
	ended  chan error
}

var addrPattern = regexp.MustCompile(`results at (http://\S+)`)

// start starts tripgrid and waits until it prints the address of its page.
func start(t *testing.T, args ...string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(exe, args...), ended: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), mainEnv+"=1")
	out, err := c.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	for c.addr == "" {
		line, err := lines.ReadString('\n')
		c.stderr.WriteString(line)
		if m := addrPattern.FindStringSubmatch(line); m != nil {
			c.addr = m[1]
		} else if err != nil {
			_ = c.cmd.Wait()
			t.Fatalf("tripgrid %s ended before it served a page:\n%s", strings.Join(args, " "), c.stderr.String())
		}
	}
	go func() {
		_, _ = io.Copy(&c.stderr, lines)
		c.ended <- c.cmd.Wait()
	}()
	return c
}

// state asks the state API; ok is false when the process is gone.
func (c *child) state(ctx context.Context) (st dashboard.State, ok bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.addr+"/api/state", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return st, false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("/api/state answers %s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return st, false
	}
	return st, true
}

// until polls the state API until cond holds.
func (c *child) until(what string, cond func(dashboard.State) bool) dashboard.State {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		st, ok := c.state(ctx)
		if ok && cond(st) {
			return st
		}
		select {
		case err := <-c.ended:
			c.t.Fatalf("tripgrid ended (%v) before %s:\n%s", err, what, c.stderr.String())
		case <-ctx.Done():
			c.t.Fatalf("no %s in 2 minutes; the state is %+v\n%s", what, st, c.stderr.String())
		case <-poll.C:
		}
	}
}

// kill is SIGKILL: the process has no say in it.
func (c *child) kill() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	<-c.ended
}

// wait waits for the process to end by itself.
func (c *child) wait() {
	c.t.Helper()
	if err := <-c.ended; err != nil {
		c.t.Fatalf("tripgrid: %v\n%s", err, c.stderr.String())
	}
}

// TestKilledTenTimes kills the whole pipeline ten times in one run, wherever
// it happens to be, and starts it again on the same folder: the results are
// those of a run that nothing happened to.
func TestKilledTenTimes(t *testing.T) {
	const (
		trips = 2_000_000
		kills = 10
	)
	dir := t.TempDir()
	out := filepath.Join(dir, "got.jsonl")
	// Paced: at full speed a life would begin with 10 MB a shard that the KCL
	// may read at once, more than what lies between two kills. 6,000 seconds a
	// second are about 30,000 trips.
	args := []string{
		"demo", "--speedup", "6000", "--trips", fmt.Sprint(trips), "--exit-when-done", "--export", out, "--dir", filepath.Join(dir, "run"),
		"--addr", "127.0.0.1:0", "--shards", "8", "--checkpoint-interval", "500ms",
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	from := map[uint64]bool{}
	for k := range kills {
		c := start(t, args...)
		// Somewhere in the k-th of ten equal stretches between 6% and 86%.
		goal := uint64(trips) * uint64(60+80*k+rng.IntN(60)) / 1000
		base := uint64(0)
		first := true
		st := c.until(fmt.Sprintf("%d trips were read", goal), func(st dashboard.State) bool {
			if first && len(st.Partitions) > 0 {
				base, first = st.Checkpoint.N, false
			}
			// Every second kill waits for a checkpoint, as far as the stretch goes.
			return st.Trips.Read >= goal && (k%2 == 0 || st.Checkpoint.N > base || st.Trips.Read >= goal+trips/100)
		})
		c.kill()
		share := float64(st.Trips.Read) / float64(st.Trips.Total)
		if st.Trips.Total != trips || share < 0.05 || share > 0.95 {
			t.Fatalf("kill %d came at %.1f%% of the trips read, not within 5%% to 95%%", k+1, 100*share)
		}
		if base > 0 {
			from[base] = true
		}
		t.Logf("kill %d at %4.1f%%, checkpoint %d, started from checkpoint %d", k+1, 100*share, st.Checkpoint.N, base)
	}
	c := start(t, args...)
	st := c.until("the first checkpoint is known", func(st dashboard.State) bool { return len(st.Partitions) > 0 })
	from[st.Checkpoint.N] = true
	c.wait()
	if len(from) < 5 {
		t.Fatalf("the restarts began from %d different checkpoints, want at least 5", len(from))
	}
	equal(t, naive(t, dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips}), 0, "bbox", 10*time.Minute), exported(t, out, 10*time.Minute))
	mustRun(t, "checkpoint", "verify", "--dir", filepath.Join(dir, "run"))
}

// parts lists the snapshot parts of the newest checkpoint by partition.
func parts(t *testing.T, run string) (n uint64, names []string) {
	t.Helper()
	stdout, _ := mustRun(t, "checkpoint", "show", "--dir", run, "--json")
	var m struct {
		N          uint64
		Partitions []struct{ Part struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(stdout), &m); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Partitions {
		names = append(names, filepath.Join(run, "snapshots", p.Part.Name))
	}
	return m.N, names
}

// damages are what can happen to a snapshot part.
var damages = []struct {
	name string
	do   func(name string) error
}{
	{"corrupt", func(name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 0x10
		return os.WriteFile(name, data, 0o644)
	}},
	{"truncated", func(name string) error { return os.Truncate(name, 20) }},
	{"missing", os.Remove},
}

// killedMidway starts a run and kills it when it has completed at least four
// checkpoints, so that the retained ones are its own and manifest 0 is not
// among them.
func killedMidway(t *testing.T, args ...string) {
	t.Helper()
	c := start(t, args...)
	seen := map[uint64]bool{0: true}
	c.until("four checkpoints", func(st dashboard.State) bool {
		seen[st.Checkpoint.N] = true
		return len(seen) > 4
	})
	c.kill()
}

// TestDamagedPartFallsBack: a part that is corrupt, truncated or missing is
// refused by name; its partition alone goes on from the checkpoint before, the
// run says so, and the results are exact.
func TestDamagedPartFallsBack(t *testing.T) {
	const trips = 300_000
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	out := filepath.Join(dir, "got.jsonl")
	args := []string{
		"demo", "--speedup", "6000", "--trips", fmt.Sprint(trips), "--exit-when-done", "--export", out, "--dir", run,
		"--addr", "127.0.0.1:0", "--shards", "4", "--partitions", "6", "--checkpoint-interval", "200ms",
	}
	killedMidway(t, args...)
	n, names := parts(t, run)
	for i, d := range damages {
		if err := d.do(names[i]); err != nil {
			t.Fatal(err)
		}
	}
	if code, stdout, stderr := program(t, "checkpoint", "verify", "--dir", run); code != 1 {
		t.Errorf("verify finds nothing wrong with checkpoint %d:\n%s%s", n, stdout, stderr)
	} else {
		for i := range damages {
			if base, _ := filepath.Rel(filepath.Join(run, "snapshots"), names[i]); !strings.Contains(stdout, base) {
				t.Errorf("verify does not name %s:\n%s", base, stdout)
			}
		}
	}
	_, stderr := mustRun(t, args...)
	for i, d := range damages {
		base, _ := filepath.Rel(filepath.Join(run, "snapshots"), names[i])
		if !strings.Contains(stderr, base) {
			t.Errorf("the run does not say that it refused the %s part %s:\n%s", d.name, base, stderr)
		}
	}
	equal(t, naive(t, dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips}), 0, "bbox", 10*time.Minute), exported(t, out, 10*time.Minute))
}

// TestNoPartIsValid: if no retained checkpoint has a usable part of a
// partition, the run is refused, naming every object.
func TestNoPartIsValid(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	args := []string{
		"demo", "--speedup", "6000", "--trips", "300000", "--exit-when-done", "--dir", run,
		"--addr", "127.0.0.1:0", "--shards", "4", "--partitions", "3", "--checkpoint-interval", "200ms",
	}
	killedMidway(t, args...)
	objects, err := filepath.Glob(filepath.Join(run, "snapshots", demoJob, "1", "*", "1", "*"))
	if err != nil || len(objects) < 3 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for _, name := range objects {
		if err := os.Truncate(name, 3); err != nil {
			t.Fatal(err)
		}
	}
	code, _, stderr := program(t, args...)
	if code != 1 {
		t.Fatalf("exit status %d without a valid part:\n%s", code, stderr)
	}
	stdout, _ := mustRunAny(t, "checkpoint", "ls", "--dir", run, "--json")
	var retained []struct{ N uint64 }
	if err := json.Unmarshal([]byte(stdout), &retained); err != nil {
		t.Fatal(err)
	}
	last := stderr[strings.LastIndex(strings.TrimSpace(stderr), "\n")+1:]
	for _, r := range retained {
		if want := fmt.Sprintf("%s/1/%d/1/", demoJob, r.N); !strings.Contains(last, want) {
			t.Errorf("the refusal does not name the part of checkpoint %d: %s", r.N, last)
		}
	}
}

func mustRunAny(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	_, stdout, stderr = program(t, args...)
	return stdout, stderr
}

// TestSameFolder: what a folder's run may be resumed with.
func TestSameFolder(t *testing.T) {
	dir := t.TempDir()
	run, out := filepath.Join(dir, "run"), filepath.Join(dir, "got.jsonl")
	base := func(more ...string) []string {
		return append([]string{"demo", "--exit-when-done", "--dir", run, "--addr", "127.0.0.1:0", "--shards", "2", "--trips", "5000"}, more...)
	}
	mustRun(t, base("--speedup", "0", "--partitions", "4", "--checkpoint-interval", "200ms")...)
	for _, other := range [][]string{
		{"--partitions", "8"},
		{"--partitions", "4", "--window", "5m"},
		{"--partitions", "4", "--seed", "2"},
		{"--partitions", "4", "--profile", "seed"},
		{"--partitions", "4", "--shards", "3"},
		{"--partitions", "4", "--seek", "2016-01-04T00:10:00Z"},
	} {
		code, _, stderr := program(t, base(other...)...)
		if code != 1 || !strings.Contains(stderr, "another --dir") {
			t.Errorf("%v on the same folder: exit status %d, %s", other, code, stderr)
		}
	}
	// A finished run exports at once, at any speedup.
	_, stderr := mustRun(t, base("--partitions", "4", "--speedup", "1440", "--export", out)...)
	if !strings.Contains(stderr, "done") {
		t.Errorf("a finished run says %s", stderr)
	}
	again := filepath.Join(dir, "again.jsonl")
	mustRun(t, "export", "--dir", run, "--out", again)
	a, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("export writes %d bytes, demo --export %d", len(b), len(a))
	}
}

// TestFolderWithLostPieces: a run whose results or records were removed is
// refused; going on would be wrong and silent.
func TestFolderWithLostPieces(t *testing.T) {
	for _, piece := range []string{"results.db", "kinesis", "nats"} {
		run := filepath.Join(t.TempDir(), "run")
		args := []string{"demo", "--exit-when-done", "--speedup", "0", "--dir", run, "--addr", "127.0.0.1:0", "--shards", "1", "--partitions", "2", "--trips", "1000"}
		mustRun(t, args...)
		if err := os.RemoveAll(filepath.Join(run, piece)); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := program(t, args...); code != 1 || !strings.Contains(stderr, piece) {
			t.Errorf("without %s: exit status %d, %s", piece, code, stderr)
		}
	}
}

// TestFolderInUse: two processes never share a folder.
func TestFolderInUse(t *testing.T) {
	dir := folder(t.TempDir())
	unlock, err := dir.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	code, _, stderr := program(t, "demo", "--dir", string(dir), "--trips", "10", "--exit-when-done")
	if code != 1 || !strings.Contains(stderr, "in use") {
		t.Fatalf("exit status %d: %s", code, stderr)
	}
}

// TestInterrupted: a signal ends a run in good order, and it can go on.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	c := start(t, "demo", "--speedup", "0", "--trips", "400000", "--dir", dir, "--addr", "127.0.0.1:0", "--checkpoint-interval", "200ms")
	c.until("a checkpoint", func(st dashboard.State) bool { return st.Checkpoint.N >= 1 })
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := <-c.ended; !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Fatalf("interrupted, tripgrid ended with %v:\n%s", err, c.stderr.String())
	}
}
