package checkpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// ErrSuperseded says that another coordinator or another generation took over;
// this one stops.
var ErrSuperseded = errors.New("another coordinator or generation took over")

// ErrRival is the ErrSuperseded of a coordinator of the same generation. Where
// one is elected, the elected one may begin anew.
var ErrRival error = rival{}

type rival struct{}

func (rival) Error() string        { return "another coordinator took over" }
func (rival) Is(target error) bool { return target == ErrSuperseded }

type phase uint8

const (
	idle       phase = iota // nothing is under way
	collecting              // a barrier is (being) announced, acks are awaited
	committing              // all acks are there and equal
	stopped
)

// Coordinator is the pure state machine that completes checkpoints: events and
// time in, actions out. It has no clock, no I/O and no goroutines.
type Coordinator struct {
	cfg  Config
	now  time.Time
	head Head
	ver  string
	// known are the manifests of head that could be read, by name.
	known map[string]*Manifest
	spec  Spec

	phase phase
	board Barrier // what the board's key held when last seen
	cur   Barrier // the barrier under way
	// landed: the board shows cur. waiting: an action is not answered yet.
	// adopted: cur was announced by a predecessor.
	landed, waiting, adopted bool
	acks                     map[stream.Partition]Ack
	commit                   *Commit
	manifest                 *Manifest
	newHead                  Head

	started  time.Time // cur was announced
	deadline time.Time // cur times out
	next     time.Time // the next barrier, when idle
	retry    time.Time // an action that failed is tried again
	wanted   bool
	// Consecutive failures: disputes are unequal vectors. drains are commits at
	// which only documents were pending.
	timeouts, disputes, violations, retries, drains int
}

// maxViolations is after how many refused checkpoints in a row the coordinator
// gives up: cumulative counters do not heal.
const maxViolations = 3

// withDefaults fills in the zero fields.
func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = 10 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = 3 * c.Interval
	}
	if c.Retain == 0 {
		c.Retain = 3
	}
	if c.Nonce == 0 {
		c.Nonce = NewNonce()
	}
	return c
}

// NewCoordinator makes the machine and gives its first actions.
func NewCoordinator(cfg Config, s Start) (*Coordinator, []Action) {
	c := &Coordinator{
		cfg: cfg.withDefaults(), now: s.Now, head: s.Head, ver: s.Version,
		known: make(map[string]*Manifest), spec: s.Manifests[0].Spec, board: s.Announced,
		acks: make(map[stream.Partition]Ack),
	}
	for _, m := range s.Manifests {
		for _, ref := range s.Head.Manifests {
			if ref.Generation == m.Generation && ref.N == m.N {
				c.known[ref.Name] = m
			}
		}
	}
	c.next = s.Now.Add(c.cfg.Interval)
	var out []Action
	if c.head.N > 0 { // a predecessor may have died before it did this
		out = append(out, Complete{Completed{N: c.head.N, Manifest: c.head.Manifests[0]}})
		out = append(append(out, c.purges()...), Sweep{c.head})
	}
	if s.Announced.N > s.Head.N {
		// A predecessor left it unfinished. If all have acknowledged it commits,
		// else it is cancelled.
		c.next = s.Now
		if s.Announced.Base == s.Head.N && len(s.Acks) == c.spec.Partitions {
			c.phase, c.cur, c.landed, c.adopted, c.started = collecting, s.Announced, true, true, s.Now
			c.deadline = s.Now.Add(c.cfg.Timeout)
			for _, a := range s.Acks {
				out = append(out, c.Step(AckArrived{a})...)
			}
			return c, out
		}
	}
	return c, append(out, c.Step(Tick{s.Now})...)
}

// Next is when the machine wants its next Tick; the zero time: not before an
// answer.
func (c *Coordinator) Next() time.Time {
	switch {
	case c.phase == stopped || c.waiting:
		return time.Time{}
	case c.phase == idle:
		return c.next
	case c.phase == committing || !c.landed:
		return c.retry
	}
	return c.deadline
}

// Current is the barrier under way, if there is one.
func (c *Coordinator) Current() (Barrier, bool) {
	return c.cur, c.phase == collecting || c.phase == committing
}

// Head is HEAD as the machine knows it.
func (c *Coordinator) Head() Head { return c.head }

// Step takes an event and returns what is to be done.
func (c *Coordinator) Step(e Event) []Action {
	if c.phase == stopped {
		return nil
	}
	switch e := e.(type) {
	case Tick:
		if e.Now.After(c.now) {
			c.now = e.Now
		}
		return c.tick()
	case AckArrived:
		return c.ack(e.Ack)
	case Asked:
		if c.phase == collecting && e.Above >= c.cur.N {
			return c.cancel(fmt.Sprintf("the owner of a shard asks for a barrier above %d", e.Above))
		}
	case Wanted:
		if c.phase == idle {
			return c.announce()
		}
		c.wanted = true
	case Announced:
		return c.announced(e)
	case CommitFailed:
		return c.commitFailed(e)
	case CommitAnswered:
		return c.commitAnswered(e)
	}
	return nil
}

func (c *Coordinator) tick() []Action {
	switch c.phase {
	case idle:
		if !c.now.Before(c.next) {
			return c.announce()
		}
	case collecting:
		switch {
		case c.waiting:
		case !c.landed:
			if !c.now.Before(c.retry) {
				c.waiting = true
				return []Action{Announce{c.board, c.cur}}
			}
		case !c.now.Before(c.deadline):
			c.timeouts++
			return c.cancel(fmt.Sprintf("it timed out after %v, %s", c.now.Sub(c.started), c.missing()))
		}
	case committing:
		if !c.waiting && !c.now.Before(c.retry) {
			c.waiting = true
			return []Action{*c.commit}
		}
	}
	return nil
}

// missing names the partitions that have not acknowledged.
func (c *Coordinator) missing() string {
	var p []string
	for i := range c.spec.Partitions {
		if _, ok := c.acks[stream.Partition(i)]; !ok {
			p = append(p, stream.Partition(i).String())
		}
	}
	if len(p) > 8 {
		p = append(p[:8], fmt.Sprintf("and %d more", len(p)-8))
	}
	return "no ack came from partition " + strings.Join(p, ", ")
}

// announce begins the next barrier, above everything that was ever announced (R6).
func (c *Coordinator) announce() []Action {
	n := max(c.head.N, c.board.N, c.cur.N, c.cfg.Floor) + 1
	c.cur = Barrier{N: n, Base: c.head.N, Nonce: c.cfg.Nonce}
	c.phase, c.landed, c.adopted, c.waiting, c.wanted = collecting, false, false, true, false
	c.started = c.now
	c.next = c.now.Add(c.cfg.Interval)
	c.commit, c.manifest = nil, nil
	clear(c.acks)
	return []Action{Announce{c.board, c.cur}}
}

// cancel gives up the barrier under way. Cancelling is announcing the next
// one; nothing else unblocks the windows (R6).
func (c *Coordinator) cancel(reason string) []Action {
	out := []Action{Report{Cancelled{N: c.cur.N, Reason: reason}}}
	return append(out, c.announce()...)
}

func (c *Coordinator) announced(e Announced) []Action {
	if c.phase != collecting || e.N != c.cur.N || !c.waiting || c.landed {
		return nil
	}
	c.waiting = false
	switch {
	case e.Err != nil:
		c.backOff()
		return []Action{Report{Failed{c.cur.N, fmt.Sprintf("announce the barrier: %v", e.Err)}}}
	case e.There == c.cur:
		c.landed, c.board, c.retries = true, c.cur, 0
		c.deadline = c.now.Add(c.cfg.Timeout << min(c.timeouts, 3))
		return append([]Action{Report{c.cur}}, c.decide()...)
	case e.There.Nonce == c.cfg.Nonce && e.There.N < c.cur.N:
		// An earlier announcement of this coordinator landed after all.
		c.board, c.waiting = e.There, true
		return []Action{Announce{c.board, c.cur}}
	}
	return c.stop(fmt.Errorf("%w: barrier %d was to be announced, %d of coordinator %x is there instead",
		ErrRival, c.cur.N, e.There.N, e.There.Nonce))
}

// backOff sets when a failed action is tried again.
func (c *Coordinator) backOff() {
	c.retry = c.now.Add(min(c.cfg.Interval, 50*time.Millisecond<<min(c.retries, 8)))
	c.retries++
}

func (c *Coordinator) stop(err error) []Action {
	c.phase = stopped
	return []Action{Stop{err}}
}

func (c *Coordinator) ack(a Ack) []Action {
	if c.phase != collecting || a.Barrier != c.cur.N || int(a.Partition) >= c.spec.Partitions {
		return nil
	}
	if _, ok := c.acks[a.Partition]; ok {
		return nil
	}
	c.acks[a.Partition] = a
	out := []Action{Report{Acked{N: a.Barrier, Partition: a.Partition, Have: len(c.acks), Want: c.spec.Partitions}}}
	return append(out, c.decide()...)
}

// decide commits once every partition has acknowledged the same vector.
func (c *Coordinator) decide() []Action {
	if !c.landed || len(c.acks) < c.spec.Partitions {
		return nil
	}
	if d := c.dispute(); d != "" {
		c.disputes++
		return c.fail(fmt.Sprintf("the partitions do not agree on the cut: %s", d), c.disputes)
	}
	c.disputes, c.timeouts = 0, 0
	m := &Manifest{
		Format: documentFormat, Job: c.head.Job, Generation: c.head.Generation, Nonce: c.head.Nonce,
		Base: c.cur.Base, N: c.cur.N, Created: c.now.UTC().Round(0), Spec: c.spec, Vector: c.acks[0].Vector,
	}
	for p := range c.spec.Partitions {
		a := c.acks[stream.Partition(p)]
		m.Partitions = append(m.Partitions, a.entry())
	}
	err := m.Validate()
	if err == nil {
		err = Verify(m)
	}
	if err == nil {
		err = c.prepare(m)
	}
	if err == nil {
		c.violations = 0
		return []Action{*c.commit}
	}
	c.violations++
	out := []Action{Report{Failed{c.cur.N, err.Error()}}}
	if c.violations >= maxViolations {
		return append(out, c.stop(fmt.Errorf("%d checkpoints in a row were refused, the last one: %w", c.violations, err))...)
	}
	return append(out, c.fail("it is refused: "+err.Error(), c.violations+1)...)
}

// fail cancels a barrier for which all acks came: nobody waits for it, so
// repeated failures may take their time.
func (c *Coordinator) fail(reason string, times int) []Action {
	if times <= 1 {
		return c.cancel(reason)
	}
	c.phase = idle
	c.next = c.now.Add(min(c.cfg.Interval, c.cfg.Interval/16<<min(times-2, 4)))
	return []Action{Report{Cancelled{N: c.cur.N, Reason: reason}}}
}

// dispute says how the vectors differ, grouped by what partitions agree on.
func (c *Coordinator) dispute() string {
	type camp struct {
		v  Vector
		ps []string
	}
	camps := map[string]*camp{}
	var order []string
	for p := range c.spec.Partitions {
		v := c.acks[stream.Partition(p)].Vector
		key := string(v.AppendCanonical(nil))
		if camps[key] == nil {
			camps[key] = &camp{v: v}
			order = append(order, key)
		}
		camps[key].ps = append(camps[key].ps, stream.Partition(p).String())
	}
	if len(order) == 1 {
		return ""
	}
	slices.SortStableFunc(order, func(a, b string) int { return len(camps[b].ps) - len(camps[a].ps) })
	most := camps[order[0]]
	var say []string
	for _, k := range order[1:] {
		say = append(say, fmt.Sprintf("partitions %s against %s: %s",
			strings.Join(most.ps, ","), strings.Join(camps[k].ps, ","), most.v.Diff(camps[k].v)))
	}
	return strings.Join(say, "; ")
}
