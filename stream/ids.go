package stream

import (
	"cmp"
	"strconv"
)

// ShardID names a Kinesis shard: the unit of source order.
type ShardID string

// Partition is a partition of the log, 0 to N-1.
type Partition uint32

func (p Partition) String() string { return strconv.FormatUint(uint64(p), 10) }

// Epoch orders the writers of a shard (PROTOCOL R1).
type Epoch uint64

// Generation is one life of a job's log, from 1.
type Generation uint16

func (g Generation) String() string { return strconv.FormatUint(uint64(g), 10) }

// BarrierID numbers barriers and the checkpoints they belong to, from 1; 0 is
// "before the first".
type BarrierID uint64

func (n BarrierID) String() string { return strconv.FormatUint(uint64(n), 10) }

// Position is a place in a shard: a Kinesis sequence number and, inside a KPL
// aggregate, the index of the user record. It means "up to and including this
// record"; the zero Position lies before every record.
//
// Sequence numbers have 56 digits today and up to 129 by the API. They are
// compared by length, then lexically, and never become a float.
type Position struct {
	Seq string
	Sub uint32
}

// IsZero tells whether p lies before every record.
func (p Position) IsZero() bool { return p.Seq == "" }

// Compare orders positions of one shard.
func (p Position) Compare(q Position) int {
	if c := CompareSequence(p.Seq, q.Seq); c != 0 {
		return c
	}
	return cmp.Compare(p.Sub, q.Sub)
}

// CompareSequence orders decimal sequence numbers without leading zeros; the
// empty one is the smallest.
func CompareSequence(a, b string) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return cmp.Compare(a, b)
}

// String is "SEQ" or "SEQ/SUB"; "-" for the zero Position.
func (p Position) String() string {
	switch {
	case p.Seq == "":
		return "-"
	case p.Sub == 0:
		return p.Seq
	}
	return p.Seq + "/" + strconv.FormatUint(uint64(p.Sub), 10)
}
