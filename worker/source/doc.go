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
//	   in the plan? Parents ended? Progress. Lease acquired ──► session, its lease is renewed
//	GetShardIterator ── middleware: AFTER the restart sequence, or the start
//	Initialize ── Open ──► Handler, skip position
//	GetRecords ── middleware ──► ProcessRecords ──► Handler.Records, then pacing
//	the shard is closed and read ──► Handler.End ──► SHARD_END in the lease table
//	session over ──► Handler.Close ──► RemoveLeaseOwner ──► lease released
//
// A session is over when the handler fails, the lease is lost or can no longer
// be trusted, reading fails for good, the shard ended, it is above this
// process's share, or Run's context ends.
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
// # Sharing out
//
// The processes that read a stream are a [cluster.Group] over one lease table.
// A look at the table says how many shards this process should hold; balance
// looks every 250 ms while shards are about to move and ten times in a failover
// time at rest, and wakes for a new list of shards and a session's end. GetLease
// takes what the plan allows; a session above the share ends as any other does,
// four at a time: its handler is closed, then the lease is released, so the next
// owner finds in the log what was published. A process that is alone waits for
// nobody. One that cannot read a shard, or whose handler keeps failing, leaves
// it alone for one and a half failover times if there are others, who take it
// as neglected after one.
//
// A lease table that does not answer ends sessions when trust in their leases
// does, and nothing else; once it answers, each process takes its own leases
// back.
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
// sequence it has seen. Network failures are retried there too while the lease
// holds, up to Config.ReadFailure, throttling for as long as it lasts. The log
// has a sentence a minute for each kind of failure; see [Explain].
package source
