package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// Decode decodes data into f, reusing f's slices; f is undefined after an
// error. Nothing in f aliases data. What a caller may keep when f is decoded
// into again: every string, Cut, Children and Dead.Raw; not Rows and Dead. Rows'
// Pos.Seq are cut from slabs of 64 KiB, so clone one that is kept for long.
//
// Every error wraps ErrCorrupt. Decode never panics, and allocates at most a
// few megabytes whatever data is.
func Decode(data []byte, f *Frame) error {
	d := decoder{data: data}
	body, err := d.open(&f.Header)
	if err != nil {
		return err
	}
	f.Checksum = d.checksum
	f.Rows, f.Dead = f.Rows[:0], f.Dead[:0]
	return d.decode(body, f)
}

// DecodeHeader decodes a frame's header and verifies the checksum of all of
// it, which it returns. Nothing in h aliases data.
func DecodeHeader(data []byte, h *Header) (checksum uint64, err error) {
	d := decoder{data: data}
	_, err = d.open(h)
	return d.checksum, err
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("stream: %w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// decoder reads fields of one message from data[p:end].
type decoder struct {
	data     []byte
	p, end   int
	num      protowire.Number // of the current field
	val      uint64           // of a varint or fixed field
	lo, hi   int              // of a bytes field in data
	checksum uint64
}

// open checks the envelope, decodes the header and returns where the body begins.
func (d *decoder) open(h *Header) (body int, err error) {
	data := d.data
	switch {
	case len(data) > MaxFrameBytes:
		return 0, corrupt("%d bytes, at most %d are allowed", len(data), MaxFrameBytes)
	case len(data) < len(magic)+trailerLen:
		return 0, corrupt("%d bytes are too few", len(data))
	case !bytes.Equal(data[:4], magic[:4]):
		return 0, corrupt("begins with % x, not with the magic % x", data[:4], magic[:4])
	case data[4] != FrameVersion:
		return 0, corrupt("format version %d, this build reads %d", data[4], FrameVersion)
	}
	d.end = len(data) - trailerLen
	want := binary.LittleEndian.Uint64(data[len(data)-8:])
	d.checksum = xxhash.Sum64(data[:len(data)-8])
	if d.checksum != want {
		return 0, corrupt("checksum %016x, computed %016x", want, d.checksum)
	}
	if !bytes.Equal(data[d.end:d.end+2], trailerTag[:]) {
		return 0, corrupt("no checksum field at the end")
	}
	d.p = len(magic)
	return d.header(h)
}

// next reads a field's tag and value, and tells whether there was one. Fields
// stand in ascending order; those of number repeated may repeat.
func (d *decoder) next(repeated protowire.Number) (bool, error) {
	if d.p >= d.end {
		return false, nil
	}
	b := d.data[d.p:d.end]
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return false, corrupt("bad tag at byte %d", d.p)
	}
	if num < d.num || num == d.num && num != repeated {
		return false, corrupt("field %d after field %d at byte %d", num, d.num, d.p)
	}
	d.num = num
	var m int
	switch typ {
	case protowire.VarintType:
		d.val, m = protowire.ConsumeVarint(b[n:])
	case protowire.Fixed64Type:
		d.val, m = protowire.ConsumeFixed64(b[n:])
	case protowire.BytesType:
		var size uint64
		size, m = protowire.ConsumeVarint(b[n:])
		if m >= 0 && size > uint64(len(b)-n-m) {
			return false, corrupt("field %d has %d bytes, %d are left", num, size, len(b)-n-m)
		}
		d.lo = d.p + n + m
		d.hi = d.lo + int(size)
		m += int(size)
	default:
		return false, corrupt("field %d has wire type %d", num, typ)
	}
	if m < 0 {
		return false, corrupt("field %d is truncated at byte %d", num, d.p)
	}
	d.val, d.p = d.typed(typ), d.p+n+m
	return true, nil
}

// typed clears what the current field's wire type does not set.
func (d *decoder) typed(typ protowire.Type) uint64 {
	if typ == protowire.BytesType {
		return 0
	}
	d.lo, d.hi = 0, 0
	return d.val
}

// bytes is the current field's value; empty for a number.
func (d *decoder) bytes() []byte { return d.data[d.lo:d.hi] }

func (d *decoder) sub() decoder { return decoder{data: d.data, p: d.lo, end: d.hi} }

// header decodes fields 2 to lastHeaderField, and returns where the next one begins.
func (d *decoder) header(h *Header) (body int, err error) {
	old := *h
	*h = Header{}
	for {
		body = d.p
		ok, err := d.next(fieldChild)
		if err != nil {
			return 0, err
		}
		if !ok || d.num > lastHeaderField {
			return body, nil
		}
		switch d.num {
		case fieldNonce:
			h.Nonce = d.val
		case fieldShard:
			h.Shard = ShardID(keep(d.bytes(), string(old.Shard), ""))
		case fieldEpoch:
			h.Epoch = Epoch(d.val)
		case fieldWriter:
			h.Writer = d.val
		case fieldAfter:
			h.After, err = d.position(old.After.Seq, old.Upto.Seq)
		case fieldUpto:
			h.Upto, err = d.position(old.Upto.Seq, h.After.Seq)
		case fieldWatermark:
			h.Watermark = int64(d.val)
		case fieldFlags:
			h.Flags = Flags(d.val)
			if d.val&^uint64(knownFlags) != 0 {
				err = corrupt("unknown flags %#x", d.val)
			}
		case fieldBarrier:
			h.Barrier = BarrierID(d.val)
		case fieldOutside:
			h.Outside = d.val
		case fieldRepeated:
			h.Repeated = d.val
		case fieldCut:
			h.Cut, err = d.cut()
		case fieldChild:
			var c Child
			c, err = d.child()
			h.Children = append(h.Children, c)
		default:
			err = corrupt("unknown field %d", d.num)
		}
		if err != nil {
			return 0, err
		}
	}
}

// keep is string(b), without an allocation if it is one of the given.
func keep(b []byte, x, y string) string {
	switch {
	case string(b) == x:
		return x
	case string(b) == y:
		return y
	}
	return string(b)
}

func (d *decoder) position(x, y string) (p Position, err error) {
	s := d.sub()
	for {
		ok, err := s.next(0)
		if !ok || err != nil {
			return p, err
		}
		switch s.num {
		case 1:
			p.Seq = keep(s.bytes(), x, y)
		case 2:
			if s.val > math.MaxUint32 {
				return p, corrupt("sub-sequence %d", s.val)
			}
			p.Sub = uint32(s.val)
		default:
			return p, corrupt("unknown field %d in a position", s.num)
		}
	}
}

func (d *decoder) cut() (*Cut, error) {
	c, s := &Cut{}, d.sub()
	for {
		ok, err := s.next(4)
		if !ok || err != nil {
			return c, err
		}
		switch s.num {
		case 1:
			c.Restart = string(s.bytes())
		case 2:
			c.Read = s.val
		case 3:
			c.Watermarks = s.val
		case 4:
			if err := s.marks(c); err != nil {
				return nil, err
			}
		default:
			return nil, corrupt("unknown field %d in a cut", s.num)
		}
	}
}

func (d *decoder) marks(c *Cut) error {
	var producer uint64
	var lanes, seqs []byte
	s := d.sub()
	for {
		ok, err := s.next(0)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch s.num {
		case 1:
			producer = s.val
		case 2:
			lanes = s.bytes()
		case 3:
			seqs = s.bytes()
		default:
			return corrupt("unknown field %d in lane marks", s.num)
		}
	}
	lane, seq := int64(-1), uint64(0)
	for i, j := 0, 0; i < len(lanes); {
		var l, q uint64
		if l, i = uvarint(lanes, i); i < 0 {
			return corrupt("bad lane of a mark")
		}
		if q, j = uvarint(seqs, j); j < 0 {
			return corrupt("bad sequence of a mark")
		}
		lane += unzigzag(l)
		seq += uint64(unzigzag(q))
		if lane < 0 || lane > math.MaxUint16 {
			return corrupt("lane %d of a mark", lane)
		}
		c.Marks = append(c.Marks, Mark{producer, uint16(lane), seq})
		if i == len(lanes) && j != len(seqs) {
			return corrupt("%d bytes after the last mark", len(seqs)-j)
		}
	}
	return nil
}

func (d *decoder) child() (c Child, err error) {
	s := d.sub()
	for {
		ok, err := s.next(2)
		if !ok || err != nil {
			return c, err
		}
		switch s.num {
		case 1:
			c.Shard = ShardID(s.bytes())
		case 2:
			c.Parents = append(c.Parents, ShardID(s.bytes()))
		default:
			return c, corrupt("unknown field %d in a child", s.num)
		}
	}
}

func (d *decoder) dead() (x Dead, err error) {
	s := d.sub()
	digest := false
	for {
		ok, err := s.next(0)
		if err != nil {
			return x, err
		}
		if !ok {
			break
		}
		switch s.num {
		case 1:
			x.Pos, err = s.position("", "")
		case 2:
			x.Reason = string(s.bytes())
		case 3:
			x.Raw = bytes.Clone(s.bytes())
		case 4:
			x.Size = uint32(s.val)
			if s.val > math.MaxUint32 {
				err = corrupt("dead letter of %d bytes", s.val)
			}
		case 5:
			digest = copy(x.SHA256[:], s.bytes()) == len(s.bytes()) && len(s.bytes()) == len(x.SHA256)
		default:
			err = corrupt("unknown field %d in a dead letter", s.num)
		}
		if err != nil {
			return x, err
		}
	}
	if !digest {
		return x, corrupt("dead letter without its SHA-256")
	}
	return x, nil
}

// slab is where the rows' sequence numbers are cut from. It is only ever
// appended to, so the strings that alias it never change.
type slab struct{ free []byte }

const slabBytes = 64 << 10

// cut returns n fresh bytes.
func (s *slab) cut(n int) []byte {
	if n > len(s.free) {
		s.free = make([]byte, max(slabBytes, n))
	}
	b := s.free[:n:n]
	s.free = s.free[n:]
	return b
}

// freeze makes a string of bytes that nobody writes again.
func freeze(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// uvarint reads a varint at b[p:], and returns where the next byte is, or -1.
func uvarint(b []byte, p int) (uint64, int) {
	if p < len(b) && b[p] < 0x80 {
		return uint64(b[p]), p + 1
	}
	return uvarintSlow(b, p)
}

func uvarintSlow(b []byte, p int) (uint64, int) {
	if p+1 < len(b) && b[p+1] < 0x80 {
		return uint64(b[p]&0x7f) | uint64(b[p+1])<<7, p + 2
	}
	if p > len(b) {
		return 0, -1
	}
	v, n := binary.Uvarint(b[p:])
	if n <= 0 {
		return 0, -1
	}
	return v, p + n
}

func growRows(rows []Row, n int) []Row { return slices.Grow(rows[:0], n)[:n] }
