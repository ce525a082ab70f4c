// Package ingest reads one Kinesis shard after another's hand-over and writes
// it to the partition log: decode, check, geofence, cell, frame, publish.
//
// The log is the authority, the lease a hint (PROTOCOL R1, R2). Two Shards may
// run for the same Kinesis shard at once, in one process or two; whatever they
// do, each (shard, partition) subject holds a gapless and duplicate-free run
// of frames, since every frame names the positions it covers and is published
// against the subject's last sequence.
//
// # What is a function of the shard's prefix
//
// Everything that must be equal in all partitions, or equal when another
// worker reads the same records again, depends on the records from the shard's
// start up to a position and on nothing else: the watermark W, the counts of
// records and watermark events, and the marks that tell repeats (R14). The
// type prefix computes them, and nothing here reads a clock for them. A new
// owner starts from the newest manifest's prefix and skips, partition by
// partition, what the log has already.
//
// # Path of a record
//
//	Records ─► prefix.add ─► one open segment per partition ─► queue ─► publisher
//	           (under mu)     rows, dead letters, counts        (≤ 2)    one frame
//	                                                                     in flight
//
// A segment is cut when it is full, when the subject's last frame is older than
// the linger, when the watermark moved and that frame is older still, and at a
// barrier. Linger and watermark interval grow with shards x partitions, so that
// the rate of messages stays bounded: each costs the log a sync. A segment
// remembers the position of everything in it, so that after a lost race (a
// rebase, R2) what the log has already is trimmed away and the rest is sealed
// again.
//
// Back-pressure: a full queue blocks Records, which blocks the KCL, and the
// backlog stays in Kinesis. Memory is bounded by three segments a subject. Data
// waits while the log is full; a barrier or END behind it takes it along, since
// only the checkpoint that it belongs to makes room again (R13).
//
// # Barriers
//
// Barrier n cuts every partition at one position: the shard's current one,
// once that is at or above what the log has for every partition (R6). Barriers
// announced before the shard was opened are never written; opening asks for
// the next one.
package ingest
