package localkinesis

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

// createSegment makes an empty segment, durable under its name.
func createSegment(opt logOptions, number uint32, base int64) (*segment, error) {
	path := segmentPath(opt.dir, opt.shard, number)
	h := segmentHeader{epoch: opt.epoch, shard: opt.shard, number: number, base: base, created: opt.now()}
	if err := writeAtomic(path, h.encode()); err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	return &segment{file: f, path: path, number: number, base: base}, nil
}

// openShardLog reads a shard's segments: it checks every frame and builds the index. A torn tail, which is what a crash
// leaves, is cut off with a line in the log; damage anywhere else is an ErrCorrupt. Its records go on at first.
func openShardLog(opt logOptions, first ordinal, log *zap.Logger) (_ *shardLog, err error) {
	l := &shardLog{opt: opt, marked: true}
	defer func() {
		if err != nil {
			_ = l.abandon()
		}
	}()
	for number := uint32(0); ; number++ {
		path := segmentPath(opt.dir, opt.shard, number)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) && number > 0 {
			break
		} else if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		l.segments = append(l.segments, &segment{file: f, path: path, number: number})
	}
	if err := l.noStrays(); err != nil {
		return nil, err
	}
	for i, s := range l.segments {
		if err := l.recover(s, i == len(l.segments)-1, log); err != nil {
			return nil, err
		}
	}
	if l.lastOrd >= first {
		return nil, fmt.Errorf("localkinesis: %s has records that are newer than the data folder's %s; restore both together", l.segments[0].path, serverFile)
	}
	l.next = first
	l.group = &commitGroup{start: l.end}
	return l, l.mark()
}

// noStrays refuses segments behind a gap in their numbers.
func (l *shardLog) noStrays() error {
	paths, err := filepath.Glob(filepath.Join(l.opt.dir, l.opt.shard.String()+"-*.seg"))
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	if len(paths) != len(l.segments) {
		missing := segmentPath(l.opt.dir, l.opt.shard, uint32(len(l.segments)))
		return &corruptError{missing, 0, "the file is missing though later ones are there"}
	}
	return nil
}

// recover reads a segment that follows those read before.
func (l *shardLog) recover(s *segment, last bool, log *zap.Logger) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	b := make([]byte, segmentHeaderSize)
	n, err := s.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("open segment: %w", err)
	}
	h, err := decodeSegmentHeader(b[:n])
	if err == nil && (h.epoch != l.opt.epoch || h.shard != l.opt.shard || h.number != s.number) {
		err = fmt.Errorf("it is segment %d of %s of epoch %d", h.number, h.shard, h.epoch)
	}
	if err == nil && h.base != l.end {
		err = fmt.Errorf("it begins at log offset %d, but what was read before ends at %d", h.base, l.end)
	}
	if err != nil {
		return &corruptError{s.path, 0, err.Error()}
	}
	s.base = h.base
	end := s.base + info.Size() - segmentHeaderSize
	r := newFrameReader([]*segment{s}, s.base, end)
	defer r.release()
	for {
		h, _, err := r.next()
		if err == nil && (h.kind == recordsFrame && (h.first <= l.lastOrd || h.count == 0) || h.arrival < l.arrival) {
			r.pos = h.offset
			err = r.corrupt(fmt.Errorf("its frame is not in order"))
		}
		var bad *corruptError
		switch {
		case err == nil:
			l.publish(h)
			l.arrival = h.arrival
		case errors.Is(err, io.EOF):
			return nil
		case last && errors.As(err, &bad):
			return l.truncate(s, r.pos, end, bad, log)
		default:
			return err
		}
	}
}

// truncate cuts a segment off at a bad frame, if that is what a crash can have left: then the frame was in the last group
// that was written, and no later frame says that it was durable.
func (l *shardLog) truncate(s *segment, at, end int64, bad *corruptError, log *zap.Logger) error {
	rest := make([]byte, end-at)
	if _, err := s.file.ReadAt(rest, segmentHeaderSize+at-s.base); err != nil {
		return fmt.Errorf("read torn tail: %w", err)
	}
	if proof, ok := durableProof(rest, at); ok {
		bad.reason = fmt.Sprintf("%s, though log offset %d says that it was stored safely", bad.reason, proof)
		return bad
	}
	log.Warn("torn tail of a segment cut off", zap.String("file", s.path), zap.Int64("offset", bad.offset),
		zap.Int64("bytes", end-at), zap.String("reason", bad.reason))
	if err := s.file.Truncate(segmentHeaderSize + at - s.base); err != nil {
		return fmt.Errorf("cut off torn tail: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("cut off torn tail: %w", err)
	}
	l.marked = false // so that what is left gets a mark
	return nil
}

// durableProof looks behind a bad frame at log offset at, where rest begins, for a whole frame whose group began later.
func durableProof(rest []byte, at int64) (int64, bool) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], frameMagic)
	for i := 1; ; i++ {
		n := bytes.Index(rest[min(i, len(rest)):], magic[:])
		if n < 0 {
			return 0, false
		}
		if i += n; len(rest)-i < frameHeaderSize {
			return 0, false
		}
		h, err := decodeFrameHeader(rest[i:], at+int64(i))
		if err != nil || len(rest)-i-frameHeaderSize < h.payload || h.groupStart() <= at {
			continue
		}
		if checkFrame(rest[i:][:frameHeaderSize+h.payload]) == nil {
			return h.offset, true
		}
	}
}

// removeTemporary deletes what a crash left of files that were being written.
func removeTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), temporarySuffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
