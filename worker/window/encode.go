package window

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
)

// stateVersion is the first byte of a body; docs/format/state.md has the table.
const stateVersion = 1

// Flags of a shard and of a query in a body.
const (
	bitIdle  = 1 << 0
	bitFinal = 1 << 1

	bitMinutes = 1 << 0
	bitCents   = 1 << 1
)

// Encode appends the body of a snapshot part: the state, which is the cut of
// the barrier that Step has just called Aligned, and the documents that the
// sink has not confirmed. Equal states and documents give equal bytes; pending
// may be in any order and is not changed.
func (m *Machine) Encode(dst []byte, pending []sink.Document) []byte {
	b := append(dst, stateVersion)
	b = putString(b, m.cfg.Job)
	b = binary.AppendUvarint(b, uint64(m.cfg.Generation))
	b = binary.LittleEndian.AppendUint64(b, m.cfg.Nonce)
	b = binary.AppendUvarint(b, uint64(m.cfg.Partition))
	b = binary.AppendUvarint(b, uint64(m.cfg.Partitions))
	b = binary.AppendUvarint(b, uint64(m.cfg.Precision))
	b = binary.AppendUvarint(b, uint64(m.barrier))
	b = binary.AppendUvarint(b, m.ordinal)
	b = binary.AppendVarint(b, m.watermark)
	b = m.encodeShards(b)
	b = binary.AppendUvarint(b, uint64(len(m.operators)))
	var groups []slot
	for _, o := range m.operators {
		b, groups = o.encode(b, groups)
	}
	return encodeDocuments(b, pending)
}

func (m *Machine) encodeShards(b []byte) []byte {
	n := 0
	for _, s := range m.shards.sorted {
		if s.hasState() {
			n++
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	for _, s := range m.shards.sorted {
		if s.hasState() {
			b = s.encode(b)
		}
	}
	return b
}

func (s *shard) encode(b []byte) []byte {
	b = putString(b, string(s.Shard))
	b = append(b, byte(s.State))
	b = putString(b, s.Position.Seq)
	b = binary.AppendUvarint(b, uint64(s.Position.Sub))
	b = putString(b, s.Restart)
	b = binary.AppendVarint(b, s.Watermark)
	var flags byte
	if s.Idle {
		flags |= bitIdle
	}
	if s.Final {
		flags |= bitFinal
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, s.Read)
	b = binary.AppendUvarint(b, s.Watermarks)
	b = binary.AppendUvarint(b, uint64(len(s.Marks)))
	for _, k := range s.Marks {
		b = binary.LittleEndian.AppendUint64(b, k.Producer)
		b = binary.AppendUvarint(b, uint64(k.Lane))
		b = binary.AppendUvarint(b, k.Seq)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Parents)))
	for _, p := range s.Parents {
		b = putString(b, string(p))
	}
	b = binary.AppendUvarint(b, s.anchor.Seq)
	b = binary.LittleEndian.AppendUint64(b, s.anchor.Checksum)
	c := &s.counters
	for _, v := range []uint64{c.Applied, c.Repeated, c.Outside, c.Dead, s.ghosts} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// encode appends a query's counters and open panes. groups is memory for reuse.
func (o *operator) encode(b []byte, groups []slot) ([]byte, []slot) {
	b = putString(b, o.query.Name)
	b = putString(b, o.hash)
	b = append(b, o.measures())
	b = binary.AppendUvarint(b, o.filtered)
	b = binary.AppendUvarint(b, o.late)
	b = binary.AppendUvarint(b, o.retired)
	b = binary.AppendUvarint(b, uint64(len(o.panes)))
	for i, p := range o.panes {
		if i == 0 {
			b = binary.AppendVarint(b, p.start/o.length)
		} else { // minus 1: panes are apart
			b = binary.AppendUvarint(b, uint64((p.start-o.panes[i-1].start)/o.length-1))
		}
		groups = p.groups.appendSorted(groups[:0])
		b = binary.AppendUvarint(b, uint64(len(groups)))
		prev := uint64(0)
		for i := range groups {
			g := &groups[i]
			b = binary.AppendUvarint(b, g.key-prev)
			prev = g.key
			b = binary.AppendUvarint(b, g.count)
			if o.minutes {
				b = binary.AppendVarint(b, g.minutes)
			}
			if o.cents {
				b = binary.AppendVarint(b, g.cents)
			}
		}
	}
	return b, groups
}

func (o *operator) measures() (bits byte) {
	if o.minutes {
		bits |= bitMinutes
	}
	if o.cents {
		bits |= bitCents
	}
	return bits
}

func encodeDocuments(b []byte, pending []sink.Document) []byte {
	order := make([]*sink.Document, len(pending))
	for i := range pending {
		order[i] = &pending[i]
	}
	slices.SortFunc(order, func(a, b *sink.Document) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	b = binary.AppendUvarint(b, uint64(len(order)))
	for _, d := range order {
		b = putString(b, d.ID)
		b = binary.AppendUvarint(b, d.Version)
		b = putString(b, d.Query)
		b = binary.AppendVarint(b, d.WindowStart)
		b = binary.AppendVarint(b, d.WindowEnd)
		b = putString(b, d.Cell)
		b = putString(b, d.Airport)
		b = binary.AppendUvarint(b, uint64(len(d.Body)))
		b = append(b, d.Body...)
	}
	return b
}

func putString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Ack is what the partition says of the cut that Step has just called Aligned.
// The part's reference and the number of pending documents are the shell's.
func (m *Machine) Ack() checkpoint.Ack {
	return checkpoint.Ack{
		Barrier:   m.barrier,
		Partition: m.cfg.Partition,
		Vector:    m.vector(),
		Anchors:   m.anchors(),
		Resume:    m.resume(),
		Ordinal:   m.ordinal,
		Counters:  m.counters(),
	}
}

func (m *Machine) vector() checkpoint.Vector {
	v := make(checkpoint.Vector, 0, len(m.shards.sorted))
	for _, s := range m.shards.sorted {
		if s.hasState() {
			v = append(v, s.ShardCut)
		}
	}
	return v
}

// anchors are the barrier frames of the open shards.
func (m *Machine) anchors() []checkpoint.Anchor {
	var a []checkpoint.Anchor
	for _, s := range m.shards.sorted {
		if s.State == checkpoint.Open {
			a = append(a, s.anchor)
		}
	}
	return a
}

// resume is the smallest anchor: a reader of the part goes on there. Where no
// shard is open, nothing but ghosts can follow the greatest END.
func (m *Machine) resume() uint64 {
	var least, last uint64
	for _, s := range m.shards.sorted {
		last = max(last, s.anchor.Seq)
		if s.State == checkpoint.Open && (least == 0 || s.anchor.Seq < least) {
			least = s.anchor.Seq
		}
	}
	if least == 0 {
		return last
	}
	return least
}

func (m *Machine) counters() (c checkpoint.Counters) {
	for _, s := range m.shards.sorted {
		if s.hasState() {
			k := s.counters
			k.Shard = s.Shard
			k.Items = k.Applied + k.Repeated + k.Outside + k.Dead
			c.Shards = append(c.Shards, k)
		}
	}
	for _, o := range m.operators {
		c.Queries = append(c.Queries, checkpoint.QueryCounters{
			Query: o.query.Name, Filtered: o.filtered, Late: o.late, Open: o.open, Retired: o.retired,
		})
	}
	return c
}
