package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Held is a lease that this process acquired. After ErrLost from any method it
// is over; Release ends it in good order.
type Held struct {
	leases  *Leases
	writing chan struct{} // has the turn of one write

	mu    sync.Mutex // of what follows, never held during a call of the store
	entry Entry
	trust Instant
	over  error // why it is over; nil while held
}

// Resource is what is held.
func (h *Held) Resource() Resource {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entry.Lease.Resource
}

// Epoch is the fencing epoch.
func (h *Held) Epoch() Epoch {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entry.Lease.Epoch
}

// Trusted is for how long the lease may still be trusted; not positive: no
// longer.
func (h *Held) Trusted() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trusted()
}

func (h *Held) trusted() time.Duration {
	if h.over != nil {
		return 0
	}
	return h.trust.Sub(h.leases.opt.Clock())
}

// Keep renews the lease until the context ends (nil) or the lease is lost or
// can no longer be trusted (ErrLost).
func (h *Held) Keep(ctx context.Context) error {
	every := h.leases.opt.RenewEvery
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		left := h.Trusted()
		if left <= 0 {
			return h.lose(errors.New("it could not be renewed in time"))
		}
		attempt, cancel := context.WithTimeout(ctx, min(left, every)) // a call that hangs is not the last
		err := h.Renew(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLost):
			return err
		case err != nil:
			h.leases.failed(h.Resource(), err)
			timer.Reset(max(min(every/4, h.Trusted()), time.Millisecond))
		default:
			timer.Reset(every)
		}
	}
}

// Renew moves the counter once.
func (h *Held) Renew(ctx context.Context) error {
	return h.write(ctx, func(l Lease) (Lease, error) { return Renew(l, h.leases.opt.Owner, l.Epoch) })
}

// Record notes the position of completed checkpoint id; ErrStale if it goes
// back.
func (h *Held) Record(ctx context.Context, id uint64, position string) error {
	return h.write(ctx, func(l Lease) (Lease, error) { return Record(l, h.leases.opt.Owner, l.Epoch, id, position) })
}

// End marks the resource as ended; the lease stays held until Release.
func (h *Held) End(ctx context.Context) error {
	return h.write(ctx, func(l Lease) (Lease, error) { return End(l, h.leases.opt.Owner, l.Epoch) })
}

// Release gives the lease up; without effect if it is lost. Give it a context
// that outlives the shutdown.
func (h *Held) Release(ctx context.Context) error {
	err := h.write(ctx, func(l Lease) (Lease, error) { return Release(l, h.leases.opt.Owner, l.Epoch) })
	_ = h.lose(errors.New("it was released"))
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

// write makes one transition of the row. Only this Held writes the row while
// it holds it, so the row is not read first; after a conflict it is, and if
// the row is still this owner's, the conflict was an own write whose answer
// was lost.
func (h *Held) write(ctx context.Context, change func(Lease) (Lease, error)) error {
	select {
	case h.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("write lease of %s: %w", h.Resource(), ctx.Err())
	}
	defer func() { <-h.writing }()
	const attempts = 4
	var err error
	for range attempts {
		entry, over := h.state()
		if over != nil {
			return over
		}
		began := h.leases.opt.Clock()
		var next Lease
		if next, err = change(entry.Lease); err != nil {
			return err
		}
		var rev Revision
		rev, err = h.leases.store.Update(ctx, next, entry.Revision)
		if err == nil {
			h.set(Entry{Lease: next, Revision: rev}, h.leases.trust(began))
			return nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
			return err
		}
		now, gerr := h.leases.store.Get(ctx, entry.Lease.Resource)
		switch {
		case errors.Is(gerr, ErrNotFound):
			return h.lose(errors.New("its row is gone: the table was deleted"))
		case gerr != nil:
			return gerr
		case now.Lease.Owner != h.leases.opt.Owner || now.Lease.Epoch < entry.Lease.Epoch:
			return h.lose(fmt.Errorf("now %q has it at epoch %d", now.Lease.Owner, now.Lease.Epoch))
		}
		h.set(now, 0)
	}
	return err
}

func (h *Held) state() (Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entry, h.over
}

// set takes a row that this owner wrote, and the trust that comes of it; 0
// leaves the trust.
func (h *Held) set(e Entry, trust Instant) {
	h.mu.Lock()
	h.entry = e
	if trust != 0 {
		h.trust = trust
	}
	h.mu.Unlock()
	h.leases.note(e)
}

// lose ends the lease here and returns why; the first reason stays.
func (h *Held) lose(why error) error {
	h.mu.Lock()
	if h.over == nil {
		h.over = fmt.Errorf("%s at epoch %d: %w, %w", h.entry.Lease.Resource, h.entry.Lease.Epoch, ErrLost, why)
	}
	why = h.over
	h.mu.Unlock()
	h.leases.drop(h)
	return why
}
