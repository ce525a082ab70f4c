package producer

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

const (
	// chunk is how many trips are read at once.
	chunk = 2048
	// maxEntries and maxCall are what one PutRecords call holds here; Kinesis
	// takes 500 entries and 10 MiB.
	maxEntries = 500
	maxCall    = 4 << 20
	// tripBound is more than one encoded trip takes, for planning only.
	tripBound = 1 << 10
	// shardRecords is how many records a second paced lanes offer one shard, of
	// the 1,000 that Kinesis takes.
	shardRecords = 700
	// never is a wait beyond every replay.
	never = time.Duration(math.MaxInt64 / 4)
)

// run is a record to be sent: n trips of a lane from the index first on.
type run struct {
	lane  int
	first int64
	n     int
}

// laneState is one lane. At most one record of it is on its way.
type laneState struct {
	next     int64 // lowest unacknowledged index of the lane
	cut      int   // trips in the record on its way or to be repeated; 0: none is cut
	busy     bool
	attempts int       // failures in a row
	retryAt  time.Time // not before
}

// core decides what is sent when. Every method is an event, a question or both;
// the shell does what the answers say. It is not safe for concurrent use.
type core struct {
	cfg   Config
	rnd   *rand.Rand
	ring  *ring
	first int64 // where the replay starts (Seek)
	total int64 // trips in the data set

	lanes  [Lanes]laneState
	low    int64 // lowest unacknowledged index; total when all are
	loaded int64 // trips below are in the ring
	due    int64 // trips below are due
	flush  int64 // trips below do not wait for others of their lane
	acked  int64 // acknowledged trips, earlier runs included

	started bool
	t0      time.Time // the pace: at t0 the event time is ts0
	ts0     int64
	tick    time.Time // next flush
	lastTS  int64     // event time of the trip before low

	marks                       marks
	throttled, repeated, failed int64
}

// newCore returns the state of a replay of the trips [from, total) of which
// those from first to from are acknowledged.
func newCore(cfg Config, first, from, total int64, rnd *rand.Rand) *core {
	c := &core{
		cfg: cfg, rnd: rnd, first: first, total: total,
		ring: newRing(max(4*Lanes*cfg.Aggregate, 4*chunk)),
		low:  from, loaded: from, due: from, flush: from, acked: from - first,
	}
	for l := range c.lanes {
		c.lanes[l].next = firstOfLane(l, from)
	}
	c.marks.init()
	return c
}

// wantTrips reports whether a chunk of trips fits.
func (c *core) wantTrips() bool {
	return c.loaded < c.total && c.room() >= chunk
}

func (c *core) room() int64 { return c.low + int64(len(c.ring.slots)) - c.loaded }

// trips takes the next chunk of the data set.
func (c *core) trips(now time.Time, trips []trip.Trip) {
	if !c.started {
		c.started, c.t0, c.ts0 = true, now, trips[0].EventTime()
		c.tick, c.lastTS = now, c.ts0
	}
	c.ring.put(c.loaded, trips)
	c.loaded += int64(len(trips))
}

// advance moves the replay to now.
func (c *core) advance(now time.Time) {
	if c.cfg.Speedup == 0 {
		c.due = c.loaded
		if !c.wantTrips() { // nothing will make the records fuller
			c.flush = c.loaded
		}
		return
	}
	for c.due < c.loaded && !c.dueAt(c.ring.at(c.due).EventTime()).After(now) {
		c.due++
	}
	if c.flush < c.due && (!now.Before(c.tick) || c.due == c.total) {
		c.flush, c.tick = c.due, now.Add(c.linger())
	}
}

// linger is how long due trips wait for others of their lane.
func (c *core) linger() time.Duration {
	if n := len(c.marks.shards); n > 0 && c.cfg.Aggregate > 1 {
		return max(c.cfg.Linger, time.Second*Lanes/time.Duration(shardRecords*n))
	}
	return c.cfg.Linger
}

// dueAt returns when event time ts is reached by the pace.
func (c *core) dueAt(ts int64) time.Time {
	d := never
	// The difference of two event times fits uint64, not int64.
	if f := float64(uint64(ts)-uint64(c.ts0)) / c.cfg.Speedup; f < float64(never) {
		d = time.Duration(math.Ceil(f))
	}
	return c.t0.Add(d)
}

// clock returns the event time that the pace has reached at now.
func (c *core) clock(now time.Time) int64 {
	f := float64(now.Sub(c.t0)) * c.cfg.Speedup
	if f >= math.MaxInt64 || int64(f) > math.MaxInt64-max(c.ts0, 0) {
		return math.MaxInt64
	}
	return c.ts0 + int64(f)
}

// records appends the records to send in one call, each lane's at most once, and
// marks their lanes busy. The oldest trips go first. It appends nothing when no
// lane is ready or the shards are not known yet.
func (c *core) records(now time.Time, dst []run) []run {
	if !c.marks.listed || c.low >= c.due {
		return dst
	}
	limit := min(maxEntries, (Lanes+c.cfg.InFlight-1)/c.cfg.InFlight)
	size := 0
	for k := range int64(Lanes) {
		l := laneOf(c.low + k)
		s := &c.lanes[l]
		if s.busy || s.next >= c.due || s.retryAt.After(now) {
			continue
		}
		n := s.cut
		if n == 0 {
			n = int(min((c.due-s.next+Lanes-1)/Lanes, int64(c.cfg.Aggregate)))
			if n < c.cfg.Aggregate && s.next >= c.flush {
				continue
			}
		}
		if size += min(n*tripBound, maxAggregate); size > maxCall || limit == 0 {
			break
		}
		limit--
		s.busy, s.cut = true, n
		if s.attempts > 0 {
			c.repeated++
		}
		dst = append(dst, run{lane: l, first: s.next, n: n})
	}
	return dst
}

// outcome is what became of one entry of a call.
type outcome uint8

const (
	unsent    outcome = iota // left out of the call
	delivered                // acknowledged
	throttled                // refused: too much for its shard
	failed                   // refused or unknown: it may have landed
)

// answer takes the outcome of the record r; r.n is how many trips it held in the
// end. After the answers of a call, settle must follow.
func (c *core) answer(now time.Time, r run, o outcome) {
	s := &c.lanes[r.lane]
	s.busy = false
	switch o {
	case unsent:
		return
	case delivered:
		s.next += int64(r.n) * Lanes
		s.cut, s.attempts, s.retryAt = 0, 0, time.Time{}
		c.acked += int64(r.n)
	default:
		if o == throttled {
			c.throttled++
		} else {
			c.failed++
		}
		s.cut = r.n
		s.retryAt = now.Add(c.backoff(s.attempts))
		s.attempts++
	}
}

// settle finds the lowest unacknowledged index again.
func (c *core) settle() {
	low := c.total
	for l := range c.lanes {
		low = min(low, c.lanes[l].next)
	}
	if low > c.low {
		c.lastTS = c.ring.at(low - 1).EventTime()
		c.low = low
	}
}

// backoff returns the wait after a number of failures before.
func (c *core) backoff(attempts int) time.Duration {
	d := c.cfg.RetryMax
	if attempts < 30 {
		d = min(c.cfg.RetryBase<<attempts, c.cfg.RetryMax)
	}
	return d/2 + time.Duration(c.rnd.Int64N(int64(d/2)+1))
}

// wake returns when time alone makes something ready, or the zero time.
func (c *core) wake(now time.Time) time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if c.cfg.Speedup > 0 {
		if c.flush < c.due {
			sooner(c.tick)
		} else if c.due < c.loaded {
			t := c.dueAt(c.ring.at(c.due).EventTime())
			if t.Before(c.tick) {
				t = c.tick
			}
			sooner(t)
		}
	}
	for l := range c.lanes {
		if s := &c.lanes[l]; !s.busy && s.cut > 0 {
			sooner(s.retryAt)
		}
	}
	c.marks.wake(c, sooner)
	return at
}
