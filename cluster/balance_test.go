package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

// cloud is a number of processes that share resources out over one table, in
// rounds of virtual time: in each, every process renews what is due, looks,
// and does a part of what its plan says.
type cloud struct {
	t      interface{ Fatalf(string, ...any) }
	table  *clustertest.Memory
	faulty *clustertest.Faulty
	now    cluster.Instant
	active []cluster.Resource
	all    []*member
	made   int // processes and resources so far
	moves  int // acquisitions and releases
	frozen bool
}

type member struct {
	*cluster.Leases
	cloud   *cloud
	id      cluster.Owner
	group   *cluster.Group
	slot    *cluster.Held
	held    map[cluster.Resource]*cluster.Held
	ending  []cluster.Resource
	views   map[cluster.Resource]cluster.View
	renewed cluster.Instant
	paused  int // rounds
	plan    cluster.Plan
}

const (
	round    = 250 * time.Millisecond
	failTime = 10 * time.Second
)

func newCloud(t interface{ Fatalf(string, ...any) }, resources int) *cloud {
	c := &cloud{t: t, table: clustertest.NewMemory()}
	c.faulty = clustertest.NewFaulty(c.table)
	c.faulty.Before(func(string) error {
		if c.frozen {
			return errors.New("frozen")
		}
		return nil
	})
	for range resources {
		c.appear()
	}
	return c
}

func (c *cloud) appear() {
	c.made++
	c.active = append(c.active, cluster.Resource(fmt.Sprintf("shardId-%012d", c.made)))
}

func (c *cloud) join() *member {
	c.made++
	m := &member{cloud: c, id: cluster.Owner(fmt.Sprintf("f%d/1", c.made)), held: map[cluster.Resource]*cluster.Held{}}
	l, err := cluster.New(c.faulty, cluster.Options{Owner: m.id, ObserveEvery: time.Nanosecond,
		Clock: func() cluster.Instant { c.now++; return c.now }})
	if err != nil {
		c.t.Fatalf("%v", err)
	}
	m.Leases, m.group = l, l.Group("member")
	c.all = append(c.all, m)
	return m
}

// leave releases everything; die releases nothing.
func (c *cloud) leave(m *member) {
	for r := range m.held {
		m.release(r)
	}
	if m.slot != nil {
		_ = m.slot.Release(context.Background())
	}
	c.die(m)
}

func (c *cloud) die(m *member) {
	c.all = slices.DeleteFunc(slices.Clone(c.all), func(o *member) bool { return o == m })
}

func (m *member) release(r cluster.Resource) {
	_ = m.held[r].Release(context.Background())
	delete(m.held, r)
	m.cloud.moves++
}

// turn is one process's part of a round. It may act on an old look, and takes
// atMost resources, as the event loop of the Kinesis Client Library.
func (m *member) turn(old bool, atMost int) {
	if m.paused > 0 {
		m.paused--
		return
	}
	ctx := context.Background()
	if m.cloud.now.Sub(m.renewed) >= failTime/5 {
		var failed error
		for _, h := range m.held {
			failed = errors.Join(failed, h.Renew(ctx))
		}
		if m.slot != nil {
			failed = errors.Join(failed, m.slot.Renew(ctx))
		}
		if failed == nil { // else again in the next round
			m.renewed = m.cloud.now
		}
	}
	for r, h := range m.held {
		if h.Trusted() <= 0 {
			delete(m.held, r)
			_ = h.Release(ctx)
		}
	}
	if m.slot != nil && m.slot.Trusted() <= 0 {
		_ = m.slot.Release(ctx)
		m.slot = nil
	}
	for n := 0; m.slot == nil && n < 20; n++ {
		h, err := m.Acquire(ctx, cluster.Resource(fmt.Sprint("member/", n)), nil, 0)
		if err == nil {
			m.slot = h
		} else if !errors.Is(err, cluster.ErrHeld) {
			break
		}
	}
	for _, r := range m.ending {
		m.release(r)
	}
	m.ending = nil
	if !old || m.views == nil {
		views, err := m.Views(ctx)
		if err != nil {
			return
		}
		m.views = views
	}
	var mine cluster.Holdings
	for r := range m.held {
		mine.Kept = append(mine.Kept, r)
	}
	m.plan = m.group.Plan(m.cloud.active, m.views, mine)
	if len(m.plan.Release) > 4 {
		m.cloud.t.Fatalf("%s gives up %d at once", m.id, len(m.plan.Release))
	}
	m.ending = m.plan.Release
	take := func(r cluster.Resource) {
		if h, err := m.Acquire(ctx, r, nil, 0); err == nil && atMost > 0 {
			m.held[r] = h
			m.cloud.moves++
			atMost--
		} else if err == nil {
			_ = h.Release(ctx)
		}
	}
	for _, r := range m.plan.Acquire {
		if len(m.held) < m.plan.Target && atMost > 0 {
			take(r)
		}
	}
	for _, r := range m.plan.Neglected {
		if atMost > 0 {
			take(r)
		}
	}
}

func (c *cloud) round(old func() bool, atMost int) {
	for _, m := range c.all {
		m.turn(old(), atMost)
	}
	c.now += cluster.Instant(round)
}

// balanced says what is not, or "".
func (c *cloud) balanced() string {
	owned := map[cluster.Resource]cluster.Owner{}
	low, high := len(c.active), 0
	for _, m := range c.all {
		n := 0
		for r, h := range m.held {
			if h.Trusted() <= 0 || slices.Contains(m.ending, r) {
				continue
			}
			n++
			if o, twice := owned[r]; twice {
				c.t.Fatalf("%s and %s trust the lease of %s", o, m.id, r)
			}
			owned[r] = m.id
		}
		low, high = min(low, n), max(high, n)
	}
	switch {
	case len(c.all) == 0:
		return ""
	case len(owned) < len(c.active):
		return fmt.Sprintf("%d of %d are owned", len(owned), len(c.active))
	case high-low > 1:
		return fmt.Sprintf("processes hold from %d to %d", low, high)
	}
	for _, m := range c.all { // who does not know yet who lives may be about to move something
		if !m.plan.Settled {
			return fmt.Sprintf("%s holds %d and is not settled: %+v", m.id, len(m.held), m.plan)
		}
	}
	return ""
}

func (c *cloud) settle(within time.Duration) time.Duration {
	never := func() bool { return false }
	rounds := 0
	for ; c.balanced() != ""; rounds++ {
		if time.Duration(rounds)*round > within {
			c.t.Fatalf("not within %s: %s", within, c.balanced())
		}
		c.round(never, 3)
	}
	moves := c.moves
	for range 200 {
		c.round(never, 3)
	}
	if c.moves != moves || c.balanced() != "" {
		c.t.Fatalf("%d moves after all was balanced; %s", c.moves-moves, c.balanced())
	}
	return time.Duration(rounds) * round
}

// From whatever processes and resources were through, resources are soon
// balanced over those that live, and then stay where they are.
func TestBalanceConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCloud(t, rapid.IntRange(0, 24).Draw(t, "resources"))
		neglect := false
		c.join()
		pick := func(t *rapid.T) *member {
			if len(c.all) == 0 {
				t.Skip("nobody is there")
			}
			return c.all[rapid.IntRange(0, len(c.all)-1).Draw(t, "who")]
		}
		some := func(t *rapid.T) {
			for range rapid.IntRange(1, 60).Draw(t, "rounds") {
				c.round(func() bool { return rapid.IntRange(0, 3).Draw(t, "old look") == 0 }, rapid.IntRange(1, 3).Draw(t, "at most"))
				_ = c.balanced() // checks that nobody trusts what another does
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				if len(c.all) < 6 {
					c.join()
				}
			},
			"leave":  func(t *rapid.T) { c.leave(pick(t)) },
			"die":    func(t *rapid.T) { c.die(pick(t)) },
			"rounds": some,
			"pause": func(t *rapid.T) {
				pick(t).paused = rapid.IntRange(1, 80).Draw(t, "rounds")
				neglect = true
			},
			"freeze": func(t *rapid.T) {
				c.frozen = true
				some(t)
				c.frozen = false
				neglect = true
			},
			"a resource appears": func(t *rapid.T) {
				if len(c.active) < 30 {
					c.appear()
				}
			},
			"a resource ends": func(t *rapid.T) {
				if len(c.active) == 0 {
					t.Skip("none left")
				}
				r := rapid.SampledFrom(c.active).Draw(t, "which")
				c.active = slices.DeleteFunc(slices.Clone(c.active), func(o cluster.Resource) bool { return o == r })
				for _, m := range c.all {
					if m.held[r] != nil {
						m.release(r)
						m.ending = slices.DeleteFunc(m.ending, func(o cluster.Resource) bool { return o == r })
					}
				}
			},
		})
		for _, m := range c.all {
			m.paused = 0
		}
		within := 2*failTime + 5*time.Second
		if neglect { // what was taken for neglect is kept for a while
			within += 10 * failTime
		}
		c.settle(within)
	})
}

// What the usual changes cost, in time and moves.
func TestBalanceAfterOneChange(t *testing.T) {
	c := newCloud(t, 8)
	expect := func(what string, atMost time.Duration, moves int) {
		t.Helper()
		before := c.moves
		d := c.settle(time.Minute)
		t.Logf("%s: balanced after %s with %d moves", what, d, c.moves-before)
		if d > atMost || c.moves-before > moves {
			t.Errorf("%s: balanced after %s with %d moves, want %s and %d", what, d, c.moves-before, atMost, moves)
		}
	}
	first := c.join()
	expect("the first starts", time.Second, 8)
	c.join()
	expect("a second joins", 2*time.Second, 8)
	third := c.join()
	expect("a third joins", 2*time.Second, 4)
	c.leave(third)
	expect("the third leaves", time.Second, 2)
	c.die(first)
	expect("the first dies", failTime+time.Second, 4)
	if n := len(c.rows("member/")); n != 3 {
		t.Errorf("%d members' rows, three lived at once", n)
	}
	c.join() // it cannot know yet that the first is dead, and takes another slot
	c.join()
	expect("two join", 5*time.Second, 10)
	if n := len(c.rows("member/")); n > 4 {
		t.Errorf("%d members' rows", n)
	}
	c.frozen = true
	for range 80 {
		c.round(func() bool { return false }, 3)
	}
	c.frozen = false
	expect("the table was frozen for 20s", time.Second, 8)
}

func (c *cloud) rows(prefix string) (rows []cluster.Resource) {
	all, err := c.table.List(context.Background())
	if err != nil {
		c.t.Fatalf("%v", err)
	}
	for _, e := range all {
		if r := string(e.Lease.Resource); len(r) > len(prefix) && r[:len(prefix)] == prefix {
			rows = append(rows, e.Lease.Resource)
		}
	}
	return rows
}

// A process that lives and takes nothing, of which it has too few, does not
// keep the resource from the others; nor do they give it back at once.
func TestNeglectedResourcesAreTaken(t *testing.T) {
	c := newCloud(t, 4)
	a, b := c.join(), c.join()
	never := func() bool { return false }
	unable := func() { a.turn(false, 3); b.turn(false, 0); c.now += cluster.Instant(round) }
	for range 4 * 15 { // 15 s
		unable()
	}
	if len(a.held) != 4 || len(b.held) != 0 {
		t.Fatalf("the able process holds %d, the other %d", len(a.held), len(b.held))
	}
	moves := c.moves
	for range 4 * 60 {
		unable()
	}
	if c.moves != moves {
		t.Errorf("%d moves in a minute", c.moves-moves)
	}
	for range 4 * 60 { // now it is able
		c.round(never, 3)
	}
	if len(a.held) != 2 || len(b.held) != 2 {
		t.Errorf("%d and %d are held", len(a.held), len(b.held))
	}
}
