package window

import (
	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

// Status is a picture of a machine for people: the state page and metrics.
type Status struct {
	Partition stream.Partition `json:"partition"`
	Next      uint64           `json:"next"` // stream sequence
	Ordinal   uint64           `json:"ordinal"`
	// Watermark in ns; stream.MinWatermark before the first.
	Watermark int64 `json:"watermark,string"`
	// Barrier is the highest that has arrived; Aligning says that it is
	// awaited from the shards of Waiting.
	Barrier  stream.BarrierID `json:"barrier"`
	Aligning bool             `json:"aligning"`
	Waiting  []stream.ShardID `json:"waiting,omitempty"`
	// Queued frames wait behind the barrier, or for a shard's parents.
	Queued      int `json:"queued"`
	QueuedBytes int `json:"queued_bytes"`
	// OpenPanes and Groups are what the state holds.
	OpenPanes int `json:"open_panes"`
	Groups    int `json:"groups"`
	// Cancelled barriers since the start, Overflowed among them by the limit of
	// the queue.
	Cancelled  uint64 `json:"cancelled"`
	Overflowed uint64 `json:"overflowed"`
	// Ghosts are frames of shards that had ended (I7).
	Ghosts   uint64              `json:"ghosts"`
	Counters checkpoint.Counters `json:"counters"`
}

// Status may be called at any time between other calls.
func (m *Machine) Status() Status {
	s := Status{
		Partition: m.cfg.Partition, Next: m.next, Ordinal: m.ordinal, Watermark: m.watermark,
		Barrier: m.barrier, Aligning: m.aligning, Queued: m.queue.frames, QueuedBytes: m.queue.bytes,
		Cancelled: m.cancelled, Overflowed: m.overflowed, Counters: m.counters(),
	}
	for _, sh := range m.shards.sorted {
		s.Ghosts += sh.ghosts
		if m.aligning && sh.State == checkpoint.Open && !sh.blocked {
			s.Waiting = append(s.Waiting, sh.Shard)
		}
	}
	for _, o := range m.operators {
		s.OpenPanes += len(o.panes)
		for _, p := range o.panes {
			s.Groups += p.groups.used
		}
	}
	return s
}
