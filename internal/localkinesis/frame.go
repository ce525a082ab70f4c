package localkinesis

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The sizes and marks of the segment format; doc.go has the byte tables.
const (
	segmentMagic      = "TGKINSEG"
	segmentVersion    = 1
	segmentHeaderSize = 64

	frameMagic      = 0x46474B54 // "TKGF" in little-endian bytes
	frameHeaderSize = 48
	frameCRCStart   = 8 // the checksum covers everything from here on
	recordOverhead  = 6

	// maxPayload bounds a frame's payload: one call's records and their overhead, with room to spare.
	maxPayload = 16 << 20
)

// frameKind tells what a frame holds.
type frameKind uint32

const (
	recordsFrame frameKind = 0
	markFrame    frameKind = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHeader begins each segment file.
type segmentHeader struct {
	epoch   epoch
	shard   shardID
	number  uint32
	base    int64 // log offset of the first frame
	created int64 // milliseconds since 1970
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, segmentHeaderSize)
	copy(b, segmentMagic)
	binary.LittleEndian.PutUint32(b[8:], segmentVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.epoch))
	binary.LittleEndian.PutUint32(b[24:], uint32(h.shard))
	binary.LittleEndian.PutUint32(b[28:], h.number)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.base))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.created))
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[16:], castagnoli))
	return b
}

func decodeSegmentHeader(b []byte) (segmentHeader, error) {
	switch {
	case len(b) < segmentHeaderSize:
		return segmentHeader{}, fmt.Errorf("its header has %d of %d bytes", len(b), segmentHeaderSize)
	case string(b[:8]) != segmentMagic:
		return segmentHeader{}, fmt.Errorf("it does not begin with %q", segmentMagic)
	case binary.LittleEndian.Uint32(b[8:]) != segmentVersion:
		return segmentHeader{}, fmt.Errorf("its format is version %d, this program knows %d", binary.LittleEndian.Uint32(b[8:]), segmentVersion)
	case crc32.Checksum(b[16:segmentHeaderSize], castagnoli) != binary.LittleEndian.Uint32(b[12:]):
		return segmentHeader{}, fmt.Errorf("its header's checksum is wrong")
	}
	return segmentHeader{
		epoch:   epoch(binary.LittleEndian.Uint64(b[16:])),
		shard:   shardID(binary.LittleEndian.Uint32(b[24:])),
		number:  binary.LittleEndian.Uint32(b[28:]),
		base:    int64(binary.LittleEndian.Uint64(b[32:])),
		created: int64(binary.LittleEndian.Uint64(b[40:])),
	}, nil
}

// frameHeader begins each frame.
type frameHeader struct {
	payload int // bytes behind the header
	kind    frameKind
	count   int
	first   ordinal // of the first record; in a mark, of the last record before it
	arrival int64   // of all its records, milliseconds since 1970
	offset  int64   // log offset of the frame itself
	group   uint32  // how many bytes before it its commit group began: everything before that was durable already
}

// end is the log offset behind the frame.
func (h frameHeader) end() int64 { return h.offset + frameHeaderSize + int64(h.payload) }

// groupStart is the log offset up to which the log was durable before the frame was written.
func (h frameHeader) groupStart() int64 { return h.offset - int64(h.group) }

// last is the ordinal of the last record at or before the frame's end.
func (h frameHeader) last() ordinal {
	if h.kind == markFrame {
		return h.first
	}
	return h.first + ordinal(h.count) - 1
}

// encode writes the header before its payload; frame is header space and payload.
func (h frameHeader) encode(frame []byte) {
	binary.LittleEndian.PutUint32(frame, frameMagic)
	binary.LittleEndian.PutUint32(frame[8:], uint32(len(frame)-frameHeaderSize))
	binary.LittleEndian.PutUint32(frame[12:], uint32(h.kind))
	binary.LittleEndian.PutUint32(frame[16:], uint32(h.count))
	binary.LittleEndian.PutUint32(frame[20:], h.group)
	binary.LittleEndian.PutUint64(frame[24:], uint64(h.first))
	binary.LittleEndian.PutUint64(frame[32:], uint64(h.arrival))
	binary.LittleEndian.PutUint64(frame[40:], uint64(h.offset))
	binary.LittleEndian.PutUint32(frame[4:], crc32.Checksum(frame[frameCRCStart:], castagnoli))
}

// decodeFrameHeader reads a header that should stand at a log offset. It checks all that can be checked without the
// payload.
func decodeFrameHeader(b []byte, at int64) (frameHeader, error) {
	h := frameHeader{
		payload: int(binary.LittleEndian.Uint32(b[8:])),
		kind:    frameKind(binary.LittleEndian.Uint32(b[12:])),
		count:   int(binary.LittleEndian.Uint32(b[16:])),
		group:   binary.LittleEndian.Uint32(b[20:]),
		first:   ordinal(binary.LittleEndian.Uint64(b[24:])),
		arrival: int64(binary.LittleEndian.Uint64(b[32:])),
		offset:  int64(binary.LittleEndian.Uint64(b[40:])),
	}
	switch {
	case binary.LittleEndian.Uint32(b) != frameMagic:
		return h, fmt.Errorf("no frame begins there")
	case h.payload > maxPayload:
		return h, fmt.Errorf("its frame claims %d bytes", h.payload)
	case h.offset != at:
		return h, fmt.Errorf("its frame was written for log offset %d, not %d", h.offset, at)
	case h.kind != recordsFrame && h.kind != markFrame:
		return h, fmt.Errorf("its frame is of unknown kind %d", h.kind)
	}
	return h, nil
}

// checkFrame compares a whole frame with its checksum.
func checkFrame(frame []byte) error {
	if crc32.Checksum(frame[frameCRCStart:], castagnoli) != binary.LittleEndian.Uint32(frame[4:]) {
		return fmt.Errorf("its frame's checksum is wrong")
	}
	return nil
}

// appendRecord appends a record to a frame's payload.
func appendRecord(b, key, data []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, key...)
	return append(b, data...)
}

// nextRecord cuts the first record off a payload.
func nextRecord(p []byte) (key, data, rest []byte, ok bool) {
	if len(p) < recordOverhead {
		return nil, nil, nil, false
	}
	k, d := int(binary.LittleEndian.Uint16(p)), int(binary.LittleEndian.Uint32(p[2:]))
	if len(p)-recordOverhead < k+d {
		return nil, nil, nil, false
	}
	p = p[recordOverhead:]
	return p[:k], p[k : k+d], p[k+d:], true
}
