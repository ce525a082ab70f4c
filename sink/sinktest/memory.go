package sinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/tripgrid/tripgrid/sink"
)

// Memory is a sink in memory, written for plainness. Besides storing it checks
// its callers: Misuse lists every breach of the contract that it saw.
type Memory struct {
	mu      sync.Mutex
	docs    map[string]sink.Document
	flying  map[string]bool
	history map[string][]uint64
	misuse  []string
	closed  bool
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{docs: map[string]sink.Document{}, flying: map[string]bool{}, history: map[string][]uint64{}}
}

// begin notes the ids of a call that is under way, and end that it is over.
func (m *Memory) begin(docs []sink.Document) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, d := range docs {
		if m.flying[d.ID] && !slices.Contains(ids, d.ID) {
			m.misuse = append(m.misuse, fmt.Sprintf("two calls carry %q at once", d.ID))
			continue
		}
		m.flying[d.ID] = true
		ids = append(ids, d.ID)
	}
	return ids
}

func (m *Memory) end(ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.flying, id)
	}
}

// Write implements sink.Sink.
func (m *Memory) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	defer m.end(m.begin(docs))
	return m.store(ctx, docs)
}

func (m *Memory) store(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("write results: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("write results: %w", sink.ErrClosed)
	}
	results := make([]sink.Result, len(docs))
	for i, d := range docs {
		switch {
		case d.ID == "":
			results[i].Rejected = "no id"
		case d.Version > math.MaxInt64:
			results[i].Rejected = "version out of range"
		case !json.Valid(d.Body) || d.Body[0] != '{':
			results[i].Rejected = "no object"
		default:
			m.history[d.ID] = append(m.history[d.ID], d.Version)
			if old, ok := m.docs[d.ID]; !ok || d.Version > old.Version {
				d.Body = slices.Clone(d.Body)
				m.docs[d.ID] = d
			}
		}
	}
	return results, nil
}

// Get returns what is stored under id.
func (m *Memory) Get(_ context.Context, id string) (sink.Document, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.docs[id]
	return d, ok, nil
}

// Len returns how many documents are stored.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.docs)
}

// History returns the versions of id in the order in which they arrived.
func (m *Memory) History(id string) []uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.history[id])
}

// Misuse lists the breaches of the contract by callers.
func (m *Memory) Misuse() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.misuse)
}

// Close implements sink.Sink; what is stored can still be read.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Reopen takes Close back.
func (m *Memory) Reopen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = false
}
