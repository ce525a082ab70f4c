package stream

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tripgrid/tripgrid/trip"
)

// Append appends the encoding of f to dst and sets f.Checksum. It allocates
// only to grow dst. A frame should stay below MaxFrameBytes and MaxFrameRows:
// Decode and Writer.Publish refuse what is beyond.
func Append(dst []byte, f *Frame) []byte {
	start := len(dst)
	dst = append(dst, magic[:]...)
	dst = appendHeader(dst, &f.Header)
	if len(f.Rows) > 0 {
		dst = appendRows(dst, f.Rows, f.After.Seq)
	}
	for i := range f.Dead {
		dst = appendDead(dst, &f.Dead[i])
	}
	dst = append(dst, trailerTag[:]...)
	f.Checksum = xxhash.Sum64(dst[start:])
	return binary.LittleEndian.AppendUint64(dst, f.Checksum)
}

func appendHeader(dst []byte, h *Header) []byte {
	dst = appendFixed64(dst, fieldNonce, h.Nonce)
	dst = appendString(dst, fieldShard, string(h.Shard))
	dst = appendUint(dst, fieldEpoch, uint64(h.Epoch))
	dst = appendFixed64(dst, fieldWriter, h.Writer)
	dst = appendPosition(dst, fieldAfter, h.After)
	dst = appendPosition(dst, fieldUpto, h.Upto)
	dst = appendFixed64(dst, fieldWatermark, uint64(h.Watermark))
	dst = appendUint(dst, fieldFlags, uint64(h.Flags))
	dst = appendUint(dst, fieldBarrier, uint64(h.Barrier))
	dst = appendUint(dst, fieldOutside, h.Outside)
	dst = appendUint(dst, fieldRepeated, h.Repeated)
	if h.Cut != nil {
		var at int
		dst, at = open(dst, fieldCut)
		dst = appendCut(dst, h.Cut)
		dst = shut(dst, at)
	}
	for i := range h.Children {
		c := &h.Children[i]
		var at int
		dst, at = open(dst, fieldChild)
		dst = appendString(dst, 1, string(c.Shard))
		for _, p := range c.Parents {
			dst = protowire.AppendTag(dst, 2, protowire.BytesType)
			dst = protowire.AppendString(dst, string(p))
		}
		dst = shut(dst, at)
	}
	return dst
}

// appendCut writes a cut; its marks are grouped by runs of one producer.
func appendCut(dst []byte, c *Cut) []byte {
	dst = appendString(dst, 1, c.Restart)
	dst = appendUint(dst, 2, c.Read)
	dst = appendUint(dst, 3, c.Watermarks)
	for marks := c.Marks; len(marks) > 0; {
		n := 1
		for n < len(marks) && marks[n].Producer == marks[0].Producer {
			n++
		}
		var group, column int
		dst, group = open(dst, 4)
		dst = appendFixed64(dst, 1, marks[0].Producer)
		dst, column = open(dst, 2)
		lane := int64(-1) // lanes 0, 1, 2, ... are a run of ones
		for _, m := range marks[:n] {
			dst = protowire.AppendVarint(dst, zigzag(int64(m.Lane)-lane))
			lane = int64(m.Lane)
		}
		dst = shut(dst, column)
		dst, column = open(dst, 3)
		seq := uint64(0)
		for _, m := range marks[:n] {
			dst = protowire.AppendVarint(dst, zigzag(int64(m.Seq-seq)))
			seq = m.Seq
		}
		dst = shut(dst, column)
		dst = shut(dst, group)
		marks = marks[n:]
	}
	return dst
}

func appendDead(dst []byte, d *Dead) []byte {
	dst, at := open(dst, fieldDead)
	dst = appendPosition(dst, 1, d.Pos)
	dst = appendString(dst, 2, d.Reason)
	if len(d.Raw) > 0 {
		dst = protowire.AppendTag(dst, 3, protowire.BytesType)
		dst = protowire.AppendBytes(dst, d.Raw)
	}
	dst = appendUint(dst, 4, uint64(d.Size))
	dst = protowire.AppendTag(dst, 5, protowire.BytesType)
	dst = protowire.AppendBytes(dst, d.SHA256[:])
	return shut(dst, at)
}

// appendRows writes the columns. after is where the first sequence number's
// shared prefix comes from.
func appendRows(dst []byte, rows []Row, after string) []byte {
	dst = appendUint(dst, fieldRows, uint64(len(rows)))
	dst = appendSequences(dst, rows, after)

	// One pass finds what the columns need to know.
	times, durations := 3, 3
	first := &rows[0]
	var subs uint32
	var airports trip.Airport
	var pickups, dropoffs, cents uint64
	for i := range rows {
		r := &rows[i]
		times = commonUnit(times, r.EventTime)
		durations = commonUnit(durations, r.Duration)
		subs |= r.Pos.Sub
		airports |= r.Airport
		cents |= uint64(r.TotalCents)
		pickups |= uint64(r.Pickup ^ first.Pickup)
		dropoffs |= uint64(r.Dropoff ^ first.Dropoff)
	}

	var at int
	if subs != 0 {
		dst, at = open(dst, fieldSubs)
		dst = appendSubs(dst, rows)
		dst = shut(dst, at)
	}

	dst = appendUint(dst, fieldTimeUnit, uint64(times))
	dst, at = open(dst, fieldTimes)
	dst = slices.Grow(dst, len(rows)*binary.MaxVarintLen64)
	b, n, u, prev := dst[:cap(dst)], len(dst), units[times], int64(0)
	for i := range rows {
		t := u.divide(rows[i].EventTime)
		n = putUvarint(b, n, zigzag(t-prev))
		prev = t
	}
	dst = shut(b[:n], at)

	dst = appendUint(dst, fieldDurUnit, uint64(durations))
	dst, at = open(dst, fieldDurations)
	dst = slices.Grow(dst, len(rows)*binary.MaxVarintLen64)
	b, n, u = dst[:cap(dst)], len(dst), units[durations]
	for i := range rows {
		n = putUvarint(b, n, zigzag(u.divide(rows[i].Duration)))
	}
	dst = shut(b[:n], at)

	dst, at = open(dst, fieldPickups)
	p := newPacker(dst, uint64(first.Pickup), pickups, len(rows))
	for i := range rows {
		p.put(uint64(rows[i].Pickup))
	}
	dst = shut(p.finish(), at)

	dst, at = open(dst, fieldDropoffs)
	p = newPacker(dst, uint64(first.Dropoff), dropoffs, len(rows))
	for i := range rows {
		p.put(uint64(rows[i].Dropoff))
	}
	dst = shut(p.finish(), at)

	if airports != 0 {
		dst, at = open(dst, fieldAirports)
		dst = appendAirports(dst, rows)
		dst = shut(dst, at)
	}
	if cents != 0 {
		dst, at = open(dst, fieldCents)
		dst = slices.Grow(dst, len(rows)*binary.MaxVarintLen64)
		b, n = dst[:cap(dst)], len(dst)
		for i := range rows {
			n = putUvarint(b, n, zigzag(rows[i].TotalCents))
		}
		dst = shut(b[:n], at)
	}
	return dst
}

// appendSequences writes a record per run of equal sequence numbers: rows in
// the run, digits shared with the run before, digits that follow, the digits.
func appendSequences(dst []byte, rows []Row, prev string) []byte {
	dst, at := open(dst, fieldSequences)
	for i := 0; i < len(rows); {
		seq, n := rows[i].Pos.Seq, 1
		for i+n < len(rows) && rows[i+n].Pos.Seq == seq {
			n++
		}
		i += n
		shared := sharedPrefix(prev, seq)
		rest := seq[shared:]
		dst = protowire.AppendVarint(dst, uint64(n))
		dst = protowire.AppendVarint(dst, uint64(shared))
		mark := len(dst)
		var ok bool
		dst = protowire.AppendVarint(dst, uint64(len(rest))<<1)
		if dst, ok = appendDigits(dst, rest); !ok { // no decimal number: as it is
			dst = protowire.AppendVarint(dst[:mark], uint64(len(rest))<<1|1)
			dst = append(dst, rest...)
		}
		prev = seq
	}
	return shut(dst, at)
}

// appendSubs writes the difference to the row before.
func appendSubs(dst []byte, rows []Row) []byte {
	dst = slices.Grow(dst, len(rows)*binary.MaxVarintLen64)
	b, n, prev := dst[:cap(dst)], len(dst), int64(0)
	for i := range rows {
		sub := int64(rows[i].Pos.Sub)
		n = putUvarint(b, n, zigzag(sub-prev))
		prev = sub
	}
	return b[:n]
}

// appendAirports writes runs: the airport's byte, then how many rows have it.
func appendAirports(dst []byte, rows []Row) []byte {
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n].Airport == rows[i].Airport {
			n++
		}
		dst = append(dst, byte(rows[i].Airport))
		dst = protowire.AppendVarint(dst, uint64(n))
		i += n
	}
	return dst
}

// packer writes the bits in which the values of a column differ from the
// first one, the same number of bits a value, the lowest bits first.
type packer struct {
	dst   []byte
	n     int
	base  uint64
	low   uint // bits below, which are equal in all values
	width uint
	acc   uint64
	have  uint // bits in acc
}

// newPacker writes the column's head: base, the lowest bit that differs, the width.
func newPacker(dst []byte, base, differ uint64, rows int) packer {
	var low, width uint
	if differ != 0 {
		low = uint(bits.TrailingZeros64(differ))
		width = uint(bits.Len64(differ)) - low
	}
	dst = slices.Grow(dst, 10+rows*8+8)
	dst = binary.LittleEndian.AppendUint64(dst, base)
	dst = append(dst, byte(low), byte(width))
	return packer{dst: dst[:cap(dst)], n: len(dst), base: base, low: low, width: width}
}

func (p *packer) put(v uint64) {
	v = (v ^ p.base) >> p.low
	p.acc |= v << p.have
	if p.have += p.width; p.have >= 64 {
		binary.LittleEndian.PutUint64(p.dst[p.n:], p.acc)
		p.n += 8
		p.have -= 64
		p.acc = v >> (p.width - p.have) // 0 if nothing is left: the shift is then the width or more
	}
}

func (p *packer) finish() []byte {
	for ; p.have > 0; p.have -= min(8, p.have) {
		p.dst[p.n] = byte(p.acc)
		p.acc >>= 8
		p.n++
	}
	return p.dst[:p.n]
}

// open begins a length-delimited field of unknown length; shut ends it.
func open(dst []byte, num protowire.Number) (_ []byte, at int) {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return append(dst, 0), len(dst) + 1
}

func shut(dst []byte, at int) []byte {
	n := len(dst) - at
	if size := protowire.SizeVarint(uint64(n)); size > 1 {
		var zeros [binary.MaxVarintLen64]byte
		dst = append(dst, zeros[:size-1]...)
		copy(dst[at+size-1:], dst[at:at+n])
	}
	binary.PutUvarint(dst[at-1:], uint64(n))
	return dst
}

func putUvarint(b []byte, n int, v uint64) int {
	if v < 0x80 {
		b[n] = byte(v)
		return n + 1
	}
	return n + binary.PutUvarint(b[n:], v)
}

// The scalar fields follow proto3: a zero value is not written.

func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendFixed64(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, num, protowire.Fixed64Type), v)
}

func appendString(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func appendPosition(dst []byte, num protowire.Number, p Position) []byte {
	if p == (Position{}) {
		return dst
	}
	dst, at := open(dst, num)
	dst = appendString(dst, 1, p.Seq)
	dst = appendUint(dst, 2, uint64(p.Sub))
	return shut(dst, at)
}
