package clustertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
)

const failover = 10 * time.Second

// Run checks that newStore's tables, empty ones, are fit for leases.
func Run(t *testing.T, newStore func(t *testing.T) cluster.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, r *rig)
	}{
		{"Store/RoundTrip", roundTrip},
		{"Store/CompareAndSwap", compareAndSwap},
		{"Store/ListsEveryRow", listing},
		{"R1/TwoOwners", twoOwners},
		{"R1/StaleRenewIsRefused", staleRenew},
		{"R1/StaleCheckpointIsRefused", staleCheckpoint},
		{"R1/RecreatedTableKeepsEpochsGrowing", recreated},
		{"Release/TheNextOwnerIsAboveAndAtOnce", release},
		{"Expiry/ByTheCounterUnderAPausedOwner", expiry},
		{"Expiry/AClockThatJumpsAheadCostsNoEpoch", jumpAhead},
		{"Expiry/AClockThatJumpsBackTakesNothing", jumpBack},
		{"Expiry/APausedObserverTakesNothing", pausedObserver},
		{"Takeover/OfADeadPredecessorIsAtOnce", takeover},
		{"R9/EndedIsForEver", ended},
		{"Race/OneWinsEachEpoch", race},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.test(t, &rig{t: t, ctx: t.Context(), newStore: newStore, store: newStore(t)})
		})
	}
}

type rig struct {
	t        *testing.T
	ctx      context.Context
	newStore func(*testing.T) cluster.Store
	store    cluster.Store
}

// owner is a process with its own clock.
type owner struct {
	*cluster.Leases
	mu  sync.Mutex
	now cluster.Instant
}

func (o *owner) pass(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now += cluster.Instant(d)
}

// owner starts a process whose clock has an origin of its own.
func (r *rig) owner(id cluster.Owner, change ...func(*cluster.Options)) *owner {
	r.t.Helper()
	o := &owner{now: cluster.Instant(len(id)) * cluster.Instant(time.Hour)}
	// Every look lists the table: time passes only where a test says so.
	opt := cluster.Options{Owner: id, Failover: failover, ObserveEvery: time.Nanosecond}
	opt.Clock = func() cluster.Instant {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.now++ // a clock never stands quite still
		return o.now
	}
	for _, c := range change {
		c(&opt)
	}
	l, err := cluster.New(r.store, opt)
	must(r.t, err)
	o.Leases = l
	return o
}

func (r *rig) acquire(o *owner, floor cluster.Epoch) *cluster.Held {
	r.t.Helper()
	h, err := o.Acquire(r.ctx, "shard", nil, floor)
	must(r.t, err)
	return h
}

func (r *rig) refused(o *owner, want error) {
	r.t.Helper()
	_, err := o.Acquire(r.ctx, "shard", nil, 0)
	is(r.t, err, want)
}

func roundTrip(t *testing.T, r *rig) {
	want := cluster.Lease{Resource: "job/shard-0 ü*>", Owner: "f/1", Epoch: 1<<63 + 1, Counter: 7,
		Checkpoint: "49590338271490256608559692538361571095921575989136588898", CheckpointID: 12,
		Parents: []cluster.Resource{"a", "b.c"}, Ended: true}
	_, err := r.store.Get(r.ctx, want.Resource)
	is(t, err, cluster.ErrNotFound)
	rev, err := r.store.Create(r.ctx, want)
	must(t, err)
	_, err = r.store.Create(r.ctx, cluster.Lease{Resource: "another"})
	must(t, err)
	got, err := r.store.Get(r.ctx, want.Resource)
	must(t, err)
	if !got.Lease.Equal(want) || got.Revision != rev {
		t.Errorf("read %+v, wrote %+v at %d", got, want, rev)
	}
	all, err := r.store.List(r.ctx)
	must(t, err)
	if len(all) != 2 {
		t.Errorf("listed %+v, want two rows", all)
	}
	for _, e := range all {
		if e.Lease.Resource == want.Resource && (!e.Lease.Equal(want) || e.Revision != rev) {
			t.Errorf("listed %+v, wrote %+v at %d", e, want, rev)
		}
	}
	empty, err := r.newStore(t).List(r.ctx)
	must(t, err)
	if len(empty) != 0 {
		t.Errorf("a new table has %+v", empty)
	}
}

func compareAndSwap(t *testing.T, r *rig) {
	l := cluster.Lease{Resource: "shard", Counter: 1}
	first, err := r.store.Create(r.ctx, l)
	must(t, err)
	_, err = r.store.Create(r.ctx, l)
	is(t, err, cluster.ErrConflict)
	l.Counter = 2
	second, err := r.store.Update(r.ctx, l, first)
	must(t, err)
	l.Counter = 3
	_, err = r.store.Update(r.ctx, l, first)
	is(t, err, cluster.ErrConflict)
	if _, err = r.store.Update(r.ctx, cluster.Lease{Resource: "absent"}, second); err == nil {
		t.Error("a row that is not there was updated")
	}
	got, err := r.store.Get(r.ctx, "shard")
	must(t, err)
	if got.Lease.Counter != 2 || got.Revision != second {
		t.Errorf("the row is %+v, want counter 2 at revision %d", got, second)
	}
}

func twoOwners(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	h := r.acquire(a, 0)
	if h.Epoch() != 1 {
		t.Errorf("the first epoch is %d", h.Epoch())
	}
	for range 5 { // A renews, so B never sees the counter stand still for long enough
		r.refused(b, cluster.ErrHeld)
		a.pass(failover * 3 / 4)
		b.pass(failover * 3 / 4)
		must(t, h.Renew(r.ctx))
	}
	r.refused(b, cluster.ErrHeld)
	_, err := a.Acquire(r.ctx, "shard", nil, 0)
	is(t, err, cluster.ErrHeld) // by itself
}

// steal lets b take the shard from a paused a.
func (r *rig) steal(b *owner) *cluster.Held {
	r.t.Helper()
	r.refused(b, cluster.ErrHeld)
	b.pass(failover + time.Millisecond)
	return r.acquire(b, 0)
}

func staleRenew(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	old := r.acquire(a, 0)
	h := r.steal(b)
	if h.Epoch() <= old.Epoch() {
		t.Errorf("epoch %d follows %d", h.Epoch(), old.Epoch())
	}
	is(t, old.Renew(r.ctx), cluster.ErrLost)
	is(t, old.End(r.ctx), cluster.ErrLost)
	must(t, old.Release(r.ctx)) // has no effect
	must(t, h.Renew(r.ctx))
	if old.Trusted() > 0 {
		t.Error("a lost lease is trusted")
	}
}

func staleCheckpoint(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	old := r.acquire(a, 0)
	must(t, old.Record(r.ctx, 1, "99"))
	must(t, old.Record(r.ctx, 2, "100"))
	must(t, old.Record(r.ctx, 2, "100"))
	is(t, old.Record(r.ctx, 1, "99"), cluster.ErrStale)
	is(t, old.Record(r.ctx, 3, "99"), cluster.ErrStale)
	is(t, old.Record(r.ctx, 1, "101"), cluster.ErrStale)
	h := r.steal(b)
	must(t, h.Record(r.ctx, 5, "500"))
	is(t, old.Record(r.ctx, 9, "900"), cluster.ErrLost)
	got, err := r.store.Get(r.ctx, "shard")
	must(t, err)
	if got.Lease.Checkpoint != "500" || got.Lease.CheckpointID != 5 || got.Lease.Owner != "g/bb" {
		t.Errorf("the row is %+v", got.Lease)
	}
}

func recreated(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	r.acquire(a, 0)
	seen := r.steal(b).Epoch() // stands in the log
	r.store = r.newStore(t)
	h := r.acquire(r.owner("h/ccc"), seen)
	if h.Epoch() <= seen {
		t.Errorf("the new table hands out epoch %d, %d was seen", h.Epoch(), seen)
	}
	must(t, h.Renew(r.ctx))
}

func release(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	h := r.acquire(a, 0)
	r.refused(b, cluster.ErrHeld)
	must(t, h.Release(r.ctx))
	is(t, h.Renew(r.ctx), cluster.ErrLost)
	next := r.acquire(b, 0)
	if next.Epoch() != h.Epoch()+1 {
		t.Errorf("epoch %d follows %d", next.Epoch(), h.Epoch())
	}
	must(t, next.Release(r.ctx))
	r.acquire(a, 0)
}

func expiry(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	h := r.acquire(a, 0)
	if d := h.Trusted(); d <= 0 || d > failover*4/5 {
		t.Errorf("a new lease is trusted for %s", d)
	}
	r.refused(b, cluster.ErrHeld) // B's first look: the time runs from here
	b.pass(failover - time.Millisecond)
	r.refused(b, cluster.ErrHeld)
	a.pass(failover)
	if h.Trusted() > 0 {
		t.Error("trust did not end before the failover time")
	}
	b.pass(2 * time.Millisecond)
	r.acquire(b, 0)
	is(t, h.Renew(r.ctx), cluster.ErrLost)
}

func jumpAhead(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	h := r.acquire(a, 0)
	r.refused(b, cluster.ErrHeld)
	must(t, h.Renew(r.ctx))
	b.pass(1000 * time.Hour) // but the counter has moved since B looked
	r.refused(b, cluster.ErrHeld)
	b.pass(1000 * time.Hour) // and now it has not: B takes it, above
	next := r.acquire(b, 0)
	is(t, h.Renew(r.ctx), cluster.ErrLost)
	if next.Epoch() != h.Epoch()+1 {
		t.Errorf("epoch %d follows %d", next.Epoch(), h.Epoch())
	}
}

func jumpBack(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	r.acquire(a, 0)
	r.refused(b, cluster.ErrHeld)
	b.pass(failover - time.Second)
	r.refused(b, cluster.ErrHeld)
	b.pass(-time.Hour)
	r.refused(b, cluster.ErrHeld) // starts anew
	b.pass(failover - time.Second)
	r.refused(b, cluster.ErrHeld)
	b.pass(2 * time.Second)
	r.acquire(b, 0)
}

func pausedObserver(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb", func(o *cluster.Options) { o.ObserveEvery = time.Hour })
	h := r.acquire(a, 0)
	r.refused(b, cluster.ErrHeld)
	must(t, h.Renew(r.ctx))
	b.pass(59 * time.Minute) // B still has its old listing, in which nothing moves
	r.refused(b, cluster.ErrHeld)
	must(t, h.Renew(r.ctx))
}

func takeover(t *testing.T, r *rig) {
	first, err := cluster.NewOwner("folder")
	must(t, err)
	second, err := cluster.NewOwner("folder")
	must(t, err)
	proof := func(o *cluster.Options) { o.Proof = cluster.SameFolder(o.Owner) }
	old := r.acquire(r.owner(first, proof), 0)
	r.refused(r.owner("elsewhere/1", proof), cluster.ErrHeld)
	h := r.acquire(r.owner(second, proof), 0)
	if h.Epoch() != old.Epoch()+1 {
		t.Errorf("epoch %d follows %d", h.Epoch(), old.Epoch())
	}
	is(t, old.Renew(r.ctx), cluster.ErrLost)
}

func ended(t *testing.T, r *rig) {
	a, b := r.owner("f/a"), r.owner("g/bb")
	h := r.acquire(a, 0)
	must(t, h.End(r.ctx))
	must(t, h.Renew(r.ctx))
	must(t, h.Release(r.ctx))
	r.refused(a, cluster.ErrEnded)
	b.pass(1000 * time.Hour)
	r.refused(b, cluster.ErrEnded)
}

func race(t *testing.T, r *rig) {
	const racers, rounds = 8, 5
	owners := make([]*owner, racers)
	for i := range owners {
		owners[i] = r.owner(cluster.Owner(fmt.Sprintf("f%d/x", i)))
	}
	seen := map[cluster.Epoch]bool{}
	for range rounds {
		won := make([]*cluster.Held, racers)
		var wg sync.WaitGroup
		for i, o := range owners {
			wg.Go(func() {
				h, err := o.Acquire(r.ctx, "shard", nil, 0)
				if err == nil {
					won[i] = h
				} else if !errors.Is(err, cluster.ErrHeld) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var winner *cluster.Held
		for _, h := range won {
			if h == nil {
				continue
			}
			if winner != nil {
				t.Errorf("two won: epochs %d and %d", winner.Epoch(), h.Epoch())
			}
			winner = h
		}
		if winner == nil {
			t.Fatal("nobody won")
		}
		if seen[winner.Epoch()] {
			t.Errorf("epoch %d was given out twice", winner.Epoch())
		}
		seen[winner.Epoch()] = true
		must(t, winner.Release(r.ctx))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}
