// Package window is the pure half of the window worker: queries declared as
// data, and the [Machine] that turns one partition's log into documents and
// snapshots. It has no clock, does no I/O and starts no goroutine; its caller,
// the shell, reads the log, writes to the sink and uploads.
//
// # The machine
//
// A partition's input is a totally ordered log of frames, whoever wrote them.
// State, documents, their versions and the cuts of barriers are functions of
// (snapshot, frames since), so two owners of a partition write the same
// documents under the same versions, and it does not matter which of them wins
// (I2, I6). The shell's loop is
//
//	m, err := New(cfg)                     // or Restore(cfg, body)
//	for message := range log.From(m.Next()) {
//		err = m.Apply(message.Seq, message.Data)
//		for {
//			step, ok := m.Step()
//			if !ok {
//				break
//			}
//			pending.Add(step.Documents)
//			if step.Aligned != 0 {
//				body, ack := m.Encode(nil, pending.All()), m.Ack()
//				// upload and acknowledge, while the loop goes on
//			}
//		}
//	}
//
// Any error of Apply ends the machine: reload a snapshot (R3). What a log must
// never hold (another generation's frame, another frame at an anchor) is
// stream.ErrBroken: the generation is broken (R16).
//
// # A frame's life
//
// On arrival a frame is checked against the frames before it: message sequences
// are consecutive and its After is where its shard's last frame ended (I1, R3).
// Its barrier counts now, even if it is queued: a barrier above the current one
// cancels it (R6). Then it is applied, or kept as bytes while its shard is
// blocked by the current barrier or dormant. Kept frames are applied in stream
// order once their shards run.
//
// Applying a frame counts it (the ordinal, R7), adds its trips to the panes of
// every query, takes over its header, and then moves the partition's watermark
// and fires the windows that end at or below it: trips before W (R4). Frames of
// an ended shard are counted as ghosts and change nothing (I7).
//
// # Barriers
//
// The first frame of a shard that is the current barrier blocks the shard. When
// all open shards are blocked the state is the barrier's cut: what each shard
// sent before its barrier, nothing after. Step says so once, the shell encodes,
// and the next Step lets the shards run. Three things end an alignment: that, a
// higher barrier, or more than QueueLimit bytes in the queue. All are functions
// of the log, so an owner that replays aligns as the first one did.
//
// A snapshot keeps for each shard its anchor, the message of its barrier frame
// (or END, or last ghost). After a restore reading goes on at the smallest
// anchor of an open shard, and messages up to their own shard's anchor are
// skipped. The others are exactly those that were queued, or had not arrived,
// at the cut, in the same order.
//
// # Shards
//
// Shards are the generation's first ones, and children that an END names. A
// child is dormant until the ENDs of all of its parents are applied; until then
// it holds the watermark at its ended parents' least final one, and its frames
// are queued (R8). It is expected from its parent's END's arrival on, but part of the
// state only from its application on.
//
// The watermark is the running maximum of the minimum over dormant shards and
// open ones that are not idle; a final shard's idleness does not count; if no
// shard is left it stays (R15).
//
// # Queries
//
// A [Query] groups trips by a key that contains the pick-up cell, so that a
// group lies in one partition: [PartitionOf] hashes the cell at the coarsest
// precision of all queries. Each query has panes, tables of groups by event
// time. A tumbling window is one pane; a sliding one will be several. A trip is
// in one pane, is filtered, or is late because its window has fired; the sums
// account for every trip (R21):
//
//	applied = filtered + late + in open panes + in retired panes
//
// # Documents
//
// Results have the id job/query/window start/cell[/airport], the start in
// seconds since 1970. Late trips get one document each, job/late/shard/position,
// that says how late and for which queries; dead letters job/dead_letter/shard/position.
// Versions are generation<<48 | ordinal (R7); a frame emits an id at most once,
// because a window fires once and a position is applied once (I1).
//
// # State
//
// docs/format/state.md has the byte table of [Machine.Encode]. Equal states have
// equal bytes, and Restore accepts no other encoding of a state.
package window
