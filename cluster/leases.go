package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options of Leases. The zero value of everything but Owner is a default.
type Options struct {
	Owner Owner
	// Failover is how long a counter must stand still before somebody else
	// takes the lease; all processes use the same. Default 10 s.
	Failover time.Duration
	// Margin is how much before that the owner stops to trust its lease.
	// Default Failover/5.
	Margin time.Duration
	// RenewEvery is the interval of renewals. Default Failover/5.
	RenewEvery time.Duration
	// ObserveEvery is how old a listing of the table may be when a lease is
	// acquired. Default 250 ms.
	ObserveEvery time.Duration
	// Proof says of an owner that it is dead for certain, see SameFolder.
	// Default: of nobody.
	Proof func(Owner) bool
	// Clock is a monotonic clock. Default: the process's.
	Clock  func() Instant
	Logger *zap.Logger // default: none
}

// Validate names what cannot work.
func (o Options) Validate() error {
	switch o = o.withDefaults(); {
	case o.Owner == "":
		return errors.New("leases need an owner: set Options.Owner")
	case o.Failover < 0 || o.Margin < 0 || o.RenewEvery < 0 || o.ObserveEvery < 0:
		return errors.New("lease intervals must be positive")
	case o.Margin+o.RenewEvery >= o.Failover:
		return fmt.Errorf("lease margin %s and renewal interval %s leave nothing of the failover time %s", o.Margin, o.RenewEvery, o.Failover)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Failover == 0 {
		o.Failover = 10 * time.Second
	}
	if o.Margin == 0 {
		o.Margin = o.Failover / 5
	}
	if o.RenewEvery == 0 {
		o.RenewEvery = o.Failover / 5
	}
	if o.ObserveEvery == 0 {
		o.ObserveEvery = 250 * time.Millisecond
	}
	if o.Clock == nil {
		origin := time.Now()
		o.Clock = func() Instant { return Instant(time.Since(origin)) }
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Leases is one process's view of a lease table. It may be used by many
// goroutines.
type Leases struct {
	store Store
	opt   Options

	listing sync.Mutex // one listing at a time

	mu     sync.Mutex
	views  map[Resource]View
	listed Instant
	fresh  bool // listed is valid
	held   map[Resource]*Held

	warned  bool
	warning Instant // the last one
}

// View is a row as last seen, with the observation of its liveness.
type View struct {
	Entry
	Observation Observation
}

// New returns the leases in store as Options.Owner sees them.
func New(store Store, o Options) (*Leases, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Leases{store: store, opt: o.withDefaults(), views: map[Resource]View{}, held: map[Resource]*Held{}}, nil
}

// Owner is who acquires.
func (l *Leases) Owner() Owner { return l.opt.Owner }

// Failover is after what time a lease expires that is not renewed.
func (l *Leases) Failover() time.Duration { return l.opt.Failover }

// ObserveEvery is how old a view may be.
func (l *Leases) ObserveEvery() time.Duration { return l.opt.ObserveEvery }

// Views returns every row by resource, at most Options.ObserveEvery old.
func (l *Leases) Views(ctx context.Context) (map[Resource]View, error) {
	if err := l.observe(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.views), nil
}

// View returns one row, at most Options.ObserveEvery old, or ErrNotFound.
func (l *Leases) View(ctx context.Context, r Resource) (View, error) {
	if err := l.observe(ctx); err != nil {
		return View{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.views[r]
	if !ok {
		return View{}, fmt.Errorf("lease of %s: %w", r, ErrNotFound)
	}
	return v, nil
}

func (l *Leases) claim(floor Epoch) Claim {
	return Claim{Me: l.opt.Owner, Failover: l.opt.Failover, Floor: floor, Dead: l.opt.Proof}
}

// Acquire takes the lease of r, whose row is created if there is none; parents
// are written into a new row. The epoch is above floor. ErrHeld, ErrEnded, or
// an error of the store, after which the lease may or may not be this owner's:
// Acquire again.
func (l *Leases) Acquire(ctx context.Context, r Resource, parents []Resource, floor Epoch) (*Held, error) {
	view, err := l.View(ctx, r)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return nil, err
	}
	l.mu.Lock()
	_, mine := l.held[r]
	l.mu.Unlock()
	if mine {
		return nil, fmt.Errorf("acquire %s: %w by this process: release it first", r, ErrHeld)
	}
	row := view.Lease
	if missing {
		row = Lease{Resource: r, Parents: parents}
	}
	next, err := Acquire(row, view.Observation, l.claim(floor))
	if err != nil {
		return nil, err
	}
	began := l.opt.Clock()
	var rev Revision
	if missing {
		rev, err = l.store.Create(ctx, next)
	} else {
		rev, err = l.store.Update(ctx, next, view.Revision)
	}
	if err != nil {
		l.forget()
		if errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("acquire %s: %w, another was faster", r, ErrHeld)
		}
		return nil, fmt.Errorf("acquire: %w", err)
	}
	l.note(Entry{Lease: next, Revision: rev})
	h := &Held{leases: l, writing: make(chan struct{}, 1), entry: Entry{Lease: next, Revision: rev}, trust: l.trust(began)}
	l.mu.Lock()
	l.held[r] = h
	l.mu.Unlock()
	l.opt.Logger.Info("lease acquired", zap.String("resource", string(r)), zap.Uint64("epoch", uint64(next.Epoch)),
		zap.String("from", string(row.Owner)))
	return h, nil
}

func (l *Leases) trust(began Instant) Instant { return TrustEnds(began, l.opt.Failover, l.opt.Margin) }

// observe lists the table if the last listing is too old.
func (l *Leases) observe(ctx context.Context) error {
	l.listing.Lock()
	defer l.listing.Unlock()
	l.mu.Lock()
	age := l.opt.Clock().Sub(l.listed)
	recent := l.fresh && age >= 0 && age < l.opt.ObserveEvery
	l.mu.Unlock()
	if recent {
		return nil
	}
	began := l.opt.Clock()
	rows, err := l.store.List(ctx)
	if err != nil {
		return fmt.Errorf("observe leases: %w", err)
	}
	ended := l.opt.Clock()

	l.mu.Lock()
	defer l.mu.Unlock()
	views := make(map[Resource]View, len(rows))
	for _, e := range rows {
		r := e.Lease.Resource
		old := l.views[r]
		if old.Revision > e.Revision && l.held[r] != nil {
			e = old.Entry // our own write overtook the listing
		}
		views[r] = View{Entry: e, Observation: old.Observation.See(e.Lease, began, ended)}
	}
	for r := range l.held {
		if _, ok := views[r]; !ok {
			if old, ok := l.views[r]; ok && old.Revision > 0 {
				views[r] = old // created after the listing; a lost table shows at the next renewal
			}
		}
	}
	l.views, l.listed, l.fresh = views, began, true
	return nil
}

// note remembers what this process itself wrote.
func (l *Leases) note(e Entry) {
	now := l.opt.Clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.views[e.Lease.Resource]
	l.views[e.Lease.Resource] = View{Entry: e, Observation: old.Observation.See(e.Lease, now, now)}
}

// failed reports a write that did not work, for all leases at most once a
// failover time.
func (l *Leases) failed(r Resource, err error) {
	now := l.opt.Clock()
	l.mu.Lock()
	quiet := l.warned && now.Sub(l.warning) < l.opt.Failover
	if !quiet {
		l.warned, l.warning = true, now
	}
	l.mu.Unlock()
	if !quiet {
		l.opt.Logger.Warn("lease not written, trying again", zap.String("resource", string(r)), zap.Error(err))
	}
}

// forget makes the next look list the table.
func (l *Leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fresh = false
}

func (l *Leases) drop(h *Held) {
	r := h.Resource()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[r] == h {
		delete(l.held, r)
	}
	l.fresh = false
}
