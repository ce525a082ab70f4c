package producer

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

// Lanes is the number of lanes that trips are spread over (DESIGN 3a). It is
// part of the meaning of a sequence, so it is the same for every producer.
const Lanes = 256

// ID returns the producer id of a replay: a digest of the job, the data and the
// first index that is replayed. It is never 0, which means "no producer".
func ID(job string, data dataset.Identity, first int64) uint64 {
	var head [40]byte
	copy(head[:32], data.Digest[:])
	binary.BigEndian.PutUint64(head[32:], uint64(first))
	h := sha256.New()
	h.Write([]byte("tripgrid producer 1\x00"))
	h.Write(head[:]) // fixed size, so the job may end it without a length
	h.Write([]byte(job))
	id := binary.BigEndian.Uint64(h.Sum(nil))
	if id == 0 {
		return 1
	}
	return id
}

// laneOf returns the lane of the trip with index i.
func laneOf(i int64) int { return int(uint64(i) % Lanes) }

// envelope returns what the trip with index i carries in a replay that starts
// at the index first.
func envelope(id uint64, first, i int64) trip.Envelope {
	return trip.Envelope{Producer: id, Lane: uint16(laneOf(i)), Seq: uint64(i-first) / Lanes}
}

// firstOfLane returns the smallest index at or above from that is in the lane.
func firstOfLane(lane int, from int64) int64 {
	return from + int64((uint64(lane)-uint64(from))%Lanes)
}

// HashKey is a point of Kinesis' 128-bit hash space, big-endian.
type HashKey [16]byte

// ParseHashKey reads the decimal form that Kinesis uses.
func ParseHashKey(s string) (HashKey, error) {
	var k HashKey
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 128 {
		return k, fmt.Errorf("hash key %q is not a decimal number below 2^128", s)
	}
	n.FillBytes(k[:])
	return k, nil
}

// String returns the decimal form.
func (k HashKey) String() string { return new(big.Int).SetBytes(k[:]).String() }

// LaneHashKey returns the explicit hash key of a lane: lane * 2^128 / Lanes.
func LaneHashKey(lane int) HashKey { return HashKey{byte(lane)} }

// lanes holds the constant strings of every lane, because the SDK wants them as
// pointers and the hot path should not make them.
var lanes = func() (t [Lanes]struct {
	key  string  // partition key
	hash string  // explicit hash key, decimal
	head []byte  // the constant beginning of the lane's aggregates
	at   HashKey // explicit hash key
}) {
	for l := range t {
		at := LaneHashKey(l)
		t[l].key, t[l].hash, t[l].at = fmt.Sprintf("lane-%d", l), at.String(), at
		t[l].head = appendAggregateHead(nil, t[l].key, t[l].hash)
	}
	return t
}()

// shard is an open shard: its hash keys from start to end, both inclusive. The
// range of a shard never changes while the shard lives.
type shard struct {
	id         string
	start, end HashKey
	key        string // start in decimal
}

// covers reports whether records with the hash key k go to the shard.
func (s *shard) covers(k HashKey) bool {
	return bytes.Compare(s.start[:], k[:]) <= 0 && bytes.Compare(k[:], s.end[:]) <= 0
}

func sortShards(s []shard) {
	slices.SortFunc(s, func(a, b shard) int {
		return cmp.Or(bytes.Compare(a.start[:], b.start[:]), cmp.Compare(a.id, b.id))
	})
}
