package checkpoint

import "github.com/tripgrid/tripgrid/stream"

// ShardState says how a shard takes part in a cut.
type ShardState uint8

const (
	// Open: the shard is read; its barrier frame is part of the cut.
	Open ShardState = iota + 1
	// Ended: the shard's END was applied before the cut.
	Ended
	// Dormant: a parent's END is outstanding, the shard's frames are queued.
	Dormant
)

// ShardCut is one shard's line of a cut vector (PROTOCOL R5).
type ShardCut struct {
	Shard      stream.ShardID   `json:"shard"`
	State      ShardState       `json:"state"`
	Position   stream.Position  `json:"position"`
	Restart    string           `json:"restart,omitempty"`
	Watermark  int64            `json:"watermark"`
	Idle       bool             `json:"idle,omitempty"`
	Final      bool             `json:"final,omitempty"`
	Read       uint64           `json:"read"`
	Watermarks uint64           `json:"watermarks"`
	Marks      []stream.Mark    `json:"marks,omitempty"`
	Parents    []stream.ShardID `json:"parents,omitempty"`
}

// Vector is a cut: one line for every shard of the generation, sorted by
// shard. Checkpoint n commits only if every partition acknowledges the same
// Vector, byte for byte.
type Vector []ShardCut

// Anchor is a partition's own record of a shard's barrier frame: where it
// stands in the partition's stream and what it was (R12, R16).
type Anchor struct {
	Shard    stream.ShardID `json:"shard"`
	Seq      uint64         `json:"seq"`
	Checksum uint64         `json:"checksum,string"`
}

// PartRef names a snapshot object.
type PartRef struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Ack is what a partition says of its own cut for barrier N: the vector, and
// beside it what is the partition's own.
type Ack struct {
	Barrier   stream.BarrierID `json:"barrier"`
	Partition stream.Partition `json:"partition"`
	Vector    Vector           `json:"vector"`
	Anchors   []Anchor         `json:"anchors"`
	// Resume is the stream sequence from which a reader of the part goes on:
	// the smallest anchor, frames before their shard's anchor being skipped.
	Resume  uint64  `json:"resume"`
	Ordinal uint64  `json:"ordinal"`
	Part    PartRef `json:"part"`
	// Pending counts the documents that the sink has not confirmed; they are in the part.
	Pending  uint64   `json:"pending"`
	Counters Counters `json:"counters"`
}

// Counters are a partition's cumulative counts at its cut (R21).
type Counters struct {
	Shards  []ShardCounters `json:"shards"`
	Queries []QueryCounters `json:"queries"`
}

// ShardCounters are of a shard in a partition: Items = Applied + Repeated + Outside + Dead.
type ShardCounters struct {
	Shard    stream.ShardID `json:"shard"`
	Items    uint64         `json:"items"`
	Applied  uint64         `json:"applied"`
	Repeated uint64         `json:"repeated"`
	Outside  uint64         `json:"outside"`
	Dead     uint64         `json:"dead"`
}

// QueryCounters are of a query in a partition: trips applied = Filtered + Late + Open + Retired.
type QueryCounters struct {
	Query    string `json:"query"`
	Filtered uint64 `json:"filtered"`
	Late     uint64 `json:"late"`
	Open     uint64 `json:"open"`
	Retired  uint64 `json:"retired"`
}
