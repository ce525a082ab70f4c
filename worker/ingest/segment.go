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

// maxDeadBytes bounds the dead letters of one frame; one more may exceed it by
// stream.MaxDeadRaw, which stays well below the cap of 512 KiB.
const maxDeadBytes = 128 << 10

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
	if s.items() == 0 && s.barrier == 0 && !s.end {
		f.Flags |= stream.FlagWatermarkOnly
	}
}
