package cluster_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

// office is what leaders share: who leads, and whether it was ever two.
type office struct {
	t       *testing.T
	mu      sync.Mutex
	leaders map[string]int
	changed time.Time
}

// lead leads until its context ends.
func (o *office) lead(who string) func(context.Context) error {
	return func(ctx context.Context) error {
		o.mu.Lock()
		if len(o.leaders) > 0 {
			o.t.Errorf("%s leads while %v do", who, o.leaders)
		}
		o.leaders[who]++
		o.changed = time.Now()
		o.mu.Unlock()
		<-ctx.Done()
		o.mu.Lock()
		delete(o.leaders, who)
		o.mu.Unlock()
		return ctx.Err()
	}
}

// led tells since when who has led, or fails.
func (o *office) led(who string) time.Time {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leaders[who] == 0 {
		o.t.Fatalf("%s does not lead, %v do", who, o.leaders)
	}
	return o.changed
}

func candidate(t *testing.T, o *office, s cluster.Store, who string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	l := newLeases(t, s, cluster.Owner(who))
	go func() { done <- cluster.Lead(ctx, l, "coordinator", o.lead(who)) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// Never two lead at once; the second takes over when the first dies, after the
// failover time, and when it stops, at once.
func TestLeadOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, leaders: map[string]int{}}
		table := clustertest.NewMemory()
		cutOff := clustertest.NewFaulty(table)
		stopA := candidate(t, o, cutOff, "a/1")
		synctest.Wait()
		o.led("a/1")
		stopB := candidate(t, o, table, "b/1")
		time.Sleep(time.Hour)
		o.led("a/1")

		cutOff.Before(func(string) error { return errors.New("no connection") }) // A is as good as dead
		cut := time.Now()
		time.Sleep(13 * time.Second)
		if d := o.led("b/1").Sub(cut); d > 12*time.Second {
			t.Errorf("B leads %s after A was cut off, the failover time is 10s", d)
		}
		cutOff.Before(nil)
		time.Sleep(time.Hour)
		o.led("b/1")
		stopped := time.Now()
		stopB()
		time.Sleep(2 * time.Second)
		if d := o.led("a/1").Sub(stopped); d > time.Second+time.Millisecond {
			t.Errorf("A leads %s after B stopped", d)
		}
		stopA()
		row, err := table.Get(t.Context(), "coordinator")
		if err != nil || row.Lease.Owner != "" || row.Lease.Epoch != 3 {
			t.Errorf("the row is %+v: %v", row.Lease, err)
		}
	})
}

// What the leader returns of itself ends Lead, and others lead.
func TestLeadReturnsWhatTheLeaderDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := clustertest.NewMemory()
		broken := errors.New("broken")
		for _, want := range []error{broken, nil} {
			err := cluster.Lead(t.Context(), newLeases(t, table, "a/1"), "coordinator", func(context.Context) error { return want })
			if !errors.Is(err, want) {
				t.Errorf("Lead returned %v, want %v", err, want)
			}
		}
		o := &office{t: t, leaders: map[string]int{}}
		stop := candidate(t, o, table, "b/1")
		synctest.Wait()
		o.led("b/1")
		stop()
	})
}

// A table that cannot be reached for long costs the leadership, not Lead; it
// is told in a line or two.
func TestLeadOutlivesTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		table := clustertest.NewFaulty(clustertest.NewMemory())
		l, err := cluster.New(table, cluster.Options{Owner: "a/1", Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		o := &office{t: t, leaders: map[string]int{}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- cluster.Lead(ctx, l, "coordinator", o.lead("a/1")) }()
		time.Sleep(time.Minute)
		o.led("a/1")
		table.Before(func(string) error { return errors.New("no connection") })
		time.Sleep(20 * time.Second)
		if o.mu.Lock(); len(o.leaders) > 0 {
			t.Error("it leads without a lease")
		}
		o.mu.Unlock()
		table.Before(nil)
		time.Sleep(2 * time.Second)
		o.led("a/1")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := logs.Len(); n < 2 || n > 4 {
			t.Errorf("%d warnings: %v", n, logs.All())
		}
	})
}

// silent is a table that does not answer the first look at it.
type silent struct {
	cluster.Store
	asked bool
}

func (s *silent) List(ctx context.Context) ([]cluster.Entry, error) {
	if !s.asked {
		s.asked = true
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.List(ctx)
}

// A candidate is not stuck in one question to the table.
func TestLeadAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{t: t, leaders: map[string]int{}}
		stop := candidate(t, o, &silent{Store: clustertest.NewMemory()}, "a")
		defer stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		o.led("a")
	})
}
