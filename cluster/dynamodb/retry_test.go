package dynamodb

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
)

// Pauses double, a random part of them is waited, and they have a bound.
func TestThrottlingBacksOffWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		table := open(t, f, func(c *Config) { c.Backoff, c.MaxBackoff, c.Attempts = 100*time.Millisecond, 400*time.Millisecond, 6 })
		var at []time.Time
		f.faults(func(context.Context, string) (before, after error) {
			at = append(at, time.Now())
			return throttle(), nil
		})
		longest := make([]time.Duration, 5)
		waits := map[time.Duration]bool{}
		for range 200 {
			at = nil
			_, err := table.Get(t.Context(), "shard")
			if err == nil || !strings.Contains(err.Error(), "lease table leases is still throttled after 6 attempts: raise its capacity or bill it on demand") {
				t.Fatalf("got %v", err)
			}
			if len(at) != 6 {
				t.Fatalf("%d attempts", len(at))
			}
			for i := range longest {
				d := at[i+1].Sub(at[i])
				longest[i] = max(longest[i], d)
				waits[d] = true
			}
		}
		for i, bound := range []time.Duration{100, 200, 400, 400, 400} {
			bound *= time.Millisecond
			if longest[i] > bound || longest[i] < bound*3/4 {
				t.Errorf("pause %d is up to %s of 200, want up to %s", i+1, longest[i], bound)
			}
		}
		if len(waits) < 900 {
			t.Errorf("1000 pauses have %d lengths", len(waits))
		}
	})
}

// freeze makes every call hang until its own time is over, as a stopped server
// does.
func (f *fake) freeze() {
	f.faults(func(ctx context.Context, _ string) (before, after error) {
		<-ctx.Done()
		return ctx.Err(), nil
	})
}

func TestAFrozenServerCostsTheAttemptsAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		table := open(t, f, func(c *Config) { c.Attempts = 3 })
		f.freeze()
		began := time.Now()
		_, err := table.List(t.Context())
		if err == nil || !strings.Contains(err.Error(), "gave no answer within 2s in 3 attempts") {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d < 6*time.Second || d > 6100*time.Millisecond {
			t.Errorf("three attempts took %s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = table.List(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "DynamoDB did not do it in time") {
			t.Errorf("got %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, stop)
		_, err = table.List(ctx)
		if !errors.Is(err, context.Canceled) || err.Error() != "list leases of job/1: context canceled" {
			t.Errorf("got %v", err)
		}
	})
}

// A freeze that is shorter than the trust costs nothing; in a longer one the
// owner stops to trust its lease before anybody can take it over.
func TestLeasesOverAFrozenServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		table := open(t, f)
		a, b := newLeases(t, table, "a/1"), newLeases(t, table, "b/1")
		h, err := a.Acquire(t.Context(), "shard", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error, 1)
		go func() { over <- h.Keep(t.Context()) }()
		time.Sleep(time.Minute) // virtual
		f.freeze()
		time.Sleep(4 * time.Second)
		f.faults(nil)
		time.Sleep(time.Minute)
		if h.Trusted() <= 0 {
			t.Fatal("a freeze of 4 s cost the lease")
		}
		if _, err := b.Acquire(t.Context(), "shard", nil, 0); !errors.Is(err, cluster.ErrHeld) {
			t.Fatalf("B got %v", err)
		}
		f.freeze()
		frozen := time.Now()
		if err := <-over; !errors.Is(err, cluster.ErrLost) {
			t.Fatalf("Keep ended with %v", err)
		}
		if d := time.Since(frozen); d > 8*time.Second || h.Trusted() > 0 {
			t.Errorf("trust ended %s after the server froze, %s left", d, h.Trusted())
		}
		time.Sleep(20*time.Second - time.Since(frozen))
		f.faults(nil)
		var next *cluster.Held
		for next == nil {
			next, err = b.Acquire(t.Context(), "shard", nil, 0)
			if err != nil && !errors.Is(err, cluster.ErrHeld) {
				t.Fatal(err)
			}
			time.Sleep(250 * time.Millisecond)
		}
		if next.Epoch() != h.Epoch()+1 {
			t.Errorf("epoch %d follows %d", next.Epoch(), h.Epoch())
		}
		if d := time.Since(frozen); d < 10*time.Second || d > 31*time.Second {
			t.Errorf("B has it %s after the server froze for 20 s", d)
		}
	})
}

func newLeases(t *testing.T, s cluster.Store, owner cluster.Owner) *cluster.Leases {
	t.Helper()
	l, err := cluster.New(s, cluster.Options{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
