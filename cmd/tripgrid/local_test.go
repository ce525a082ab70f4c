package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/sink"
)

// TestLocal runs every role as a process of its own, two of each, on the
// services of `tripgrid local` and with the settings that it writes, and kills
// a worker of each role in mid-stream.
func TestLocal(t *testing.T) {
	const trips = 60_000
	dir := t.TempDir()
	var all cast
	services := all.start(t, "local", dir, "local", "--dir", dir, "--kinesis-addr", "127.0.0.1:0", "--nats-addr", "127.0.0.1:0")
	until(t, "the settings are written", func() bool { return services.says("serving until") > 0 })

	settings := []string{"--config", filepath.Join(dir, "tripgrid.yaml")}
	mustRun(t, append([]string{"config", "check"}, settings...)...)
	worker := func(name, role string) *member {
		return all.start(t, name, dir, append([]string{"worker", "--role", role, "--exit-when-done", "--leases-failover", "2s"}, settings...)...)
	}
	// 4,000 seconds of event time a second: the trips of 3 hours and a half last 3 s.
	all.start(t, "produce", dir, append([]string{"produce", "--trips", fmt.Sprint(trips), "--speedup", "4000"}, settings...)...)
	ingest := worker("ingest-1", "ingest")
	worker("ingest-2", "ingest")
	var leader *member // of the windows' workers, the one that coordinates checkpoints
	windows := []*member{worker("window-1", "window"), worker("window-2", "window")}
	until(t, "a checkpoint is complete", func() bool {
		for _, w := range windows {
			if w.says("checkpoint completed") > 0 {
				leader = w
			}
		}
		return leader != nil
	})
	ingest.kill()
	leader.kill()
	services.killed = true // it serves on
	until(t, "the others have ended", func() bool {
		all.mustRun(t)
		running := 0
		for _, m := range all.members[1:] {
			if m.running() {
				running++
			}
		}
		return running == 0
	})

	db, err := sink.OpenSQLite(filepath.Join(dir, "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out := filepath.Join(dir, "got.jsonl")
	if _, err := exportTo(t.Context(), db, out); err != nil {
		t.Fatal(err)
	}
	data := dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips})
	equal(t, naive(t, data, 0, "bbox", 10*time.Minute), exported(t, out, 10*time.Minute))
	mustRun(t, append([]string{"checkpoint", "verify"}, settings...)...)
}

// until waits for a condition on other processes.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v are over: not yet that %s", patience, what)
		}
	}
}
