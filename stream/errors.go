package stream

import "errors"

// Sentinels of this package. Every error that wraps one says which stream,
// shard, partition and sequences it is about.
var (
	// ErrCorrupt says that bytes are not a frame of a version this build reads.
	ErrCorrupt = errors.New("corrupt frame")
	// ErrFenced says that a higher epoch writes the shard: stop writing it (R2).
	ErrFenced = errors.New("fenced by a higher epoch")
	// ErrSameEpoch says that another writer uses the same epoch: re-read the
	// lease through its authority; the holder takes epoch + 1, the other stops (R1).
	ErrSameEpoch = errors.New("another writer has the same epoch")
	// ErrEnded says that the subject's last frame is the shard's END (I7).
	ErrEnded = errors.New("shard has ended")
	// ErrBroken says that the log is not the one that was written: the
	// generation is broken and must be restored, never continued (R16).
	ErrBroken = errors.New("log is broken")
	// ErrRegressed says that the log ends below a sequence that was consumed
	// or acknowledged. It is a kind of ErrBroken.
	ErrRegressed = errors.New("log has lost its tail")
	// ErrPurged says that a sequence was asked for that is purged.
	ErrPurged = errors.New("purged from the log")
	// ErrGap says that the sequences read are not consecutive (R3): drop the
	// instance and reload a snapshot.
	ErrGap = errors.New("gap in the log")
	// ErrNotFound says that the log holds no such message or stream.
	ErrNotFound = errors.New("not found in the log")
)
