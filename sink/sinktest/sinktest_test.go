package sinktest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	kept := map[string]*sinktest.Memory{}
	sinktest.Run(t, func(_ *testing.T, name string) sinktest.Store {
		m := sinktest.NewMemory()
		if old := kept[name]; old != nil {
			old.Reopen()
			m = old
		}
		kept[name] = m
		return m
	})
	for name, m := range kept {
		if got := m.Misuse(); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
