package stream

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of a frame. Decode refuses what is beyond them, so that hostile input
// cannot make it allocate more than a few megabytes.
const (
	// FrameVersion is the format that Append writes.
	FrameVersion = 1
	// MaxFrameBytes is the hard cap of an encoded frame (PROTOCOL, "Sizes").
	MaxFrameBytes = 512 << 10
	// MaxFrameRows is the greatest number of rows of a frame.
	MaxFrameRows = 1 << 15

	maxSeqBytes = 8 << 20 // of all sequence numbers of a frame, unpacked
	trailerLen  = 2 + 8   // tag and checksum
)

// Field numbers of message Frame in docs/format/frame.proto. A frame's fields
// stand in ascending order.
const (
	fieldMagic      protowire.Number = 1
	fieldNonce      protowire.Number = 2
	fieldShard      protowire.Number = 3
	fieldEpoch      protowire.Number = 4
	fieldWriter     protowire.Number = 5
	fieldAfter      protowire.Number = 6
	fieldUpto       protowire.Number = 7
	fieldWatermark  protowire.Number = 8
	fieldFlags      protowire.Number = 9
	fieldBarrier    protowire.Number = 10
	fieldOutside    protowire.Number = 11
	fieldRepeated   protowire.Number = 12
	fieldCut        protowire.Number = 13
	fieldChild      protowire.Number = 14
	fieldRows       protowire.Number = 15
	fieldSequences  protowire.Number = 16
	fieldSubs       protowire.Number = 17
	fieldTimeUnit   protowire.Number = 18
	fieldTimes      protowire.Number = 19
	fieldDurUnit    protowire.Number = 20
	fieldDurations  protowire.Number = 21
	fieldPickups    protowire.Number = 22
	fieldDropoffs   protowire.Number = 23
	fieldAirports   protowire.Number = 24
	fieldCents      protowire.Number = 25
	fieldDead       protowire.Number = 26
	fieldChecksum   protowire.Number = 27
	lastHeaderField                  = fieldChild
)

// magic is the tag of field 1 (fixed32), "TGF" and the version: a frame is a
// valid protobuf message and still begins with a magic number.
var magic = [5]byte{0x0d, 'T', 'G', 'F', FrameVersion}

// trailerTag is the tag of the checksum field (fixed64), always the last one.
var trailerTag = [2]byte{0xd9, 0x01}

const knownFlags = FlagBarrier | FlagEnd | FlagFinal | FlagIdle | FlagWatermarkOnly

// Checksum is the checksum of an encoded frame: xxHash64 of everything before
// its last eight bytes, which hold it in little-endian order. It does not
// compare the two; Decode does. Of fewer than eight bytes it is the hash of all.
func Checksum(data []byte) uint64 {
	if len(data) < 8 {
		return xxhash.Sum64(data)
	}
	return xxhash.Sum64(data[:len(data)-8])
}

// unit is a time unit in ns, 2^shift * odd, with odd's inverse modulo 2^64:
// an exact division is a shift and a multiplication.
type unit struct {
	ns      int64
	shift   uint
	inverse uint64
}

// units are ns, us, ms, s: the wire's unit numbers are their indices.
var units = [4]unit{makeUnit(1), makeUnit(1e3), makeUnit(1e6), makeUnit(1e9)}

func makeUnit(ns int64) unit {
	odd, shift := uint64(ns), uint(0)
	for odd&1 == 0 {
		odd >>= 1
		shift++
	}
	inverse := odd // right in its low 3 bits; each round doubles them
	for range 5 {
		inverse *= 2 - odd*inverse
	}
	return unit{ns, shift, inverse}
}

// divide is t/u.ns for a t that u.ns divides.
func (u unit) divide(t int64) int64 { return int64(uint64(t>>u.shift) * u.inverse) }

// commonUnit lowers level to the largest unit that divides t.
func commonUnit(level int, t int64) int {
	switch level {
	case 3:
		if t%1e9 == 0 {
			return 3
		}
		fallthrough
	case 2:
		if t%1e6 == 0 {
			return 2
		}
		fallthrough
	case 1:
		if t%1e3 == 0 {
			return 1
		}
	}
	return 0
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// pack8 packs eight ASCII digits, loaded little-endian, two a byte with the
// first digit high. ok is false if one of them is no digit.
func pack8(v uint64) (packed uint32, ok bool) {
	const low, six = 0x0f0f0f0f0f0f0f0f, 0x0606060606060606
	if v&^low != 0x3030303030303030 || (v+six)&^low != 0x3030303030303030 {
		return 0, false
	}
	v &= low
	v = (v<<4 | v>>8) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16), true
}

// unpack8 is the inverse of pack8. ok is false if a nibble is no digit.
func unpack8(packed uint32) (v uint64, ok bool) {
	v = uint64(packed)
	v = (v | v<<16) & 0x0000ffff0000ffff
	v = (v | v<<8) & 0x00ff00ff00ff00ff
	v = (v&0x00f000f000f000f0)>>4 | (v&0x000f000f000f000f)<<8
	if (v+0x0606060606060606)&0xf0f0f0f0f0f0f0f0 != 0 {
		return 0, false
	}
	return v | 0x3030303030303030, true
}

// appendDigits appends the digits of s two a byte; an odd last one stands in
// the high half. ok is false if s is not all digits; dst is then unchanged.
func appendDigits(dst []byte, s string) (_ []byte, ok bool) {
	start := len(dst)
	for ; len(s) >= 8; s = s[8:] {
		packed, ok := pack8(load8(s, 0))
		if !ok {
			return dst[:start], false
		}
		dst = binary.LittleEndian.AppendUint32(dst, packed)
	}
	for ; len(s) > 0; s = s[min(2, len(s)):] {
		high, low := s[0]-'0', byte(0)
		if len(s) > 1 {
			low = s[1] - '0'
		}
		if high > 9 || low > 9 {
			return dst[:start], false
		}
		dst = append(dst, high<<4|low)
	}
	return dst, true
}

// decodeDigits writes len(dst) digits from src, which has as many bytes as
// they need, and tells whether they were digits.
func decodeDigits(dst, src []byte) bool {
	for ; len(dst) >= 8; dst, src = dst[8:], src[4:] {
		v, ok := unpack8(binary.LittleEndian.Uint32(src))
		if !ok {
			return false
		}
		binary.LittleEndian.PutUint64(dst, v)
	}
	for i := range dst {
		nibble := src[i/2] >> 4
		if i&1 == 1 {
			nibble = src[i/2] & 0xf
		}
		if nibble > 9 {
			return false
		}
		dst[i] = '0' + nibble
	}
	return len(dst)&1 == 0 || src[len(dst)/2]&0xf == 0
}

// load8 is s[i:i+8], little-endian; the compiler makes one load of it.
func load8(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// sharedPrefix is the length of the common prefix of a and b.
func sharedPrefix(a, b string) int {
	n, i := min(len(a), len(b)), 0
	for ; i+8 <= n; i += 8 {
		if x := load8(a, i) ^ load8(b, i); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
