package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Group is this process's part in sharing resources out among processes. Each
// of them holds a slot, a lease on GROUP/0, GROUP/1, ... in the resources'
// table, always the lowest that it can get: a process without any resource is
// known by it, and slots of the dead are used again.
type Group struct {
	leases *Leases
	name   string

	mu       sync.Mutex
	balancer *balancer
}

// Group returns the group of that name. The names of its resources do not
// begin with it.
func (l *Leases) Group(name string) *Group {
	return &Group{leases: l, name: name, balancer: newBalancer(name, l.claim(0), 2*l.opt.RenewEvery)}
}

// Run is a member until the context ends. Plan works without it, too: others
// then do not know of this process, and it gives up nothing to them.
func (g *Group) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		slot, err := g.join(ctx)
		switch {
		case err == nil:
			_ = slot.Keep(ctx) // if it is lost, the next one will do
		case ctx.Err() == nil:
			g.leases.failed(Resource(g.name), err)
		}
		if ctx.Err() != nil {
			g.leave(ctx, slot)
			return nil
		}
		pause(ctx, g.leases.opt.ObserveEvery)
	}
	return nil
}

// leave releases the slot, if there is one, and any other that a write whose
// answer was lost has left to this process.
func (g *Group) leave(ctx context.Context, slot *Held) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	var failed error
	if slot != nil {
		failed = slot.Release(ctx)
	}
	views, err := g.leases.Views(ctx)
	failed = errors.Join(failed, err)
	for r, v := range views {
		if v.Lease.Owner == g.leases.opt.Owner && strings.HasPrefix(string(r), g.name+"/") {
			left, err := g.leases.Acquire(ctx, r, nil, 0)
			if err == nil {
				err = left.Release(ctx)
			}
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		g.leases.opt.Logger.Warn("membership not released, it will expire", zap.String("group", g.name), zap.Error(failed))
	}
}

// join acquires the lowest slot that is to be had.
func (g *Group) join(ctx context.Context) (*Held, error) {
	ctx, cancel := context.WithTimeout(ctx, g.leases.opt.Failover)
	defer cancel()
	for n := 0; ; n++ {
		slot, err := g.leases.Acquire(ctx, Resource(g.name+"/"+strconv.Itoa(n)), nil, 0)
		if !errors.Is(err, ErrHeld) {
			if err != nil {
				err = fmt.Errorf("join %s: %w", g.name, err)
			}
			return slot, err
		}
	}
}

// Plan says what this process should do, given all resources that should be
// owned, views of the table that are just read, and what it holds.
func (g *Group) Plan(active []Resource, views map[Resource]View, mine Holdings) Plan {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.balancer.step(look{now: g.leases.opt.Clock(), active: active, views: views, mine: mine})
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
