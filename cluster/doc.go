// Package cluster shares resources out among processes by leases, in the
// manner of the Kinesis Client Library: shards of a stream, later partitions.
// A resource is an opaque id; the package knows no trips.
//
// # Who is authoritative
//
// Nobody here. A lease is a hint that keeps two processes from doing the same
// work most of the time; what it protects must stand two owners (a paused
// process, a cut network) by fencing with the lease's epoch. What the package
// promises is that epochs only grow and are never given out twice, that no
// stale owner changes a lease, and that as long as monotonic clocks run at
// about the same rate no two owners trust a lease at the same time.
//
// # Transitions
//
// A [Lease] is one row of a table. [Acquire], [Renew], [Release], [Record]
// and [End] are pure: they take the row and what the caller knows, and
// return the next row or say why not. Every row is written by compare-and-swap
// on its revision ([Store]), so that of two racing transitions one loses and
// looks again.
//
//	unowned ──Acquire──► owned (epoch e) ──Renew, Record──► owned (epoch e)
//	   ▲                    │   └─────────End─────────────► ended, for ever
//	   └──────Release───────┘
//	owned, counter still for the failover time ──Acquire by another──► owned (epoch > e)
//	owned by a process that is proven dead     ──Acquire by another──► owned (epoch > e)
//
// Every transition but a refused one moves the counter.
//
// # Time
//
// No clock is compared with another machine's and no time is stored. Each
// observer judges by its own monotonic clock: an [Observation] says since when
// it has seen the counter unmoved, from the end of the first read that showed
// it to the start of the last. When that reaches the failover time the lease
// is expired for this observer. An owner on its side trusts its lease until
// the start of its last successful attempt + failover - margin. The attempt
// starts before the write, the write comes before any read that shows it, so
// trust ends at least a margin before anybody else may take over. A clock that
// jumps back starts the observation anew; one that jumps ahead costs the lease
// but never an epoch.
//
// # Epochs
//
// The epoch of an acquisition is 1 + max(the row's, the caller's floor). The
// floor carries what the protected log has seen (PROTOCOL R1), so a table that
// was lost and created again does not hand out old epochs.
//
// # A dead predecessor
//
// Owner ids carry the identity of the working folder ([NewOwner]). A process
// that has the exclusive lock on that folder has proof that every other owner
// of the same folder is dead, and takes its leases at once (Options.Proof,
// [SameFolder]).
//
// # Shell
//
// [Leases] does the effects: it lists the table now and then, keeps the
// observations, and gives out [Held], whose Keep renews until the lease is
// lost. A table that does not answer costs leases when their trust ends, nothing
// else; calls are tried again and the log says so once a failover time. A write
// that is applied after its caller gave up leaves a row of this owner, which it
// takes again at once, or others after the failover time.
//
// Stores: [NewKV] over a NATS key-value bucket; any other passes the suite in
// package clustertest.
//
// # Sharing out
//
// A [Group] shares resources out evenly. Its members hold slots, leases on
// NAME/0, NAME/1, ... in the same table: each the lowest that it can get, so a
// process without a resource counts, and rows of the dead are used again; there
// are never many more than processes lived at once. [Group.Plan] is a function
// of one look at the table: how many this process should hold, what it may take
// and what to release. Nobody is told anything and nothing is stolen: who has
// too many releases, who has too few takes what is free.
//
//	resource     free to me             I hold too few: I take it
//	             free for a failover    I hold enough: I take it all the same and
//	                                    keep it for ten failover times
//	             mine, and too many     for 1/20 failover: I release four at once
//	member       counter moves          lives, until it stands still for a failover
//	             never moved so far     lives for two renewals: a row may be left over
//	             table not readable     lives for a failover after that, if it did before
//
// What is left over when resources are divided by members belongs to those who
// hold the most, so a balanced state does not move. Members that see another
// state for a moment move one resource too many, and back.
//
// # Leading
//
// [Lead] runs a function in one process at a time: the lease of one more
// resource.
package cluster
