package cluster

import (
	"context"
	"errors"
)

// Revision identifies one state of a row in a store.
type Revision uint64

// Entry is a row with its revision.
type Entry struct {
	Lease    Lease
	Revision Revision
}

// Errors of a Store; others mean that the outcome is not known.
var (
	ErrNotFound = errors.New("no such lease")
	// ErrConflict: the row exists already, or is at another revision.
	ErrConflict = errors.New("lease was changed by another")
)

// Store is a lease table. Rows may be read stale; writes are linearizable: of
// two on the same revision exactly one succeeds. An error other than the two
// sentinels leaves open whether the write happened. A store of any kind passes
// clustertest.Run.
type Store interface {
	// Get returns a row, or ErrNotFound.
	Get(ctx context.Context, r Resource) (Entry, error)
	// Create adds a row, or says ErrConflict if there is one.
	Create(ctx context.Context, l Lease) (Revision, error)
	// Update replaces the row at the given revision, or says ErrConflict.
	Update(ctx context.Context, l Lease, at Revision) (Revision, error)
	// List returns all rows in any order.
	List(ctx context.Context) ([]Entry, error)
}
