package stream

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/natsd"
)

// BenchmarkLog encodes, publishes, reads and decodes at once: 16 partitions
// with a writer of two shards and a reader each, over the embedded server.
func BenchmarkLog(b *testing.B) {
	for _, sync := range []time.Duration{0, time.Minute} {
		for _, rows := range []int{256, 512} {
			name := "fsync=always"
			if sync != 0 {
				name = "fsync=1m"
			}
			b.Run(fmt.Sprintf("%s/rows=%d", name, rows), func(b *testing.B) { benchmarkLog(b, sync, rows) })
		}
	}
}

func benchmarkLog(b *testing.B, syncInterval time.Duration, rows int) {
	const partitions, shards = 16, 2
	spec := testSpec()
	spec.Partitions = partitions
	l := openTestLog(b, testServer(b, natsd.Config{SyncInterval: syncInterval}), spec)
	ctx := b.Context()
	frame := testFrame(1, rows, 100)
	bytes := len(Append(nil, frame))
	perWriter := b.N/(partitions*shards) + 1
	var wg sync.WaitGroup
	cpuBefore := cpuTime()
	b.ResetTimer()
	for p := range Partition(partitions) {
		for s := range shards {
			wg.Go(func() {
				f := *frame
				f.Nonce, f.Shard, f.Epoch, f.Writer = testNonce, ShardID(fmt.Sprintf("shardId-%012d", s)), 1, 1
				w := l.Writer(p, f.Shard, Identity{1, 1})
				var buf []byte
				f.Upto = Position{}
				for i := range perWriter {
					f.After, f.Upto = f.Upto, at(i+1)
					buf = Append(buf[:0], &f)
					if r, err := w.Publish(ctx, buf, &f.Header); err != nil || r.Rebased {
						b.Error(r, err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			r, err := l.Reader(ctx, p, 0)
			if err != nil {
				b.Error(err)
				return
			}
			defer r.Close()
			var f Frame
			for range shards * perWriter {
				m, err := r.Next(ctx)
				if err == nil {
					err = Decode(m.Data, &f)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	cpu := cpuTime() - cpuBefore
	n := float64(perWriter * partitions * shards)
	b.ReportMetric(n*float64(rows)/b.Elapsed().Seconds(), "trips/s")
	b.ReportMetric(n/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(cpu.Nanoseconds())/n, "cpu-ns/frame")
	b.ReportMetric(n*float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
}

// cpuTime is what the process has used; on a busy machine it says more than
// the wall clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFsync is what the disk under the tests costs: a write of a frame
// and an fsync, by so many goroutines with a file each.
func BenchmarkFsync(b *testing.B) {
	for _, files := range []int{1, 16} {
		b.Run(fmt.Sprintf("files=%d", files), func(b *testing.B) {
			dir, data := b.TempDir(), make([]byte, 12<<10)
			var wg sync.WaitGroup
			b.ResetTimer()
			for i := range files {
				wg.Go(func() {
					f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
					if err != nil {
						b.Error(err)
						return
					}
					defer f.Close()
					for range b.N/files + 1 {
						if _, err := f.Write(data); err != nil {
							b.Error(err)
						}
						if err := f.Sync(); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
