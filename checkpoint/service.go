package checkpoint

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/stream"
)

// Config configures the coordinator; the zero value of a field is its default.
type Config struct {
	Job string
	// Interval between the starts of checkpoints; default 10 s.
	Interval time.Duration
	// Timeout of a checkpoint; default three intervals. It doubles, up to
	// eightfold, as long as checkpoints time out one after the other.
	Timeout time.Duration
	// Retain is how many manifests HEAD keeps; default 3.
	Retain int
	// Floor is the highest barrier that stands in the log (R6).
	Floor stream.BarrierID
	// Nonce identifies this coordinator; default a random one.
	Nonce uint64
}

// Validate says which setting makes no sense.
func (c Config) Validate() error {
	if err := CheckJob(c.Job); err != nil {
		return err
	}
	if c.Interval < 0 || c.Timeout < 0 || c.Retain < 0 {
		return fmt.Errorf("the checkpoint interval, time-out and retention of job %s must not be negative", c.Job)
	}
	return nil
}

// Log is what the coordinator does to the partitions' log.
type Log interface {
	// Purge removes all messages of a partition's stream strictly below a
	// sequence. The coordinator alone purges (R12).
	Purge(ctx context.Context, p stream.Partition, below uint64) error
}

// Service runs the coordinator of a job's generation over its effects: the
// board, the store and the log.
type Service struct {
	cfg    Config
	store  Store
	board  *Board
	log    Log
	events Events
	wanted chan struct{}
	tidy   *tidier
}

// NewService makes a coordinator for the generation that board belongs to.
func NewService(cfg Config, store Store, board *Board, log Log, events Events) *Service {
	return &Service{
		cfg: cfg.withDefaults(), store: store, board: board, log: log, events: events,
		wanted: make(chan struct{}, 1), tidy: newTidier(store, log, events),
	}
}

// Request asks for a checkpoint at once, or, if one is under way, right after it.
func (s *Service) Request() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// Run coordinates until ctx ends (then it returns ctx.Err()), until another
// coordinator or generation took over (ErrSuperseded), or until checkpoints
// are refused again and again (ErrConservation).
func (s *Service) Run(ctx context.Context) error {
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	start, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("start the checkpoint coordinator: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	in := make(chan Event)
	send := func(e Event) {
		select {
		case in <- e:
		case <-ctx.Done():
		}
	}
	g.Go(func() error {
		return s.board.watch(ctx, keyAck+"*", func(key string, data []byte) error {
			var a Ack
			if err := decodeValue(data, &a); err != nil { // as good as none
				fire(s.events.Failed, Failed{Reason: fmt.Sprintf("the key %s of the board is %v: %v", key, ErrCorrupt, err)})
				return nil
			}
			send(AckArrived{a})
			return nil
		})
	})
	g.Go(func() error {
		return s.board.watch(ctx, keyAsk, func(_ string, data []byte) error {
			var a ask
			if err := decodeValue(data, &a); err != nil {
				return err
			}
			send(Asked(a))
			return nil
		})
	})
	g.Go(func() error { return s.tidy.run(ctx) })
	g.Go(func() error { return s.loop(ctx, start, in) })
	return g.Wait()
}

// begin is start, tried again for as long as the store or NATS is unavailable:
// whoever is elected after an outage may find it not quite over.
func (s *Service) begin(ctx context.Context) (start Start, err error) {
	err = outlast(ctx, func() error {
		start, err = s.start(ctx)
		return err
	}, func(err error) {
		fire(s.events.Failed, Failed{Reason: fmt.Sprintf("start the checkpoint coordinator: %v", err)})
	})
	return start, err
}

// start reads HEAD, the board and the acks on it.
func (s *Service) start(ctx context.Context) (Start, error) {
	head, version, err := ReadJob(ctx, s.store, s.cfg.Job)
	if err != nil {
		return Start{}, err
	}
	if head.Generation != s.board.generation {
		return Start{}, fmt.Errorf("%w: HEAD is of generation %d, the board of %d", ErrSuperseded, head.Generation, s.board.generation)
	}
	manifests, bad, err := Retained(ctx, s.store, head)
	if err != nil {
		return Start{}, err
	}
	for _, f := range bad {
		fire(s.events.Failed, Failed{N: f.N, Reason: f.Reason})
	}
	if len(manifests) == 0 {
		return Start{}, fmt.Errorf("no retained manifest of job %s can be read: %w: %s", s.cfg.Job, ErrCorrupt, joinFallbacks(bad))
	}
	announced, err := s.board.Announced(ctx)
	if err != nil {
		return Start{}, err
	}
	acks, err := s.board.acks(ctx, announced.N, manifests[0].Spec.Partitions, nil)
	return Start{
		Now: time.Now(), Head: head, Version: version, Manifests: manifests, Announced: announced, Acks: acks,
	}, err
}

func (s *Service) loop(ctx context.Context, start Start, in <-chan Event) error {
	c, actions := NewCoordinator(s.cfg, start)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	poll := time.NewTicker(reread)
	defer poll.Stop()
	for {
		if err := s.perform(ctx, c, actions); err != nil {
			return err
		}
		if next := c.Next(); next.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(max(0, time.Until(next)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-in:
			actions = append(c.Step(Tick{time.Now()}), c.Step(e)...)
		case <-s.wanted:
			actions = append(c.Step(Tick{time.Now()}), c.Step(Wanted{})...)
		case <-timer.C:
			actions = c.Step(Tick{time.Now()})
		case <-poll.C:
			actions = s.reread(ctx, c)
		}
	}
}

// reread looks for acks of the current barrier that the watch did not bring.
func (s *Service) reread(ctx context.Context, c *Coordinator) []Action {
	b, under := c.Current()
	if !under {
		return nil
	}
	acks, err := s.board.acks(ctx, b.N, c.spec.Partitions, func(p stream.Partition) bool {
		_, ok := c.acks[p]
		return ok
	})
	if err != nil {
		return nil // the next second will tell
	}
	var out []Action
	for _, a := range acks {
		out = append(out, c.Step(AckArrived{a})...)
	}
	return out
}

// perform does the actions, and those that their answers lead to.
func (s *Service) perform(ctx context.Context, c *Coordinator, actions []Action) error {
	for len(actions) > 0 {
		a := actions[0]
		actions = actions[1:]
		var answer Event
		switch a := a.(type) {
		case Announce:
			there, err := s.board.announce(ctx, a.Prev, a.Barrier)
			answer = Announced{N: a.Barrier.N, There: there, Err: err}
		case Commit:
			answer = s.commit(ctx, a)
		case Complete:
			if err := s.board.putCompleted(ctx, a.Completed); err != nil {
				fire(s.events.Failed, Failed{a.Completed.N, fmt.Sprintf("tell that it is completed: %v", err)})
			}
		case Purge:
			s.tidy.purge(a)
		case Sweep:
			s.tidy.sweep(a.Head)
		case Report:
			s.report(a.What)
		case Stop:
			return a.Err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if answer != nil {
			actions = append(actions, c.Step(Tick{time.Now()})...)
			actions = append(actions, c.Step(answer)...)
		}
	}
	return nil
}

// commit puts the manifest and swaps HEAD. Where the answer says that HEAD is
// another, or no answer came, it reads HEAD: the commit nonce tells.
func (s *Service) commit(ctx context.Context, a Commit) Event {
	ctx, cancel := context.WithTimeout(ctx, max(s.cfg.Timeout, 10*time.Second))
	defer cancel()
	if err := s.store.Put(ctx, a.Ref.Name, a.Manifest); err != nil {
		return CommitFailed{a.N, err}
	}
	version, err := s.store.SwapHead(ctx, s.cfg.Job, a.Old, a.Head)
	if err == nil {
		head, err := DecodeHead(s.cfg.Job, a.Head)
		if err != nil {
			return CommitFailed{a.N, err}
		}
		return CommitAnswered{a.N, head, version}
	}
	head, version, rerr := ReadJob(ctx, s.store, s.cfg.Job)
	switch {
	case rerr != nil:
		return CommitFailed{a.N, fmt.Errorf("%w, and HEAD cannot be read: %w", err, rerr)}
	case version == a.Old && !isUnanswered(err):
		return CommitFailed{a.N, err}
	}
	return CommitAnswered{a.N, head, version}
}

func (s *Service) report(what any) {
	switch v := what.(type) {
	case Barrier:
		fire(s.events.Started, v)
	case Acked:
		fire(s.events.Acked, v)
	case Committed:
		fire(s.events.Committed, v)
	case Cancelled:
		fire(s.events.Cancelled, v)
	case Failed:
		fire(s.events.Failed, v)
	}
}
