package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Resource names what a lease is for; opaque.
type Resource string

// Owner names one life of a process. Two lives never share one.
type Owner string

// Epoch orders the acquisitions of a resource, from 1.
type Epoch uint64

// Instant is a reading of one process's monotonic clock, from an origin of its
// own. Instants of two processes are never compared.
type Instant time.Duration

// Sub is the time from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Lease is one row of a lease table.
type Lease struct {
	Resource Resource
	Owner    Owner // empty: nobody's
	Epoch    Epoch // of the last acquisition
	Counter  uint64
	// Checkpoint and CheckpointID are informational: the position of the last
	// completed checkpoint, a decimal number ordered by length, then
	// lexically, and that checkpoint's id.
	Checkpoint   string
	CheckpointID uint64
	// Parents are the resources that must have ended before this one starts.
	Parents []Resource
	// Ended says that nothing remains to be done; nobody acquires it again.
	Ended bool
}

// Why a transition is refused.
var (
	// ErrHeld: the lease is another's and not known to be expired.
	ErrHeld = errors.New("lease is held")
	// ErrLost: the caller does not, or no longer, hold the lease.
	ErrLost = errors.New("lease is lost")
	// ErrEnded: the resource has ended.
	ErrEnded = errors.New("resource has ended")
	// ErrStale: the checkpoint is older than the recorded one.
	ErrStale = errors.New("checkpoint is stale")
)

// Observation is what one observer knows of a lease's liveness. The zero value
// knows nothing.
type Observation struct {
	owner   Owner
	epoch   Epoch
	counter uint64
	since   Instant // end of the first read that showed the counter
	until   Instant // start of the last one
	seen    bool
}

// See adds a read of the lease that began and ended at the given instants.
func (o Observation) See(l Lease, began, ended Instant) Observation {
	same := o.seen && o.of(l)
	if !same || ended < o.since {
		return Observation{owner: l.Owner, epoch: l.Epoch, counter: l.Counter, since: ended, until: ended, seen: true}
	}
	o.until = max(o.until, began)
	return o
}

// Still is for how long the observer is certain that the counter of l has not
// moved; 0 if it has not observed this state of l.
func (o Observation) Still(l Lease) time.Duration {
	if !o.seen || !o.of(l) {
		return 0
	}
	return o.until.Sub(o.since)
}

func (o Observation) of(l Lease) bool {
	return o.owner == l.Owner && o.epoch == l.Epoch && o.counter == l.Counter
}

// Claim is what somebody who wants a lease brings along.
type Claim struct {
	Me       Owner
	Failover time.Duration
	// Floor is the highest epoch seen anywhere else; the new one is above it.
	Floor Epoch
	// Dead says of an owner that it is proven dead. May be nil.
	Dead func(Owner) bool
}

// Acquire makes l the claimant's if it is nobody's, its own already, a proven
// dead owner's, or expired by the observation. Otherwise ErrHeld or ErrEnded.
func Acquire(l Lease, o Observation, c Claim) (Lease, error) {
	switch {
	case l.Ended:
		return Lease{}, fmt.Errorf("acquire %s: %w", l.Resource, ErrEnded)
	case l.Owner == "", l.Owner == c.Me:
	case c.Dead != nil && c.Dead(l.Owner):
	case o.Still(l) >= c.Failover && c.Failover > 0:
	default:
		return Lease{}, fmt.Errorf("acquire %s: %w by %s", l.Resource, ErrHeld, l.Owner)
	}
	epoch, err := above(l, c.Floor)
	if err != nil {
		return Lease{}, err
	}
	l.Owner, l.Epoch = c.Me, epoch
	l.Counter++
	return l, nil
}

// Renew moves the counter if me holds l at the epoch held. Otherwise ErrLost.
func Renew(l Lease, me Owner, held Epoch) (Lease, error) {
	if err := holds(l, me, held); err != nil {
		return Lease{}, fmt.Errorf("renew: %w", err)
	}
	l.Counter++
	return l, nil
}

// Release gives l up if me holds it at the epoch held. Otherwise ErrLost. The
// epoch stays: the next owner's is above it.
func Release(l Lease, me Owner, held Epoch) (Lease, error) {
	if err := holds(l, me, held); err != nil {
		return Lease{}, fmt.Errorf("release: %w", err)
	}
	l.Owner = ""
	l.Counter++
	return l, nil
}

// Record notes the position of completed checkpoint id if me holds l at the
// epoch held and neither goes back: ErrLost, ErrStale. The same once more is
// fine.
func Record(l Lease, me Owner, held Epoch, id uint64, position string) (Lease, error) {
	if err := holds(l, me, held); err != nil {
		return Lease{}, fmt.Errorf("record checkpoint %d: %w", id, err)
	}
	order := comparePositions(position, l.Checkpoint)
	if id < l.CheckpointID || order < 0 || id == l.CheckpointID && order != 0 {
		return Lease{}, fmt.Errorf("record checkpoint %d at %q of %s: %w, checkpoint %d at %q is recorded",
			id, position, l.Resource, ErrStale, l.CheckpointID, l.Checkpoint)
	}
	l.CheckpointID, l.Checkpoint = id, position
	l.Counter++
	return l, nil
}

// End marks l as ended if me holds it at the epoch held. Otherwise ErrLost.
func End(l Lease, me Owner, held Epoch) (Lease, error) {
	if err := holds(l, me, held); err != nil {
		return Lease{}, fmt.Errorf("end: %w", err)
	}
	l.Ended = true
	l.Counter++
	return l, nil
}

// TrustEnds is until when the owner may trust a lease that it wrote in an
// attempt that began at the given instant.
func TrustEnds(began Instant, failover, margin time.Duration) Instant {
	return began + Instant(failover-margin)
}

func holds(l Lease, me Owner, held Epoch) error {
	if l.Owner == me && l.Epoch == held {
		return nil
	}
	owner := string(l.Owner)
	if owner == "" {
		owner = "nobody"
	}
	return fmt.Errorf("%s at epoch %d: %w to %s at epoch %d", l.Resource, held, ErrLost, owner, l.Epoch)
}

func above(l Lease, floor Epoch) (Epoch, error) {
	epoch := max(l.Epoch, floor)
	if epoch == math.MaxUint64 {
		return 0, fmt.Errorf("epochs of %s are used up: create a new generation", l.Resource)
	}
	return epoch + 1, nil
}

// comparePositions orders decimal numbers without leading zeros.
func comparePositions(a, b string) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return cmp.Compare(a, b)
}

// Equal tells whether two rows say the same.
func (l Lease) Equal(m Lease) bool {
	return l.Resource == m.Resource && l.Owner == m.Owner && l.Epoch == m.Epoch && l.Counter == m.Counter &&
		l.Checkpoint == m.Checkpoint && l.CheckpointID == m.CheckpointID && l.Ended == m.Ended &&
		slices.Equal(l.Parents, m.Parents)
}
