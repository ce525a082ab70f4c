package window

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// simulation is what ingest might write for some shards: a log for each
// partition, with barriers, splits, merges, ghosts and different interleavings.
type simulation struct {
	rng     *rand.Rand
	late    bool // trips may come after their shard's W, and shards are idle
	cells   []trip.Cell
	config  Config
	shards  []*simShard
	now     int64
	step    int
	barrier stream.BarrierID

	logs [][][]byte // of each partition, from FirstMessage on
	rows [][]stream.Row
}

type simShard struct {
	id         stream.ShardID
	parents    []*simShard
	ended      bool
	final      bool
	idle       bool
	position   uint64
	watermark  int64
	barrier    stream.BarrierID
	read       uint64
	watermarks uint64
	parts      []simPart
	cuts       map[stream.BarrierID]uint64 // positions of barriers
}

type simPart struct {
	next   stream.Frame // being filled
	frames []simFrame
}

type simFrame struct {
	step int
	data []byte
}

// simulate makes the logs of some steps.
func simulate(seed uint64, partitions, shards, steps int, late bool) *simulation {
	queries, _ := Queries(trip.GeofenceBBox, 10*time.Minute)
	s := &simulation{
		rng: rand.New(rand.NewPCG(seed, 1)), late: late, now: day.UnixNano(), rows: make([][]stream.Row, partitions),
		config: Config{Job: "sim", Generation: 3, Nonce: testNonce, Partitions: partitions, Queries: queries},
	}
	for range 24 {
		s.cells = append(s.cells, trip.CellOf(40.6+s.rng.Float64()*0.2, -74+s.rng.Float64()*0.2, trip.MaxPrecision))
	}
	for range shards {
		s.config.Shards = append(s.config.Shards, s.open().id)
	}
	for range steps {
		s.act()
	}
	s.finish()
	for p := range partitions {
		s.logs = append(s.logs, s.merge(p))
	}
	return s
}

func (s *simulation) open(parents ...*simShard) *simShard {
	sh := &simShard{
		id: stream.ShardID(fmt.Sprintf("shard-%02d", len(s.shards))), parents: parents, watermark: stream.MinWatermark,
		parts: make([]simPart, s.config.Partitions), cuts: make(map[stream.BarrierID]uint64),
	}
	s.shards = append(s.shards, sh)
	return sh
}

func (s *simulation) alive() (open []*simShard) {
	for _, sh := range s.shards {
		if !sh.ended {
			open = append(open, sh)
		}
	}
	return open
}

func (s *simulation) chance(percent int) bool { return s.rng.IntN(100) < percent }

func (s *simulation) act() {
	s.step++
	s.now += s.rng.Int64N(int64(3 * time.Minute))
	if s.chance(12) {
		s.barrier++
	}
	open := s.alive()
	sh := open[s.rng.IntN(len(open))]
	for range s.rng.IntN(20) {
		s.readEvent(sh)
	}
	sh.idle = s.late && s.chance(10)
	for p := range sh.parts {
		if s.chance(50) {
			s.flush(sh, p, 0, nil)
		}
	}
	switch {
	case sh.barrier < s.barrier && s.chance(60):
		s.writeBarrier(sh, s.barrier-stream.BarrierID(s.rng.IntN(2)*s.rng.IntN(2)))
	case len(s.shards) < 10 && s.chance(4):
		s.endShard(sh, open)
	}
}

func (s *simulation) readEvent(sh *simShard) {
	sh.position++
	sh.read++
	pos := position(sh.position)
	p := s.rng.IntN(len(sh.parts))
	f := &sh.parts[p].next
	switch n := s.rng.IntN(100); {
	case n < 6:
		sh.watermarks++
		if !sh.final {
			sh.watermark = max(sh.watermark, s.now)
		}
	case n < 10:
		f.Outside++
	case n < 13:
		f.Repeated++
	case n < 16:
		f.Dead = append(f.Dead, stream.Dead{Pos: pos, Reason: "json", Raw: []byte("?"), Size: 1})
	default:
		r := stream.Row{
			Pos: pos, EventTime: s.now + s.rng.Int64N(int64(40*time.Minute)), Duration: s.rng.Int64N(int64(4*time.Hour)) - int64(20*time.Minute),
			Pickup: s.cells[s.rng.IntN(len(s.cells))], Airport: trip.Airport(s.rng.IntN(3)), TotalCents: s.rng.Int64N(9000),
		}
		if s.late && s.chance(20) {
			r.EventTime -= s.rng.Int64N(int64(3 * time.Hour))
		}
		r.Dropoff = r.Pickup
		p := PartitionOf(r.Pickup.Prefix(CellPrecision), len(sh.parts))
		f := &sh.parts[p].next
		f.Rows = append(f.Rows, r)
		s.rows[p] = append(s.rows[p], r)
	}
}

func (s *simulation) flush(sh *simShard, p int, flags stream.Flags, children []stream.Child) {
	part := &sh.parts[p]
	f := part.next
	f.Nonce, f.Shard, f.Epoch, f.Upto, f.Watermark, f.Barrier = testNonce, sh.id, 1, position(sh.position), sh.watermark, sh.barrier
	f.Flags, f.Children = flags, children
	if sh.idle {
		f.Flags |= stream.FlagIdle
	}
	if sh.final {
		f.Flags |= stream.FlagFinal
	}
	if flags&(stream.FlagBarrier|stream.FlagEnd) != 0 {
		f.Cut = &stream.Cut{Restart: f.Upto.Seq, Read: sh.read, Watermarks: sh.watermarks, Marks: []stream.Mark{{Producer: 7, Lane: 3, Seq: sh.position}}}
	}
	part.frames = append(part.frames, simFrame{s.step, stream.Append(nil, &f)})
	part.next = stream.Frame{Header: stream.Header{After: f.Upto}}
}

func (s *simulation) writeBarrier(sh *simShard, n stream.BarrierID) {
	if n <= sh.barrier {
		return
	}
	sh.barrier = n
	sh.cuts[n] = sh.position
	for p := range sh.parts {
		s.flush(sh, p, stream.FlagBarrier, nil)
	}
}

// endShard splits a shard, merges it with another, or closes it for good.
func (s *simulation) endShard(sh *simShard, open []*simShard) {
	parents := []*simShard{sh}
	if other := open[s.rng.IntN(len(open))]; other != sh && s.chance(50) {
		parents = append(parents, other)
	}
	var children []stream.Child
	number := 3 - len(parents)
	if len(open) > 2 && s.chance(10) {
		number = 0
	}
	for range number {
		c := stream.Child{Shard: s.open(parents...).id}
		for _, p := range parents {
			c.Parents = append(c.Parents, p.id)
		}
		children = append(children, c)
	}
	for _, parent := range parents {
		parent.ended = true
		for p := range parent.parts {
			s.flush(parent, p, stream.FlagEnd, children)
		}
	}
}

// finish sends the final watermark and a last barrier to every open shard.
func (s *simulation) finish() {
	s.step++
	s.barrier++
	for _, sh := range s.alive() {
		sh.position++
		sh.read++
		sh.watermarks++
		sh.watermark, sh.final = trip.FinalWatermark, true
		s.writeBarrier(sh, s.barrier)
	}
}

// merge brings the frames of one partition into an order: each shard's as it
// wrote them, a child's after its parents', else not far from the steps'.
func (s *simulation) merge(p int) (log [][]byte) {
	taken := make(map[*simShard]int)
	done := func(sh *simShard) bool { return taken[sh] == len(sh.parts[p].frames) }
	for {
		var ready []*simShard
		least := 1 << 30
		for _, sh := range s.shards {
			if done(sh) || slices.ContainsFunc(sh.parents, func(q *simShard) bool { return !done(q) }) {
				continue
			}
			ready = append(ready, sh)
			least = min(least, sh.parts[p].frames[taken[sh]].step)
		}
		if len(ready) == 0 {
			return log
		}
		ready = slices.DeleteFunc(ready, func(sh *simShard) bool { return sh.parts[p].frames[taken[sh]].step > least+6 })
		sh := ready[s.rng.IntN(len(ready))]
		log = append(log, sh.parts[p].frames[taken[sh]].data)
		taken[sh]++
		for _, old := range s.shards { // a ghost: any frame of an ended shard
			if n := len(old.parts[p].frames); old.ended && done(old) && s.chance(3) {
				log = append(log, old.parts[p].frames[s.rng.IntN(n)].data)
			}
		}
	}
}
