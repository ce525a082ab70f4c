package checkpoint_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

// t0 is when tests begin.
var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testSpec(partitions int) checkpoint.Spec {
	return checkpoint.Spec{
		Job: "taxi", Stream: "trips", Partitions: partitions, Hash: "xxh64", CellPrecision: 6, Geofence: "bbox",
		Window:  10 * time.Minute,
		Queries: []checkpoint.QueryRef{{Name: "hot", Hash: "a1"}},
		Shards:  []checkpoint.ShardSpec{{ID: "shard-0", HashStart: "0", HashEnd: "9"}, {ID: "shard-1", HashStart: "10", HashEnd: "19"}},
		Start:   checkpoint.TrimHorizon, Data: checkpoint.Data{Name: "trips.csv", Digest: "d1", Trips: 1000}, Lanes: 4,
	}
}

// testVector is a cut at which each of two shards has read k events, one of
// them a watermark event, and the others one half on every partition.
func testVector(k, partitions uint64) checkpoint.Vector {
	var v checkpoint.Vector
	for _, id := range []stream.ShardID{"shard-0", "shard-1"} {
		v = append(v, checkpoint.ShardCut{
			Shard: id, State: checkpoint.Open, Position: stream.Position{Seq: fmt.Sprint(1000 + k)},
			Restart: fmt.Sprint(1000 + k), Watermark: int64(k), Read: 1 + k*partitions, Watermarks: 1,
			Marks: []stream.Mark{{Producer: 1<<63 + 5, Lane: 3, Seq: k}},
		})
	}
	return v
}

// testAck is a partition's ack for barrier n at cut k; its part is in store.
func testAck(tb testing.TB, store checkpoint.Store, g stream.Generation, n stream.BarrierID, p stream.Partition, k, partitions uint64) checkpoint.Ack {
	tb.Helper()
	object := checkpoint.EncodePart(fmt.Appendf(nil, "state of partition %d at %d", p, k))
	ref := checkpoint.PartRef{
		Name: checkpoint.PartName("taxi", checkpoint.UploadID{Generation: g, N: n}, p, object),
		Size: int64(len(object)), SHA256: sumHex(object),
	}
	if store != nil {
		if err := store.Put(context.Background(), ref.Name, object); err != nil {
			tb.Fatal(err)
		}
	}
	return checkpoint.Ack{
		Barrier: n, Partition: p, Vector: testVector(k, partitions), Part: ref,
		Anchors: []checkpoint.Anchor{{Shard: "shard-0", Seq: 10 * uint64(n), Checksum: 1 << 63}, {Shard: "shard-1", Seq: 10*uint64(n) + 5, Checksum: 7}},
		Resume:  10 * uint64(n), Ordinal: uint64(n),
		Counters: checkpoint.Counters{
			Shards: []checkpoint.ShardCounters{
				{Shard: "shard-0", Items: k, Applied: k},
				{Shard: "shard-1", Items: k, Applied: k},
			},
			Queries: []checkpoint.QueryCounters{{Query: "hot", Open: 2 * k}},
		},
	}
}
