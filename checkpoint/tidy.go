package checkpoint

import (
	"context"
	"fmt"
	"sync"

	"github.com/tripgrid/tripgrid/stream"
)

// SweepObjects deletes what an aborted or outlived checkpoint left: objects of
// head's job whose upload id is at or below head and that no manifest which
// head retains or pins references (R11). head may be stale: what it allows to
// delete stays deletable. It returns what it deleted. If a retained manifest
// cannot be read, nothing is deleted, since its references are not known.
func SweepObjects(ctx context.Context, store Store, head Head) ([]string, error) {
	keep := make(map[string]bool)
	for _, ref := range head.retained() {
		m, err := LoadManifest(ctx, store, ref)
		if err != nil {
			return nil, fmt.Errorf("sweep nothing, because a retained manifest is unreadable: %w", err)
		}
		keep[ref.Name] = true
		for i := range m.Partitions {
			keep[m.Partitions[i].Part.Name] = true
		}
	}
	objects, err := store.List(ctx, head.Job+"/")
	if err != nil {
		return nil, fmt.Errorf("list the objects of job %s: %w", head.Job, err)
	}
	var deleted []string
	for _, o := range objects {
		name, ok := parseName(o.Name)
		if !ok || keep[o.Name] || name.Compare(head.Upload()) > 0 {
			continue
		}
		if err := store.Delete(ctx, o.Name); err != nil {
			return deleted, fmt.Errorf("sweep %s: %w", o.Name, err)
		}
		deleted = append(deleted, o.Name)
	}
	return deleted, nil
}

// tidier purges and sweeps in its own goroutine, so that a slow store or log
// does not hold up the next checkpoint. Only the newest wish counts.
type tidier struct {
	store  Store
	log    Log
	events Events
	wake   chan struct{}

	mu     sync.Mutex
	purges map[stream.Partition]uint64
	head   *Head
}

func newTidier(store Store, log Log, events Events) *tidier {
	return &tidier{
		store: store, log: log, events: events,
		wake: make(chan struct{}, 1), purges: make(map[stream.Partition]uint64),
	}
}

func (t *tidier) purge(p Purge) {
	t.mu.Lock()
	t.purges[p.Partition] = max(t.purges[p.Partition], p.Below)
	t.mu.Unlock()
	t.poke()
}

func (t *tidier) sweep(h Head) {
	t.mu.Lock()
	t.head = &h
	t.mu.Unlock()
	t.poke()
}

func (t *tidier) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends. What fails is reported and tried again with the
// next checkpoint.
func (t *tidier) run(ctx context.Context) error {
	done := make(map[stream.Partition]uint64)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.wake:
		}
		t.mu.Lock()
		head, purges := t.head, t.purges
		t.head, t.purges = nil, make(map[stream.Partition]uint64)
		t.mu.Unlock()
		for p, below := range purges {
			if below <= done[p] || ctx.Err() != nil {
				continue
			}
			if err := t.log.Purge(ctx, p, below); err != nil {
				t.failed(ctx, fmt.Errorf("purge partition %d below %d: %w", p, below, err))
				continue
			}
			done[p] = below
			if t.events.Purged != nil {
				t.events.Purged(p, below)
			}
		}
		if head == nil || ctx.Err() != nil {
			continue
		}
		names, err := SweepObjects(ctx, t.store, *head)
		if err != nil {
			t.failed(ctx, err)
		}
		if len(names) > 0 {
			fire(t.events.Swept, names)
		}
	}
}

func (t *tidier) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		fire(t.events.Failed, Failed{Reason: err.Error()})
	}
}
