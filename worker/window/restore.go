package window

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// Restore returns the machine of a snapshot's body, and the documents that
// were pending; they alias nothing. The next message is Next: the smallest
// anchor. Messages up to their shard's anchor are checked and skipped. A body
// that Encode cannot have written is refused (checkpoint.ErrCorrupt), one of
// something else than cfg is too (ErrMismatch). Memory is bounded by a multiple
// of the body's size.
func Restore(cfg Config, body []byte) (*Machine, []sink.Document, error) {
	m, err := newMachine(cfg)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{b: body}
	docs, err := m.restore(r)
	if r.err != nil { // the reason for whatever else was found
		err = fmt.Errorf("%w: state of partition %s at byte %d: %w", checkpoint.ErrCorrupt, cfg.Partition, len(body)-len(r.b), r.err)
	}
	if err != nil {
		return nil, nil, err
	}
	return m, docs, nil
}

func (m *Machine) restore(r *reader) ([]sink.Document, error) {
	if v := r.byte(); v != stateVersion && r.err == nil {
		return nil, fmt.Errorf("%w or too new: state of partition %s has version %d, this binary reads %d",
			checkpoint.ErrCorrupt, m.cfg.Partition, v, stateVersion)
	}
	if err := m.match(r); err != nil {
		return nil, err
	}
	m.barrier = stream.BarrierID(r.uvarint())
	m.ordinal = r.uvarint()
	m.watermark = r.varint()
	if m.barrier == 0 || m.ordinal > maxOrdinal {
		r.fail("barrier %d at ordinal %d", m.barrier, m.ordinal)
	}
	applied := m.restoreShards(r)
	if n := r.uvarint(); n != uint64(len(m.operators)) && r.err == nil {
		return nil, fmt.Errorf("%w: it has %d queries, the job has %d", ErrMismatch, n, len(m.operators))
	}
	for _, o := range m.operators {
		if err := o.restore(r, m, applied); err != nil {
			return nil, err
		}
	}
	docs := restoreDocuments(r)
	if len(r.b) > 0 {
		r.fail("%d bytes follow the state", len(r.b))
	}
	return docs, nil
}

// match compares what the body is of with the configuration.
func (m *Machine) match(r *reader) error {
	c := &m.cfg
	for _, f := range []struct {
		name       string
		have, want any
	}{
		{"job", r.string(), c.Job},
		{"generation", r.uvarint(), uint64(c.Generation)},
		{"nonce", r.fixed64(), c.Nonce},
		{"partition", r.uvarint(), uint64(c.Partition)},
		{"number of partitions", r.uvarint(), uint64(c.Partitions)},
		{"partition precision", r.uvarint(), uint64(c.Precision)},
	} {
		if r.err == nil && f.have != f.want {
			return fmt.Errorf("%w: its %s is %v, not %v", ErrMismatch, f.name, f.have, f.want)
		}
	}
	return nil
}

// restoreShards returns the trips that the shards applied.
func (m *Machine) restoreShards(r *reader) (applied uint64) {
	var prev stream.ShardID
	n := r.count(25)
	for i := range n {
		s := restoreShard(r)
		if r.err != nil {
			return 0
		}
		id := s.Shard
		if i > 0 && id <= prev {
			r.fail("shard %s follows %s", id, prev)
			return 0
		}
		prev = id
		own := m.shards.add(s.ShardCut)
		own.anchor, own.counters, own.ghosts = s.anchor, s.counters, s.ghosts
		own.anchor.Shard = id
		applied += s.counters.Applied
	}
	if n == 0 {
		r.fail("it has no shards")
	}
	if m.next = m.resume(); m.next < FirstMessage {
		r.fail("it resumes at message %d", m.next)
	}
	if w := m.shards.watermark(m.watermark); w != m.watermark {
		r.fail("its watermark %d is below that of its shards, %d", m.watermark, w)
	}
	return applied
}

func restoreShard(r *reader) (s shard) {
	s.Shard = stream.ShardID(r.string())
	s.State = checkpoint.ShardState(r.byte())
	s.Position.Seq = r.string()
	if sub := r.uvarint(); sub <= math.MaxUint32 {
		s.Position.Sub = uint32(sub)
	} else {
		r.fail("sub-sequence %d", sub)
	}
	s.Restart = r.string()
	s.Watermark = r.varint()
	flags := r.byte()
	s.Idle, s.Final = flags&bitIdle != 0, flags&bitFinal != 0
	s.Read = r.uvarint()
	s.Watermarks = r.uvarint()
	for range r.count(10) {
		k := stream.Mark{Producer: r.fixed64()}
		lane := r.uvarint()
		if lane > math.MaxUint16 {
			r.fail("lane %d", lane)
		}
		k.Lane, k.Seq = uint16(lane), r.uvarint()
		s.Marks = append(s.Marks, k)
	}
	for range r.count(1) {
		s.Parents = append(s.Parents, stream.ShardID(r.string()))
	}
	s.anchor.Seq = r.uvarint()
	s.anchor.Checksum = r.fixed64()
	for _, v := range []*uint64{&s.counters.Applied, &s.counters.Repeated, &s.counters.Outside, &s.counters.Dead, &s.ghosts} {
		*v = r.uvarint()
	}
	switch {
	case s.State < checkpoint.Open || s.State > checkpoint.Dormant || flags&^(bitIdle|bitFinal) != 0:
		r.fail("shard %s has state %d and flags %#x", s.Shard, s.State, flags)
	case s.State != checkpoint.Dormant && s.anchor.Seq < FirstMessage:
		r.fail("shard %s has its anchor at message %d", s.Shard, s.anchor.Seq)
	}
	return s
}

// restore reads the operator's state; applied trips are what its counters have
// to add up to (R21).
func (o *operator) restore(r *reader, m *Machine, applied uint64) error {
	name, hash, measures := r.string(), r.string(), r.byte()
	if r.err == nil && (name != o.query.Name || hash != o.hash) {
		return fmt.Errorf("%w: query %q has definition %.12s in it, the job has %q with %.12s",
			ErrMismatch, name, hash, o.query.Name, o.hash)
	}
	if measures != o.measures() {
		r.fail("query %s has measures %#x", name, measures)
	}
	o.filtered, o.late, o.retired = r.uvarint(), r.uvarint(), r.uvarint()
	least, most := floorDiv(m.minEvent, o.length), floorDiv(m.maxEvent, o.length)
	var index int64
	for i := range r.count(4) {
		if i == 0 {
			index = r.varint()
		} else if d := r.uvarint(); index < most && d < uint64(most-index) {
			index += int64(d) + 1
		} else {
			r.fail("query %s has a pane %d after pane %d", name, d, index)
		}
		if index < least || index > most {
			r.fail("query %s has a pane %d", name, index)
		}
		if r.err != nil {
			return nil
		}
		p := o.restorePane(r, index*o.length)
		if p.end <= m.watermark {
			r.fail("query %s has a pane of %d that has fired", name, p.start)
		}
		o.panes = append(o.panes, p)
		o.open += p.trips
	}
	if sum := o.filtered + o.late + o.open + o.retired; sum != applied {
		r.fail("query %s accounts for %d trips, %d were applied", name, sum, applied)
	}
	return nil
}

func (o *operator) restorePane(r *reader, start int64) *pane {
	n := r.count(2)
	p := &pane{start: start, end: start + o.length, groups: newTable(slotsFor(n))}
	if n == 0 {
		r.fail("query %s has an empty pane", o.query.Name)
	}
	var key uint64
	for i := range n {
		g := slot{key: r.uvarint(), count: r.uvarint()}
		next, carry := bits.Add64(key, g.key, 0)
		if carry != 0 || i > 0 && g.key == 0 || g.count == 0 || next>>airportBits>>(5*o.precision) != 0 || airportOf(next) > o.maxAirport() {
			r.fail("query %s has a group %d+%d of %d trips", o.query.Name, key, g.key, g.count)
			return p
		}
		key, g.key = next, next
		if o.minutes {
			g.minutes = r.varint()
		}
		if o.cents {
			g.cents = r.varint()
		}
		*p.groups.at(key) = g
		p.trips += g.count
	}
	return p
}

func (o *operator) maxAirport() trip.Airport {
	if o.byAirport {
		return trip.LGA
	}
	return trip.NoAirport
}

func restoreDocuments(r *reader) (docs []sink.Document) {
	for i := range r.count(8) {
		d := sink.Document{
			ID: r.string(), Version: r.uvarint(), Query: r.string(), WindowStart: r.varint(), WindowEnd: r.varint(),
			Cell: r.string(), Airport: r.string(), Body: slices.Clone(r.bytes()),
		}
		if i > 0 && (d.ID < docs[i-1].ID || d.ID == docs[i-1].ID && d.Version <= docs[i-1].Version) {
			r.fail("pending document %q follows %q", d.ID, docs[i-1].ID)
		}
		if r.err != nil {
			return nil
		}
		docs = append(docs, d)
	}
	return docs
}

// reader reads a body. After a failure it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, a...)
	}
}

func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.fail("%d bytes are missing", n-len(r.b))
	}
	if r.err != nil {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uvarint reads a varint in its shortest form: a state has one encoding.
func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("no varint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.err == nil && n > uint64(len(r.b)) {
		r.fail("%d bytes are missing", n-uint64(len(r.b)))
	}
	return r.take(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

// count reads a number of things that have at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if r.err == nil && n > uint64(len(r.b)/size) {
		r.fail("%d things do not fit in %d bytes", n, len(r.b))
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}
