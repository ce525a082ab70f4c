// Package stream is the partition log: frames of trips, a stream of NATS
// JetStream per partition, a writer per (partition, shard) that cannot
// duplicate or lose, and a reader that cannot skip.
//
// # Who is authoritative
//
// The log is. Leases are a hint: two workers may believe that they own a shard
// (a paused process, a network cut), and both may publish. Each publish says
// which stream sequence it believes to be the subject's last one
// (Nats-Expected-Last-Subject-Sequence), the stream takes at most one of two
// that believe the same, and each frame says which source positions it covers,
// (After, Upto]. So every subject holds a gapless, duplicate-free, ordered run
// of frames, whoever wrote them (invariant I1):
//
//	frame[i].After == frame[i-1].Upto
//
// # Names
//
//	stream   <job>-<generation>-<partition>            "taxi-1-7"
//	subject  <job>.<generation>.<partition>.<shard>    "taxi.1.7.shardId-000000000003"
//	genesis  <job>.<generation>.<partition>._genesis   stream sequence 1 (R8)
//
// A prefix, where an account is shared, stands before the subjects as it is and
// before the names with _ for its dots (docs/format/streams.md).
//
// Streams keep everything (limits retention, no age) up to MaxBytes and then
// refuse (discard new); only Log.Purge removes. Every message is fsynced by the
// server before its acknowledgement, so no Msg-Id deduplication is used.
//
// # The writer
//
// One message is in flight. Its outcome may be unknown: the acknowledgement was
// lost, the message is still under way and lands later (a ghost), or somebody
// else wrote. After a refusal or a timeout the subject's last message is read
// through the stream's leader (never by a direct get, which any replica may
// answer, stale), and Decide, a pure function, says what it means (R1, R2):
//
//	last sequence   last frame                   verdict
//	= expected      -                            Resend: the identical bytes, same expectation
//	< expected      -                            Broken: the log lost its tail (R16)
//	> expected      of a higher epoch            Fenced: stop writing the shard
//	> expected      own, or of a lower epoch     Rebase: go on from it, drop what it covers
//	> expected      same epoch, other writer     SameEpoch: ask the lease's authority
//
// The expectation is never refreshed without the range: a writer that finds
// its own frame there takes over its Upto, so a repeat cannot be published; and
// a ghost that arrives after its successor expects a sequence that is no longer
// the last one, so the stream refuses it. Broken is believed only after
// repeated reads, since a new leader may answer before it has applied what its
// predecessor acknowledged.
//
// Data frames stop at 90% of MaxBytes (R13): the rest is for barriers, ENDs and
// watermarks, without which the checkpoint that empties the log could not
// complete.
//
// # The reader
//
// It delivers consecutive stream sequences or fails (R3): JetStream silently
// moves a start that was purged, and waits for one that is beyond the end of a
// log that lost its tail. Both are named errors here.
//
// # Frames
//
// A frame is a protobuf message (docs/format/frame.proto), written and read by
// hand: columns of deltas are not what generated code is good at. A trip takes
// about 21 bytes (33 where every trip is a Kinesis record of its own) and some
// tens of nanoseconds both ways together. The byte table is in
// docs/format/frame.md:
//
//	0d 54 47 46 01   field 1, fixed32: "TGF" and the format version
//	fields 2 to 14   the header: R4's fields, the cut, the children
//	fields 15 to 25  the number of rows and the columns, one field each
//	field 26         dead letters
//	d9 01 + 8 bytes  field 27, fixed64: xxHash64 of all bytes before these eight
//
// Everything here that waits takes a context and ends with it. No goroutine of
// this package outlives the call that started it, except those that the NATS
// client runs for an open Reader.
package stream
