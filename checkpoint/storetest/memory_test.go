package storetest_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) (checkpoint.Store, checkpoint.Store) {
		m := storetest.NewMemory()
		return m, m
	})
}

func TestFaultyWithoutFaultsConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) (checkpoint.Store, checkpoint.Store) {
		m := storetest.NewMemory()
		return storetest.NewFaulty(m), storetest.NewFaulty(m)
	})
}

// TestSlowSwapIsOvertaken: a swap of HEAD that hangs on its way loses to one
// that was begun later.
func TestSlowSwapIsOvertaken(t *testing.T) {
	m := storetest.NewMemory()
	slow := storetest.NewFaulty(m)
	entered, release, answered := make(chan struct{}), make(chan struct{}), make(chan error)
	slow.On(storetest.SwapHead, 1, storetest.Hold(entered, release))
	go func() {
		_, err := slow.SwapHead(t.Context(), "taxi", "", []byte("slow"))
		answered <- err
	}()
	<-entered
	if _, err := m.SwapHead(t.Context(), "taxi", "", []byte("fast")); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-answered; !errors.Is(err, checkpoint.ErrConflict) {
		t.Errorf("the slow swap: %v, want a conflict", err)
	}
	if data, _, err := m.ReadHead(t.Context(), "taxi"); err != nil || string(data) != "fast" {
		t.Errorf("HEAD is %q: %v", data, err)
	}
}
