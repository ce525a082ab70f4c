package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
)

// MaxProducers is how many producers' lanes one shard keeps marks for. Trips
// of further ones become dead letters.
const MaxProducers = 16

// verdict is what became of one record.
type verdict uint8

const (
	travels   verdict = iota + 1 // a trip inside the geofence
	outside                      // a trip with an end outside
	repeated                     // a trip that was read before
	dead                         // no valid event
	watermark                    // a watermark event
)

// prefix is the state of having read a shard up to pos: a pure function of the
// records from the shard's start to there.
type prefix struct {
	pos        stream.Position
	restart    string
	watermark  int64
	read       uint64
	watermarks uint64
	lanes      map[laneKey]uint64 // highest sequence
	producers  map[uint64]struct{}
	gaps       uint64 // jumps in a lane: records that Kinesis never held
	laneCount  int    // lanes of each producer; 0: producers have none
}

type laneKey struct {
	producer uint64
	lane     uint16
}

func newPrefix(lanes int) prefix {
	return prefix{
		laneCount: lanes,
		watermark: stream.MinWatermark,
		lanes:     make(map[laneKey]uint64),
		producers: make(map[uint64]struct{}),
	}
}

// prefixOf continues where a manifest's cut stands.
func prefixOf(c *checkpoint.ShardCut, lanes int) prefix {
	p := newPrefix(lanes)
	p.pos, p.restart, p.watermark = c.Position, c.Restart, c.Watermark
	p.read, p.watermarks = c.Read, c.Watermarks
	for _, m := range c.Marks {
		p.lanes[laneKey{m.Producer, m.Lane}] = m.Seq
		p.producers[m.Producer] = struct{}{}
	}
	return p
}

// add reads one record. It decodes into ev, says what the record is, and for a
// dead one why.
func (p *prefix) add(fence *trip.Geofence, rec *source.Record, ev *trip.Event) (v verdict, reason, detail string) {
	p.pos = rec.Pos
	if rec.Last {
		p.restart = rec.Pos.Seq
	}
	p.read++
	if err := trip.Decode(rec.Data, ev); err != nil {
		var bad *trip.BadRecord
		if errors.As(err, &bad) {
			return dead, string(bad.Reason), bad.Detail
		}
		return dead, "json", err.Error()
	}
	if ev.Kind == trip.KindWatermark {
		p.watermarks++
		p.watermark = max(p.watermark, ev.Watermark)
		return watermark, "", ""
	}
	if e := ev.Envelope; e.Producer != 0 && p.laneCount > 0 {
		if int(e.Lane) >= p.laneCount {
			return dead, "lane", fmt.Sprintf("lane %d of producer %016x: the job's producers have %d", e.Lane, e.Producer, p.laneCount)
		}
		key := laneKey{e.Producer, e.Lane}
		mark, seen := p.lanes[key]
		switch {
		case seen && e.Seq <= mark:
			return repeated, "", ""
		case seen && e.Seq != mark+1, !seen && e.Seq != 0:
			p.gaps++
		}
		if !seen {
			if _, known := p.producers[e.Producer]; !known && len(p.producers) == MaxProducers {
				return dead, "producers", fmt.Sprintf("producer %016x is the shard's %dth, more than marks are kept for", e.Producer, MaxProducers+1)
			}
			p.producers[e.Producer] = struct{}{}
		}
		p.lanes[key] = e.Seq
	}
	t := &ev.Trip
	if !fence.Inside(t.PickupLat, t.PickupLon) || !fence.Inside(t.DropoffLat, t.DropoffLon) {
		return outside, "", ""
	}
	return travels, "", ""
}

// cut is what a barrier or END frame carries of the prefix (R4).
func (p *prefix) cut() *stream.Cut {
	marks := make([]stream.Mark, 0, len(p.lanes))
	for k, seq := range p.lanes {
		marks = append(marks, stream.Mark{Producer: k.producer, Lane: k.lane, Seq: seq})
	}
	slices.SortFunc(marks, func(a, b stream.Mark) int {
		return cmp.Or(cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Lane, b.Lane))
	})
	return &stream.Cut{Restart: p.restart, Read: p.read, Watermarks: p.watermarks, Marks: marks}
}
