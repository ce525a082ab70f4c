package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

// Whatever one operation of the store does, the checkpoint is committed once.
func TestR10ServiceOverAFailingStore(t *testing.T) {
	for name, c := range map[string]struct {
		op     storetest.Op
		nth    int
		fault  storetest.Fault
		silent bool // resolved by reading HEAD, without a report
	}{
		"manifest fails":           {storetest.Put, 1, storetest.Fail, false},
		"manifest's answer lost":   {storetest.Put, 1, storetest.LoseAnswer, false},
		"swap fails":               {storetest.SwapHead, 1, storetest.Fail, false},
		"swap's answer lost":       {storetest.SwapHead, 1, storetest.LoseAnswer, true},
		"swap lost":                {storetest.SwapHead, 1, storetest.LoseRequest, false},
		"manifest of sweep failed": {storetest.Get, 4, storetest.Fail, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			faulty := storetest.NewFaulty(r.store)
			inner := r.store
			r.store = faulty
			s, _ := r.run(checkpoint.Config{Interval: time.Hour})
			s.Request()
			wait(t, r.started, "barrier")
			r.store = inner // acks upload without faults
			faulty.On(c.op, c.nth, c.fault)
			r.ackAll(1, 4)
			if !c.silent {
				if f := wait(t, r.failed, "failure"); f.N != 1 || !strings.HasPrefix(f.Reason, "commit: ") {
					t.Fatalf("failed %+v", f)
				}
			}
			done := wait(t, r.committed, "commit")
			head, m, err := checkpoint.Recover(r.ctx, r.store, "taxi")
			if err != nil || head.N != 1 || m.N != 1 || head.Manifests[0] != done.Ref || len(head.Manifests) != 2 {
				t.Fatalf("HEAD is %+v, %v", head, err)
			}
			s.Request()
			if b := wait(t, r.started, "barrier 2"); b.N != 2 || b.Base != 1 {
				t.Fatalf("announced %+v", b)
			}
		})
	}
}

func TestR10ServiceStopsOnAnotherGeneration(t *testing.T) {
	r := newRig(t)
	s, done, _ := r.runDone(checkpoint.Config{Interval: time.Hour})
	s.Request()
	wait(t, r.started, "barrier")
	head, version, err := checkpoint.ReadJob(r.ctx, r.store, "taxi")
	if err != nil {
		t.Fatal(err)
	}
	head.Generation, head.Manifests[0].Generation = 2, 2
	data, err := head.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.SwapHead(r.ctx, "taxi", version, data); err != nil {
		t.Fatal(err)
	}
	r.ackAll(1, 4)
	if err := wait(t, done, "end"); !errors.Is(err, checkpoint.ErrSuperseded) {
		t.Fatalf("it ended with %v", err)
	}
	_, done, _ = r.runDone(checkpoint.Config{})
	if err := wait(t, done, "end of a late starter"); !errors.Is(err, checkpoint.ErrSuperseded) {
		t.Fatalf("it ended with %v", err)
	}
}

func TestR21ServiceStopsAfterViolations(t *testing.T) {
	r := newRig(t)
	s, done, _ := r.runDone(checkpoint.Config{Interval: time.Hour})
	for n := stream.BarrierID(1); n <= 3; n++ {
		s.Request()
		if b := wait(t, r.started, "barrier"); b.N != n {
			t.Fatalf("announced %d", b.N)
		}
		for p := range stream.Partition(shellPartitions) {
			a := testAck(t, r.store, 1, n, p, 5, shellPartitions)
			a.Vector[0].Read++ // ingest read an event that no partition has
			if err := r.board.PutAck(r.ctx, a); err != nil {
				t.Fatal(err)
			}
		}
		if f := wait(t, r.failed, "refusal"); f.N != n || !strings.Contains(f.Reason, checkpoint.ErrConservation.Error()) {
			t.Fatalf("failed %+v", f)
		}
	}
	if err := wait(t, done, "end"); !errors.Is(err, checkpoint.ErrConservation) {
		t.Fatalf("it ended with %v", err)
	}
	if head, _, err := checkpoint.ReadJob(r.ctx, r.store, "taxi"); err != nil || head.N != 0 {
		t.Fatalf("HEAD is at %d, %v", head.N, err)
	}
}

// A coordinator that starts while the store is unavailable waits for it.
func TestServiceStartsInAnOutage(t *testing.T) {
	for _, op := range []storetest.Op{storetest.ReadHead, storetest.Get} {
		r := newRig(t)
		faulty := storetest.NewFaulty(r.store)
		faulty.Every(op, storetest.Away)
		r.store = faulty
		s, _ := r.run(checkpoint.Config{Interval: time.Hour})
		for range 2 {
			if f := wait(t, r.failed, "failure"); !strings.Contains(f.Reason, checkpoint.ErrUnavailable.Error()) {
				t.Fatalf("failed %+v", f)
			}
		}
		faulty.Every(op, nil)
		s.Request()
		if b := wait(t, r.started, "barrier"); b.N != 1 {
			t.Fatalf("announced %+v", b)
		}
	}
}

func TestServiceWithoutAJob(t *testing.T) {
	r := newRig(t)
	board, err := checkpoint.OpenBoard(r.ctx, r.js, "nobody", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	s := checkpoint.NewService(checkpoint.Config{Job: "nobody"}, r.store, board, r.log, checkpoint.Events{})
	if err := s.Run(r.ctx); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Fatalf("the error is %v", err)
	}
	s = checkpoint.NewService(checkpoint.Config{Job: "no/body"}, r.store, board, r.log, checkpoint.Events{})
	if err := s.Run(r.ctx); err == nil {
		t.Fatal("a job with a slash runs")
	}
}

// The board is read through the stream's leader, and watchers start with what
// is there.
func TestBoard(t *testing.T) {
	r := newRig(t)
	if b, err := r.board.Announced(r.ctx); err != nil || b != (checkpoint.Barrier{}) {
		t.Fatalf("an empty board shows %+v, %v", b, err)
	}
	str, err := r.js.Stream(r.ctx, "KV_"+checkpoint.BoardBucket("taxi", 1))
	if err != nil {
		t.Fatal(err)
	}
	if str.CachedInfo().Config.AllowDirect {
		t.Fatal("replicas may answer reads of the board")
	}
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	s.Request()
	first := wait(t, r.started, "barrier")
	again, err := checkpoint.OpenBoard(r.ctx, r.js, "taxi", 1, 1) // as a second process
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	seen := make(chan checkpoint.Barrier, 10)
	ended := make(chan error, 1)
	go func() { ended <- again.WatchBarrier(ctx, func(b checkpoint.Barrier) { seen <- b }) }()
	if b := wait(t, seen, "current announcement"); b != first {
		t.Fatalf("the watcher saw %+v, want %+v", b, first)
	}
	cancel()
	if err := wait(t, ended, "end of the watcher"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := checkpoint.OpenBoard(r.ctx, r.js, "no/job", 1, 1); err == nil {
		t.Fatal("a board of a job with a slash was opened")
	}
}

// Two owners of a partition and late ones put acks at once: the newest stays.
func TestBoardAckRacers(t *testing.T) {
	r := newRig(t)
	const racers = 16
	errs := make(chan error, racers)
	for n := range racers {
		a := testAck(t, nil, 1, stream.BarrierID(n+1), 0, 5, shellPartitions)
		go func() { errs <- r.board.PutAck(r.ctx, a) }()
	}
	for range racers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	kv, err := r.js.KeyValue(r.ctx, checkpoint.BoardBucket("taxi", 1))
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(r.ctx, "ack.0")
	if err != nil {
		t.Fatal(err)
	}
	var a checkpoint.Ack
	if err := json.Unmarshal(e.Value(), &a); err != nil || a.Barrier != racers {
		t.Fatalf("the board has the ack for %d, %v", a.Barrier, err)
	}
}

// A value that nobody of ours wrote is refused by its key; in the place of an
// ack it is no ack, and the partition's own replaces it.
func TestBoardRefusesGarbage(t *testing.T) {
	r := newRig(t)
	kv, err := r.js.KeyValue(r.ctx, checkpoint.BoardBucket("taxi", 1))
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		t.Helper()
		if _, err := kv.Put(r.ctx, key, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	put("ack.1")
	s, _ := r.run(checkpoint.Config{Interval: time.Hour})
	if f := wait(t, r.failed, "report"); !strings.Contains(f.Reason, "ack.1") {
		t.Fatalf("failed %+v", f)
	}
	s.Request()
	wait(t, r.started, "barrier")
	r.ackAll(1, 4)
	wait(t, r.committed, "commit")
	put("barrier")
	if _, err := r.board.Announced(r.ctx); !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), "barrier") {
		t.Fatalf("the error is %v", err)
	}
}
