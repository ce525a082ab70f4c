package stream

import "github.com/tripgrid/tripgrid/trip"

// Flags of a frame.
type Flags uint8

const (
	// FlagBarrier marks the frame that is barrier Header.Barrier.
	FlagBarrier Flags = 1 << iota
	// FlagEnd marks a shard's last frame: it names the shard's children.
	FlagEnd
	// FlagFinal says that Watermark is the final one.
	FlagFinal
	// FlagIdle says that the shard is idle and leaves the watermark minimum.
	FlagIdle
	// FlagWatermarkOnly says that the frame carries progress and no items.
	FlagWatermarkOnly
)

// Header says whose frame it is and which source positions it covers:
// (After, Upto] of Shard, as far as they concern this partition (PROTOCOL R4).
type Header struct {
	Nonce  uint64 // of the generation
	Shard  ShardID
	Epoch  Epoch
	Writer uint64 // nonce of the writer
	After  Position
	Upto   Position
	// Watermark is W(Upto): no later trip of the shard has an earlier event
	// time. MinWatermark before the first, trip.FinalWatermark after the last.
	Watermark int64
	Flags     Flags
	// Barrier is the highest barrier on this subject, this frame included.
	Barrier BarrierID
	// Counts of what was read in (After, Upto] for this partition and does not
	// travel: trips outside the geofence and repeats.
	Outside, Repeated uint64
	// Cut is set on BARRIER and END frames alone.
	Cut *Cut
	// Children are set on END frames alone.
	Children []Child
}

// MinWatermark is the watermark before any was seen.
const MinWatermark int64 = -1 << 63

// Cut is a shard's cumulative state at a barrier's position. It is a pure
// function of the shard's prefix, so it is equal in every partition (R5).
type Cut struct {
	// Restart is the last sequence number that Upto covers whole: reading
	// resumes after it and skips by position. Empty: from the shard's start.
	Restart string
	// Read counts every event read, watermark events included.
	Read uint64
	// Watermarks counts the watermark events among them.
	Watermarks uint64
	// Marks are the highest sequences per (producer, lane), sorted (R14).
	Marks []Mark
}

// Mark is the highest sequence applied of a producer's lane.
type Mark struct {
	Producer uint64
	Lane     uint16
	Seq      uint64
}

// Child is a shard that continues an ended one.
type Child struct {
	Shard   ShardID
	Parents []ShardID
}

// Row is one trip as it travels to its partition: what queries need and no more.
type Row struct {
	Pos        Position
	EventTime  int64     // drop-off, ns
	Duration   int64     // drop-off minus pick-up, ns
	Pickup     trip.Cell // at precision 12
	Dropoff    trip.Cell // at precision 12
	Airport    trip.Airport
	TotalCents int64
}

// Dead is a record that is no valid event; it travels so that nothing is lost (R20).
type Dead struct {
	Pos    Position
	Reason string
	// Raw is the record, cut to MaxDeadRaw bytes; Size and SHA256 are of the
	// whole.
	Raw    []byte
	Size   uint32
	SHA256 [32]byte
}

// MaxDeadRaw is how much of an undecodable record travels.
const MaxDeadRaw = 64 << 10

// Frame is one message of the log. Decode reuses its slices.
type Frame struct {
	Header
	Rows []Row
	Dead []Dead
	// Checksum is of the encoded bytes; set by Decode and Append.
	Checksum uint64

	slab slab // of the rows' sequence numbers
}

// Items counts what the frame says was read for this partition (R21).
func (f *Frame) Items() uint64 {
	return uint64(len(f.Rows)) + uint64(len(f.Dead)) + f.Outside + f.Repeated
}
