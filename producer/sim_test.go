package producer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

// world is a Kinesis that does everything Kinesis may do, and ingest's reading
// of it: it checks, as records land, what ingest relies on.
type world struct {
	t       *rapid.T
	trips   []int64 // event times, sorted
	first   int64
	shards  []shard // open
	made    int
	next    [Lanes]int64 // ingest: lowest index of the lane that has not landed
	highest int64        // highest watermark that landed
	final   map[string]bool
	repeats int
	ghosts  []entry // of calls that nobody waits for
}

// entry is one record on its way: a run of trips or a watermark.
type entry struct {
	run run
	w   int64
	key HashKey
}

func (w *world) route(k HashKey) string {
	for i := range w.shards {
		if w.shards[i].covers(k) {
			return w.shards[i].id
		}
	}
	w.t.Fatalf("no shard for %s", k)
	return ""
}

// land appends the entry to its shard and returns the shard.
func (w *world) land(e entry) string {
	id := w.route(e.key)
	if e.run.n == 0 {
		w.highest = max(w.highest, e.w)
		if e.w == trip.FinalWatermark {
			w.final[id] = true
		}
		return id
	}
	for k := range int64(e.run.n) {
		i := e.run.first + k*Lanes
		switch next := &w.next[e.run.lane]; {
		case i < *next:
			w.repeats++
		case i > *next:
			w.t.Fatalf("R14: lane %d has a gap: trip %d came when %d was next", e.run.lane, i, *next)
		default:
			*next += Lanes
			if w.trips[i] < w.highest {
				w.t.Fatalf("R15: trip %d of %d landed after the watermark %d", i, w.trips[i], w.highest)
			}
		}
	}
	return id
}

// reshard splits or merges shards at random.
func (w *world) reshard(split bool, at int) {
	at %= len(w.shards)
	s := w.shards[at]
	if split && s.start[0] < s.end[0] {
		a, b := s, s
		mid := s.start[0] + (s.end[0]-s.start[0])/2
		a.end = HashKey{mid}
		for i := 1; i < 16; i++ {
			a.end[i] = 0xff
		}
		b.start = HashKey{mid + 1}
		w.shards = slices.Replace(w.shards, at, at+1, w.child(a, s), w.child(b, s))
	} else if !split && at+1 < len(w.shards) {
		merged := s
		merged.end = w.shards[at+1].end
		w.shards = slices.Replace(w.shards, at, at+2, w.child(merged, s, w.shards[at+1]))
	}
}

// child names a shard. It begins with what its parents heard of the end: a
// reshard after the last listing is ingest's to carry over (R8).
func (w *world) child(s shard, parents ...shard) shard {
	s = w.named(s)
	w.final[s.id] = !slices.ContainsFunc(parents, func(p shard) bool { return !w.final[p.id] })
	return s
}

func (w *world) named(s shard) shard {
	w.made++
	s.id, s.key = fmt.Sprintf("shard-%d", w.made), s.start.String()
	return s
}

// flight is a call that the producer waits for.
type flight struct {
	runs  []run
	w     int64 // of a round of watermarks
	to    []shard
	state []outcome // delivered: the entry landed
	route []string
}

func (f *flight) entry(i int) entry {
	if f.to != nil {
		return entry{w: f.w, key: f.to[i].start}
	}
	return entry{run: f.runs[i], key: lanes[f.runs[i].lane].at}
}

// client is one life of the producer around the world.
type client struct {
	w       *world
	core    *core
	now     time.Time
	calls   []*flight
	round   *flight
	listing []shard // the answer on its way, nil if none
	saved   int64
	lastW   int64
}

func (c *client) start(cfg Config, seed uint64) {
	c.core = newCore(cfg, c.w.first, c.saved, int64(len(c.w.trips)), rand.New(rand.NewPCG(seed, 1)))
	c.calls, c.round, c.listing, c.lastW = nil, nil, nil, noWatermark
}

// crash ends this life: what was on its way may land for ever after.
func (c *client) crash() {
	for _, f := range append(c.calls, c.round) {
		if f == nil {
			continue
		}
		for i, s := range f.state {
			if s != delivered {
				c.w.ghosts = append(c.w.ghosts, f.entry(i))
			}
		}
	}
}

// dispatch does what the shell's dispatch does.
func (c *client) dispatch() {
	c.core.advance(c.now)
	for len(c.calls) < c.core.cfg.InFlight {
		runs := c.core.records(c.now, nil)
		if len(runs) == 0 {
			break
		}
		if len(runs) > maxEntries {
			c.w.t.Fatalf("%d entries in a call", len(runs))
		}
		for i, r := range runs { // the encoder may take fewer
			if r.n > 1 && r.first%7 == 0 {
				runs[i].n = r.n - 1
			}
		}
		c.calls = append(c.calls, &flight{runs: runs, state: make([]outcome, len(runs)), route: make([]string, len(runs))})
	}
	if c.core.list(c.now) {
		c.listing = slices.Clone(c.w.shards)
	}
	if w, to := c.core.watermarks(c.now); len(to) > 0 {
		if w < c.lastW {
			c.w.t.Fatalf("R15: watermark went back from %d to %d", c.lastW, w)
		}
		c.lastW = w
		c.round = &flight{w: w, to: to, state: make([]outcome, len(to)), route: make([]string, len(to))}
	}
}

// finish answers a call: mode 0 all well, 1 some entries refused, 2 the answer
// is lost, 3 nothing arrived (yet).
func (c *client) finish(f *flight, mode int, dice *rand.Rand) {
	lost := mode >= 2
	for i := range f.state {
		if f.state[i] == delivered {
			continue
		}
		switch {
		case mode == 0 || mode < 3 && dice.IntN(2) == 0:
			f.route[i] = c.w.land(f.entry(i))
			f.state[i] = delivered
		case mode >= 2 && dice.IntN(3) == 0: // it is still on its way
			c.w.ghosts = append(c.w.ghosts, f.entry(i))
			f.state[i] = failed
		case dice.IntN(8) == 0 && mode == 1 && f.to == nil:
			f.state[i] = unsent
		default:
			f.state[i] = outcome(2 + dice.IntN(2))
		}
	}
	if f.to != nil {
		var missing []shard
		for i, s := range f.to {
			if lost || f.state[i] != delivered {
				missing = append(missing, s)
			}
		}
		c.round = nil
		c.core.marked(c.now, f.w, missing)
		return
	}
	for i, r := range f.runs {
		o := f.state[i]
		if lost {
			o = failed
		}
		c.core.answer(c.now, r, o)
		if o == delivered {
			if s := c.core.routed(c.now, r.lane, f.route[i]); s != nil {
				c.w.t.Fatalf("lane %d seems to be misrouted to %s", r.lane, s.id)
			}
		}
	}
	c.core.settle()
	c.calls = slices.DeleteFunc(c.calls, func(o *flight) bool { return o == f })
}

func (c *client) feed(n int64) {
	n = min(n, int64(len(c.w.trips))-c.core.loaded, c.core.room())
	if n <= 0 {
		return
	}
	batch := make([]trip.Trip, n)
	for i := range batch {
		batch[i].Dropoff = c.w.trips[c.core.loaded+int64(i)]
	}
	c.core.trips(c.now, batch)
}

// TestExactlyTheTrips attacks R14 and R15: whatever Kinesis and crashes do, every
// lane is gapless and in order once repeats are dropped, no watermark is ahead of
// a trip that follows, all trips arrive, and every open shard hears of the end.
func TestExactlyTheTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 255, 256, 257, 1500, 4000, 20000}).Draw(t, "trips")
		dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		w := &world{t: t, final: map[string]bool{}, highest: noWatermark, trips: make([]int64, n)}
		ts := int64(-3_000_000_000)
		for i := range w.trips {
			if dice.IntN(3) > 0 {
				ts += dice.Int64N(50_000_000)
			}
			if dice.IntN(500) == 0 {
				ts += dice.Int64N(1_000_000_000_000)
			}
			w.trips[i] = ts
		}
		w.first = int64(rapid.IntRange(0, n).Draw(t, "seek"))
		for l := range w.next {
			w.next[l] = firstOfLane(l, w.first)
		}
		all := shard{}
		for i := range all.end {
			all.end[i] = 0xff
		}
		w.shards = []shard{w.named(all)}
		for range rapid.IntRange(0, 3).Draw(t, "splits") {
			w.reshard(true, dice.IntN(8))
		}
		cfg := Config{
			Speedup:   rapid.SampledFrom([]float64{0, 1, 1000}).Draw(t, "speedup"),
			Aggregate: rapid.SampledFrom([]int{1, 3, 32}).Draw(t, "aggregate"),
			InFlight:  rapid.IntRange(1, 5).Draw(t, "inflight"),
		}
		cfg.setDefaults()
		c := &client{w: w, now: time.Unix(1e9, 0), saved: w.first}
		c.start(cfg, dice.Uint64())

		for _, step := range rapid.SliceOfN(rapid.IntRange(0, 99), 0, 300).Draw(t, "steps") {
			c.dispatch()
			switch {
			case step < 25:
				c.feed(1 + dice.Int64N(2*chunk))
			case step < 45:
				c.now = c.now.Add(time.Duration(dice.Int64N(int64(3 * time.Second))))
			case step < 75 && len(c.calls) > 0:
				c.finish(c.calls[dice.IntN(len(c.calls))], step%4, dice)
			case step < 82 && c.round != nil:
				c.finish(c.round, step%4, dice)
			case step < 88 && len(w.ghosts) > 0:
				i := dice.IntN(len(w.ghosts))
				w.land(w.ghosts[i])
				w.ghosts = slices.Delete(w.ghosts, i, i+1)
			case step < 91 && c.listing != nil:
				c.core.listed(c.now, c.listing)
				c.listing = nil
			case step < 92 && c.listing != nil:
				c.core.unlisted(c.now)
				c.listing = nil
			case step < 95:
				c.saved = max(c.saved, c.core.low)
			case step < 97:
				w.reshard(dice.IntN(2) == 0, dice.IntN(8))
			case step == 97:
				c.crash()
				c.start(cfg, dice.Uint64())
			}
		}
		c.drain()
		for len(w.ghosts) > 0 {
			w.land(w.ghosts[0])
			w.ghosts = w.ghosts[1:]
		}
		for l := range w.next {
			if w.next[l] < int64(n) {
				t.Fatalf("trip %d never arrived", w.next[l])
			}
		}
		for _, s := range w.shards {
			if !w.final[s.id] {
				t.Fatalf("R15: %s is open and has no final watermark", s.id)
			}
		}
		if got, want := c.core.acked, int64(n)-w.first; got != want {
			t.Fatalf("%d trips counted as acknowledged, want %d", got, want)
		}
	})
}

// drain lets everything succeed until the replay is finished. Time moves only
// when core asks for it, so a missing wake-up shows as a stall.
func (c *client) drain() {
	dice := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		c.dispatch()
		if c.core.marks.phase == finished {
			return
		}
		switch {
		case c.core.wantTrips():
			c.feed(chunk)
		case len(c.calls) > 0:
			c.finish(c.calls[0], 0, dice)
		case c.round != nil:
			c.finish(c.round, 0, dice)
		case c.listing != nil:
			// What was listed in the steps may be old; what is asked now is not.
			c.core.listed(c.now, c.listing)
			c.listing = nil
		default:
			at := c.core.wake(c.now)
			if at.IsZero() {
				c.w.t.Fatalf("stalled: low %d due %d loaded %d phase %d", c.core.low, c.core.due, c.core.loaded, c.core.marks.phase)
			}
			c.now = at
		}
	}
	c.w.t.Fatalf("no end: low %d due %d loaded %d phase %d", c.core.low, c.core.due, c.core.loaded, c.core.marks.phase)
}
