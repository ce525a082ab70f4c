package ingest

import (
	"slices"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// outlet is a shard's way to one partition. All fields but writer and the
// channels are guarded by the Shard's mu.
type outlet struct {
	p      stream.Partition
	writer *stream.Writer

	// What the subject's last frame says.
	upto    stream.Position
	barrier stream.BarrierID
	landedW int64
	isEnded bool

	open  *segment   // being filled
	queue []*segment // cut, waiting for the publisher
	free  []*segment
	full  bool      // open is as large as a frame gets
	sent  time.Time // when the last frame landed
	cutW  int64     // the watermark of the last cut segment

	// While data is being published: since when, and what ends that.
	began time.Time
	hurry func()
	// held: data had to go with a barrier, and none has landed by itself since.
	held  bool
	tried time.Time // when data was last found to be waiting

	wake  chan struct{} // the publisher has something to look at
	room  chan struct{} // the queue got shorter
	ended chan struct{} // closed when END has landed
}

func newOutlet(p stream.Partition, w *stream.Writer, tail *stream.Tail) *outlet {
	o := &outlet{
		p: p, writer: w, landedW: stream.MinWatermark, cutW: stream.MinWatermark,
		open: new(segment), wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	w.Start(*tail)
	if tail.Seq != 0 {
		o.follow(tail)
		o.cutW = o.landedW
	}
	return o
}

// follow takes over what the subject's last frame says, whoever wrote it.
func (o *outlet) follow(tail *stream.Tail) {
	h := &tail.Header
	o.upto, o.barrier, o.landedW = h.Upto, h.Barrier, h.Watermark
	o.isEnded = h.Flags&stream.FlagEnd != 0
}

// due tells whether the open segment is to be cut although it is not full.
func (o *outlet) due(p *prefix, now time.Time, pace pace) bool {
	since := now.Sub(o.sent)
	if o.open.items() > 0 {
		// Barriers keep a held one's last frame young, so that no linger would
		// ever be over, and only data ends the hold.
		return o.full || p.watermark == finalWatermark || since >= pace.linger || o.held && now.Sub(o.tried) >= heldRetry
	}
	if p.watermark <= o.cutW || p.pos.Compare(o.upto) <= 0 {
		return false
	}
	return p.watermark == finalWatermark || since >= pace.watermark
}

// crowded tells that the reader has to wait: the open segment is full and the
// publisher has not caught up. While the log is full anything is too much: each
// barrier takes along what was read since the one before, and a reserve that is
// used up for data would let no barrier through (R13).
func (o *outlet) crowded() bool {
	return o.full && len(o.queue) > 0 || o.held && o.open.items() > 0
}

// cutSegment ends the open segment at the prefix's position and queues it.
func (o *outlet) cutSegment(p *prefix) *segment {
	seg := o.open
	seg.upto, seg.watermark = p.pos, p.watermark
	if seg.upto.Compare(o.upto) < 0 {
		seg.upto, seg.watermark = o.upto, o.landedW
	}
	o.cutW = seg.watermark
	o.queue = append(o.queue, seg)
	o.full = false
	if n := len(o.free); n > 0 {
		o.open, o.free = o.free[n-1], o.free[:n-1]
	} else {
		o.open = new(segment)
	}
	return seg
}

// pop takes the queue's head.
func (o *outlet) pop() *segment {
	seg := o.queue[0]
	n := copy(o.queue, o.queue[1:])
	o.queue[n] = nil
	o.queue = o.queue[:n]
	poke(o.room)
	return seg
}

// hurryUp ends the publishing of data that waits while a barrier or END is
// queued behind it: the log is full, and only they may use its reserve (R13).
func (o *outlet) hurryUp(now time.Time) {
	if o.hurry != nil && now.Sub(o.began) >= heldTime && slices.ContainsFunc(o.queue, (*segment).urgent) {
		o.hurry()
	}
}

// absorb puts what is queued up to the first barrier or END into the segment
// that is being sent, so that they go out in one frame, as far as one holds it.
func (o *outlet) absorb(seg *segment, maxRows int) {
	o.held, o.tried = true, time.Now()
	for len(o.queue) > 0 && !seg.urgent() {
		next := o.queue[0]
		if seg.deadBytes+next.deadBytes > maxMergedDead || len(seg.rows)+len(next.rows) > maxMergedParts*maxRows {
			return
		}
		o.pop()
		seg.take(next)
		o.recycle(next)
	}
}

// recycle takes a sent segment back.
func (o *outlet) recycle(seg *segment) {
	if len(o.free) < 2 {
		seg.reset()
		o.free = append(o.free, seg)
	}
}

func (o *outlet) signal() { poke(o.wake) }

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// pace is how often a subject gets a frame that is not full.
type pace struct {
	linger    time.Duration // between frames with items
	watermark time.Duration // before a frame that carries a watermark alone
}

// paceFor keeps the frames that are not full at rate a second over all
// subjects: each costs the log a sync, whatever it holds.
func paceFor(subjects int, rate float64) pace {
	linger := time.Duration(float64(subjects) / rate * float64(time.Second))
	return pace{linger: max(minLinger, linger), watermark: max(minWatermarkInterval, linger)}
}

const (
	minLinger            = 20 * time.Millisecond
	minWatermarkInterval = 200 * time.Millisecond
	// heldTime is how long data is being published before a barrier behind it
	// does not wait any more.
	heldTime = 100 * time.Millisecond
	// heldRetry is how long a held outlet leaves the log to its barriers before
	// it tries data again; about how often a writer looks at the log's size.
	heldRetry = 250 * time.Millisecond
)
