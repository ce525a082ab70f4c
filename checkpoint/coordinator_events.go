package checkpoint

import (
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// Start is what a coordinator knows when it begins.
type Start struct {
	Now     time.Time
	Head    Head
	Version string
	// Manifests are the readable manifests of Head.Manifests, at least one.
	Manifests []*Manifest
	// Announced is what the board shows, Acks are the acks for that barrier.
	Announced Barrier
	Acks      []Ack
}

// Event is what happens to a Coordinator: Tick, AckArrived, Asked, Wanted,
// Announced, CommitFailed, CommitAnswered.
type Event interface{ event() }

type (
	// Tick says what time it is, on the coordinator's own monotonic clock.
	Tick struct{ Now time.Time }
	// AckArrived is a partition's ack, possibly old or repeated.
	AckArrived struct{ Ack Ack }
	// Asked says that the owner of a shard needs a barrier above Above (R6).
	Asked struct{ Above stream.BarrierID }
	// Wanted says that someone wants a checkpoint soon; nothing is cancelled for it.
	Wanted struct{}
	// Announced answers Announce: what the board's key holds now, or Err if
	// that is not known.
	Announced struct {
		N     stream.BarrierID // of the Announce that is answered
		There Barrier
		Err   error
	}
	// CommitFailed answers Commit: HEAD was not swapped (yet), or nobody knows.
	CommitFailed struct {
		N   stream.BarrierID
		Err error
	}
	// CommitAnswered answers Commit: what HEAD is, after a successful swap or
	// read after a conflict or a lost answer.
	CommitAnswered struct {
		N       stream.BarrierID
		Head    Head
		Version string
	}
)

func (Tick) event()           {}
func (AckArrived) event()     {}
func (Asked) event()          {}
func (Wanted) event()         {}
func (Announced) event()      {}
func (CommitFailed) event()   {}
func (CommitAnswered) event() {}

// Action is what a Coordinator wants done, in order: Announce, Commit,
// Complete, Purge, Sweep, Report, Stop. Announce and Commit are answered by
// events; the same action may be given again until it is answered well.
type Action interface{ action() }

type (
	// Announce sets the board's barrier key to Barrier if it still holds Prev.
	Announce struct{ Prev, Barrier Barrier }
	// Commit puts the manifest and swaps HEAD from version Old.
	Commit struct {
		N        stream.BarrierID
		Ref      ManifestRef
		Manifest []byte
		Old      string
		Head     []byte
	}
	// Complete tells the board that HEAD shows the checkpoint.
	Complete struct{ Completed Completed }
	// Purge removes what lies strictly below in a partition's log (R12).
	Purge struct {
		Partition stream.Partition
		Below     uint64
	}
	// Sweep deletes what nothing references, as of this HEAD (R11).
	Sweep struct{ Head Head }
	// Report is Started, Acked, Committed, Cancelled or Failed of Events: a
	// Barrier, Acked, Committed, Cancelled or Failed.
	Report struct{ What any }
	// Stop ends the coordinator.
	Stop struct{ Err error }
)

func (Announce) action() {}
func (Commit) action()   {}
func (Complete) action() {}
func (Purge) action()    {}
func (Sweep) action()    {}
func (Report) action()   {}
func (Stop) action()     {}
