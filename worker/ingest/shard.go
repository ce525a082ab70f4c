package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
	"github.com/tripgrid/tripgrid/worker/window"
)

const finalWatermark = trip.FinalWatermark

// errClosed ends calls on a shard whose ownership has ended.
var errClosed = errors.New("the shard was given up")

// Shard is one owned Kinesis shard: a source.Handler that writes to the log.
type Shard struct {
	w     *Worker
	id    stream.ShardID
	epoch stream.Epoch
	log   *zap.Logger

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards all below, and the outlets' segments
	prefix  prefix
	outlets []*outlet
	asked   stream.BarrierID // announced when the shard was opened: not ours to write
	want    stream.BarrierID // announced since, not cut yet
	counts  Counts
	behind  time.Duration
	ending  bool
}

// Counts say what a Shard did since it was opened.
type Counts struct {
	Travelled, Outside, Repeated, Dead, Gaps uint64
}

var _ source.Handler = (*Shard)(nil)

// Records reads consecutive records. It returns when all are queued for their
// partitions, or with the reason for which the shard was given up.
func (s *Shard) Records(ctx context.Context, recs []source.Record, behind time.Duration) error {
	var ev trip.Event
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behind = behind
	for i := range recs {
		if i%64 == 63 { // let publishers in
			s.mu.Unlock()
			s.mu.Lock()
		}
		rec := &recs[i]
		if rec.Pos.Compare(s.prefix.pos) <= 0 {
			continue
		}
		if o := s.read(rec, &ev); o != nil {
			for o.crowded() && s.ctx.Err() == nil && ctx.Err() == nil {
				s.wait(ctx, o)
			}
		}
		if err := s.stopped(ctx); err != nil {
			return err
		}
		s.cutBarrier()
	}
	s.signalDue(time.Now())
	return s.stopped(ctx)
}

// wait lets go of mu until the outlet has room.
func (s *Shard) wait(ctx context.Context, o *outlet) {
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-o.room:
	case <-s.ctx.Done():
	case <-ctx.Done():
	}
}

func (s *Shard) stopped(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return ctx.Err()
}

// read adds one record to the prefix and to its partition's open segment,
// unless the log has it. It returns the outlet that it wrote to.
func (s *Shard) read(rec *source.Record, ev *trip.Event) *outlet {
	gaps := s.prefix.gaps
	v, reason, detail := s.prefix.add(s.w.fence, rec, ev)
	if s.prefix.gaps != gaps {
		s.counts.Gaps++
		s.log.Warn("records are missing in the stream: a producer's lane jumps",
			zap.Stringer("position", rec.Pos), zap.Uint16("lane", ev.Envelope.Lane), zap.Uint64("sequence", ev.Envelope.Seq))
	}
	var o *outlet
	switch v {
	case watermark:
		return nil
	case dead:
		s.counts.Dead++
		o = s.outlets[window.PartitionOfRecord(s.id, rec.Pos, len(s.outlets))]
		if rec.Pos.Compare(o.upto) <= 0 {
			return nil
		}
		if detail != "" {
			reason += ": " + detail
		}
		d := stream.Dead{Pos: rec.Pos, Reason: reason, Size: uint32(len(rec.Data)), SHA256: sha256.Sum256(rec.Data)}
		d.Raw = append([]byte(nil), rec.Data[:min(len(rec.Data), stream.MaxDeadRaw)]...)
		o.open.addDead(d)
	default:
		t := &ev.Trip
		cell := trip.CellOf(t.PickupLat, t.PickupLon, 12)
		o = s.outlets[window.PartitionOf(cell.Prefix(s.w.precision), len(s.outlets))]
		switch v {
		case outside:
			s.counts.Outside++
		case repeated:
			s.counts.Repeated++
		default:
			s.counts.Travelled++
		}
		if rec.Pos.Compare(o.upto) <= 0 {
			return nil
		}
		if v != travels {
			o.open.counts = append(o.open.counts, counted{rec.Pos, v})
			break
		}
		o.open.rows = append(o.open.rows, stream.Row{
			Pos:        rec.Pos,
			EventTime:  t.EventTime(),
			Duration:   t.Dropoff - t.Pickup,
			Pickup:     cell,
			Dropoff:    trip.CellOf(t.DropoffLat, t.DropoffLon, 12),
			Airport:    s.w.fence.Airport(t.DropoffLat, t.DropoffLon),
			TotalCents: t.TotalCents,
		})
	}
	if o.open.full(s.w.cfg.FrameRows) {
		if len(o.queue) == 0 {
			o.cutSegment(&s.prefix)
		} else {
			o.full = true
		}
		o.signal()
	}
	return o
}

// announce asks the shard to write barrier n.
func (s *Shard) announce(n stream.BarrierID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > s.asked && n > s.want {
		s.want = n
		s.cutBarrier()
	}
}

// cutBarrier cuts every partition at the current position for the barrier that
// is wanted, once no subject is past that position (R6).
func (s *Shard) cutBarrier() {
	n := s.want
	if n == 0 || s.ending {
		return
	}
	for _, o := range s.outlets {
		if o.barrier >= n { // another owner wrote it, here at least: abandon
			s.asked, s.want = n, 0
			return
		}
		if o.upto.Compare(s.prefix.pos) > 0 {
			return // still catching up with the log
		}
	}
	s.asked, s.want = n, 0
	cut := s.prefix.cut()
	for _, o := range s.outlets {
		seg := o.cutSegment(&s.prefix)
		seg.barrier, seg.cut = n, cut
		o.signal()
	}
}

// End writes the shard's END to every partition and returns once all have it.
func (s *Shard) End(ctx context.Context, children []stream.Child) error {
	s.mu.Lock()
	s.ending = true
	cut := s.prefix.cut()
	done := make([]chan struct{}, len(s.outlets))
	for i, o := range s.outlets {
		seg := o.cutSegment(&s.prefix)
		seg.end, seg.cut, seg.children = true, cut, children
		o.ended = make(chan struct{})
		done[i] = o.ended
		o.signal()
	}
	s.mu.Unlock()
	for _, ch := range done {
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	return nil
}

// Close ends the ownership and waits for the publishers.
func (s *Shard) Close() {
	s.cancel(errClosed)
	s.wg.Wait()
	s.w.closed(s)
}

// fail gives the shard up: Records returns err from now on.
func (s *Shard) fail(err error) {
	if s.ctx.Err() == nil {
		s.log.Warn("shard is given up", zap.Error(err))
		s.w.note(err)
	}
	s.cancel(err)
}

// tick wakes the outlets that owe their partition a frame.
func (s *Shard) tick() {
	t := time.NewTicker(minLinger)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.mu.Lock()
			s.signalDue(now)
			for _, o := range s.outlets {
				o.hurryUp(now)
			}
			s.mu.Unlock()
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Shard) signalDue(now time.Time) {
	pace := s.w.pace()
	for _, o := range s.outlets {
		if o.due(&s.prefix, now, pace) {
			o.signal()
		}
	}
}

// publish is an outlet's goroutine: one frame after another, one in flight.
func (s *Shard) publish(o *outlet) {
	f := stream.Frame{Header: stream.Header{Nonce: s.w.cfg.Nonce, Shard: s.id, Epoch: s.epoch, Writer: s.w.nonce}}
	var buf []byte
	for {
		seg := s.next(o)
		if seg == nil {
			return
		}
		err := s.land(o, seg, &f, &buf)
		if err != nil {
			s.fail(fmt.Errorf("write shard %s to partition %s: %w", s.id, o.p, err))
			return
		}
	}
}

// next waits for a segment to send; nil when the shard is given up.
func (s *Shard) next(o *outlet) *segment {
	for {
		s.mu.Lock()
		if len(o.queue) == 0 && o.due(&s.prefix, time.Now(), s.w.pace()) {
			o.cutSegment(&s.prefix)
		}
		var seg *segment
		if len(o.queue) > 0 {
			seg = o.pop()
		}
		s.mu.Unlock()
		if seg != nil {
			return seg
		}
		select {
		case <-o.wake:
		case <-s.ctx.Done():
			return nil
		}
	}
}

// land publishes a segment until the log has all of it, whoever wrote it.
func (s *Shard) land(o *outlet, seg *segment, f *stream.Frame, buf *[]byte) error {
	for {
		s.mu.Lock()
		upto, barrier, ended := o.upto, o.barrier, o.isEnded
		s.mu.Unlock()
		seg.trim(upto)
		if barrier >= seg.barrier {
			seg.abandon() // the subject has it or a later one: it is never there twice
		}
		passed := seg.upto.Compare(upto)
		if seg.end && !ended && passed < 0 {
			return fmt.Errorf("its END at %s is behind the log at %s, which another owner has read on to: the shard is read again", seg.upto, upto)
		}
		if ended || passed < 0 || passed == 0 && seg.items() == 0 && !seg.urgent() && seg.watermark <= o.landedW {
			break // the log has it, or the barrier's position was passed: abandoned (R6)
		}
		f.After, f.Barrier = upto, barrier
		seg.fill(f)
		*buf = stream.Append((*buf)[:0], f)
		res, err := s.send(o, *buf, &f.Header)
		if errors.Is(err, errHurry) {
			s.mu.Lock()
			o.absorb(seg, s.w.cfg.FrameRows)
			s.mu.Unlock()
			continue
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		o.follow(&res.Tail)
		s.mu.Unlock()
		if !res.Rebased {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.sent = time.Now()
	if seg.end && o.ended != nil {
		close(o.ended)
		o.ended = nil
	}
	o.recycle(seg)
	s.cutBarrier()
	return nil
}

// errHurry says that data is not to wait any more, but to go with a barrier.
var errHurry = errors.New("a barrier or END is queued behind the data")

// send publishes a frame. Data waits while the log is full, but only until a
// barrier or END has to get past it: then errHurry, nothing is lost, and the
// same is published again with that (R13).
func (s *Shard) send(o *outlet, frame []byte, h *stream.Header) (stream.Result, error) {
	if h.Flags&(stream.FlagBarrier|stream.FlagEnd|stream.FlagWatermarkOnly) != 0 {
		return o.writer.Publish(s.ctx, frame, h)
	}
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	s.mu.Lock()
	o.began, o.hurry = time.Now(), func() { cancel(errHurry) }
	s.mu.Unlock()
	res, err := o.writer.Publish(ctx, frame, h)
	s.mu.Lock()
	o.hurry = nil
	if err == nil && o.held {
		o.held = false
		poke(o.room)
	}
	s.mu.Unlock()
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errHurry) {
		return res, errHurry
	}
	return res, err
}
