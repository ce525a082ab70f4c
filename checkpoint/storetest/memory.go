package storetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// Memory is a store for models: a map under a mutex.
type Memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	heads   map[string][]byte
	version map[string]int
}

var _ checkpoint.Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{objects: map[string][]byte{}, heads: map[string][]byte{}, version: map[string]int{}}
}

// Corrupt replaces an object's bytes, as a bad disk would.
func (m *Memory) Corrupt(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = data
}

// Get implements checkpoint.Store.
func (m *Memory) Get(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, checkpoint.CheckName(name)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.objects[name]
	if !ok {
		return nil, fmt.Errorf("%w: %s", checkpoint.ErrNotFound, name)
	}
	return slices.Clone(data), nil
}

// Put implements checkpoint.Store.
func (m *Memory) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, checkpoint.CheckName(name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.objects[name]; ok && !bytes.Equal(old, data) {
		return fmt.Errorf("%w: %s has other bytes", checkpoint.ErrConflict, name)
	}
	m.objects[name] = slices.Clone(data)
	return nil
}

// List implements checkpoint.Store.
func (m *Memory) List(ctx context.Context, prefix string) ([]checkpoint.ObjectInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []checkpoint.ObjectInfo
	for name, data := range m.objects {
		if strings.HasPrefix(name, prefix) {
			out = append(out, checkpoint.ObjectInfo{Name: name, Size: int64(len(data))})
		}
	}
	slices.SortFunc(out, func(a, b checkpoint.ObjectInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, ctx.Err()
}

// Delete implements checkpoint.Store.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if err := check(ctx, checkpoint.CheckName(name)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// ReadHead implements checkpoint.Store.
func (m *Memory) ReadHead(ctx context.Context, job string) ([]byte, string, error) {
	if err := check(ctx, checkpoint.CheckJob(job)); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version[job] == 0 {
		return nil, "", fmt.Errorf("%w: HEAD of %s", checkpoint.ErrNotFound, job)
	}
	return slices.Clone(m.heads[job]), fmt.Sprint(m.version[job]), nil
}

// SwapHead implements checkpoint.Store.
func (m *Memory) SwapHead(ctx context.Context, job, old string, data []byte) (string, error) {
	if err := check(ctx, checkpoint.CheckJob(job)); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := ""
	if v := m.version[job]; v > 0 {
		now = fmt.Sprint(v)
	}
	if now != old {
		return "", fmt.Errorf("%w: HEAD of %s has version %q, not %q", checkpoint.ErrConflict, job, now, old)
	}
	m.version[job]++
	m.heads[job] = slices.Clone(data)
	return fmt.Sprint(m.version[job]), nil
}

func check(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
