// Package sink brings results to the stores that people read them from.
//
// A result is a [Document] with a deterministic id and a version; a [Sink]
// keeps, of each id, the document with the highest version. So it does not
// matter who writes, how often, or in what order the calls of two writers
// arrive: a late write of a stale owner loses and a repeat changes nothing.
// That is the whole of exactly-once at this end (docs/protocol.md, R7).
//
//   - [SQLite] is the embedded store: one file, durable when Write returns.
//   - [Pending] stands between a partition's loop and a Sink. It keeps every
//     document that no store has confirmed, coalesced by id and bounded in
//     bytes, and hands it out for the checkpoint (R19). So a checkpoint never
//     waits for a slow store, and a store that is down loses nothing.
//   - sub-package sinktest has the conformance suite that every Sink passes,
//     and sinks that fail on purpose.
//
// The package knows no trips: documents are plain. The one exception is the
// summary that SQLite keeps for the dashboard's airport lines, which reads
// trip_count and sum_trip_duration out of the documents' bodies.
package sink
