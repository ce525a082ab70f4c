package producer

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"

	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

// wrapped hides the body's other methods from net/http, which otherwise may
// close it under a fast server's answer.
type wrapped struct{ http.RoundTripper }

func (w wrapped) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return w.RoundTripper.RoundTrip(r)
}

// startKinesis runs a local Kinesis with the stream "taxi" and returns a client.
func startKinesis(t testing.TB, shards int32) *kinesis.Client {
	t.Helper()
	server, err := localkinesis.Open(localkinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(server.Endpoint()),
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:  &http.Client{Transport: wrapped{transport}},
	})
	if _, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: aws.String("taxi"), ShardCount: &shards}); err != nil {
		t.Fatal(err)
	}
	return client
}

// readBack reads all shards to their end, as a consumer does.
func readBack(t *testing.T, client *kinesis.Client) (log []landed) {
	t.Helper()
	ctx, name := t.Context(), aws.String("taxi")
	listed, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range listed.Shards {
		it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
			StreamName: name, ShardId: s.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		for next := it.ShardIterator; next != nil; {
			got, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
			if err != nil {
				t.Fatal(err)
			}
			rs, err := deaggregator.DeaggregateRecords(got.Records)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				l := landed{shard: *s.ShardId}
				if err := trip.Decode(r.Data, &l.ev); err != nil {
					t.Fatalf("%v: %q", err, r.Data)
				}
				log = append(log, l)
			}
			next = got.NextShardIterator
			if len(got.Records) == 0 && *got.MillisBehindLatest == 0 {
				break
			}
		}
	}
	return log
}

// generated returns n generated trips in memory.
func generated(t testing.TB, n int64) sliceData {
	t.Helper()
	d := dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: n})
	out := make(sliceData, 0, n)
	for int64(len(out)) < d.Len() {
		got, err := d.Read(int64(len(out)), out[len(out):cap(out)])
		if err != nil {
			t.Fatal(err)
		}
		out = out[:len(out)+got]
	}
	return out
}

// TestOverLocalKinesis sends generated trips over the wire, is stopped in the
// middle, goes on, and reads everything back.
func TestOverLocalKinesis(t *testing.T) {
	const n = 50_000
	client := startKinesis(t, 4)
	data := generated(t, n)
	cfg := Config{Client: client, Data: data, StateFile: filepath.Join(t.TempDir(), "state.json"), StateInterval: time.Millisecond}
	first := mustNew(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- first.Run(ctx) }()
	stopped := false
	for !stopped {
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			stopped = true
		case <-time.After(time.Millisecond):
			if first.Stats().Sent > n/4 {
				cancel()
			}
		}
	}
	cancel()
	second := mustNew(t, cfg)
	if err := second.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	repeats := check(t, readBack(t, client), data, 0, second.ID(), 4)
	t.Logf("stopped at %d, %d repeats", first.Stats().Sent, repeats)
}

// BenchmarkOverLocalKinesis is the rate of a whole replay at Speedup 0: encoder,
// SDK, wire and a server that syncs, all in one process.
func BenchmarkOverLocalKinesis(b *testing.B) {
	for _, shards := range []int32{1, 4, 8} {
		b.Run(fmt.Sprintf("shards%d", shards), func(b *testing.B) {
			client := startKinesis(b, shards)
			data := someTrips(400_000, time.Second)
			for b.Loop() {
				p, err := New(Config{Stream: "taxi", Job: "taxi", Client: client, Data: data})
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Run(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data))*float64(b.N)/b.Elapsed().Seconds(), "trips/s")
		})
	}
}
