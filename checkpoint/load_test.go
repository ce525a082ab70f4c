package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

// jobAt is a job with checkpoints 1 to n in a store.
func jobAt(t *testing.T, n stream.BarrierID) (*storetest.Memory, checkpoint.Head, []*checkpoint.Manifest) {
	t.Helper()
	ctx := context.Background()
	store := storetest.NewMemory()
	head, m, err := checkpoint.CreateJob(ctx, store, testSpec(2), t0, 77)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, now: t0, head: head}
	s.c, s.todo = checkpoint.NewCoordinator(checkpoint.Config{Job: "taxi", Nonce: own}, checkpoint.Start{
		Now: t0, Head: head, Version: "1", Manifests: []*checkpoint.Manifest{m},
	})
	manifests := []*checkpoint.Manifest{m}
	for i := stream.BarrierID(1); i <= n; i++ {
		s.step(checkpoint.Wanted{})
		s.landed()
		for p := range stream.Partition(2) {
			s.step(checkpoint.AckArrived{Ack: testAck(t, store, 1, i, p, uint64(i), 2)})
		}
		c := take[checkpoint.Commit](s)
		if err := store.Put(ctx, c.Ref.Name, c.Manifest); err != nil {
			t.Fatal(err)
		}
		v, err := store.SwapHead(ctx, "taxi", c.Old, c.Head)
		if err != nil {
			t.Fatal(err)
		}
		if head, err = checkpoint.DecodeHead("taxi", c.Head); err != nil {
			t.Fatal(err)
		}
		s.step(checkpoint.CommitAnswered{N: i, Head: head, Version: v})
		take[checkpoint.Complete](s)
		manifests = append(manifests, report[checkpoint.Committed](s).Manifest)
		s.todo = nil // no purge, no sweep
	}
	return store, head, manifests
}

func anyPart([]byte, checkpoint.PartitionEntry, *checkpoint.Manifest) error { return nil }

func TestLoadPartFallsBack(t *testing.T) {
	ctx := context.Background()
	damage := map[string]func(s *storetest.Memory, name string, data []byte){
		"missing":   func(s *storetest.Memory, name string, _ []byte) { _ = s.Delete(ctx, name) },
		"truncated": func(s *storetest.Memory, name string, data []byte) { s.Corrupt(name, data[:len(data)-1]) },
		"empty":     func(s *storetest.Memory, name string, _ []byte) { s.Corrupt(name, nil) },
		"corrupt": func(s *storetest.Memory, name string, data []byte) {
			data[len(data)/2] ^= 1
			s.Corrupt(name, data)
		},
		"another's": func(s *storetest.Memory, name string, _ []byte) {
			s.Corrupt(name, checkpoint.EncodePart([]byte("valid, but not it")))
		},
	}
	for what, harm := range damage {
		t.Run(what, func(t *testing.T) {
			store, head, m := jobAt(t, 4)
			for _, n := range []int{4, 3} {
				name := m[n].Partitions[1].Part.Name
				data, err := store.Get(ctx, name)
				if err != nil {
					t.Fatal(err)
				}
				harm(store, name, data)
			}
			body, entry, got, bad, err := checkpoint.LoadPart(ctx, store, head, 1, anyPart)
			if err != nil || got.N != 2 || entry.Ordinal != 2 || string(body) != "state of partition 1 at 2" {
				t.Fatalf("loaded %q of checkpoint %+v, %v", body, got, err)
			}
			if len(bad) != 2 || bad[0].N != 4 || bad[0].Object != m[4].Partitions[1].Part.Name || bad[1].N != 3 ||
				!strings.Contains(bad[0].Reason, bad[0].Object) {
				t.Fatalf("reported %v", bad)
			}
			// The other partition is not affected.
			if _, _, got, bad, err := checkpoint.LoadPart(ctx, store, head, 0, anyPart); err != nil || got.N != 4 || len(bad) != 0 {
				t.Fatalf("partition 0: %v %v", bad, err)
			}
			// The last one goes, too: there is one error with all names.
			_ = store.Delete(ctx, m[2].Partitions[1].Part.Name)
			_, _, _, bad, err = checkpoint.LoadPart(ctx, store, head, 1, anyPart)
			if err == nil || len(bad) != 3 || !errors.Is(err, checkpoint.ErrCorrupt) {
				t.Fatalf("%v: %v", bad, err)
			}
			for n := 2; n <= 4; n++ {
				if !strings.Contains(err.Error(), m[n].Partitions[1].Part.Name) {
					t.Fatalf("checkpoint %d's object is not named: %v", n, err)
				}
			}
		})
	}
}

func TestLoadPartGenesisCountsOnlyWhileRetained(t *testing.T) {
	ctx := context.Background()
	for n := stream.BarrierID(0); n <= 3; n++ {
		store, head, m := jobAt(t, n)
		for i := 1; i <= int(n); i++ {
			_ = store.Delete(ctx, m[i].Partitions[0].Part.Name)
		}
		body, entry, got, bad, err := checkpoint.LoadPart(ctx, store, head, 0, anyPart)
		if n < 3 {
			if err != nil || got.N != 0 || body != nil || entry.Part.Name != "" || len(bad) != int(n) {
				t.Fatalf("%d: got %v, %v, %v", n, body, bad, err)
			}
		} else if err == nil {
			t.Fatal("the empty state was taken although manifest 0 is no longer retained")
		}
	}
}

// While a part is loaded, three checkpoints commit and its objects are swept.
func TestLoadPartFollowsHead(t *testing.T) {
	ctx := context.Background()
	_, old, _ := jobAt(t, 3)
	store, head, _ := jobAt(t, 9)
	if _, err := checkpoint.SweepObjects(ctx, store, head); err != nil {
		t.Fatal(err)
	}
	_, _, m, bad, err := checkpoint.LoadPart(ctx, store, old, 0, anyPart)
	if err != nil || m.N != 9 || len(bad) != 0 {
		t.Fatalf("loaded %+v, %v, %v", m, bad, err)
	}
	moved := storetest.NewFaulty(store)
	moved.On(storetest.ReadHead, 1, func(do func() error) error {
		err := do()
		restore := head
		restore.Generation, restore.N, restore.Manifests = 2, 0, []checkpoint.ManifestRef{{Generation: 2}}
		data, eerr := restore.Encode()
		_, v, rerr := store.ReadHead(ctx, "taxi")
		_, serr := store.SwapHead(ctx, "taxi", v, data)
		return errors.Join(err, eerr, rerr, serr)
	})
	_, _, m, bad, err = checkpoint.LoadPart(ctx, moved, old, 0, anyPart)
	if err != nil || m.N != 9 {
		t.Fatalf("loaded %+v, %v, %v", m, bad, err)
	}
	if _, _, _, _, err = checkpoint.LoadPart(ctx, store, old, 0, anyPart); !errors.Is(err, checkpoint.ErrSuperseded) {
		t.Fatalf("the error is %v", err)
	}
}

func TestR16BrokenLogIsNoReasonToFallBack(t *testing.T) {
	store, head, _ := jobAt(t, 3)
	calls := 0
	_, _, _, bad, err := checkpoint.LoadPart(context.Background(), store, head, 0,
		func([]byte, checkpoint.PartitionEntry, *checkpoint.Manifest) error {
			calls++
			return fmt.Errorf("frame 30 has another checksum: %w", checkpoint.ErrBroken)
		})
	if !errors.Is(err, checkpoint.ErrBroken) || calls != 1 || len(bad) != 0 {
		t.Fatalf("%d calls, %v, %v", calls, bad, err)
	}
	_, entry, _, bad, err := checkpoint.LoadPart(context.Background(), store, head, 0,
		func(_ []byte, _ checkpoint.PartitionEntry, m *checkpoint.Manifest) error {
			if m.N == 3 {
				return errors.New("of another codec")
			}
			return nil
		})
	if err != nil || entry.Ordinal != 2 || len(bad) != 1 || !strings.Contains(bad[0].Reason, "of another codec") {
		t.Fatalf("%v %v", bad, err)
	}
}

func TestRecoverFallsBackToAnOlderManifest(t *testing.T) {
	ctx := context.Background()
	store, head, _ := jobAt(t, 5)
	store.Corrupt(head.Manifests[0].Name, []byte("{"))
	got, m, err := checkpoint.Recover(ctx, store, "taxi")
	if err != nil || got.N != 5 || m.N != 4 {
		t.Fatalf("recovered %+v, %v", m, err)
	}
	if _, _, m, bad, err := checkpoint.LoadPart(ctx, store, head, 0, anyPart); err != nil || m.N != 4 || bad[0].Object != head.Manifests[0].Name {
		t.Fatalf("%v %v", bad, err)
	}
	// Nothing may be swept while the references of a retained one are unknown.
	if names, err := checkpoint.SweepObjects(ctx, store, head); err == nil || len(names) != 0 {
		t.Fatalf("swept %v", names)
	}
	for _, ref := range head.Manifests {
		store.Corrupt(ref.Name, []byte("{"))
	}
	_, _, err = checkpoint.Recover(ctx, store, "taxi")
	for _, ref := range head.Manifests {
		if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), ref.Name) {
			t.Fatalf("the error is %v", err)
		}
	}
	if _, _, err := checkpoint.Recover(ctx, store, "nobody"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Fatal(err)
	}
}

// That a store is out of reach says nothing about its objects.
func TestUnavailableIsNoReasonToFallBack(t *testing.T) {
	ctx := context.Background()
	store, head, _ := jobAt(t, 4)
	for nth := range 2 { // the manifest, and the part
		away := storetest.NewFaulty(store)
		away.On(storetest.Get, nth+1, storetest.Away)
		if _, _, _, bad, err := checkpoint.LoadPart(ctx, away, head, 0, anyPart); !errors.Is(err, checkpoint.ErrUnavailable) || len(bad) != 0 {
			t.Fatalf("a part is loaded: %v %v", bad, err)
		}
		if _, _, m, bad, err := checkpoint.LoadPart(ctx, away, head, 0, anyPart); err != nil || m.N != 4 || len(bad) != 0 {
			t.Fatalf("a part is loaded again: %v %v", bad, err)
		}
	}
	away := storetest.NewFaulty(store)
	away.On(storetest.Get, 2, func(func() error) error { return checkpoint.ErrNotFound })
	away.On(storetest.ReadHead, 1, storetest.Away) // so nobody knows whether the part was swept
	if _, _, _, bad, err := checkpoint.LoadPart(ctx, away, head, 0, anyPart); !errors.Is(err, checkpoint.ErrUnavailable) || len(bad) != 0 {
		t.Fatalf("a part is loaded while HEAD may have moved on: %v %v", bad, err)
	}
	away = storetest.NewFaulty(store)
	away.Every(storetest.Get, storetest.Away)
	if _, _, err := checkpoint.Recover(ctx, away, "taxi"); !errors.Is(err, checkpoint.ErrUnavailable) || errors.Is(err, checkpoint.ErrCorrupt) {
		t.Fatalf("recovered: %v", err)
	}
	if _, bad, err := checkpoint.Retained(ctx, away, head); !errors.Is(err, checkpoint.ErrUnavailable) || len(bad) != 0 {
		t.Fatalf("retained: %v %v", bad, err)
	}
}

// A sweeper that read HEAD long ago deletes neither what a checkpoint in
// flight has uploaded nor what was committed since.
func TestR11StaleSweeper(t *testing.T) {
	ctx := context.Background()
	store, old, m := jobAt(t, 5)
	aborted := testAck(t, store, 1, 4, 0, 99, 2).Part.Name // of an attempt at 4 that did not make it
	inFlight := testAck(t, store, 1, 6, 0, 6, 2).Part.Name // 6 is about to commit
	younger := testAck(t, store, 2, 0, 0, 1, 2).Part.Name  // of a restore under way
	foreign := "taxi/notes"                                // not ours to judge
	if err := store.Put(ctx, foreign, []byte("x")); err != nil {
		t.Fatal(err)
	}
	names, err := checkpoint.SweepObjects(ctx, store, old)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{aborted: true}
	for n := 0; n <= 2; n++ { // no longer retained
		for _, e := range m[n].Partitions {
			if e.Part.Name != "" {
				want[e.Part.Name] = true
			}
		}
	}
	manifests := 0
	for _, name := range names {
		if strings.Contains(name, "/manifest-") {
			manifests++
		} else if !want[name] {
			t.Errorf("%s was deleted", name)
		} else {
			delete(want, name)
		}
	}
	if len(want) > 0 || manifests != 3 {
		t.Errorf("%v were not deleted, %d manifests were", want, manifests)
	}
	for _, name := range []string{inFlight, younger, foreign} {
		if _, err := store.Get(ctx, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for p := range stream.Partition(2) {
		if _, _, got, bad, err := checkpoint.LoadPart(ctx, store, old, p, anyPart); err != nil || len(bad) > 0 || got.N != 5 {
			t.Fatalf("%v %v", bad, err)
		}
	}
}

func TestR11PinsAreKept(t *testing.T) {
	ctx := context.Background()
	_, two, _ := jobAt(t, 2)
	store, head, m := jobAt(t, 5)
	head.Pins = []checkpoint.Pin{{Reason: "replay", Manifest: two.Manifests[0]}}
	if _, err := checkpoint.SweepObjects(ctx, store, head); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(ctx, m[2].Partitions[1].Part.Name); err != nil {
		t.Fatalf("a part of the pinned checkpoint was swept: %v", err)
	}
	if _, err := store.Get(ctx, m[1].Partitions[1].Part.Name); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Fatalf("a part of an outlived checkpoint was not swept: %v", err)
	}
}

func TestCreateJob(t *testing.T) {
	ctx := context.Background()
	store := storetest.NewMemory()
	head, m, err := checkpoint.CreateJob(ctx, store, testSpec(2), t0, 77)
	if err != nil || head.Generation != 1 || head.N != 0 || head.Nonce != 77 || m.N != 0 || len(m.Partitions) != 2 {
		t.Fatalf("created %+v, %v", head, err)
	}
	again, _, err := checkpoint.CreateJob(ctx, store, testSpec(2), t0.Add(time.Hour), 78)
	if err != nil || again.Nonce != 77 {
		t.Fatalf("resumed %+v, %v", again, err)
	}
	for want, edit := range map[string]func(s *checkpoint.Spec){
		"--window is 10m in the job, 5m asked":                 func(s *checkpoint.Spec) { s.Window = 5 * time.Minute },
		"--window is 10m in the job, 1h asked":                 func(s *checkpoint.Spec) { s.Window = time.Hour },
		"--partitions is 2 in the job, 4 asked":                func(s *checkpoint.Spec) { s.Partitions = 4 },
		"--profile is bbox in the job, seed asked":             func(s *checkpoint.Spec) { s.Geofence = "seed" },
		"--shards is 2 in the job, 1 asked":                    func(s *checkpoint.Spec) { s.Shards = s.Shards[:1] },
		"the start is trim_horizon in the job, 2026 asked":     func(s *checkpoint.Spec) { s.Start = "2026" },
		"the number of lanes is 4 in the job, 0 asked":         func(s *checkpoint.Spec) { s.Lanes = 0 },
		"the stream is trips in the job, other asked":          func(s *checkpoint.Spec) { s.Stream = "other" },
		"the partition hash is xxh64 in the job, fnv asked":    func(s *checkpoint.Spec) { s.Hash = "fnv" },
		"the partition precision is 6 in the job, 5 asked":     func(s *checkpoint.Spec) { s.CellPrecision = 5 },
		"the query hot is in the job, but not asked":           func(s *checkpoint.Spec) { s.Queries = nil },
		"query 1 is hot in the job, cold asked":                func(s *checkpoint.Spec) { s.Queries = []checkpoint.QueryRef{{Name: "cold"}} },
		"the query hot has another definition in the job (a1)": func(s *checkpoint.Spec) { s.Queries = []checkpoint.QueryRef{{Name: "hot", Hash: "b"}} },
		"the query new is not in the job, but asked": func(s *checkpoint.Spec) {
			s.Queries = append(s.Queries, checkpoint.QueryRef{Name: "new"})
		},
		"--data is trips.csv (1000 trips, digest d1) in the job, other.csv (5 trips, digest d2) asked": func(s *checkpoint.Spec) {
			s.Data = checkpoint.Data{Name: "other.csv", Digest: "d2", Trips: 5}
		},
		"shard 1 is shard-1 [10, 19] in the job, shard-1 [11, 19] asked": func(s *checkpoint.Spec) { s.Shards[1].HashStart = "11" },
	} {
		spec := testSpec(2)
		edit(&spec)
		_, _, err := checkpoint.CreateJob(ctx, store, spec, t0, 79)
		if !errors.Is(err, checkpoint.ErrMismatch) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
	same := testSpec(2)
	same.Data.Name, same.Shards, same.Start = "renamed.csv", nil, ""
	if d := testSpec(2).Diff(same); d != "" {
		t.Errorf("what is not asked, or only named otherwise, differs: %s", d)
	}
	bad := testSpec(2)
	bad.Job = "no/job"
	if _, _, err := checkpoint.CreateJob(ctx, store, bad, t0, 1); err == nil {
		t.Error("a job with a slash was created")
	}
}

func TestR8CreateJobRaces(t *testing.T) {
	ctx := context.Background()
	mem := storetest.NewMemory()
	type result struct {
		head checkpoint.Head
		err  error
	}
	results := make(chan result)
	for i := range 16 {
		go func() {
			h, _, err := checkpoint.CreateJob(ctx, mem, testSpec(2), t0.Add(time.Duration(i)), uint64(i+1))
			results <- result{h, err}
		}()
	}
	nonces := map[uint64]int{}
	for range 16 {
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		nonces[r.head.Nonce]++
	}
	if len(nonces) != 1 {
		t.Fatalf("there are several generations: %v", nonces)
	}
	for _, op := range []storetest.Op{storetest.Put, storetest.SwapHead} {
		f := storetest.NewFaulty(storetest.NewMemory())
		f.On(op, 1, storetest.LoseAnswer)
		h, _, err := checkpoint.CreateJob(ctx, f, testSpec(2), t0, 77)
		if op == storetest.SwapHead && (err != nil || h.Nonce != 77) || op == storetest.Put && !errors.Is(err, checkpoint.ErrUncertain) {
			t.Fatalf("after a lost answer of %s: %+v, %v", op, h, err)
		}
		if h, _, err := checkpoint.CreateJob(ctx, f, testSpec(2), t0, 77); err != nil || h.Nonce != 77 {
			t.Fatalf("the second attempt: %+v, %v", h, err)
		}
	}
}

func TestR21Check(t *testing.T) {
	if v := checkpoint.Check(testManifest(t)); len(v) != 0 {
		t.Fatalf("a sound manifest violates %v", v)
	}
	for want, edit := range map[string]func(m *checkpoint.Manifest){
		"shard shard-0: read = watermark events + items of all partitions is 12 on the left and 11 on the right":      func(m *checkpoint.Manifest) { m.Vector[0].Read++ },
		"partition 1, shard shard-1: items = applied + repeated + outside + dead is 5 on the left and 6 on the right": func(m *checkpoint.Manifest) { m.Partitions[1].Counters.Shards[1].Dead++ },
		"partition 0, query hot: applied = filtered + late + open + retired is 10 on the left and 11 on the right":    func(m *checkpoint.Manifest) { m.Partitions[0].Counters.Queries[0].Late++ },
		"partition 0, query hot: applied = filtered + late + open + retired is 10 on the left and 0 on the right":     func(m *checkpoint.Manifest) { m.Partitions[0].Counters.Queries = nil },
		"shard ghost: read = watermark events + items of all partitions is 0 on the left and 3 on the right": func(m *checkpoint.Manifest) {
			m.Partitions[0].Counters.Shards = append(m.Partitions[0].Counters.Shards, checkpoint.ShardCounters{Shard: "ghost", Items: 3, Outside: 3})
		},
	} {
		m := testManifest(t)
		edit(m)
		v := checkpoint.Check(m)
		if len(v) != 1 || v[0].String() != want {
			t.Errorf("violations are %v, want %s", v, want)
		}
		if err := checkpoint.Verify(m); !errors.Is(err, checkpoint.ErrConservation) {
			t.Error(err)
		}
	}
}

func TestNoncesDiffer(t *testing.T) {
	if a, b := checkpoint.NewNonce(), checkpoint.NewNonce(); a == b || a == 0 || b == 0 {
		t.Fatalf("nonces %x, %x", a, b)
	}
	if bytes.Equal(checkpoint.EncodePart([]byte("a")), checkpoint.EncodePart([]byte("b"))) {
		t.Fatal("different bodies, same part")
	}
}
