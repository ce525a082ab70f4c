package clustertest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tripgrid/tripgrid/cluster"
)

// Memory is a lease table in memory. Its revisions count all writes, as a
// bucket's do.
type Memory struct {
	mu   sync.Mutex
	rows map[cluster.Resource]cluster.Entry
	last cluster.Revision
}

// NewMemory returns an empty table.
func NewMemory() *Memory { return &Memory{rows: map[cluster.Resource]cluster.Entry{}} }

// Get implements cluster.Store.
func (m *Memory) Get(ctx context.Context, r cluster.Resource) (cluster.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return cluster.Entry{}, err
	}
	e, ok := m.rows[r]
	if !ok {
		return cluster.Entry{}, fmt.Errorf("lease of %s: %w", r, cluster.ErrNotFound)
	}
	return clone(e), nil
}

// Create implements cluster.Store.
func (m *Memory) Create(ctx context.Context, l cluster.Lease) (cluster.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if _, ok := m.rows[l.Resource]; ok {
		return 0, fmt.Errorf("create lease of %s: %w", l.Resource, cluster.ErrConflict)
	}
	return m.put(l), nil
}

// Update implements cluster.Store.
func (m *Memory) Update(ctx context.Context, l cluster.Lease, at cluster.Revision) (cluster.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if e, ok := m.rows[l.Resource]; !ok || e.Revision != at {
		return 0, fmt.Errorf("update lease of %s: %w", l.Resource, cluster.ErrConflict)
	}
	return m.put(l), nil
}

// List implements cluster.Store.
func (m *Memory) List(ctx context.Context) ([]cluster.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all := make([]cluster.Entry, 0, len(m.rows))
	for _, e := range m.rows {
		all = append(all, clone(e))
	}
	return all, nil
}

func (m *Memory) put(l cluster.Lease) cluster.Revision {
	m.last++
	m.rows[l.Resource] = clone(cluster.Entry{Lease: l, Revision: m.last})
	return m.last
}

func clone(e cluster.Entry) cluster.Entry {
	e.Lease.Parents = slices.Clone(e.Lease.Parents)
	return e
}

// Faulty is a table whose calls can be made to fail or to lose their answer.
type Faulty struct {
	cluster.Store
	mu     sync.Mutex
	before func(op string) error
	after  func(op string) error
}

// NewFaulty wraps a table; without faults it changes nothing.
func NewFaulty(s cluster.Store) *Faulty { return &Faulty{Store: s} }

// Before makes calls fail, or wait, without effect. op is get, create, update
// or list; nil ends it.
func (f *Faulty) Before(fault func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = fault
}

// After makes calls fail that had their effect.
func (f *Faulty) After(fault func(op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = fault
}

func (f *Faulty) faults(op string) (before, after func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	none := func() error { return nil }
	before, after = none, none
	if b := f.before; b != nil {
		before = func() error { return b(op) }
	}
	if a := f.after; a != nil {
		after = func() error { return a(op) }
	}
	return before, after
}

func faulty[T any](f *Faulty, op string, call func() (T, error)) (T, error) {
	var none T
	before, after := f.faults(op)
	if err := before(); err != nil {
		return none, err
	}
	v, err := call()
	if err != nil {
		return none, err
	}
	if err := after(); err != nil {
		return none, err
	}
	return v, nil
}

// Get implements cluster.Store.
func (f *Faulty) Get(ctx context.Context, r cluster.Resource) (cluster.Entry, error) {
	return faulty(f, "get", func() (cluster.Entry, error) { return f.Store.Get(ctx, r) })
}

// Create implements cluster.Store.
func (f *Faulty) Create(ctx context.Context, l cluster.Lease) (cluster.Revision, error) {
	return faulty(f, "create", func() (cluster.Revision, error) { return f.Store.Create(ctx, l) })
}

// Update implements cluster.Store.
func (f *Faulty) Update(ctx context.Context, l cluster.Lease, at cluster.Revision) (cluster.Revision, error) {
	return faulty(f, "update", func() (cluster.Revision, error) { return f.Store.Update(ctx, l, at) })
}

// List implements cluster.Store.
func (f *Faulty) List(ctx context.Context) ([]cluster.Entry, error) {
	return faulty(f, "list", func() ([]cluster.Entry, error) { return f.Store.List(ctx) })
}
