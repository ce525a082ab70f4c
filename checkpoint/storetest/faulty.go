package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// Op is an operation of a store.
type Op string

// The operations of a store.
const (
	Get      Op = "get"
	Put      Op = "put"
	List     Op = "list"
	Delete   Op = "delete"
	ReadHead Op = "read head"
	SwapHead Op = "swap head"
)

// Fault is what happens to an operation.
type Fault func(do func() error) error

// ErrInjected is the failure of Fail and of a crashed store.
var ErrInjected = errors.New("injected failure")

// Fail does nothing and fails.
func Fail(func() error) error { return ErrInjected }

// Away does nothing, and is what a store says that is out of reach.
func Away(func() error) error { return fmt.Errorf("%w: injected", checkpoint.ErrUnavailable) }

// LoseAnswer does it and loses the answer.
func LoseAnswer(do func() error) error {
	_ = do() // nobody hears it
	return fmt.Errorf("%w: injected", checkpoint.ErrUncertain)
}

// LoseRequest does nothing and loses the answer.
func LoseRequest(func() error) error {
	return fmt.Errorf("%w: injected", checkpoint.ErrUncertain)
}

// Hold tells entered that the operation is there and does it when release is
// closed: a delay without a clock.
func Hold(entered chan<- struct{}, release <-chan struct{}) Fault {
	return func(do func() error) error {
		entered <- struct{}{}
		<-release
		return do()
	}
}

// Faulty is a store with injected faults. It is safe for concurrent use.
type Faulty struct {
	inner checkpoint.Store

	mu      sync.Mutex
	count   map[Op]int
	faults  map[Op]map[int]Fault
	every   map[Op]Fault
	crashed bool
}

var _ checkpoint.Store = (*Faulty)(nil)

// NewFaulty wraps a store; without faults it does what the store does.
func NewFaulty(inner checkpoint.Store) *Faulty {
	return &Faulty{inner: inner, count: map[Op]int{}, faults: map[Op]map[int]Fault{}, every: map[Op]Fault{}}
}

// On injects a fault into the nth operation of a kind from now on (1 is the next).
func (f *Faulty) On(op Op, nth int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults[op] == nil {
		f.faults[op] = map[int]Fault{}
	}
	f.faults[op][f.count[op]+nth] = fault
}

// Every injects a fault into every operation of a kind; nil ends it.
func (f *Faulty) Every(op Op, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.every[op] = fault
}

// Crash makes every operation fail from now on, without doing anything.
func (f *Faulty) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
}

func (f *Faulty) do(op Op, do func() error) error {
	f.mu.Lock()
	f.count[op]++
	fault := f.faults[op][f.count[op]]
	delete(f.faults[op], f.count[op])
	if fault == nil {
		fault = f.every[op]
	}
	crashed := f.crashed
	f.mu.Unlock()
	switch {
	case crashed:
		return ErrInjected
	case fault != nil:
		return fault(do)
	}
	return do()
}

// Get implements checkpoint.Store.
func (f *Faulty) Get(ctx context.Context, name string) (data []byte, err error) {
	err = f.do(Get, func() (err error) {
		data, err = f.inner.Get(ctx, name)
		return err
	})
	return data, err
}

// Put implements checkpoint.Store.
func (f *Faulty) Put(ctx context.Context, name string, data []byte) error {
	return f.do(Put, func() error { return f.inner.Put(ctx, name, data) })
}

// List implements checkpoint.Store.
func (f *Faulty) List(ctx context.Context, prefix string) (objects []checkpoint.ObjectInfo, err error) {
	err = f.do(List, func() (err error) {
		objects, err = f.inner.List(ctx, prefix)
		return err
	})
	return objects, err
}

// Delete implements checkpoint.Store.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	return f.do(Delete, func() error { return f.inner.Delete(ctx, name) })
}

// ReadHead implements checkpoint.Store.
func (f *Faulty) ReadHead(ctx context.Context, job string) (data []byte, version string, err error) {
	err = f.do(ReadHead, func() (err error) {
		data, version, err = f.inner.ReadHead(ctx, job)
		return err
	})
	return data, version, err
}

// SwapHead implements checkpoint.Store.
func (f *Faulty) SwapHead(ctx context.Context, job, old string, data []byte) (version string, err error) {
	err = f.do(SwapHead, func() (err error) {
		version, err = f.inner.SwapHead(ctx, job, old, data)
		return err
	})
	if err != nil {
		version = ""
	}
	return version, err
}
