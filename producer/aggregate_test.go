package producer

import (
	"bytes"
	"crypto/md5"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"
	"github.com/awslabs/kinesis-aggregation/go/v2/records"
	"github.com/golang/protobuf/proto" //nolint:staticcheck // what Amazon's generated code is made for

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

func ringOf(trips []trip.Trip) *ring {
	r := newRing(len(trips))
	r.put(0, trips)
	return r
}

func TestRecordsDeaggregate(t *testing.T) {
	data := someTrips(64*Lanes, 1e9)
	ring := ringOf(data)
	for _, tc := range []struct {
		lane int
		from int64
		n    int
	}{{0, 0, 1}, {0, 0, 2}, {17, 3, 32}, {255, 0, 60}} {
		e := encoder{id: 0xfeed, first: 5}
		first := int64(tc.lane) + tc.from*Lanes
		raw, took := e.appendRecord([]byte("before"), ring, first, tc.n)
		raw = raw[len("before"):]
		if took != tc.n || len(raw) > maxAggregate {
			t.Fatalf("%d trips of %d in %d bytes", took, tc.n, len(raw))
		}
		if again, _ := e.appendRecord(nil, ring, first, tc.n); !bytes.Equal(again, raw) {
			t.Error("the same run gave other bytes")
		}
		got, err := deaggregator.DeaggregateRecords([]types.Record{{Data: raw, PartitionKey: aws.String("outer"), SequenceNumber: aws.String("1")}})
		if err != nil || len(got) != tc.n {
			t.Fatalf("%d records, %v", len(got), err)
		}
		for k, r := range got {
			i := first + int64(k)*Lanes
			var ev trip.Event
			if err := trip.Decode(r.Data, &ev); err != nil {
				t.Fatal(err)
			}
			want := trip.Envelope{Producer: 0xfeed, Lane: uint16(tc.lane), Seq: uint64(i-5) / Lanes}
			if ev.Trip != data[i] || ev.ID != uint64(i)+1 || ev.Envelope != want {
				t.Errorf("trip %d came as %+v", i, ev)
			}
			if tc.n > 1 && *r.PartitionKey != lanes[tc.lane].key {
				t.Errorf("partition key %q", *r.PartitionKey)
			}
		}
		if tc.n == 1 {
			continue
		}
		// Consumers that check hash keys find the lane's on every user record.
		var agg records.AggregatedRecord
		if err := proto.Unmarshal(raw[4:len(raw)-md5.Size], &agg); err != nil {
			t.Fatal(err)
		}
		if len(agg.ExplicitHashKeyTable) != 1 || agg.ExplicitHashKeyTable[0] != LaneHashKey(tc.lane).String() {
			t.Errorf("hash keys %q", agg.ExplicitHashKeyTable)
		}
		for _, r := range agg.Records {
			if r.PartitionKeyIndex == nil || r.ExplicitHashKeyIndex == nil {
				t.Fatal("a user record without its key")
			}
		}
	}
}

// TestAggregateEndsAtItsBound attacks the size: trips with the longest numbers.
func TestAggregateEndsAtItsBound(t *testing.T) {
	long := trip.Trip{
		PickupLat: 1.0000000000000002e-5, PickupLon: -math.Pi * 50, DropoffLat: math.E * -1e-5, DropoffLon: -math.Sqrt2 * 1e-5,
		Pickup: 1, Dropoff: 1_234_567_891, TotalCents: math.MaxInt64,
	}
	data := make([]trip.Trip, maxTrips*Lanes)
	for i := range data {
		data[i] = long
	}
	e := encoder{id: math.MaxUint64}
	raw, took := e.appendRecord(nil, ringOf(data), 255, maxTrips)
	if len(raw) > maxAggregate || len(raw) < maxAggregate-1000 || took < 2 {
		t.Errorf("%d trips in %d bytes", took, len(raw))
	}
	got, err := deaggregator.DeaggregateRecords([]types.Record{{Data: raw, PartitionKey: aws.String("outer")}})
	if err != nil || len(got) != took {
		t.Errorf("%d records of %d, %v", len(got), took, err)
	}
}

func TestLanes(t *testing.T) {
	for first := range int64(600) {
		id := ID("taxi", dataset.Identity{}, first)
		if id == 0 || id == ID("taxi", dataset.Identity{}, first+1) || id == ID("taxi2", dataset.Identity{}, first) {
			t.Fatalf("producer id %d", id)
		}
		var next [Lanes]uint64
		for i := first; i < first+3*Lanes; i++ {
			e := envelope(id, first, i)
			if int64(e.Lane) != i%Lanes || e.Seq != next[e.Lane] {
				t.Fatalf("first %d: trip %d has %+v, want sequence %d", first, i, e, next[e.Lane])
			}
			next[e.Lane]++
			if e.Seq == 0 && firstOfLane(int(e.Lane), first) != i {
				t.Fatalf("first of lane %d from %d is %d, want %d", e.Lane, first, firstOfLane(int(e.Lane), first), i)
			}
		}
	}
	if k := LaneHashKey(1).String(); k != "1329227995784915872903807060280344576" { // 2^120
		t.Errorf("lane 1 has the hash key %s", k)
	}
	for _, bad := range []string{"", "x", "-1", "340282366920938463463374607431768211456"} {
		if _, err := ParseHashKey(bad); err == nil {
			t.Errorf("hash key %q is taken", bad)
		}
	}
	top, err := ParseHashKey("340282366920938463463374607431768211455")
	if err != nil || top.String() != "340282366920938463463374607431768211455" {
		t.Errorf("highest hash key: %s, %v", top, err)
	}
}

func TestFloorMilli(t *testing.T) {
	for in, want := range map[int64]int64{0: 0, 1: 0, 999_999: 0, 1_000_000: 1_000_000, -1: -1_000_000, -1_000_000: -1_000_000, -1_000_001: -2_000_000} {
		if got := floorMilli(in); got != want {
			t.Errorf("floorMilli(%d) = %d, want %d", in, got, want)
		}
	}
}

// BenchmarkEncode is the path from trips to the entries of a call.
func BenchmarkEncode(b *testing.B) {
	for name, n := range map[string]int{"plain": 1, "aggregate32": 32} {
		b.Run(name, func(b *testing.B) {
			ring := ringOf(someTrips(32*Lanes, 1e9))
			c := &call{enc: encoder{id: 0xfeed}}
			b.ReportAllocs()
			trips := 0
			for b.Loop() {
				c.runs = c.runs[:0]
				for l := range 64 {
					c.runs = append(c.runs, run{lane: l, first: int64(l), n: n})
				}
				c.encode(ring)
				trips += 64 * n
			}
			b.SetBytes(int64(len(c.buf)))
			b.ReportMetric(float64(trips)/b.Elapsed().Seconds(), "trips/s")
		})
	}
}

// BenchmarkCore is the planning of a call's records and their answers.
func BenchmarkCore(b *testing.B) {
	cfg := Config{}
	cfg.setDefaults()
	all := shard{id: "0"}
	for i := range all.end {
		all.end[i] = 0xff
	}
	epoch := time.Unix(0, 0)
	c := newCore(cfg, 0, 0, 1<<40, rand.New(rand.NewPCG(1, 1)))
	c.listed(epoch, []shard{all})
	batch := make([]trip.Trip, chunk)
	var runs []run
	b.ReportAllocs()
	for b.Loop() {
		for c.wantTrips() {
			c.trips(epoch, batch)
		}
		c.advance(epoch)
		runs = c.records(epoch, runs[:0])
		for _, r := range runs {
			c.answer(epoch, r, delivered)
		}
		c.settle()
	}
}
