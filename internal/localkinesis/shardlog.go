package localkinesis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
)

// errGone is returned by a shardLog that was removed or closed.
var errGone = errors.New("the shard's files are closed")

// logOptions are what a shardLog needs to know beside its files.
type logOptions struct {
	dir          string
	epoch        epoch
	shard        shardID
	segmentBytes int64 // a segment that has reached this size is followed by a new one
	indexBytes   int64 // distance of index entries
	now          func() int64
}

// shardLog is the append-only log of one shard: segment files, and an index in memory of one entry per indexBytes.
//
// Its offsets ("log offsets") count frames only, over all segments; a segment's header says where it begins.
//
// Appending is two steps. stage puts a frame into the buffer of the current commit group, which orders it. commit waits
// until the group is durable: the first waiter that gets commitMu writes the group's buffer in one piece and syncs the
// file, and all others of the group find it done. While it does, the next group fills. Readers see only what is durable.
type shardLog struct {
	opt logOptions

	// filesMu is held for reading while files are read, and for writing to close them.
	filesMu sync.RWMutex

	commitMu sync.Mutex // held while a group is written; guards the last segment's file
	spare    []byte     // buffer of the group before, for the next but one

	mu       sync.Mutex // guards everything below
	segments []*segment
	index    []indexEntry
	end      int64 // log offset behind the last durable frame
	lastOrd  ordinal
	arrival  int64 // of the last staged frame; never goes back
	next     ordinal
	group    *commitGroup
	failed   error // once set, nothing is appended any more
	marked   bool  // the last durable frame is a mark, or there is none
}

// maxSpare bounds the buffer that a shard keeps between groups.
const maxSpare = 4 << 20

// segment is an open segment file.
type segment struct {
	file   *os.File
	path   string
	number uint32
	base   int64
}

// indexEntry finds frames: the one at off begins with record first.
type indexEntry struct {
	off     int64
	first   ordinal
	arrival int64
}

// commitGroup is what one write and one sync make durable.
type commitGroup struct {
	start  int64 // log offset
	buf    []byte
	frames []frameHeader
	done   bool  // guarded by commitMu
	err    error // why it is not durable; guarded by commitMu
}

func segmentPath(dir string, shard shardID, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%08d.seg", shard, number))
}

// stage appends the chain of entries that begins at head as one frame and returns the first record's ordinal, the
// arrival of all, and the group to commit.
func (l *shardLog) stage(entries []putEntry, head int32) (ordinal, int64, *commitGroup, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return 0, 0, nil, l.failed
	}
	g := l.group
	h := frameHeader{
		kind:    recordsFrame,
		first:   l.next,
		arrival: max(l.arrival, l.opt.now()),
		offset:  g.start + int64(len(g.buf)),
		group:   uint32(len(g.buf)),
	}
	at := len(g.buf)
	var space [frameHeaderSize]byte
	b := append(g.buf, space[:]...)
	for i := head; i >= 0; i = entries[i].next {
		b = appendRecord(b, entries[i].key, entries[i].data)
		h.count++
	}
	h.encode(b[at:])
	h.payload = len(b) - at - frameHeaderSize
	g.buf, g.frames = b, append(g.frames, h)
	l.arrival = h.arrival
	l.next += ordinal(h.count)
	return h.first, h.arrival, g, nil
}

// commit returns when the group is durable, or cannot be.
func (l *shardLog) commit(g *commitGroup) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if !g.done {
		l.flush() // g is the current group: a group is only replaced by being flushed
	}
	return g.err
}

// flush makes the current group durable. The caller holds commitMu.
func (l *shardLog) flush() {
	l.mu.Lock()
	g, failed := l.group, l.failed
	l.group = &commitGroup{start: g.start + int64(len(g.buf)), buf: l.spare[:0]}
	l.spare = nil
	var last *segment
	if failed == nil { // a closed log has no segments
		last = l.segments[len(l.segments)-1]
	}
	l.mu.Unlock()

	g.done, g.err = true, failed
	if g.err == nil && len(g.frames) > 0 {
		g.err = l.write(last, g)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.err != nil {
		l.fail(g.err)
		return
	}
	for _, h := range g.frames {
		l.publish(h)
	}
	if cap(g.buf) <= maxSpare {
		l.spare = g.buf
	}
	g.buf = nil
}

// fail stops the log. What was staged stays unacknowledged: after a failed sync nobody knows what is on the disk, so
// only the next opening, which reads it, may go on.
func (l *shardLog) fail(err error) {
	if l.failed == nil {
		l.failed = fmt.Errorf("%s takes no more records: %w; put it right and start again", l.opt.shard, err)
	}
}

// write writes a group behind the last segment, or into a new one, and syncs it.
func (l *shardLog) write(s *segment, g *commitGroup) error {
	if g.start-s.base >= l.opt.segmentBytes {
		next, err := createSegment(l.opt, s.number+1, g.start)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.segments = append(l.segments, next)
		l.mu.Unlock()
		s = next
	}
	if _, err := s.file.WriteAt(g.buf, segmentHeaderSize+g.start-s.base); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	if err := syncData(s.file); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	return nil
}

// publish shows a durable frame to readers. The caller holds mu, or is alone.
func (l *shardLog) publish(h frameHeader) {
	l.end = h.end()
	l.marked = h.kind == markFrame
	if l.marked {
		return
	}
	if n := len(l.index); n == 0 || h.offset-l.index[n-1].off >= l.opt.indexBytes {
		l.index = append(l.index, indexEntry{h.offset, h.first, h.arrival})
	}
	l.lastOrd = h.last()
}

// mark appends a mark if the log does not end with one. A mark says that everything before it was durable, so that
// damage there can no longer be taken for what a crash left.
func (l *shardLog) mark() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	l.flush()
	l.mu.Lock()
	if l.failed != nil || l.marked {
		defer l.mu.Unlock()
		return l.failed
	}
	g := l.group
	h := frameHeader{kind: markFrame, first: l.lastOrd, arrival: l.arrival, offset: g.start + int64(len(g.buf)), group: uint32(len(g.buf))}
	at := len(g.buf)
	g.buf = append(g.buf, make([]byte, frameHeaderSize)...)
	h.encode(g.buf[at:])
	g.frames = append(g.frames, h)
	l.mu.Unlock()
	l.flush()
	return g.err
}

// close makes everything durable and closes the files. A closed log fails every call.
func (l *shardLog) close() error {
	err := l.mark()
	return errors.Join(err, l.abandon())
}

// abandon closes the files as they are.
func (l *shardLog) abandon() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	l.filesMu.Lock()
	defer l.filesMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = errGone
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	l.segments = l.segments[:0]
	return errors.Join(errs...)
}

// view is a consistent look at the durable part of a log.
type view struct {
	segments []*segment
	end      int64
	lastOrd  ordinal
	start    int64 // where to look
}

// viewFrom looks at the log from the last index entry for which before is true, or from its beginning. before is true for
// a prefix of the entries.
func (l *shardLog) viewFrom(before func(indexEntry) bool) view {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := view{segments: l.segments, end: l.end, lastOrd: l.lastOrd}
	if n := sort.Search(len(l.index), func(i int) bool { return !before(l.index[i]) }); n > 0 {
		v.start = l.index[n-1].off
	}
	return v
}
