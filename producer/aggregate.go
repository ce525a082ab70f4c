package producer

import (
	"crypto/md5"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tripgrid/tripgrid/trip"
)

// The KPL's aggregated record: aggregateMagic, a protobuf, its MD5.
const (
	aggregateMagic = "\xf3\x89\x9a\xc2"
	// maxAggregate is the size that no aggregate of two or more trips passes.
	maxAggregate = 25 << 10
	// maxTrips is the largest Config.Aggregate: more never fit.
	maxTrips = 256

	fieldPartitionKeys = 1 // AggregatedRecord.partition_key_table
	fieldHashKeys      = 2 // AggregatedRecord.explicit_hash_key_table
	fieldRecords       = 3 // AggregatedRecord.records
	fieldRecordData    = 3 // Record.data
)

// recordHead is how every Record begins: partition_key_index = 0 and
// explicit_hash_key_index = 0. Consumers that check the hash key of each user
// record against the shard's range (the Java KCL does) need the second.
var recordHead = []byte{1 << 3, 0, 2 << 3, 0}

// appendAggregateHead appends the magic and the two key tables.
func appendAggregateHead(dst []byte, partitionKey, hashKey string) []byte {
	dst = append(dst, aggregateMagic...)
	dst = protowire.AppendTag(dst, fieldPartitionKeys, protowire.BytesType)
	dst = protowire.AppendString(dst, partitionKey)
	dst = protowire.AppendTag(dst, fieldHashKeys, protowire.BytesType)
	return protowire.AppendString(dst, hashKey)
}

// appendUserRecord appends one Record that holds data.
func appendUserRecord(dst, data []byte) []byte {
	size := len(recordHead) + 1 + protowire.SizeBytes(len(data))
	dst = protowire.AppendTag(dst, fieldRecords, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = append(dst, recordHead...)
	dst = protowire.AppendTag(dst, fieldRecordData, protowire.BytesType)
	return protowire.AppendBytes(dst, data)
}

// userRecordSize is how much appendUserRecord appends for n bytes of data.
func userRecordSize(n int) int {
	return 1 + protowire.SizeBytes(len(recordHead)+1+protowire.SizeBytes(n))
}

// encoder turns runs of a lane's trips into the data of one Kinesis record. It
// is deterministic: the same run gives the same bytes, so that a repeat of a
// record need not be kept.
type encoder struct {
	id      uint64 // producer
	first   int64  // index at which the replay starts
	scratch []byte
}

// appendRecord appends the record of up to n trips of a lane, of which the first
// has the index i: a plain trip, or an aggregate. It returns how many it took,
// which is fewer than n when the aggregate would pass maxAggregate.
func (e *encoder) appendRecord(dst []byte, ring *ring, i int64, n int) ([]byte, int) {
	e.scratch = trip.AppendTrip(e.scratch[:0], ring.at(i), uint64(i)+1, envelope(e.id, e.first, i))
	if n == 1 {
		return append(dst, e.scratch...), 1
	}
	start := len(dst)
	dst = append(dst, lanes[laneOf(i)].head...)
	took := 0
	for {
		dst = appendUserRecord(dst, e.scratch)
		took++
		if took == n {
			break
		}
		i += Lanes
		e.scratch = trip.AppendTrip(e.scratch[:0], ring.at(i), uint64(i)+1, envelope(e.id, e.first, i))
		if len(dst)-start+userRecordSize(len(e.scratch))+md5.Size > maxAggregate {
			break
		}
	}
	sum := md5.Sum(dst[start+len(aggregateMagic):])
	return append(dst, sum[:]...), took
}

// ring holds the trips between the lowest unacknowledged index and the last one
// read. Senders read slots that the loop does not write: a slot is free only
// when everything up to its index is acknowledged.
type ring struct {
	slots []trip.Trip // a power of two
	mask  int64
}

func newRing(size int) *ring {
	n := 1
	for n < size {
		n <<= 1
	}
	return &ring{slots: make([]trip.Trip, n), mask: int64(n - 1)}
}

func (r *ring) at(i int64) *trip.Trip { return &r.slots[i&r.mask] }

// put copies trips into the slots from index i on.
func (r *ring) put(i int64, trips []trip.Trip) {
	for len(trips) > 0 {
		n := copy(r.slots[i&r.mask:], trips)
		trips, i = trips[n:], i+int64(n)
	}
}
