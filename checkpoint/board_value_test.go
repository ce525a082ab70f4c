package checkpoint

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/stream"
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
