package checkpoint

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/stream"
)

// Events are called by the coordinator's goroutines as things happen; logs,
// the state page and tests listen to the same struct. Nil fields are skipped;
// the functions must not block.
type Events struct {
	// Started: barrier n was announced.
	Started func(Barrier)
	// Acked: a partition's ack for the current checkpoint arrived.
	Acked func(Acked)
	// Committed: HEAD shows the checkpoint.
	Committed func(Committed)
	// Cancelled: a later barrier is announced instead.
	Cancelled func(Cancelled)
	// Failed: an attempt failed; it is tried again.
	Failed func(Failed)
	// Purged: the log of a partition was purged strictly below a sequence.
	Purged func(p stream.Partition, below uint64)
	// Swept: objects that nothing references were deleted.
	Swept func(names []string)
}

// Acked says which partition acknowledged and how many have.
type Acked struct {
	N          stream.BarrierID
	Partition  stream.Partition
	Have, Want int
}

// Committed is a completed checkpoint.
type Committed struct {
	Manifest *Manifest
	Ref      ManifestRef
	// Bytes is the size of all parts, Took the time since the announcement.
	Bytes int64
	Took  time.Duration
}

// Cancelled is an announced checkpoint that will not complete.
type Cancelled struct {
	N      stream.BarrierID
	Reason string
}

// Failed is a failed attempt; N is the checkpoint it was for, if any.
type Failed struct {
	N      stream.BarrierID
	Reason string
}

// Tee calls all of the given events in order.
func Tee(all ...Events) Events {
	return Events{
		Started:   tee(all, func(e Events) func(Barrier) { return e.Started }),
		Acked:     tee(all, func(e Events) func(Acked) { return e.Acked }),
		Committed: tee(all, func(e Events) func(Committed) { return e.Committed }),
		Cancelled: tee(all, func(e Events) func(Cancelled) { return e.Cancelled }),
		Failed:    tee(all, func(e Events) func(Failed) { return e.Failed }),
		Swept:     tee(all, func(e Events) func([]string) { return e.Swept }),
		Purged: func(p stream.Partition, below uint64) {
			for _, e := range all {
				if e.Purged != nil {
					e.Purged(p, below)
				}
			}
		},
	}
}

func tee[T any](all []Events, field func(Events) func(T)) func(T) {
	return func(v T) {
		for _, e := range all {
			if f := field(e); f != nil {
				f(v)
			}
		}
	}
}

func fire[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

// Logged writes transitions to a log: a failure that repeats itself only once,
// until a checkpoint completes.
func Logged(log *zap.Logger) Events {
	var mu sync.Mutex
	told := ""
	news := func(reason string) bool {
		mu.Lock()
		defer mu.Unlock()
		was := told
		told = reason
		return reason != was
	}
	n := func(n stream.BarrierID) zap.Field { return zap.Uint64("checkpoint", uint64(n)) }
	return Events{
		Started: func(b Barrier) {
			log.Debug("checkpoint announced", n(b.N), zap.Uint64("base", uint64(b.Base)))
		},
		Committed: func(c Committed) {
			news("")
			log.Info("checkpoint completed", n(c.Manifest.N), zap.Int64("bytes", c.Bytes), zap.Duration("took", c.Took),
				zap.Uint64("pending", c.Manifest.Pending()), zap.Bool("finished", Finished(c.Manifest)))
		},
		Cancelled: func(c Cancelled) { log.Info("checkpoint cancelled", n(c.N), zap.String("reason", c.Reason)) },
		Failed: func(f Failed) {
			if news(f.Reason) {
				log.Warn("checkpoint failed, trying again", n(f.N), zap.String("reason", f.Reason))
			}
		},
		Purged: func(p stream.Partition, below uint64) {
			log.Debug("log purged", zap.Uint32("partition", uint32(p)), zap.Uint64("below", below))
		},
		Swept: func(names []string) { log.Debug("snapshots swept", zap.Int("objects", len(names))) },
	}
}
