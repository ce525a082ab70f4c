package storetest_test

import (
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
