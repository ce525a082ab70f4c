package window

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// HashName names the function from cells to partitions in manifest 0: xxHash64,
// seed 0, of the cell's eight bytes in little-endian order, modulo N.
const HashName = "xxh64"

// PartitionOf returns the partition, of n, that holds a cell. The cell has the
// job's partition precision; see [Precision].
func PartitionOf(cell trip.Cell, n int) stream.Partition {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(cell))
	return stream.Partition(xxhash.Sum64(b[:]) % uint64(n))
}

// PartitionOfRecord returns the partition, of n, of a record without a valid
// pick-up cell: dead letters, and trips outside (PROTOCOL R20, R21).
func PartitionOfRecord(shard stream.ShardID, pos stream.Position, n int) stream.Partition {
	var a [256]byte
	b := append(a[:0], shard...)
	b = append(append(b, 0), pos.Seq...)
	b = binary.LittleEndian.AppendUint32(b, pos.Sub)
	return stream.Partition(xxhash.Sum64(b) % uint64(n))
}

// Precision is the precision at which cells are partitioned: the coarsest of
// any query, so that no group spans partitions.
func Precision(queries []Query) int {
	p := trip.MaxPrecision
	for _, q := range queries {
		p = min(p, q.precision())
	}
	return p
}
