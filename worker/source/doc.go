// Package source reads a Kinesis stream for the ingest worker: shard by shard,
// in order, each shard by one owner at a time as far as leases can tell.
//
// [Source] is the seam; [KCL] implements it with vmware-go-kcl-v2, which does
// shard discovery, the consumer loops and the rate limits. Leases, positions,
// the parent rule and the end of ownership are ours, because the library's own
// lose data (TRAPS.md). The library is not forked: our Checkpointer stands
// beside it, and SDK middleware between it and Kinesis.
//
// # Who is authoritative
//
// HEAD's manifest says where reading resumes ([Progress]); the lease table's
// own position is informational and lags. The lease says who should read, the
// log says who may write (PROTOCOL R1, R10): a [Handler] must stand another
// owner at any time.
//
// # Life of a session
//
// A session is one ownership of one shard by this process:
//
//	GetLease (the library's event loop, one shard a tick)
//	   parents ended? Progress. Lease acquired ──► session, its lease is renewed
//	GetShardIterator ── middleware: AFTER the restart sequence, or the start
//	Initialize ── Open ──► Handler, skip position
//	GetRecords ── middleware ──► ProcessRecords ──► Handler.Records, then pacing
//	the shard is closed and read ──► Handler.End ──► SHARD_END in the lease table
//	session over ──► Handler.Close ──► RemoveLeaseOwner ──► lease released
//
// A session is over when the handler fails, the lease is lost or can no longer
// be trusted, reading fails for good, the shard ended, or Run's context ends.
// Its context is then cancelled, its handler closed as soon as a call in
// progress has returned, and the middleware refuses the library's next call,
// which ends the library's consumer. The lease is released last. Calls of one
// handler never overlap and none follows Close. At most one session of a shard
// lives in a process: a new one waits until the old one is gone.
//
// # Order of looking
//
// Progress is asked before Open, so the restart position is never newer than
// what Open sees; Open's skip position may be newer than the restart and may
// lie inside an aggregate. Records at or below it are not handed over. A skip
// position before the restart sequence would be a gap and is refused.
//
// # Parents
//
// A child is leased only when every parent, the adjacent one included, has
// ended in the lease table or in HEAD. A parent that Kinesis no longer lists
// and nobody here knows was trimmed before the job began: it is not waited for
// and not named to Open. One that is known, has not ended and is no longer
// listed is a gap: its children are refused by name (R17). The start position
// applies to shards without a parent; children start at their beginning.
//
// # Aggregates
//
// A record in the KPL's aggregated format is expanded into its user records,
// which share its sequence number and differ in Position.Sub. The library must
// not do it: it drops the batch around a bad aggregate and panics on a crafted
// one. So the middleware keeps the real batch and gives the library a carrier
// of the same number of bytes in its place, of zeros, which it can count
// against the 2 MB/s of a shard and nothing else; ProcessRecords takes the
// batch from the session. What carries the magic and is no valid aggregate
// (checksum, framing, key index, nothing inside) is handed over raw, as one
// record.
//
// # Pace
//
// A shard may be asked five times a second and gives 2 MB/s after a burst of
// 10 MB. The library sleeps out the rest of a second when it hits a limit, and
// nothing can wake it. So each session spaces its calls by Config.PollEvery
// and keeps the same byte budget a little more strictly: the library's own
// limiter stays as a safeguard that is not reached, the latency of polling is
// at most PollEvery, and every wait ends with the session.
//
// Iterators expire after five minutes, for instance behind a handler that
// blocked for that long; the middleware takes a new one after the last
// sequence it has seen. Throttling and network failures are retried there too
// while the lease holds, up to Config.ReadFailure.
package source
