package source

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// members is the group of the processes that read the stream. Ids of shards do
// not begin with it and a slash.
const members = "member"

// balance looks at the lease table until the context ends: often while shards
// are about to move, else ten times in a failover time.
func (k *KCL) balance(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		case <-k.look:
		}
		pause := k.cfg.Leases.ObserveEvery()
		if k.rebalance(ctx) {
			pause = max(pause, k.cfg.Leases.Failover()/10)
		}
		next.Reset(pause)
	}
}

// lookSoon asks for a look at the lease table.
func (k *KCL) lookSoon() {
	select {
	case k.look <- struct{}{}:
	default: // asked for already
	}
}

// rebalance is one look. It says what GetLease may take, ends the sessions
// that are above this process's share, and tells whether all is settled.
func (k *KCL) rebalance(ctx context.Context) bool {
	look, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	views, err := k.cfg.Leases.Views(look)
	if err != nil {
		if repeats, ok := k.warn.let("views"); ok && ctx.Err() == nil {
			k.log.Warn("leases not seen, trying again", zap.Int("suppressed", repeats), zap.Error(err))
		}
		return false
	}
	for _, shard := range k.topo.ids() {
		if views[cluster.Resource(shard)].Lease.Ended {
			k.noteEnded(shard)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	active := k.topo.active(k.ended)
	if active == nil {
		return false // Kinesis has not listed them yet
	}
	var mine cluster.Holdings
	for shard, s := range k.sessions {
		if s.ctx.Err() == nil {
			mine.Kept = append(mine.Kept, cluster.Resource(shard))
		} else {
			mine.Ending = append(mine.Ending, cluster.Resource(shard))
		}
	}
	plan := k.group.Plan(active, views, mine)
	if k.plan == nil || k.plan.Members != plan.Members {
		k.log.Info("shards are shared out", zap.Int("workers", plan.Members), zap.Int("shards", len(active)), zap.Int("of this one", plan.Target))
	}
	k.plan = &plan
	for _, r := range plan.Release {
		k.sessions[stream.ShardID(r)].end(errSharedOut)
	}
	return plan.Settled
}

// hurries tells whether the library should look for shards again at once.
func (k *KCL) hurries() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.plan == nil || k.planned("")
}

// planned tells whether the plan lets this process take the shard, or any if
// it is empty. What may not be tried now does not hold up the others. Call it
// under the lock.
func (k *KCL) planned(shard stream.ShardID) bool {
	if k.plan == nil {
		return false
	}
	room := k.plan.Target
	for _, s := range k.sessions {
		if s.ctx.Err() == nil {
			room--
		}
	}
	wanted := func(r cluster.Resource) bool {
		id := stream.ShardID(r)
		return k.may(id) && (shard == "" || id == shard)
	}
	for _, r := range k.plan.Acquire {
		if room > 0 && wanted(r) {
			return true
		}
		if k.may(stream.ShardID(r)) {
			room--
		}
	}
	return slices.ContainsFunc(k.plan.Neglected, wanted)
}
