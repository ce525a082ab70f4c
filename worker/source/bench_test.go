package source

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
	"github.com/tripgrid/tripgrid/stream"
)

// benchSource runs a source whose handlers call got, until it returns true.
func benchSource(b *testing.B, client *kinesis.Client, got func(shard stream.ShardID, recs []Record) bool) (wait func()) {
	b.Helper()
	done := make(chan struct{}, 1)
	leases, err := cluster.New(clustertest.NewMemory(), cluster.Options{Owner: "f/1"})
	if err != nil {
		b.Fatal(err)
	}
	k, err := NewKCL(Config{Stream: "trips", Client: client, Leases: leases,
		Progress: func(context.Context, stream.ShardID) (string, bool, bool, error) { return "", false, false, nil },
		Open: func(_ context.Context, shard stream.ShardID, _ stream.Epoch, _ []stream.ShardID) (Handler, stream.Position, error) {
			return benchHandler(func(recs []Record) {
				if got(shard, recs) {
					select {
					case done <- struct{}{}:
					default:
					}
				}
			}), stream.Position{}, nil
		}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ran := make(chan error, 1)
	go func() { ran <- k.Run(ctx) }()
	return func() {
		<-done
		b.StopTimer()
		cancel()
		if err := <-ran; err != nil {
			b.Fatal(err)
		}
	}
}

type benchHandler func([]Record)

func (h benchHandler) Records(_ context.Context, recs []Record, _ time.Duration) error {
	h(recs)
	return nil
}
func (h benchHandler) End(context.Context, []stream.Child) error { return nil }
func (h benchHandler) Close()                                    {}

// BenchmarkCatchUp reads a backlog of 16 MB a shard, records of 200 bytes. The
// library allows 10 MB at once and 2 MB/s from then on.
func BenchmarkCatchUp(b *testing.B) {
	for _, shards := range []int{1, 4} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				client := local(b, shards)
				n := shards * 80_000
				batch := make([][]byte, n)
				for i := range batch {
					batch[i] = fmt.Appendf(nil, "%0200d", i)
				}
				put(b, client, batch)
				seen := make(chan int, 1)
				seen <- 0
				var first time.Duration
				began := time.Now()
				b.StartTimer()
				wait := benchSource(b, client, func(_ stream.ShardID, recs []Record) bool {
					total := <-seen + len(recs)
					if first == 0 && total > 0 {
						first = time.Since(began)
					}
					seen <- total
					return total == n
				})
				wait()
				b.ReportMetric(float64(n)*200/1e6/time.Since(began).Seconds(), "MB/s")
				b.ReportMetric(float64(first.Milliseconds()), "ms-to-first")
				b.StartTimer()
			}
		})
	}
}

// BenchmarkLatency puts a record every 5 ms and measures until it is handed over.
func BenchmarkLatency(b *testing.B) {
	const n = 1000
	for b.Loop() {
		client := local(b, 1)
		sent := make([]time.Time, n)
		var waits []time.Duration
		ready := make(chan struct{}, 1)
		lock := make(chan struct{}, 1)
		wait := benchSource(b, client, func(_ stream.ShardID, recs []Record) bool {
			now := time.Now()
			lock <- struct{}{}
			defer func() { <-lock }()
			for _, r := range recs {
				var i int
				if _, err := fmt.Sscanf(string(r.Data), "%d", &i); err != nil {
					b.Error(err)
				}
				waits = append(waits, now.Sub(sent[i]))
			}
			select {
			case ready <- struct{}{}:
			default:
			}
			return len(waits) == n
		})
		<-ready
		tick := time.NewTicker(5 * time.Millisecond)
		for i := range n {
			<-tick.C
			lock <- struct{}{}
			sent[i] = time.Now()
			<-lock
			_, err := client.PutRecord(b.Context(), &kinesis.PutRecordInput{StreamName: aws.String("trips"),
				PartitionKey: aws.String("k"), Data: fmt.Append(nil, i)})
			if err != nil {
				b.Fatal(err)
			}
		}
		tick.Stop()
		wait()
		slices.Sort(waits)
		b.ReportMetric(float64(waits[n/2].Milliseconds()), "ms-p50")
		b.ReportMetric(float64(waits[n*99/100].Milliseconds()), "ms-p99")
		b.StartTimer()
	}
}
