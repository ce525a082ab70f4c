package window

import (
	"errors"
	"fmt"
	"math"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// Sentinels of this package. Frames are also refused with [stream.ErrGap] (R3:
// drop the machine and reload a snapshot; if it recurs, R16), [stream.ErrBroken]
// (R16) and [stream.ErrCorrupt]; snapshot bodies with [checkpoint.ErrCorrupt].
var (
	// ErrOverflow says that versions have run out: start a new generation (R7).
	ErrOverflow = errors.New("apply ordinal overflows the version")
	// ErrMismatch says that a snapshot is of another job, generation, partition
	// or definition of a query than the configuration. The text names which.
	ErrMismatch = errors.New("snapshot does not match")
)

// DefaultQueueLimit bounds the log-message bytes queued behind a barrier (R6).
const DefaultQueueLimit = 64 << 20

// FirstMessage is the stream sequence of the first frame: message 1 is the genesis.
const FirstMessage = 2

// maxOrdinal is the greatest apply ordinal that fits a version.
const maxOrdinal = 1<<48 - 1

// Config says which partition of which generation a machine is for, as manifest
// 0 fixes it. Results and cuts are functions of it and of the log.
type Config struct {
	Job        string
	Generation stream.Generation
	Nonce      uint64 // of the generation
	Partition  stream.Partition
	Partitions int
	// Precision of the cells that are partitioned; 0: that of Queries.
	Precision int
	Queries   []Query
	// Shards is the generation's initial set of shards. Restore takes the
	// snapshot's.
	Shards []stream.ShardID
	// QueueLimit is in bytes; 0 means DefaultQueueLimit. Results do not depend
	// on it, completed checkpoints do: it is the same for every owner.
	QueueLimit int
}

// Validate says what is missing or out of range.
func (c Config) Validate() error {
	switch {
	case c.Job == "":
		return errors.New("window: the configuration names no job")
	case c.Generation == 0:
		return errors.New("window: generations begin at 1")
	case c.Partitions < 1 || uint64(c.Partition) >= uint64(c.Partitions):
		return fmt.Errorf("window: partition %d is not one of %d", c.Partition, c.Partitions)
	case len(c.Queries) == 0 || len(c.Queries) > maxQueries:
		return fmt.Errorf("window: a job has 1 to %d queries, not %d", maxQueries, len(c.Queries))
	case c.QueueLimit < 0:
		return fmt.Errorf("window: the queue limit %d is negative", c.QueueLimit)
	}
	names := make(map[string]bool)
	for _, q := range c.Queries {
		if err := q.Validate(); err != nil {
			return fmt.Errorf("window: %w", err)
		}
		if names[q.Name] {
			return fmt.Errorf("window: two queries are named %q", q.Name)
		}
		names[q.Name] = true
	}
	if p := Precision(c.Queries); c.Precision < 0 || c.Precision > p {
		return fmt.Errorf("window: cells are partitioned at precision %d, a query's key has %d: its groups would span partitions",
			c.Precision, p)
	}
	return nil
}

// Machine is one partition's state: a pure function of a snapshot and the
// frames applied since. It is not safe for concurrent use.
type Machine struct {
	cfg Config

	// State, a function of the frames applied.
	shards    shardSet
	operators []*operator
	watermark int64
	ordinal   uint64 // frames applied

	// Alignment, a function of the frames that have arrived.
	next     uint64           // stream sequence of the next message
	barrier  stream.BarrierID // the highest that has arrived
	aligning bool             // barrier is neither complete nor cancelled
	cut      bool             // the state is barrier's cut, and Step has said so
	queue    queue
	err      error // of a frame that could not be applied: the machine is dead

	cancelled, overflowed uint64 // barriers, since New or Restore

	// Output and memory for reuse.
	frame    stream.Frame
	docs     []sink.Document
	scratch  []byte // a document's body is built here
	handed   bool   // Step has returned docs
	firing   firing
	late     []uint64 // per row of the frame, the queries it is late for
	panes    pool
	minEvent int64 // event times whose windows are representable
	maxEvent int64
}

// New returns the machine at the start of a generation: nothing is applied, the
// next message is FirstMessage.
func New(cfg Config) (*Machine, error) {
	m, err := newMachine(cfg)
	if err != nil {
		return nil, err
	}
	if len(cfg.Shards) == 0 {
		return nil, errors.New("window: the generation has no shards")
	}
	for _, id := range cfg.Shards {
		if m.shards.find(id) != nil {
			return nil, fmt.Errorf("window: shard %s is listed twice", id)
		}
		m.shards.add(checkpoint.ShardCut{Shard: id, State: checkpoint.Open, Watermark: stream.MinWatermark})
	}
	return m, nil
}

func newMachine(cfg Config) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Precision == 0 {
		cfg.Precision = Precision(cfg.Queries)
	}
	if cfg.QueueLimit == 0 {
		cfg.QueueLimit = DefaultQueueLimit
	}
	m := &Machine{
		cfg: cfg, watermark: stream.MinWatermark, next: FirstMessage,
		minEvent: math.MinInt64, maxEvent: math.MaxInt64,
	}
	for _, q := range cfg.Queries {
		m.operators = append(m.operators, newOperator(q))
		m.minEvent = max(m.minEvent, math.MinInt64+int64(q.Window))
		m.maxEvent = min(m.maxEvent, math.MaxInt64-int64(q.Window)-1)
	}
	return m, nil
}

// Next is the stream sequence of the next message.
func (m *Machine) Next() uint64 { return m.next }

// version is that of the documents of the frame applied last (R7).
func (m *Machine) version() uint64 { return uint64(m.cfg.Generation)<<48 | m.ordinal }

// applyFrame applies m.frame, message seq, to the state.
func (m *Machine) applyFrame(seq uint64, s *shard) {
	f := &m.frame
	if s.State == checkpoint.Ended { // I7
		s.ghosts++
		s.anchor = checkpoint.Anchor{Shard: s.Shard, Seq: seq, Checksum: f.Checksum}
		return
	}
	m.ordinal++
	m.applyItems(s)
	s.advance(&f.Header)
	switch {
	case f.Flags&stream.FlagEnd != 0:
		s.anchor = checkpoint.Anchor{Shard: s.Shard, Seq: seq, Checksum: f.Checksum}
		s.State = checkpoint.Ended
		if m.shards.end(&f.Header) {
			m.queue.rescan()
		}
	case f.Flags&stream.FlagBarrier != 0 && m.aligning && f.Barrier == m.barrier:
		s.anchor = checkpoint.Anchor{Shard: s.Shard, Seq: seq, Checksum: f.Checksum}
		s.blocked = true
	}
	m.watermark = m.shards.watermark(m.watermark)
}

// applyItems applies a frame's trips and dead letters: before its watermark (R4).
func (m *Machine) applyItems(s *shard) {
	f := &m.frame
	s.counters.Outside += f.Outside
	s.counters.Repeated += f.Repeated
	s.counters.Dead += uint64(len(f.Dead))
	for i := range f.Dead {
		m.emitDead(s.Shard, &f.Dead[i])
	}
	rows := f.Rows
	if len(rows) == 0 {
		return
	}
	for i := range rows {
		if t := rows[i].EventTime; t < m.minEvent || t > m.maxEvent {
			rows = m.dropUnwindowed(s, rows)
			break
		}
	}
	s.counters.Applied += uint64(len(rows))
	if cap(m.late) < len(rows) {
		m.late = make([]uint64, len(rows)+len(rows)/2)
	}
	late, some := m.late[:len(rows)], false
	for i, o := range m.operators {
		if o.apply(rows, m.watermark, &m.panes, late, 1<<i) {
			some = true
		}
	}
	if some {
		for i := range rows {
			if late[i] != 0 {
				m.emitLate(s.Shard, &rows[i], late[i])
				late[i] = 0
			}
		}
	}
}

// dropUnwindowed takes out the rows whose windows cannot be represented: dead
// letters (R21). Times of valid trips are bounded by the years 1678 to 2261, so
// these are at the very ends.
func (m *Machine) dropUnwindowed(s *shard, rows []stream.Row) []stream.Row {
	kept := rows[:0]
	for i := range rows {
		if t := rows[i].EventTime; t >= m.minEvent && t <= m.maxEvent {
			kept = append(kept, rows[i])
			continue
		}
		s.counters.Dead++
		m.emitDead(s.Shard, &stream.Dead{Pos: rows[i].Pos, Reason: ReasonEventTime})
	}
	return kept
}

// ReasonEventTime is the reason of a dead letter whose event time lies in no
// representable window.
const ReasonEventTime = "event_time"

// check refuses a frame whose rows cannot be this partition's.
func (m *Machine) check(seq uint64, f *stream.Frame) error {
	refuse := func(format string, a ...any) error {
		return fmt.Errorf("%w: message %d of shard %s "+format, append([]any{stream.ErrCorrupt, seq, f.Shard}, a...)...)
	}
	if f.Flags&stream.FlagBarrier != 0 && f.Barrier == 0 {
		return refuse("is a barrier without a number")
	}
	if f.Flags&(stream.FlagBarrier|stream.FlagEnd) != 0 && f.Cut == nil {
		return refuse("is a barrier or END without its cut")
	}
	if len(f.Rows) == 0 {
		return nil
	}
	for i := range f.Rows {
		if r := &f.Rows[i]; r.Pickup.Precision() != trip.MaxPrecision || r.Airport > trip.LGA {
			return refuse("has a trip at %s without a pick-up cell or with an unknown airport", r.Pos)
		}
	}
	first, last := &f.Rows[0], &f.Rows[len(f.Rows)-1]
	if first.Pos.Compare(f.After) <= 0 || last.Pos.Compare(f.Upto) > 0 {
		return refuse("has trips at %s to %s, outside of its range (%s, %s]", first.Pos, last.Pos, f.After, f.Upto)
	}
	if p := PartitionOf(first.Pickup.Prefix(m.cfg.Precision), m.cfg.Partitions); p != m.cfg.Partition {
		return refuse("has a trip of partition %s (cell %s)", p, first.Pickup)
	}
	return nil
}
