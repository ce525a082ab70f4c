package ingest

import (
	"slices"

	"github.com/tripgrid/tripgrid/stream"
)

// segment is what one frame will say: everything read for a partition in
// (the subject's upto, upto], with the position of each thing, so that a
// rebase can trim it.
type segment struct {
	rows   []stream.Row
	dead   []stream.Dead
	counts []counted

	// Set when the segment is cut.
	upto      stream.Position
	watermark int64
	barrier   stream.BarrierID // 0: none
	end       bool
	children  []stream.Child
	cut       *stream.Cut

	deadBytes int
}

// counted is a trip that does not travel.
type counted struct {
	pos stream.Position
	v   verdict // outside or repeated
}

func (s *segment) items() int { return len(s.rows) + len(s.dead) + len(s.counts) }

// full tells that the segment's frame would be as large as frames get.
func (s *segment) full(maxRows int) bool {
	return len(s.rows) >= maxRows || len(s.counts) >= 8*maxRows || s.deadBytes >= maxDeadBytes
}

// maxDeadBytes bounds the dead letters of one segment; one more may exceed it
// by stream.MaxDeadRaw. Three such segments, with their rows and the marks of a
// barrier, fit in one frame of 512 KiB (outlet.absorb).
const (
	maxDeadBytes   = 32 << 10
	maxMergedDead  = 300_000
	maxMergedParts = 4 // times the rows of a frame
)

// deadOverhead is more than a dead letter takes in a frame beside its raw bytes
// and its reason: a position of 129 digits and a SHA-256.
const deadOverhead = 200

func (s *segment) addDead(d stream.Dead) {
	s.dead = append(s.dead, d)
	s.deadBytes += len(d.Raw) + len(d.Reason) + deadOverhead
}

// take appends a later segment, which says the rest: their frame is one.
func (s *segment) take(next *segment) {
	s.rows = append(s.rows, next.rows...)
	s.dead = append(s.dead, next.dead...)
	s.counts = append(s.counts, next.counts...)
	s.deadBytes += next.deadBytes
	s.upto, s.watermark = next.upto, next.watermark
	s.barrier, s.end, s.children, s.cut = next.barrier, next.end, next.children, next.cut
}

// urgent tells that the segment may be what makes room in a full log (R13).
func (s *segment) urgent() bool { return s.barrier != 0 || s.end }

// abandon gives the segment's barrier up; what it holds remains (R6).
func (s *segment) abandon() {
	s.barrier = 0
	if !s.end {
		s.cut = nil
	}
}

// trim drops what is at or below a position: the log has it.
func (s *segment) trim(upto stream.Position) {
	if upto.IsZero() || s.items() == 0 {
		return
	}
	at := func(n int, pos func(int) stream.Position) int {
		lo, hi := 0, n
		for lo < hi {
			if mid := (lo + hi) / 2; pos(mid).Compare(upto) <= 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		return lo
	}
	s.rows = slices.Delete(s.rows, 0, at(len(s.rows), func(i int) stream.Position { return s.rows[i].Pos }))
	s.dead = slices.Delete(s.dead, 0, at(len(s.dead), func(i int) stream.Position { return s.dead[i].Pos }))
	s.counts = slices.Delete(s.counts, 0, at(len(s.counts), func(i int) stream.Position { return s.counts[i].pos }))
}

// reset empties the segment and keeps its memory.
func (s *segment) reset() {
	clear(s.dead)
	*s = segment{rows: s.rows[:0], dead: s.dead[:0], counts: s.counts[:0]}
}

// fill writes the segment into a frame whose identity is set already.
func (s *segment) fill(f *stream.Frame) {
	f.Rows, f.Dead = s.rows, s.dead
	f.Upto, f.Watermark, f.Cut, f.Children = s.upto, s.watermark, s.cut, s.children
	f.Outside, f.Repeated = 0, 0
	for _, c := range s.counts {
		if c.v == outside {
			f.Outside++
		} else {
			f.Repeated++
		}
	}
	f.Flags = 0
	if s.barrier != 0 {
		f.Flags |= stream.FlagBarrier
		f.Barrier = s.barrier
	}
	if s.end {
		f.Flags |= stream.FlagEnd
	}
	if s.watermark == finalWatermark {
		f.Flags |= stream.FlagFinal
	}
	if s.items() == 0 && !s.urgent() {
		f.Flags |= stream.FlagWatermarkOnly
	}
}
