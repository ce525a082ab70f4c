package stream

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tripgrid/tripgrid/trip"
)

// decode decodes what follows the header: the columns, then the dead letters.
func (d *decoder) decode(body int, f *Frame) error {
	d.p, d.num = body, lastHeaderField
	var seen uint64 // fields, as bits
	var timeUnit, durUnit unit
	timeUnit, durUnit = units[0], units[0]
	for {
		ok, err := d.next(fieldDead)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		seen |= 1 << uint(d.num&63)
		b, rows := d.bytes(), f.Rows
		switch d.num {
		case fieldRows:
			if d.val > MaxFrameRows {
				return corrupt("%d rows, at most %d are allowed", d.val, MaxFrameRows)
			}
			f.Rows = growRows(f.Rows, int(d.val))
		case fieldSequences:
			err = decodeSequences(b, f)
		case fieldSubs:
			err = decodeSubs(b, rows)
		case fieldTimeUnit:
			timeUnit, err = unitOf(d.val)
		case fieldTimes:
			err = decodeTimes(b, rows, timeUnit.ns)
		case fieldDurUnit:
			durUnit, err = unitOf(d.val)
		case fieldDurations:
			err = decodeDurations(b, rows, durUnit.ns)
		case fieldPickups:
			var c packed
			if c, err = d.packed(len(rows)); err == nil {
				for i := range rows {
					rows[i].Pickup = trip.Cell(c.at(i))
				}
			}
		case fieldDropoffs:
			var c packed
			if c, err = d.packed(len(rows)); err == nil {
				for i := range rows {
					rows[i].Dropoff = trip.Cell(c.at(i))
				}
			}
		case fieldAirports:
			err = decodeAirports(b, rows)
		case fieldCents:
			err = decodeCents(b, rows)
		case fieldDead:
			var x Dead
			x, err = d.dead()
			f.Dead = append(f.Dead, x)
		default:
			err = corrupt("unknown field %d", d.num)
		}
		if err != nil {
			return err
		}
	}
	return absentColumns(seen, f.Rows)
}

// absentColumns clears the columns that are zero in every row and therefore
// not written, and refuses a frame without one of the others.
func absentColumns(seen uint64, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	for _, num := range [...]protowire.Number{fieldSequences, fieldTimes, fieldDurations, fieldPickups, fieldDropoffs} {
		if seen&(1<<uint(num)) == 0 {
			return corrupt("%d rows without column %d", len(rows), num)
		}
	}
	subs, airports, cents := seen&(1<<uint(fieldSubs)) == 0, seen&(1<<uint(fieldAirports)) == 0, seen&(1<<uint(fieldCents)) == 0
	if !subs && !airports && !cents {
		return nil
	}
	for i := range rows {
		if subs {
			rows[i].Pos.Sub = 0
		}
		if airports {
			rows[i].Airport = 0
		}
		if cents {
			rows[i].TotalCents = 0
		}
	}
	return nil
}

func unitOf(v uint64) (unit, error) {
	if v >= uint64(len(units)) {
		return units[0], corrupt("time unit %d", v)
	}
	return units[v], nil
}

func decodeSequences(b []byte, f *Frame) error {
	rows, prev, total := f.Rows, f.After.Seq, 0
	for p := 0; p < len(b); {
		var n, shared, size uint64
		if n, p = uvarint(b, p); p < 0 || n == 0 || n > uint64(len(rows)) {
			return corrupt("bad run of sequence numbers")
		}
		if shared, p = uvarint(b, p); p < 0 || shared > uint64(len(prev)) {
			return corrupt("sequence number shares more digits than there are")
		}
		if size, p = uvarint(b, p); p < 0 {
			return corrupt("sequence number without its length")
		}
		raw := size&1 == 1
		size >>= 1
		packed := size
		if !raw {
			packed = (size + 1) / 2
		}
		if packed > uint64(len(b)-p) {
			return corrupt("sequence number of %d bytes, %d are left", packed, len(b)-p)
		}
		if total += int(shared + size); total > maxSeqBytes {
			return corrupt("more than %d bytes of sequence numbers", maxSeqBytes)
		}
		buf := f.slab.cut(int(shared + size))
		copy(buf, prev[:shared])
		if raw {
			copy(buf[shared:], b[p:])
		} else if !decodeDigits(buf[shared:], b[p:p+int(packed)]) {
			return corrupt("sequence number with a digit above 9")
		}
		p += int(packed)
		prev = freeze(buf)
		for i := range rows[:n] {
			rows[i].Pos.Seq = prev
		}
		rows = rows[n:]
	}
	if len(rows) != 0 {
		return corrupt("%d rows without a sequence number", len(rows))
	}
	return nil
}

func decodeSubs(b []byte, rows []Row) error {
	p, prev := 0, int64(0)
	for i := range rows {
		var v uint64
		if v, p = uvarint(b, p); p < 0 {
			return short("sub-sequences", i)
		}
		prev += unzigzag(v)
		if uint64(prev) > math.MaxUint32 {
			return corrupt("sub-sequence %d", prev)
		}
		rows[i].Pos.Sub = uint32(prev)
	}
	return exact("sub-sequences", b, p)
}

func decodeTimes(b []byte, rows []Row, ns int64) error {
	p, t := 0, int64(0)
	for i := range rows {
		var v uint64
		if v, p = uvarint(b, p); p < 0 {
			return short("event times", i)
		}
		t += unzigzag(v)
		rows[i].EventTime = t * ns
	}
	return exact("event times", b, p)
}

func decodeDurations(b []byte, rows []Row, ns int64) error {
	p := 0
	for i := range rows {
		var v uint64
		if v, p = uvarint(b, p); p < 0 {
			return short("durations", i)
		}
		rows[i].Duration = unzigzag(v) * ns
	}
	return exact("durations", b, p)
}

func decodeCents(b []byte, rows []Row) error {
	p := 0
	for i := range rows {
		var v uint64
		if v, p = uvarint(b, p); p < 0 {
			return short("cents", i)
		}
		rows[i].TotalCents = unzigzag(v)
	}
	return exact("cents", b, p)
}

func decodeAirports(b []byte, rows []Row) error {
	for p := 0; p < len(b); {
		airport := trip.Airport(b[p])
		var n uint64
		if n, p = uvarint(b, p+1); p < 0 || n == 0 || n > uint64(len(rows)) {
			return corrupt("bad run of airports")
		}
		for i := range rows[:n] {
			rows[i].Airport = airport
		}
		rows = rows[n:]
	}
	if len(rows) != 0 {
		return corrupt("%d rows without an airport", len(rows))
	}
	return nil
}

func short(column string, row int) error { return corrupt("%s end at row %d", column, row) }

func exact(column string, b []byte, p int) error {
	if p != len(b) {
		return corrupt("%d bytes after the last of the %s", len(b)-p, column)
	}
	return nil
}

// packed reads what packer wrote.
type packed struct {
	b          []byte // of the first value; eight bytes more than the values need
	base, mask uint64
	low, width uint
}

// packed is the current field as a column of rows values. Reading is by eight
// bytes, so it may look at the frame's trailer, which always follows.
func (d *decoder) packed(rows int) (packed, error) {
	b := d.bytes()
	if len(b) < 10 {
		return packed{}, corrupt("column %d has %d bytes", d.num, len(b))
	}
	c := packed{base: binary.LittleEndian.Uint64(b), low: uint(b[8]), width: uint(b[9])}
	if c.low+c.width > 64 {
		return packed{}, corrupt("column %d has %d bits from bit %d", d.num, c.width, c.low)
	}
	if want := 10 + (rows*int(c.width)+7)/8; len(b) != want {
		return packed{}, corrupt("column %d has %d bytes, %d rows need %d", d.num, len(b), rows, want)
	}
	c.mask = 1<<c.width - 1 // a shift by 64 is 0 - 1
	c.b = d.data[d.lo+10:]
	return c, nil
}

func (c *packed) at(i int) uint64 {
	bit := uint(i) * c.width
	v := binary.LittleEndian.Uint64(c.b[bit>>3:]) >> (bit & 7)
	if bit&7+c.width > 64 {
		v |= uint64(c.b[bit>>3+8]) << (64 - bit&7)
	}
	return c.base ^ (v&c.mask)<<c.low
}
