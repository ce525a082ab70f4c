package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	chk "github.com/vmware/vmware-go-kcl-v2/clientlibrary/checkpoint"
	par "github.com/vmware/vmware-go-kcl-v2/clientlibrary/partition"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// checkpointer is the library's lease table, over ours. The library's event
// loop calls FetchCheckpoint and then GetLease of a shard it does not own;
// consumers call FetchCheckpoint, CheckpointSequence at the shard's end, and
// RemoveLeaseOwner when they return, always and once.
type checkpointer struct{ k *KCL }

var _ chk.Checkpointer = (*checkpointer)(nil)

// tableTimeout bounds what the event loop waits for the tables.
const tableTimeout = 5 * time.Second

// Init implements the library's interface.
func (c *checkpointer) Init() error { return nil }

// GetLease acquires the shard's lease and begins a session. Leases are renewed
// by their sessions, never by this.
func (c *checkpointer) GetLease(status *par.ShardStatus, owner string) error {
	k, shard := c.k, stream.ShardID(status.ID)
	if owner != string(k.cfg.Leases.Owner()) {
		return fmt.Errorf("lease of %s was asked for %s, this process is %s", shard, owner, k.cfg.Leases.Owner())
	}
	k.mu.Lock()
	planned := k.planned(shard)
	k.mu.Unlock()
	if !planned {
		return refused(shard, "it is another's, it is put off after a failure, or this process has its share")
	}
	k.stuck = true // until the tables have answered
	ctx, cancel := context.WithTimeout(k.ctx, tableTimeout)
	defer cancel()
	parents, ok, err := k.parents(ctx, shard)
	if err != nil {
		return err
	}
	if !ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.putOff(shard, false)
		return refused(shard, "a parent has not ended")
	}
	restart, ended, known, err := k.cfg.Progress(ctx, shard)
	switch {
	case err != nil:
		return fmt.Errorf("progress of %s: %w", shard, err)
	case ended:
		k.stuck = false
		k.noteEnded(shard)
		return refused(shard, "it has ended")
	}
	from := origin{}
	switch {
	case known && restart != "":
		from.after = restart
	case len(parents) == 0:
		from.at = k.cfg.Start.Timestamp
	}
	resources := make([]cluster.Resource, len(parents))
	for i, p := range parents {
		resources[i] = cluster.Resource(p)
	}
	held, err := k.cfg.Leases.Acquire(ctx, cluster.Resource(shard), resources, 0)
	switch {
	case errors.Is(err, cluster.ErrHeld), errors.Is(err, cluster.ErrEnded):
		k.stuck = false
		k.lookSoon()
		return refused(shard, err.Error())
	case err != nil:
		return err
	}
	k.stuck = false
	k.begin(held, shard, from, parents)
	status.SetLeaseOwner(owner)
	return nil
}

// parents returns the parents that concern the shard, and whether all have
// ended.
func (k *KCL) parents(ctx context.Context, shard stream.ShardID) (concern []stream.ShardID, ok bool, err error) {
	for _, p := range k.topo.parents(shard) {
		if k.hasEnded(p) {
			concern = append(concern, p)
			continue
		}
		view, err := k.cfg.Leases.View(ctx, cluster.Resource(p))
		leased := err == nil
		if err != nil && !errors.Is(err, cluster.ErrNotFound) {
			return nil, false, err
		}
		_, ended, known, err := k.cfg.Progress(ctx, p)
		if err != nil {
			return nil, false, fmt.Errorf("progress of %s: %w", p, err)
		}
		switch {
		case ended, leased && view.Lease.Ended:
			k.noteEnded(p)
			concern = append(concern, p)
		case k.topo.listed(p):
			return nil, false, nil
		case known || leased:
			if repeats, ok := k.warn.let("gap " + string(p)); ok {
				k.log.Error("gap: a parent has left the stream before it was read to its end; its children are not read",
					zap.String("parent", string(p)), zap.String("shard", string(shard)), zap.Int("suppressed", repeats))
			}
			return nil, false, nil
		}
	}
	return concern, true, nil
}

func refused(shard stream.ShardID, why string) error {
	return fmt.Errorf("lease of %s: %s: %w", shard, why, chk.ErrLeaseNotAcquired{})
}

// FetchCheckpoint says SHARD_END of shards that have ended and where a session
// resumes; else ErrSequenceIDNotFound, which the library takes for the start.
func (c *checkpointer) FetchCheckpoint(status *par.ShardStatus) error {
	k, shard := c.k, stream.ShardID(status.ID)
	if s := k.session(shard); s != nil {
		status.SetCheckpoint(s.from.after)
		if s.from.after == "" {
			return chk.ErrSequenceIDNotFound
		}
		return nil
	}
	if !k.hasEnded(shard) {
		status.SetCheckpoint("") // also a SHARD_END that could not be recorded
		return chk.ErrSequenceIDNotFound
	}
	status.SetCheckpoint(chk.ShardEnd)
	return nil
}

// CheckpointSequence records SHARD_END, and nothing else.
func (c *checkpointer) CheckpointSequence(status *par.ShardStatus) error {
	shard := stream.ShardID(status.ID)
	if status.GetCheckpoint() != chk.ShardEnd {
		return fmt.Errorf("checkpoint %s: %w", shard, errNoCheckpoint)
	}
	s := c.k.session(shard)
	if s == nil {
		return fmt.Errorf("record SHARD_END of %s: %w", shard, cluster.ErrLost)
	}
	if err := s.recordEnd(); err != nil {
		return fmt.Errorf("record SHARD_END of %s: %w", shard, err)
	}
	c.k.noteEnded(shard)
	c.k.topo.doubt()
	return nil
}

// recordEnd tries until the lease is lost: END stands in the log, so nothing
// is gained by reading the shard once more.
func (s *session) recordEnd() error {
	const pause = 200 * time.Millisecond
	for {
		ctx, cancel := context.WithTimeout(s.ctx, tableTimeout)
		err := s.held.End(ctx)
		cancel()
		if err == nil || errors.Is(err, cluster.ErrLost) {
			return err
		}
		s.k.log.Warn("SHARD_END not recorded yet", zap.String("shard", string(s.shard)), zap.Error(err))
		wait := time.NewTimer(pause)
		select {
		case <-s.ctx.Done():
			wait.Stop()
			return context.Cause(s.ctx)
		case <-wait.C:
		}
	}
}

// RemoveLeaseInfo is called for a shard that is no longer listed. Its row
// stays: it is the tombstone that keeps late children and stale owners right,
// and goes with the generation's table.
func (c *checkpointer) RemoveLeaseInfo(string) error { return nil }

// RemoveLeaseOwner ends the session and releases the lease if it is held still.
func (c *checkpointer) RemoveLeaseOwner(shard string) error {
	c.k.finish(stream.ShardID(shard))
	return nil
}

// GetLeaseOwner implements the library's interface.
func (c *checkpointer) GetLeaseOwner(shard string) (string, error) {
	view, err := c.k.cfg.Leases.View(c.k.ctx, cluster.Resource(shard))
	if err != nil {
		return "", err
	}
	if view.Lease.Owner == "" {
		return "", chk.ErrShardNotAssigned
	}
	return string(view.Lease.Owner), nil
}

// ListActiveWorkers groups the given shards by owner.
func (c *checkpointer) ListActiveWorkers(shards map[string]*par.ShardStatus) (map[string][]*par.ShardStatus, error) {
	views, err := c.k.cfg.Leases.Views(c.k.ctx)
	if err != nil {
		return nil, err
	}
	workers := map[string][]*par.ShardStatus{}
	for id, status := range shards {
		lease := views[cluster.Resource(id)].Lease
		if lease.Ended {
			continue
		}
		if lease.Owner == "" {
			return nil, chk.ErrShardNotAssigned
		}
		workers[string(lease.Owner)] = append(workers[string(lease.Owner)], status)
	}
	return workers, nil
}

// ClaimShard refuses: the library's stealing is off, shards are balanced by
// releasing them.
func (c *checkpointer) ClaimShard(status *par.ShardStatus, _ string) error {
	return refused(stream.ShardID(status.ID), "shards are not stolen, their owners release them")
}
