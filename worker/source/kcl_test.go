package source

import (
	"context"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/stream"
)

// local is the project's own Kinesis with a stream "trips".
func local(t testing.TB, shards int) *kinesis.Client {
	t.Helper()
	server, err := localkinesis.Open(localkinesis.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	client, err := NewKinesisClient(t.Context(), server.Endpoint(), "us-east-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("trips"), ShardCount: aws.Int32(int32(shards))})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// put writes records evenly over the hash keys and returns where each went.
func put(t testing.TB, client *kinesis.Client, data [][]byte) (at []stream.Position, shard []stream.ShardID) {
	t.Helper()
	span := new(big.Int).Lsh(big.NewInt(1), 128)
	for len(data) > 0 {
		n := min(len(data), 500)
		var entries []types.PutRecordsRequestEntry
		for i, d := range data[:n] {
			key := new(big.Int).Mul(span, big.NewInt(int64(i%256)))
			key.Rsh(key, 8)
			entries = append(entries, types.PutRecordsRequestEntry{Data: d, PartitionKey: aws.String("k"), ExplicitHashKey: aws.String(key.String())})
		}
		out, err := client.PutRecords(t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("trips"), Records: entries})
		if err != nil || aws.ToInt32(out.FailedRecordCount) > 0 {
			t.Fatalf("put: %v, %d failed", err, aws.ToInt32(out.FailedRecordCount))
		}
		for _, r := range out.Records {
			at = append(at, stream.Position{Seq: aws.ToString(r.SequenceNumber)})
			shard = append(shard, stream.ShardID(aws.ToString(r.ShardId)))
		}
		data = data[n:]
	}
	return at, shard
}

func numbered(n int) [][]byte {
	data := make([][]byte, n)
	for i := range data {
		data[i] = fmt.Appendf(nil, "record %d", i)
	}
	return data
}

// Everything of four shards arrives once, in order, by one owner each, and all
// shards are leased long before the library's own pace of one a tick.
func TestReadsEverythingOnce(t *testing.T) {
	t.Parallel()
	client := local(t, 4)
	data := numbered(20_000)
	_, shards := put(t, client, data)
	want := map[string]stream.ShardID{}
	for i, d := range data {
		want[string(d)] = shards[i]
	}
	w := newWorld(t)
	p := w.start("f/1", client)
	w.await("all records", func() bool { return w.count() >= len(data) })
	w.await("the tip", func() bool {
		for _, h := range w.opened {
			if h.behind != 0 || h.polls < 2 {
				return false
			}
		}
		return true
	})
	late := numbered(20_001)[20_000:]
	_, lateShards := put(t, client, late)
	want[string(late[0])] = lateShards[0]
	w.await("a late record", func() bool { return w.count() >= len(want) })
	p.stop()
	w.do(func() {
		if len(w.opened) != 4 {
			t.Errorf("%d handlers were opened for four shards", len(w.opened))
		}
		for _, h := range w.opened {
			for _, r := range h.recs {
				if want[string(r.Data)] != h.shard || r.Arrival.IsZero() || !r.Last {
					t.Fatalf("%s gave %q: %+v", h.shard, r.Data, r)
				}
				delete(want, string(r.Data))
			}
		}
		if len(want) > 0 {
			t.Errorf("%d records did not arrive", len(want))
		}
	})
}

// R10: a restart resumes after HEAD's restart sequence, whatever the lease table
// says, leaves out what is at or below the skip position, and takes the dead
// predecessor's leases at once.
func TestR10RestartResumesFromProgress(t *testing.T) {
	t.Parallel()
	client := local(t, 2)
	data := numbered(1000)
	at, shards := put(t, client, data)
	w := newWorld(t)
	// A predecessor that was killed: its leases are held and say something else.
	dead, err := cluster.New(w.table, cluster.Options{Owner: "f/0"})
	if err != nil {
		t.Fatal(err)
	}
	first, second := shards[0], stream.ShardID("")
	var ofFirst []int
	for i, s := range shards {
		if s == first {
			ofFirst = append(ofFirst, i)
		} else {
			second = s
		}
	}
	for _, s := range []stream.ShardID{first, second} {
		h, err := dead.Acquire(t.Context(), cluster.Resource(s), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Record(t.Context(), 9, at[ofFirst[len(ofFirst)-1]].Seq); err != nil {
			t.Fatal(err)
		}
	}
	restart, skip := at[ofFirst[99]], at[ofFirst[149]]
	w.do(func() {
		w.head[first] = headShard{restart: restart.Seq, skip: skip}
		w.head[second] = headShard{} // known, nothing read yet
	})
	want := len(data) - 150
	began := time.Now()
	w.start("f/1", client, func(_ *Config, o *cluster.Options, _ *process) { o.Proof = cluster.SameFolder(o.Owner) })
	w.await("what is left", func() bool { return w.count() >= want })
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the take-over took %s", d)
	}
	w.do(func() {
		h := w.of(first)[0]
		if h.recs[0].Pos != at[ofFirst[150]] || h.epoch != 2 || w.count() != want {
			t.Errorf("the first record is %s at epoch %d, want %s at 2; %d records, want %d", h.recs[0].Pos, h.epoch, at[ofFirst[150]], w.count(), want)
		}
	})
}

// Trap 10: aggregates are expanded with sub-sequences; crafted ones neither
// panic nor take their batch with them, and arrive raw.
func TestTrap10AggregatesThroughTheLibrary(t *testing.T) {
	t.Parallel()
	client := local(t, 1)
	data := [][]byte{[]byte("plain"), aggregate("a", "b", "c")}
	var names []string
	for name, bad := range malformed() {
		names = append(names, name)
		data = append(data, bad, aggregate("after "+name))
	}
	var at []stream.Position
	for _, d := range data { // one by one: a shard's order is that of single puts
		pos, _ := put(t, client, [][]byte{d})
		at = append(at, pos...)
	}
	w := newWorld(t)
	w.start("f/1", client)
	w.await("all records", func() bool { return w.count() >= 4+2*len(names) })
	w.do(func() {
		got := w.opened[0].recs
		expect := func(i int, pos stream.Position, sub uint32, last bool, data string) {
			pos.Sub = sub
			if r := got[i]; r.Pos != pos || r.Last != last || string(r.Data) != data {
				t.Errorf("record %d is %s %v %q, want %s %v %q", i, r.Pos, r.Last, r.Data, pos, last, data)
			}
		}
		expect(0, at[0], 0, true, "plain")
		expect(1, at[1], 0, false, "a")
		expect(2, at[1], 1, false, "b")
		expect(3, at[1], 2, true, "c")
		for i, name := range names {
			expect(4+2*i, at[2+2*i], 0, true, string(malformed()[name]))
			expect(5+2*i, at[3+2*i], 0, true, "after "+name)
		}
	})
}
