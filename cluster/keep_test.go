package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

// Trust ends at the start of the last good attempt + failover - margin, however
// the table fails.
func TestKeepEndsTrustBeforeAnybodyMayTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := clustertest.NewMemory()
		faulty := clustertest.NewFaulty(table)
		a := newLeases(t, faulty, "a/1")
		b := newLeases(t, table, "b/1")
		h, err := a.Acquire(t.Context(), "r", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error, 1)
		go func() { over <- h.Keep(t.Context()) }()
		time.Sleep(time.Minute + time.Millisecond) // virtual, and not at the time of a renewal
		if h.Trusted() <= 0 {
			t.Fatal("the lease was not kept for a minute")
		}
		if _, err := b.Acquire(t.Context(), "r", nil, 0); !errors.Is(err, cluster.ErrHeld) {
			t.Fatalf("B got %v", err)
		}

		faulty.Before(func(string) error { return errors.New("no connection") })
		stalled := time.Now()
		if err := <-over; !errors.Is(err, cluster.ErrLost) {
			t.Fatalf("Keep ended with %v", err)
		}
		if d := time.Since(stalled); d > 8*time.Second+time.Millisecond {
			t.Errorf("trust lasted %s after the table stalled, failover 10s - margin 2s", d)
		}
		var next *cluster.Held
		for next == nil {
			if time.Since(stalled) > 11*time.Second {
				t.Fatal("B did not take over within failover + 1s")
			}
			time.Sleep(100 * time.Millisecond)
			next, _ = b.Acquire(t.Context(), "r", nil, 0)
		}
		faulty.Before(nil)
		if err := h.Record(t.Context(), 1, "1"); !errors.Is(err, cluster.ErrLost) {
			t.Errorf("a stale owner recorded: %v", err)
		}
	})
}

// A renewal that hangs does not outlast the trust.
func TestKeepOutlivesNoHangingTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &hanging{Memory: clustertest.NewMemory()}
		h, err := newLeases(t, table, "a/1").Acquire(t.Context(), "r", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := h.Keep(t.Context()); !errors.Is(err, cluster.ErrLost) {
			t.Fatalf("Keep ended with %v", err)
		}
		if d := time.Since(began); d > 8*time.Second+10*time.Millisecond {
			t.Errorf("Keep lasted %s", d)
		}
	})
}

type hanging struct{ *clustertest.Memory }

func (h *hanging) Update(ctx context.Context, _ cluster.Lease, _ cluster.Revision) (cluster.Revision, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func newLeases(t *testing.T, s cluster.Store, id cluster.Owner) *cluster.Leases {
	t.Helper()
	l, err := cluster.New(s, cluster.Options{Owner: id})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
