package checkpoint

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// bigAck is the ack of a cut of many shards, each with the marks of lanes lanes
// of each of some producers.
func bigAck(shards, producers, lanes int) Ack {
	r := rand.New(rand.NewPCG(1, 2))
	a := Ack{
		Barrier: 123_456, Partition: 63, Ordinal: 98_765_432, Pending: 12_345,
		Part: PartRef{Name: "yellow-taxi/1/123456/63/0123456789abcdef0123456789abcdef", Size: 1 << 24, SHA256: strings.Repeat("0123456789abcdef", 4)},
	}
	for i := range shards {
		id := stream.ShardID(fmt.Sprintf("shardId-%012d", i))
		seq := fmt.Sprintf("4957%052d", r.Uint64())
		cut := ShardCut{Shard: id, State: Open, Position: stream.Position{Seq: seq, Sub: 99}, Restart: seq, Watermark: r.Int64(), Read: r.Uint64N(1e9), Watermarks: r.Uint64N(1e6)}
		for p := range producers {
			for l := range lanes {
				cut.Marks = append(cut.Marks, stream.Mark{Producer: uint64(p+1) * 0x9e3779b97f4a7c15, Lane: uint16(l), Seq: 5e6 + r.Uint64N(1e6)})
			}
		}
		a.Vector = append(a.Vector, cut)
		a.Anchors = append(a.Anchors, Anchor{Shard: id, Seq: r.Uint64N(1e8), Checksum: r.Uint64()})
		a.Counters.Shards = append(a.Counters.Shards, ShardCounters{Shard: id, Items: r.Uint64N(1e8), Applied: r.Uint64N(1e8), Outside: r.Uint64N(1e6)})
	}
	for _, q := range []string{"pickup_count", "airport_duration"} {
		a.Counters.Queries = append(a.Counters.Queries, QueryCounters{Query: q, Filtered: r.Uint64N(1e9), Open: r.Uint64N(1e9), Retired: r.Uint64N(1e9)})
	}
	return a
}

// TestAcksFitAMessage measures acks: those of one producer fit in 1 MiB, and
// small ones stay readable.
func TestAcksFitAMessage(t *testing.T) {
	for _, tc := range []struct {
		shards, producers, lanes int
		fits                     bool
	}{
		{4, 1, 64, true}, {64, 1, 4, true}, {64, 1, 256, true}, {256, 1, 1, true}, {256, 1, 256, true}, {64, 16, 64, true}, {64, 16, 256, false}, // the last needs max_payload 2 MiB
	} {
		a := bigAck(tc.shards, tc.producers, tc.lanes)
		plain, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		data, err := encodeValue(a)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d shards, %d producers, %d lanes: %d bytes as JSON, %d on the board", tc.shards, tc.producers, tc.lanes, len(plain), len(data))
		if fits := len(data) <= 1<<20-valueOverhead; fits != tc.fits {
			t.Errorf("%d shards, %d producers, %d lanes: fits is %v", tc.shards, tc.producers, tc.lanes, fits)
		}
		if packed := data[0] != '{'; packed != (len(plain) > plainValue) {
			t.Errorf("%d bytes are packed: %v", len(plain), packed)
		}
		var back Ack
		if err := decodeValue(data, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, back) {
			t.Error("another ack comes back")
		}
		if len(data) > 100 && decodeValue(data[:len(data)-10], &back) == nil {
			t.Error("a cut value is accepted")
		}
	}
}

// TestBoardsOfPrefixes: boards of one job name under different prefixes know
// nothing of each other; large acks go both ways, and one too large for the
// server is refused by its size.
func TestBoardsOfPrefixes(t *testing.T) {
	srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoLog: true, NoSigs: true, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	nc, js, err := natsconn.Connect(t.Context(), natsconn.Config{Server: srv})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	open := func(prefix string) *Board {
		b, err := BoardSpec{Prefix: prefix, Job: "taxi", Generation: 1}.Open(t.Context(), js)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	acme, plain := open("acme.tripgrid"), open("")
	if acme.bucket != "acme_tripgrid_taxi-1-checkpoint" || plain.bucket != "taxi-1-checkpoint" {
		t.Errorf("buckets %s and %s", acme.bucket, plain.bucket)
	}
	a := bigAck(256, 1, 64)
	a.Partition = 0
	if err := acme.PutAck(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		board *Board
		want  []Ack
	}{{acme, []Ack{a}}, {plain, nil}, {open("acme.tripgrid"), []Ack{a}}} {
		got, err := tc.board.acks(t.Context(), a.Barrier, 1, nil)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s has %d acks instead of %d: %v", tc.board.bucket, len(got), len(tc.want), err)
		}
	}
	a = bigAck(64, 16, 256)
	if err := acme.PutAck(t.Context(), a); err == nil || !strings.Contains(err.Error(), "takes 1047552: raise its max_payload") {
		t.Error(err)
	}
}
