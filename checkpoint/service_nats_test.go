package checkpoint_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// headless is a bucket whose stream has no leader for some requests.
type headless struct {
	jetstream.KeyValue
	err         error
	gets, looks atomic.Int32 // that are not answered yet
}

func (h *headless) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	if h.gets.Add(-1) >= 0 {
		return nil, h.err
	}
	return h.KeyValue.Get(ctx, key)
}

func (h *headless) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	if h.looks.Add(-1) >= 0 {
		return nil, h.err
	}
	return h.KeyValue.Watch(ctx, keys, opts...)
}

// Whoever is elected while NATS elects the board's leader waits for it; what
// does not pass ends it.
func TestServiceStartsWithoutALeader(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		passes bool
	}{
		"no answer":    {context.DeadlineExceeded, true},
		"nobody there": {nats.ErrNoResponders, true},
		"closed":       {nats.ErrConnectionClosed, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			h := &headless{err: c.err}
			h.gets.Store(2)
			h.looks.Store(3)
			r.board.Through(func(kv jetstream.KeyValue) jetstream.KeyValue {
				h.KeyValue = kv
				return h
			})
			s, done, _ := r.runDone(checkpoint.Config{Interval: time.Hour})
			if !c.passes {
				if err := wait(t, done, "end"); !errors.Is(err, c.err) {
					t.Errorf("it ended with %v", err)
				}
				return
			}
			s.Request()
			r.ackAll(wait(t, r.started, "barrier").N, 4)
			wait(t, r.committed, "commit")
		})
	}
}
