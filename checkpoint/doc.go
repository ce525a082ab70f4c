// Package checkpoint completes aligned snapshots: it announces barriers,
// collects what the partitions acknowledge, commits a manifest, and afterwards
// purges the log and sweeps old objects. Rule and invariant numbers are those
// of docs/protocol.md.
//
// # Who is authoritative
//
// HEAD is: one object per job in the Store, replaced only by compare-and-swap
// (R10). It names the living generation, the newest checkpoint and the
// manifests that are kept. The notice board in NATS KV (Board), leadership and
// every message are hints: with any number of coordinators, lost answers and
// late acks, HEAD (generation, n) only grows (I5), and what it references
// exists (I4).
//
//	<job>/HEAD                                     swapped
//	<job>/<generation>/<n>/manifest-<hash>         immutable
//	<job>/<generation>/<n>/<partition>/<hash>      immutable, a part
//
// # One checkpoint
//
//  1. The coordinator sets the board's key `barrier` to {n, base, nonce} by
//     compare-and-swap. n is above HEAD, the board, and every barrier in the log
//     (Config.Floor); base is what HEAD shows.
//  2. Owners of shards see the key (they watch it and read it every second) and
//     write barrier n into the log. Window workers align on it, upload the part,
//     and put an Ack on the board: key `ack.<partition>`. An ack holds the
//     partition's whole cut vector.
//  3. When all partitions have acknowledged n, the vectors are compared. Only if
//     they are equal, byte for byte in their canonical form, does n go on (R5,
//     I3); otherwise it is cancelled, and the reason says who differs in what.
//  4. The conservation law is checked (R21, I8). A checkpoint that violates it
//     is refused, and after three in a row the coordinator stops: cumulative
//     counters do not heal.
//  5. Manifest n is put, then HEAD is swapped from the version that was read
//     when n was announced. The same bytes are sent until it is known what
//     happened; the commit nonce in HEAD tells an own swap whose answer was lost
//     from another's.
//  6. The board's `completed` grows to n; the log is purged strictly below the
//     anchors of the oldest retained manifest (R12), objects that nothing
//     references are swept (R11).
//
// Cancelling n means announcing n+1, and nothing else (R6): windows never act on
// an out-of-band message. n is cancelled by a time-out (three intervals, doubling
// up to eightfold while checkpoints keep timing out, so that a slow system
// completes one at last), by unequal vectors, by the owner of a shard that asks
// for a barrier above n (Board.RequestBarrier), and by a new coordinator. A new
// coordinator reads HEAD, the board and the acks on it: if all partitions have
// acknowledged the announced barrier it commits that, else it announces the next.
//
// The board's barrier key fences coordinators early: who finds another's nonce
// there, or a HEAD at or above its own n that is not its own, or another
// generation, stops with ErrSuperseded
// (ErrRival, if it was a coordinator of the same generation). A HEAD between base and n is the late
// swap of a predecessor; then n is cancelled and announced anew on it.
//
// Coordinator is the pure machine: events and time in, actions out. Service is
// its shell over Board, Store and Log.
//
// # Names, uploads and sweeping
//
// The pair (generation, n) in an object's name is its upload id. It says when an
// object can still become referenced: only by a commit of that n, which needs n
// above HEAD. So a sweeper deletes what is at or below the HEAD that it read and
// that no manifest retained or pinned there references; however stale that HEAD
// is, later HEADs reference nothing of it again. An in-flight checkpoint lies
// above and is never touched. The hash in the name is of the object's bytes, so
// two owners that upload for the same n cannot overwrite each other.
//
// # Reading back
//
// LoadPart gives a partition its newest usable part. Each of the retained
// checkpoints is self-contained, so a part that is missing, truncated, corrupt
// or refused by the caller costs one step back, for that partition alone: it
// replays more of the log, which the purge has kept for that purpose, and reaches
// the same state (I2). Manifest 0 stands for the empty state; it is a step back
// like any other as long as HEAD retains it, since until then nothing was purged.
// A log that is not the recorded one (R16) is no reason to step back: valid
// returns ErrBroken and LoadPart ends.
//
// Recover gives the shards' owners their start. If HEAD's newest manifest is
// unreadable, an older retained one serves as well: a shard's restart, watermark,
// counts and lane marks are functions of the shard's prefix, and all of them come
// from the one manifest, so reading again from there repeats the same values; and
// what each partition already has is skipped by the last frame on its subject,
// which the purge keeps. It costs reading Kinesis from further back, nothing
// else. Barrier ids are not affected: they are above HEAD's n, which HEAD itself
// says. What does not work is to mix positions of one manifest with marks or
// counts of another.
//
// # Formats
//
// Manifests and HEAD: docs/format/manifest.md. Parts: docs/format/part.md. An
// unknown version or a wrong checksum is refused with the object's name
// (ErrCorrupt).
package checkpoint
