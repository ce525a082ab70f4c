package localkinesis

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// readChunk is how much is read from a file at once, unless a frame is larger.
const readChunk = 256 << 10

var chunkPool = sync.Pool{New: func() any { b := make([]byte, readChunk); return &b }}

// frameReader walks the frames of a log. It checks every frame's checksum, however often it was read before.
type frameReader struct {
	segments []*segment // in order, without a gap
	end      int64      // log offset to stop at
	pos      int64      // log offset of the next frame
	buf      *[]byte    // from chunkPool
	from, to int64      // log offsets that the buffer holds
}

func newFrameReader(segments []*segment, start, end int64) *frameReader {
	return &frameReader{segments: segments, pos: start, end: end, buf: chunkPool.Get().(*[]byte)}
}

// release gives the buffer back; what next returned is not valid after it.
func (r *frameReader) release() {
	if cap(*r.buf) <= 1<<20 {
		chunkPool.Put(r.buf)
	}
	r.buf = nil
}

// next returns the frame at pos and moves behind it. The payload is valid until the next call. The error is io.EOF at
// the end, else a *corruptError, or that of the file system.
func (r *frameReader) next() (frameHeader, []byte, error) {
	if r.pos >= r.end {
		return frameHeader{}, nil, io.EOF
	}
	b, err := r.need(frameHeaderSize)
	if err != nil {
		return frameHeader{}, nil, err
	}
	h, err := decodeFrameHeader(b, r.pos)
	if err != nil {
		return h, nil, r.corrupt(err)
	}
	if b, err = r.need(frameHeaderSize + h.payload); err != nil {
		return h, nil, err
	}
	if err := checkFrame(b); err != nil {
		return h, nil, r.corrupt(err)
	}
	r.pos = h.end()
	return h, b[frameHeaderSize:], nil
}

// segment finds the segment that holds pos.
func (r *frameReader) segment() *segment {
	for len(r.segments) > 1 && r.segments[1].base <= r.pos {
		r.segments = r.segments[1:]
	}
	return r.segments[0]
}

// need returns n bytes from pos on.
func (r *frameReader) need(n int) ([]byte, error) {
	if r.pos >= r.from && r.pos+int64(n) <= r.to {
		return (*r.buf)[r.pos-r.from:][:n], nil
	}
	if cap(*r.buf) < n {
		*r.buf = make([]byte, n)
	}
	s := r.segment()
	limit := r.end
	if len(r.segments) > 1 {
		limit = r.segments[1].base
	}
	if limit-r.pos < int64(n) {
		return nil, r.corrupt(fmt.Errorf("its frame of %d bytes is cut off after %d", n, limit-r.pos))
	}
	want := (*r.buf)[:min(int64(cap(*r.buf)), limit-r.pos)]
	got, err := s.file.ReadAt(want, segmentHeaderSize+r.pos-s.base)
	r.from, r.to = r.pos, r.pos+int64(got)
	if got >= n {
		return want[:n], nil
	}
	if errors.Is(err, io.EOF) {
		return nil, r.corrupt(fmt.Errorf("the file ends %d bytes later, within a frame of at least %d", got, n))
	}
	return nil, fmt.Errorf("read %s: %w", s.path, err)
}

// corrupt reports the frame at pos.
func (r *frameReader) corrupt(reason error) error {
	s := r.segment()
	return &corruptError{s.path, segmentHeaderSize + r.pos - s.base, reason.Error()}
}

// record is a record as it is read; its slices are valid until the visitor returns.
type record struct {
	ord     ordinal
	arrival int64
	key     []byte
	data    []byte
}

// read shows the durable records from an ordinal on to visit, until it returns false. It tells whether all were shown.
func (l *shardLog) read(from ordinal, visit func(record) bool) (all bool, err error) {
	l.filesMu.RLock()
	defer l.filesMu.RUnlock()
	v := l.viewFrom(func(e indexEntry) bool { return e.first <= from })
	if len(v.segments) == 0 {
		return false, errGone
	}
	if v.lastOrd < from {
		return true, nil
	}
	r := newFrameReader(v.segments, v.start, v.end)
	defer r.release()
	for {
		h, payload, err := r.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		if h.kind != recordsFrame || h.last() < from {
			continue
		}
		for i := range ordinal(h.count) {
			key, data, rest, ok := nextRecord(payload)
			if !ok {
				r.pos = h.offset
				return false, r.corrupt(fmt.Errorf("its frame holds fewer records than it says"))
			}
			if payload = rest; h.first+i < from {
				continue
			}
			if !visit(record{h.first + i, h.arrival, key, data}) {
				return false, nil
			}
		}
	}
}

// tip is the ordinal that follows the last durable record.
func (l *shardLog) tip() ordinal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastOrd + 1
}

// at is the ordinal of the first durable record that arrived at a time or later, or the tip if there is none.
func (l *shardLog) at(millis int64) (ordinal, error) {
	l.filesMu.RLock()
	defer l.filesMu.RUnlock()
	v := l.viewFrom(func(e indexEntry) bool { return e.arrival < millis })
	if len(v.segments) == 0 {
		return 0, errGone
	}
	r := newFrameReader(v.segments, v.start, v.end)
	defer r.release()
	for {
		h, _, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return v.lastOrd + 1, nil
		case err != nil:
			return 0, err
		case h.kind == recordsFrame && h.arrival >= millis:
			return h.first, nil
		}
	}
}
