// Package producer replays a sorted data set into a Kinesis stream so that
// ingest can tell every repeat from every new trip, and so that every shard
// knows how far event time has come.
//
// # Lanes
//
// Kinesis repeats records: a PutRecords call whose answer was lost is sent
// again, and a producer that crashed sends again what it had not heard of. And
// PutRecords keeps no order among its entries. So trips travel in [Lanes] fixed
// lanes, each with its own explicit hash key (lane l has l * 2^128 / Lanes), and
// a lane has at most one record on its way: the next one leaves when the last
// was acknowledged. A lane is one hash key, so splits and merges of shards move
// it whole.
//
// The trip with index i in the sorted data set has, where f is the first index
// that is replayed (0, or what Seek finds):
//
//	lane       i mod Lanes
//	sequence   (i - f) div Lanes    0, 1, 2 ... in every lane, no gap
//	trip_id    i + 1
//	producer   [ID] (job, digest of the data, f), never 0
//
// Indices stay those of the full set under Seek; sequences start at 0 in every
// lane, because that is what ingest accepts as the first of a (producer, lane).
// The producer id contains f, so that a replay from elsewhere is another
// producer and not a gap. Two Seek times that find the same trip are the same
// producer.
//
// The sequence is per trip and not per record: records may be cut differently
// after a restart.
//
// # Records
//
// A record is one trip as plain JSON, or a KPL aggregate of up to
// Config.Aggregate consecutive trips of one lane:
//
//	f3 89 9a c2 | AggregatedRecord (protobuf) | MD5 of the protobuf, 16 bytes
//	  AggregatedRecord: 1 partition_key_table = [lane's key]
//	                    2 explicit_hash_key_table = [lane's hash key]
//	                    3 records, each: 1 partition_key_index = 0
//	                                     2 explicit_hash_key_index = 0
//	                                     3 data = one trip
//
// An aggregate ends before it passes 25 KiB, the unit in which Kinesis bills and
// the size up to which aggregation pays.
//
// # Watermarks
//
// Every open shard gets, addressed by its starting hash key, the same value: the
// event time of the globally oldest trip that is not acknowledged, floored to
// milliseconds, and, when the replay is paced, not beyond the replay's own clock
// (PROTOCOL R15). Since data is sorted by event time that is a promise: all that
// is older has landed, so a watermark stays true however late or often it
// arrives. The clock makes it move smoothly through a gap in the data. At the
// end [trip.FinalWatermark] goes to every open shard, again and again until two
// consecutive listings of the shards agree.
//
// # Pacing
//
// With t0 = the start of this run and ts0 = the event time of its first trip, a
// trip is due when (now - t0) * Speedup >= ts - ts0. Due trips are cut into
// records once a linger (50 ms, more when few shards could not take the records
// of 256 lanes). With Speedup 0 everything is due and records are cut full.
//
// # Restart
//
// The only progress is the lowest index that is not acknowledged. It stands in
// Config.StateFile (JSON, replaced atomically, at most every StateInterval); a
// restart sends everything from there. Of what was acknowledged beyond it,
// repeats arrive, never a gap. A state file of other data, another job, stream
// or Seek is refused.
//
// # Dry run
//
// [Summarize] reads a data set without sending it: what the files are, which rows
// are bad and why, and how many records and shards a replay at a given speed
// takes. The estimate follows the pacing above: the busiest ten seconds decide
// the shards, the trips of a lane in a linger the records.
//
// # Parts
//
// core is the pure state machine: trips, answers, listings and the time go in;
// records to send, watermarks to send, listings to make and the next time to
// wake come out. It knows no clock, no I/O and no goroutine. Producer.Run is its
// shell: one loop that owns core, a reader of the data set, a few senders which
// encode and call PutRecords, one sender of watermarks, and a writer of the
// state file. Memory is flat: a ring of trips and one buffer for each sender.
package producer
