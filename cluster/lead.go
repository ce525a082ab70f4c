package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// Lead runs f while this process holds the lease of r, one process at a time
// as far as leases can tell. When the lease is lost or can no longer be
// trusted, the context of f ends; once f has returned, Lead tries again, and
// so do others. Lead returns when its own context ends (nil), or what f
// returned while it held the lease. The lease is then released, so that
// another leads at once.
func Lead(ctx context.Context, l *Leases, r Resource, f func(ctx context.Context) error) error {
	every := max(l.opt.Failover/10, l.opt.ObserveEvery)
	for {
		attempt, cancel := context.WithTimeout(ctx, l.opt.Failover) // a table that hangs is asked again
		held, err := l.Acquire(attempt, r, nil, 0)
		cancel()
		switch {
		case ctx.Err() != nil:
			if held != nil {
				l.giveUp(ctx, held)
			}
			return nil
		case errors.Is(err, ErrEnded):
			return fmt.Errorf("lead: %w", err)
		case err == nil:
			over, err := l.lead(ctx, held, f)
			if over {
				return err
			}
		case !errors.Is(err, ErrHeld):
			l.failed(r, err)
		}
		pause(ctx, every)
	}
}

// lead is one leadership; over if Lead is.
func (l *Leases) lead(ctx context.Context, held *Held, f func(ctx context.Context) error) (over bool, err error) {
	leading, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := make(chan error, 1)
	go func() {
		err := held.Keep(leading)
		cancel(err)
		kept <- err
	}()
	err = f(leading)
	cancel(nil)
	lost := <-kept
	l.giveUp(ctx, held)
	switch {
	case ctx.Err() != nil:
		return true, nil
	case lost != nil:
		l.opt.Logger.Warn("leadership lost", zap.String("resource", string(held.Resource())), zap.Error(lost))
		return false, nil
	}
	return true, err
}

// giveUp releases a lease although the context may have ended.
func (l *Leases) giveUp(ctx context.Context, held *Held) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := held.Release(ctx); err != nil {
		l.opt.Logger.Warn("lease not released, it will expire", zap.String("resource", string(held.Resource())), zap.Error(err))
	}
}

const releaseTime = 2 * time.Second
