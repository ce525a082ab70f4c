// Package worker is the window side of tripgrid: it owns partitions of the log,
// drives their pure machines, takes part in checkpoints and hands documents to
// the sink. Its sub-packages are
//
//   - source: where records come from, the KCL behind a small seam;
//   - ingest: from records to frames in the log;
//   - window: the pure operators, from frames to documents.
//
// # One partition
//
//	Reader ─► Machine.Apply ─► Step ─┬─► documents ─► Pending ─► Sink
//	                                 └─► aligned: Encode ─► uploader ─► Store, Ack
//
// A partition is one goroutine that reads its log in order and never waits for
// a snapshot's upload; only when the queue of unconfirmed documents is at its
// bound does it stop, and the checkpoints with it (PROTOCOL R19). Encoding
// happens between two frames, so a snapshot is the state of exactly one cut;
// the uploader brings it to the store and then acknowledges. A newer cut
// replaces one that is still being uploaded.
//
// # Starting, and what is proved before
//
// A partition starts from its part in HEAD's newest manifest, or, where that
// part is damaged, from the newest retained one that is whole (Fallback). Then
// it proves that the log is still the one the snapshot was taken from: each
// shard's barrier frame must stand at the recorded sequence with the recorded
// checksum, and the stream must still hold the sequence to resume from. A log
// that fails the proof is another log: the generation is broken and everybody
// stops (R16). A gap met later (R3) makes the partition start over once from
// its snapshot; if it meets the same gap again the generation is broken too.
//
// Partition leases come with package cluster: until then Run owns every
// partition that it is given.
package worker
