package sink_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/sinktest"
)

// start runs a Pending before s until the test ends.
func start(t *testing.T, s sink.Sink, cfg sink.PendingConfig) *sink.Pending {
	t.Helper()
	p, err := sink.NewPending(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func flush(t *testing.T, p *sink.Pending) {
	t.Helper()
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestPendingLosesNothing is the promise of R19: whatever the store does, a
// document that was added is unconfirmed or stored, versions arrive in order,
// and at the end the newest ones are there.
func TestPendingLosesNothing(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			mem := sinktest.NewMemory()
			roll := func(percent int) bool { return rand.IntN(100) < percent }
			some := func(sink.Document) bool { return roll(20) }
			faulty := &sinktest.Faulty{Sink: mem, Plan: func(int, []sink.Document) sinktest.Fault {
				f := sinktest.Fault{Before: roll(20), After: roll(20)}
				if roll(30) {
					f.Retry = some
				}
				return f
			}}
			p := start(t, faulty, sink.PendingConfig{MaxBytes: 20_000, BatchDocs: 7, Writers: 1 + int(seed%3), BackoffMax: time.Second})
			newest := map[string]uint64{}
			const partitions = 3
			for v := range uint64(300) {
				part := uint32(rnd.IntN(partitions))
				docs := make([]sink.Document, rnd.IntN(6))
				for i := range docs {
					docs[i] = sinktest.Doc(fmt.Sprint(part, "-", rnd.IntN(40)), v+1)
					newest[docs[i].ID] = v + 1
				}
				p.Add(part, docs)
				for p.Full() {
					if err := p.Wait(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if rnd.IntN(10) == 0 {
					checkNothingLost(t, p, mem, part, newest)
				}
			}
			flush(t, p)
			for id, v := range newest {
				if d, ok, _ := mem.Get(t.Context(), id); !ok || d.Version != v {
					t.Errorf("%s: stored version %d, want %d", id, d.Version, v)
				}
				h := mem.History(id)
				for i := 1; i < len(h); i++ {
					if h[i] < h[i-1] {
						t.Errorf("%s: versions arrived as %v", id, h)
					}
				}
			}
			if got := mem.Misuse(); got != nil {
				t.Error(got)
			}
			if s := p.Stats(); s.Documents != 0 || s.Bytes != 0 {
				t.Errorf("empty, but %+v", s)
			}
		})
	}
}

func checkNothingLost(t *testing.T, p *sink.Pending, mem *sinktest.Memory, part uint32, newest map[string]uint64) {
	t.Helper()
	snapshot := map[string]uint64{}
	for _, d := range p.Unconfirmed(part) {
		snapshot[d.ID] = d.Version
	}
	for id, v := range newest {
		if !strings.HasPrefix(id, fmt.Sprint(part, "-")) || snapshot[id] == v {
			continue
		}
		if d, ok, _ := mem.Get(t.Context(), id); !ok || d.Version != v {
			t.Fatalf("%s version %d is neither pending (%d) nor stored (%d)", id, v, snapshot[id], d.Version)
		}
	}
}

func TestPendingBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		faulty := &sinktest.Faulty{Sink: sinktest.NewMemory(), Plan: func(n int, _ []sink.Document) sinktest.Fault {
			at = append(at, time.Since(begin).Round(time.Millisecond))
			return sinktest.Fault{Before: n < 6}
		}}
		p := start(t, faulty, sink.PendingConfig{Linger: -1, BackoffMin: 100 * time.Millisecond, BackoffMax: time.Second,
			Jitter: func() float64 { return 0.5 }})
		p.Add(1, []sink.Document{sinktest.Doc("a", 1)})
		synctest.Wait()
		if s := p.Stats(); !strings.Contains(s.Failing, "injected") || !s.Since.Equal(begin) || s.Retried != 1 {
			t.Errorf("%+v", s)
		}
		flush(t, p)
		ms := time.Millisecond
		if want := []time.Duration{0, 75 * ms, 225 * ms, 525 * ms, 1125 * ms, 1875 * ms, 2625 * ms}; !reflect.DeepEqual(at, want) {
			t.Errorf("attempts at %v, want %v", at, want)
		}
		if s := p.Stats(); s.Failing != "" || s.Written != 1 || s.Retried != 6 {
			t.Errorf("%+v", s)
		}
	})
}

// A document that the store puts off must not hold up the others.
func TestPendingPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := sinktest.NewMemory()
		p := start(t, &sinktest.Faulty{Sink: mem, Plan: func(n int, _ []sink.Document) sinktest.Fault {
			return sinktest.Fault{Retry: func(d sink.Document) bool { return d.ID == "b" && n < 3 }}
		}}, sink.PendingConfig{})
		p.Add(1, []sink.Document{sinktest.Doc("a", 1), sinktest.Doc("b", 1), sinktest.Doc("c", 1)})
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if mem.Len() != 2 || p.Len() != 1 || p.Unconfirmed(1)[0].ID != "b" {
			t.Errorf("%d stored, pending %v", mem.Len(), p.Unconfirmed(1))
		}
		flush(t, p)
	})
}

// A store that takes some of each batch is not kept waiting longer and longer.
func TestPendingBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const docs = 50
		p := start(t, &sinktest.Faulty{Sink: sinktest.NewMemory(), Plan: func(n int, batch []sink.Document) sinktest.Fault {
			return sinktest.Fault{Retry: func(d sink.Document) bool { return d.ID != batch[0].ID }}
		}}, sink.PendingConfig{BackoffMin: 100 * time.Millisecond})
		var all []sink.Document
		for i := range docs {
			all = append(all, sinktest.Doc(fmt.Sprint(i), 1))
		}
		begin := time.Now()
		p.Add(1, all)
		flush(t, p)
		if took := time.Since(begin); took > docs*100*time.Millisecond {
			t.Errorf("%d writes that took a document each took %v", docs, took)
		}
	})
}

func TestPendingFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		p := start(t, &sinktest.Faulty{Sink: sinktest.NewMemory(), Plan: func(int, []sink.Document) sinktest.Fault {
			return sinktest.Fault{Hold: hold}
		}}, sink.PendingConfig{MaxBytes: 4000, Linger: -1, Timeout: time.Hour})
		// One id over and over takes the room of two versions, however often.
		for v := range uint64(1000) {
			p.Add(1, []sink.Document{sinktest.Doc("a", v+1)})
		}
		if p.Full() || p.Len() != 1 || p.Unconfirmed(1)[0].Version != 1000 {
			t.Fatalf("%d documents, %d bytes", p.Len(), p.Bytes())
		}
		for i := 0; !p.Full(); i++ {
			p.Add(1, []sink.Document{sinktest.Doc(fmt.Sprint("b", i), 1)})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait on a full queue: %v", err)
		}
		close(hold)
		if err := p.Wait(t.Context()); err != nil || p.Full() {
			t.Error(err, p.Full())
		}
		flush(t, p)
	})
}

func TestPendingRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := sinktest.NewMemory()
		var p *sink.Pending
		var told []string
		p = start(t, &sinktest.Faulty{Sink: mem, Plan: func(int, []sink.Document) sinktest.Fault {
			return sinktest.Fault{Reject: func(d sink.Document) bool { return strings.Contains(d.ID, "bad") }}
		}}, sink.PendingConfig{Rejected: func(partition uint32, d sink.Document, reason string) {
			told = append(told, fmt.Sprint(partition, d.ID, reason))
			if got := p.Unconfirmed(partition); len(got) != 3 {
				t.Errorf("it is forgotten before its dead letter is there: %v", got)
			}
			p.Add(partition, []sink.Document{
				{ID: "dead|" + d.ID, Version: 1, Query: sink.DeadQuery, Body: []byte(`{}`)}, // rejected as well: no end otherwise
				{ID: "letter", Version: 1, Query: sink.DeadQuery, Body: []byte(`{}`)},
			})
		}})
		p.Add(3, []sink.Document{sinktest.Doc("a", 1), sinktest.Doc("bad", 1), sinktest.Doc("c", 1)})
		flush(t, p)
		if want := []string{"3badinjected rejection"}; !reflect.DeepEqual(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if s := p.Stats(); s.Rejected != 2 || s.Written != 3 || mem.Len() != 3 {
			t.Errorf("%+v, %d stored", s, mem.Len())
		}
	})
}

// A released partition's documents go nowhere, and if it comes back while one is
// in flight, that one is not sent a second time beside it.
func TestPendingRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := sinktest.NewMemory()
		hold := make(chan struct{})
		faulty := &sinktest.Faulty{Sink: mem, Plan: func(n int, _ []sink.Document) sinktest.Fault {
			if n == 0 {
				return sinktest.Fault{Hold: hold, Before: true}
			}
			return sinktest.Fault{}
		}}
		p := start(t, faulty, sink.PendingConfig{Linger: -1, Writers: 2, BatchDocs: 2, Timeout: time.Hour})
		p.Add(1, []sink.Document{sinktest.Doc("a", 5), sinktest.Doc("b", 5)})
		synctest.Wait() // both in flight
		p.Release(1)
		if p.Len() != 0 || len(p.Unconfirmed(1)) != 0 {
			t.Errorf("released, but %d documents", p.Len())
		}
		p.Add(1, []sink.Document{sinktest.Doc("a", 4)}) // replayed
		synctest.Wait()
		if got := p.Unconfirmed(1); len(got) != 1 || got[0].Version != 5 {
			t.Errorf("came back: %v", got)
		}
		close(hold)
		flush(t, p)
		if d, ok, _ := mem.Get(t.Context(), "a"); !ok || d.Version != 5 || mem.Len() != 1 || mem.Misuse() != nil {
			t.Error(d, ok, mem.Len(), mem.Misuse())
		}
	})
}

// A store that hangs costs one time-out, and one that answers for too few
// documents has confirmed none.
func TestPendingStrangeStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := sinktest.NewMemory()
		hang := short{&sinktest.Faulty{Sink: mem, Plan: func(n int, _ []sink.Document) sinktest.Fault {
			if n == 0 {
				return sinktest.Fault{Hold: make(chan struct{})}
			}
			return sinktest.Fault{}
		}}}
		p := start(t, hang, sink.PendingConfig{Timeout: 5 * time.Second})
		p.Add(1, []sink.Document{sinktest.Doc("a", 1), sinktest.Doc("b", 1), sinktest.Doc("short", 1)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || p.Len() != 3 {
			t.Error(err, p.Len())
		}
		if s := p.Stats(); !strings.Contains(s.Failing, "answered for 2 of 3") {
			t.Errorf("%+v", s)
		}
	})
}

// short forgets its last answer.
type short struct{ sink.Sink }

func (s short) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	r, err := s.Sink.Write(ctx, docs)
	return r[:max(len(r)-1, 0)], err
}

func TestPendingConfig(t *testing.T) {
	for _, c := range []sink.PendingConfig{{MaxBytes: -1}, {Timeout: -1}, {BackoffMin: 2, BackoffMax: 1}} {
		if _, err := sink.NewPending(sinktest.NewMemory(), c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestPendingIntoSQLite(t *testing.T) {
	s := open(t, t.TempDir()+"/r.db")
	p := start(t, s, sink.PendingConfig{Writers: 2})
	for v := range uint64(3) {
		var docs []sink.Document
		for i := range 1500 {
			docs = append(docs, sinktest.Doc(fmt.Sprint("id", i), v+1))
		}
		p.Add(uint32(v%2), docs[:0])
		p.Add(0, docs)
	}
	flush(t, p)
	if d, ok, err := s.Get(t.Context(), "id1499"); !ok || err != nil || d.Version != 3 {
		t.Error(d, ok, err)
	}
}
