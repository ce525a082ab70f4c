package producer

import (
	"math"
	"slices"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

const noWatermark = math.MinInt64

// phase is where the replay stands with respect to its end.
type phase uint8

const (
	sending   phase = iota
	listing         // all is acknowledged: the shards are listed
	finishing       // the final watermark is on its way to all that were listed
	finished        // and a listing after its acknowledgements agreed
)

// marks is the part of core that knows the shards and tells them how far event
// time has come.
type marks struct {
	phase  phase
	listed bool
	shards []shard // open, by starting hash key

	listBusy bool
	listAt   time.Time // next listing

	busy   bool      // a round of watermarks is on its way
	at     time.Time // next round
	force  bool      // the next round goes out though nothing moved
	sentAt time.Time // last round
	sent   int64     // highest watermark that left
	left   []shard   // finishing: who has not acknowledged the final one
	told   bool      // all of shards have acknowledged the final one
}

func (m *marks) init() { m.sent = noWatermark }

// watermark returns the event time below which every trip is acknowledged, or
// noWatermark while that is not known. It never goes back.
func (c *core) watermark(now time.Time) int64 {
	if !c.started {
		return c.marks.sent
	}
	w := c.lastTS // of what follows only the order is known
	if c.low < c.loaded {
		w = c.ring.at(c.low).EventTime()
	}
	if c.cfg.Speedup > 0 {
		w = min(w, c.clock(now))
	}
	return max(c.marks.sent, floorMilli(w))
}

// floorMilli rounds nanoseconds down to milliseconds, before 1970 too.
func floorMilli(ns int64) int64 {
	const ms = int64(time.Millisecond)
	r := ns % ms
	if r < 0 {
		r += ms
	}
	if ns < math.MinInt64+r {
		return ns
	}
	return ns - r
}

// watermarks returns the watermark to send now and the shards it goes to, or
// none. They count as on their way until marked.
func (c *core) watermarks(now time.Time) (int64, []shard) {
	m := &c.marks
	if m.busy || !m.listed || now.Before(m.at) {
		return 0, nil
	}
	switch m.phase {
	case finishing:
		m.busy = true
		return trip.FinalWatermark, m.left
	case sending:
		w := c.watermark(now)
		m.at = now.Add(c.cfg.WatermarkInterval)
		// A second without one looks like an idle producer.
		quiet := now.Sub(m.sentAt) >= max(time.Second, c.cfg.WatermarkInterval)
		if w == noWatermark || (w == m.sent && !quiet && !m.force) || len(m.shards) == 0 {
			return 0, nil
		}
		m.busy, m.force, m.sent, m.sentAt = true, false, w, now
		return w, m.shards
	}
	return 0, nil
}

// marked takes the shards that have not acknowledged the round, none if all is
// well. An ordinary watermark is not repeated: a newer one is due soon.
func (c *core) marked(now time.Time, w int64, missing []shard) {
	m := &c.marks
	m.busy = false
	if len(missing) > 0 {
		c.failed += int64(len(missing))
	}
	if w != trip.FinalWatermark {
		m.force = m.force || len(missing) > 0
		return
	}
	m.left = missing
	if len(missing) > 0 {
		m.at = now.Add(c.backoff(2))
		return
	}
	m.phase, m.told, m.at, m.listAt = listing, true, now, now
}

// list reports whether the shards are to be listed now; if so, listing counts as
// on its way until listed or unlisted.
func (c *core) list(now time.Time) bool {
	m := &c.marks
	if m.phase == sending && c.low == c.total && !m.busy {
		m.phase, m.listAt, m.at = listing, now, now
	}
	if m.listBusy || m.phase > listing || now.Before(m.listAt) {
		return false
	}
	m.listBusy = true
	return true
}

// listed takes the open shards, ordered by starting hash key.
func (c *core) listed(now time.Time, shards []shard) {
	m := &c.marks
	known := m.listed
	same := known && slices.EqualFunc(m.shards, shards, func(a, b shard) bool { return a.id == b.id })
	m.listed, m.shards, m.listBusy = true, shards, false
	if !same && m.phase == sending {
		m.force, m.at = true, now
	}
	m.listAt = now.Add(c.cfg.ShardRefresh)
	if m.phase != listing {
		return
	}
	// A listing that began before the end counts as the first only: none is on
	// its way while the final watermark is.
	if same && m.told {
		m.phase = finished
		return
	}
	m.phase, m.told, m.left, m.at = finishing, false, shards, now
}

// unlisted takes the failure of a listing.
func (c *core) unlisted(now time.Time) {
	c.marks.listBusy = false
	c.marks.listAt = now.Add(c.backoff(3))
	c.failed++
}

// routed takes the shard that a record of the lane went to. It returns the known
// shard when that cannot be: the stream does not follow explicit hash keys. A
// shard that is not known means that the stream was resharded.
func (c *core) routed(now time.Time, lane int, id string) *shard {
	m := &c.marks
	if id == "" {
		return nil
	}
	for i := range m.shards {
		if s := &m.shards[i]; s.id == id {
			if s.covers(lanes[lane].at) {
				return nil
			}
			return s
		}
	}
	if m.phase == sending && !m.listBusy {
		// Soon, but not at every answer: the answer may be older than the list.
		if soon := now.Add(time.Second); soon.Before(m.listAt) {
			m.listAt = soon
		}
	}
	return nil
}

func (m *marks) wake(c *core, sooner func(time.Time)) {
	if m.phase == finished {
		return
	}
	if m.listed && !m.busy {
		sooner(m.at)
	}
	if !m.listBusy && m.phase <= listing {
		sooner(m.listAt)
	}
}
