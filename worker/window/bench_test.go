//go:build unix

package window

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/tripgrid/tripgrid/stream"
)

// BenchmarkApply is the whole way of a row: decode, both queries, windows
// fired. Trips are records of their own, or 25 in one (KPL).
func BenchmarkApply(b *testing.B) {
	for _, aggregate := range []int{1, 25} {
		b.Run(fmt.Sprintf("aggregate=%d", aggregate), func(b *testing.B) { benchmarkApply(b, aggregate) })
	}
}

const benchRows = 256

func benchmarkApply(b *testing.B, aggregate int) {
	cfg, log := benchLog(4096, benchRows, aggregate)
	var m *Machine
	documents, bytes := 0, 0
	done := measure(b)
	for b.Loop() {
		if m == nil || int(m.Next())-FirstMessage == len(log) {
			var err error
			if m, err = New(cfg); err != nil {
				b.Fatal(err)
			}
		}
		data := log[m.Next()-FirstMessage]
		bytes += len(data)
		if err := m.Apply(m.Next(), data); err != nil {
			b.Fatal(err)
		}
		for step, ok := m.Step(); ok; step, ok = m.Step() {
			documents += len(step.Documents)
		}
	}
	done()
	b.ReportMetric(float64(documents)/float64(b.N*benchRows), "documents/row")
	b.ReportMetric(float64(bytes)/float64(b.N*benchRows), "bytes/row")
}

// BenchmarkDecode is the share of stream.Decode in BenchmarkApply.
func BenchmarkDecode(b *testing.B) {
	for _, aggregate := range []int{1, 25} {
		b.Run(fmt.Sprintf("aggregate=%d", aggregate), func(b *testing.B) {
			_, log := benchLog(256, benchRows, aggregate)
			var f stream.Frame
			done := measure(b)
			for i := 0; b.Loop(); i++ {
				if err := stream.Decode(log[i%len(log)], &f); err != nil {
					b.Fatal(err)
				}
			}
			done()
		})
	}
}

// measure reports the processor time of a row beside the clock's, which means
// little on a busy machine.
func measure(b *testing.B) (done func()) {
	b.ReportAllocs()
	cpu := func() float64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano() + u.Stime.Nano())
	}
	start := cpu()
	return func() {
		used := (cpu() - start) / float64(b.N) / benchRows
		b.ReportMetric(used, "cpu-ns/row")
		b.ReportMetric(1e9/used, "rows/cpu-s")
	}
}

// BenchmarkSnapshot encodes and restores a partition with some open windows.
func BenchmarkSnapshot(b *testing.B) {
	cfg, log := benchLog(512, 256, 25)
	m, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	for i, data := range log {
		if err := m.Apply(FirstMessage+uint64(i), data); err != nil {
			b.Fatal(err)
		}
		for _, ok := m.Step(); ok; _, ok = m.Step() {
		}
	}
	m.barrier = 1
	for _, s := range m.shards.sorted {
		s.anchor.Seq = FirstMessage
	}
	body := m.Encode(nil, nil)
	st := m.Status()
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			body = m.Encode(body[:0], nil)
		}
		b.ReportMetric(float64(len(body)), "bytes")
		b.ReportMetric(float64(st.Groups), "groups")
	})
	b.Run("restore", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Restore(cfg, body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
