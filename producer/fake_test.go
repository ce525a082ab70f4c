package producer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

// sliceData is a data set in memory.
type sliceData []trip.Trip

func (d sliceData) Len() int64 { return int64(len(d)) }

func (d sliceData) Read(from int64, buf []trip.Trip) (int, error) {
	if from >= int64(len(d)) {
		return 0, io.EOF
	}
	return copy(buf, d[from:]), nil
}

func (d sliceData) SearchTime(t int64) int64 {
	return int64(sort.Search(len(d), func(i int) bool { return d[i].Dropoff >= t }))
}

func (d sliceData) Identity() dataset.Identity {
	return dataset.Identity{Name: "slice", Digest: [32]byte{1, 2, 3}, Trips: int64(len(d))}
}

func (d sliceData) Close() error { return nil }

// someTrips returns n trips of New York's shape, gap apart.
func someTrips(n int, gap time.Duration) sliceData {
	dice := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2013, 1, 13, 0, 0, 0, 0, time.UTC).UnixNano()
	d := make(sliceData, n)
	for i := range d {
		d[i] = trip.Trip{
			Pickup: at - int64(time.Duration(5+dice.IntN(40))*time.Minute), Dropoff: at,
			PickupLat: 40.7 + float64(dice.IntN(100_000))/1e6, PickupLon: -73.9 - float64(dice.IntN(100_000))/1e6,
			DropoffLat: 40.7 + float64(dice.IntN(100_000))/1e6, DropoffLon: -73.9 - float64(dice.IntN(100_000))/1e6,
			TotalCents: dice.Int64N(9000),
		}
		at += int64(gap)
	}
	return d
}

// landed is one user record as a fake keeps it.
type landed struct {
	at    time.Time
	shard string
	ev    trip.Event
}

// fake is a Kinesis whose calls take latency and fail as fault says.
type fake struct {
	shards  int
	latency time.Duration
	// fault is asked at every PutRecords call; a nil reply means all is well. It
	// is called with the lock held.
	fault func(call int, in *kinesis.PutRecordsInput) faults

	mu      sync.Mutex
	log     []landed
	calls   int
	lists   int
	entries int
	listErr error
}

// faults says what goes wrong in one call.
type faults struct {
	lost    error              // the call's error; what is not refused lands all the same
	nothing bool               // with lost: nothing lands
	refuse  func(i int) string // error code for entry i, "" for none
}

func (f *fake) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, _ ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	select {
	case <-time.After(f.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	var bad faults
	if f.fault != nil {
		bad = f.fault(f.calls, in)
	}
	if bad.nothing {
		return nil, bad.lost
	}
	size := 0
	out := &kinesis.PutRecordsOutput{FailedRecordCount: aws.Int32(0)}
	for i, e := range in.Records {
		size += len(e.Data) + len(*e.PartitionKey)
		if bad.refuse != nil {
			if code := bad.refuse(i); code != "" {
				out.Records = append(out.Records, types.PutRecordsResultEntry{ErrorCode: &code, ErrorMessage: aws.String("refused")})
				continue
			}
		}
		shard := f.land(slices.Clone(e.Data), *e.ExplicitHashKey)
		out.Records = append(out.Records, types.PutRecordsResultEntry{SequenceNumber: aws.String("1"), ShardId: &shard})
	}
	if len(in.Records) > 500 || size > 5<<20 || len(in.Records) == 0 {
		return nil, fmt.Errorf("%d entries of %d bytes in a call", len(in.Records), size)
	}
	return out, bad.lost
}

func (f *fake) land(data []byte, key string) string {
	k, err := ParseHashKey(key)
	if err != nil {
		panic(err)
	}
	page := f.shards - 1
	for int(k[0]) < page*256/f.shards {
		page--
	}
	shard := fmt.Sprintf("shard-%d", page)
	rs, err := deaggregator.DeaggregateRecords([]types.Record{{Data: data, PartitionKey: aws.String("x")}})
	if err != nil {
		panic(err)
	}
	f.entries++
	for _, r := range rs {
		l := landed{at: time.Now(), shard: shard}
		if err := trip.Decode(r.Data, &l.ev); err != nil {
			panic(fmt.Sprintf("%v: %q", err, r.Data))
		}
		f.log = append(f.log, l)
	}
	return shard
}

func (f *fake) ListShards(ctx context.Context, in *kinesis.ListShardsInput, _ ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if f.listErr != nil {
		return nil, f.listErr
	}
	// One shard a page, and a closed one that nothing may go to.
	page := 0
	if in.NextToken != nil {
		if in.StreamName != nil {
			return nil, fmt.Errorf("a token and a stream name")
		}
		_, _ = fmt.Sscan(*in.NextToken, &page)
	}
	start, end := HashKey{byte(page * 256 / f.shards)}, HashKey{byte((page+1)*256/f.shards - 1)}
	for i := 1; i < len(end); i++ {
		end[i] = 0xff
	}
	out := &kinesis.ListShardsOutput{Shards: []types.Shard{{
		ShardId:             aws.String(fmt.Sprintf("shard-%d", page)),
		HashKeyRange:        &types.HashKeyRange{StartingHashKey: aws.String(start.String()), EndingHashKey: aws.String(end.String())},
		SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1")},
	}}}
	if page == 0 {
		closed := out.Shards[0]
		closed.ShardId = aws.String("shard-closed")
		closed.SequenceNumberRange = &types.SequenceNumberRange{StartingSequenceNumber: aws.String("1"), EndingSequenceNumber: aws.String("2")}
		out.Shards = append(out.Shards, closed)
	}
	if page+1 < f.shards {
		out.NextToken = aws.String(fmt.Sprint(page + 1))
	}
	return out, nil
}

// check reads the log as ingest would and returns how many repeats it dropped.
func check(t *testing.T, log []landed, data sliceData, first int64, id uint64, shards int) (repeats int) {
	t.Helper()
	var next [Lanes]uint64
	highest, final := map[string]int64{}, map[string]bool{}
	got := int64(0)
	for _, l := range log {
		if l.ev.Kind == trip.KindWatermark {
			if w, ok := highest[l.shard]; !ok || l.ev.Watermark > w {
				highest[l.shard] = l.ev.Watermark
			}
			final[l.shard] = final[l.shard] || l.ev.Watermark == trip.FinalWatermark
			continue
		}
		e := l.ev.Envelope
		if e.Producer != id {
			t.Fatalf("producer %x, want %x", e.Producer, id)
		}
		switch {
		case e.Seq < next[e.Lane]:
			repeats++
			continue
		case e.Seq > next[e.Lane]:
			t.Fatalf("R14: lane %d jumps to %d from %d", e.Lane, e.Seq, next[e.Lane])
		}
		next[e.Lane]++
		got++
		i := firstOfLane(int(e.Lane), first) + int64(e.Seq)*Lanes
		if l.ev.ID != uint64(i)+1 || l.ev.Trip != data[i] {
			t.Fatalf("trip %d came as id %d: %+v, want %+v", i, l.ev.ID, l.ev.Trip, data[i])
		}
		if w, ok := highest[l.shard]; ok && l.ev.Trip.Dropoff < w {
			t.Fatalf("R15: trip %d is before the watermark of %s", i, l.shard)
		}
	}
	if got != int64(len(data))-first {
		t.Fatalf("%d trips came, want %d", got, int64(len(data))-first)
	}
	if len(final) != shards {
		t.Fatalf("watermarks on %d shards, want %d", len(final), shards)
	}
	for s, ok := range final {
		if !ok {
			t.Errorf("R15: no final watermark on %s", s)
		}
	}
	return repeats
}
