//go:build integration

package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/internal/testservers"
)

func TestBalanceOverDynalite(t *testing.T)      { balanced(t, testservers.Dynalite(t)) }
func TestBalanceOverDynamoDBLocal(t *testing.T) { balanced(t, testservers.DynamoDBLocal(t)) }

// counter counts calls by operation, and none comes through of a dead process.
type counter struct {
	rt    http.RoundTripper
	mu    sync.Mutex
	calls map[string]int
	dead  bool
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c.mu.Lock()
	c.calls[op]++
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return nil, errors.New("the process is dead")
	}
	return c.rt.RoundTrip(r)
}

func (c *counter) reset() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = map[string]int{}
	return calls
}

// sharer is a process that shares resources out, as the Kinesis source does.
type sharer struct {
	leases *cluster.Leases
	stop   context.CancelFunc
	done   sync.WaitGroup
	calls  *counter

	mu   sync.Mutex
	held map[cluster.Resource]*cluster.Held
}

func (s *sharer) holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, h := range s.held {
		if h.Trusted() > 0 {
			n++
		}
	}
	return n
}

func (s *sharer) run(ctx context.Context, active []cluster.Resource, group *cluster.Group) error {
	views, err := s.leases.Views(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	mine := cluster.Holdings{Kept: slices.Collect(maps.Keys(s.held))}
	s.mu.Unlock()
	plan := group.Plan(active, views, mine)
	for _, r := range plan.Release {
		s.mu.Lock()
		h := s.held[r]
		delete(s.held, r)
		s.mu.Unlock()
		if err := h.Release(ctx); err != nil {
			return err
		}
	}
	room := plan.Target - len(mine.Kept)
	for _, r := range plan.Acquire[:min(max(room, 0), len(plan.Acquire))] {
		h, err := s.leases.Acquire(ctx, r, nil, 0)
		if errors.Is(err, cluster.ErrHeld) {
			continue
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.held[r] = h
		s.mu.Unlock()
		s.done.Go(func() { _ = h.Keep(ctx) })
	}
	wait := s.leases.ObserveEvery()
	if plan.Settled {
		wait = s.leases.Failover() / 10
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	return nil
}

// balanced shares twelve resources out over three processes with default
// settings, and tells how long it takes and what it costs.
func balanced(t *testing.T, server *testservers.Server) {
	const resources = 12
	var active []cluster.Resource
	for i := range resources {
		active = append(active, cluster.Resource(fmt.Sprintf("shardId-%012d", i)))
	}
	opened(t, connect(t, server, nil), func(c *Config) { c.Scope = "balance" })
	var all []*sharer
	join := func() *sharer {
		s := &sharer{held: map[cluster.Resource]*cluster.Held{}, calls: &counter{calls: map[string]int{}}}
		client := connect(t, server, func(rt http.RoundTripper) http.RoundTripper { s.calls.rt = rt; return s.calls })
		table, err := New(client, Config{Table: "leases", Scope: "balance"})
		if err != nil {
			t.Fatal(err)
		}
		s.leases = newLeases(t, table, cluster.Owner(fmt.Sprintf("f%d/1", len(all))))
		var ctx context.Context
		ctx, s.stop = context.WithCancel(context.Background())
		group := s.leases.Group("member")
		s.done.Go(func() { _ = group.Run(ctx) })
		s.done.Go(func() {
			for ctx.Err() == nil {
				if err := s.run(ctx, active, group); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
		t.Cleanup(func() { s.stop(); s.done.Wait() })
		all = append(all, s)
		return s
	}
	await := func(what string, most time.Duration, want ...int) {
		t.Helper()
		began := time.Now()
		for {
			var got []int
			for _, s := range all {
				got = append(got, s.holds())
			}
			if slices.Equal(got, want) {
				break
			}
			if time.Since(began) > most {
				t.Fatalf("%s: processes hold %v after %s, want %v", what, got, most, want)
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Logf("%s: after %s", what, time.Since(began).Round(10*time.Millisecond))
	}
	first := join()
	await("one holds all", 5*time.Second, 12)
	join()
	await("two hold a half each", 8*time.Second, 6, 6)
	join()
	await("three hold a third each", 8*time.Second, 4, 4, 4)

	const rest = 10 * time.Second
	time.Sleep(2 * time.Second)
	for _, s := range all {
		s.calls.reset()
	}
	time.Sleep(rest)
	for i, s := range all {
		calls := s.calls.reset()
		total := 0
		for _, n := range calls {
			total += n
		}
		perSecond := float64(total) / rest.Seconds()
		t.Logf("process %d at rest with 4 leases: %.1f calls a second, %v in %s", i, perSecond, calls, rest)
		if perSecond > 5 {
			t.Errorf("process %d makes %.1f calls a second at rest", i, perSecond)
		}
	}

	first.calls.mu.Lock()
	first.calls.dead = true
	first.calls.mu.Unlock()
	first.stop()
	all = all[1:]
	await("the others have what it had", first.leases.Failover()+6*time.Second, 6, 6)
}
