// Package localkinesis is a Kinesis Data Streams endpoint in process, on loopback: the embedded default's stand-in for
// AWS, spoken to by the very same SDK and KCL over the real wire protocol (awsJson 1.1).
//
// # What is served
//
// CreateStream, DeleteStream, DescribeStream, DescribeStreamSummary, ListStreams, ListShards, PutRecord, PutRecords,
// GetShardIterator and GetRecords, with AWS's limits per call and record, its error codes and its 5 minutes for
// iterators. Other operations answer UnknownOperationException; parameters that are known to AWS but not served are
// refused, never ignored. Streams are ACTIVE as soon as CreateStream returns. Nothing is throttled, nothing expires,
// nobody is authenticated: the listener is for loopback.
//
// # What is promised
//
//  1. A record whose put was answered survives kill -9 and power loss: its shard's file is synced before the answer.
//  2. A reader sees durable records only, each shard's in the order of their sequence numbers, without a gap.
//  3. A sequence number is never given twice on one data folder, whatever was lost: it contains the shard's epoch, which
//     no other stream ever created on the folder has, and the number of the folder's opening, which is stored before
//     the first call is answered.
//  4. What a crash leaves behind is repaired when the folder is opened; any other damage is refused with file and
//     offset (ErrCorrupt). Reading checks again.
//  5. Memory does not grow with the records: 24 bytes are kept for each 64 KiB of them.
//
// After a failed write or sync a shard takes no more records until the folder is opened again.
//
// # Files
//
//	LOCK                                   locked by the process that has the folder open
//	server.json                            openings, last epoch, key that signs iterators
//	streams/EPOCH-NAME/stream.json         the stream and its shards: parents, hash key ranges, sequence ranges
//	streams/EPOCH-NAME/shardId-N-M.seg     segment M of shard N
//	streams/creating-…, streams/deleted-…  removed at the next opening
//
// The two .json files begin with a line "tripgrid-localkinesis 1 crc32c XXXXXXXX", the format's version and the checksum
// of the JSON below it. They, and new segments, are written aside, synced and renamed.
//
// # Segment format, version 1
//
// Integers are little-endian; checksums are CRC-32C. A segment is a header and frames; 64 MiB or more of frames begin a
// new one, and only the last may end in a torn frame.
//
//	segment header, 64 bytes
//	 0  8  "TGKINSEG"
//	 8  4  version, 1
//	12  4  checksum of bytes 16 to 63
//	16  8  epoch of the shard
//	24  4  number of the shard
//	28  4  number of the segment, from 0
//	32  8  log offset of the first frame
//	40  8  creation, milliseconds since 1970
//	48 16  0
//
// A log offset counts the bytes of a shard's frames over all its segments, without the headers of segments.
//
//	frame header, 48 bytes
//	 0  4  "TKGF"
//	 4  4  checksum of everything behind it, payload included
//	 8  4  length of the payload, at most 16 MiB
//	12  4  kind: 0 records, 1 mark
//	16  4  number of records
//	20  4  distance back to the start of the commit group
//	24  8  ordinal of the first record; in a mark, of the last record before it
//	32  8  arrival of the records, milliseconds since 1970, never below the frame before
//	40  8  log offset of this frame
//	48  …  payload
//
//	record in a payload
//	 0  2  length of the partition key in bytes
//	 2  4  length of the data
//	 6  …  partition key, data
//
// One call's records for one shard are one frame, so they are stored all or not at all. The frames that wait while a sync
// runs are the next commit group: one write, one sync. Everything before a group was durable when it was written. So if
// a frame is bad, and a good frame behind it is of a later group, the bad one was durable once and the file is corrupt; if
// none is, the crash came before the group's sync, nobody was told that it was stored, and it is cut off. A mark, a frame
// without records, is put behind the last group when the folder is opened and closed, to prove that group too.
package localkinesis
