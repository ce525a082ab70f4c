package producer

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/internal/amazon"
	"github.com/tripgrid/tripgrid/trip"
)

// shell does what core decides. Its loop is the only user of core; the other
// goroutines get work over channels and answer over channels that never block
// them, so that cancelling the context ends all of them.
type shell struct {
	p      *Producer
	core   *core
	state  state
	lastTS int64 // event time of the last trip

	calls   chan *call // to the senders
	answers chan *call
	idle    []*call
	rounds  chan round // to the sender of watermarks
	marked  chan round
	lists   chan listReply
	free    chan []trip.Trip // to the reader
	full    chan []trip.Trip
	saves   chan state // to the writer of the state file; holds the newest
	savedAt time.Time

	rate     rateMeter
	troubled bool // the last call failed
}

func newShell(p *Producer, st state) (*shell, error) {
	s := &shell{
		p: p, core: p.core, state: st,
		calls: make(chan *call, p.cfg.InFlight), answers: make(chan *call, p.cfg.InFlight),
		rounds: make(chan round, 1), marked: make(chan round, 1), lists: make(chan listReply, 1),
		free: make(chan []trip.Trip, 2), full: make(chan []trip.Trip, 2), saves: make(chan state, 1),
	}
	for range p.cfg.InFlight {
		s.idle = append(s.idle, &call{enc: encoder{id: p.ID(), first: p.first}})
	}
	for range cap(s.free) {
		s.free <- make([]trip.Trip, chunk)
	}
	if p.total > p.first {
		last, err := p.read(p.total-1, make([]trip.Trip, 1))
		if err != nil {
			return nil, err
		}
		s.lastTS = last[0].EventTime()
	}
	return s, nil
}

// run starts the goroutines, runs the loop and waits for all of them.
func (s *shell) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	gctx, stop := context.WithCancel(gctx)
	defer stop()
	for range s.p.cfg.InFlight {
		g.Go(func() error {
			serve(gctx, s.calls, func(c *call) { s.p.do(gctx, c); s.answers <- c })
			return nil
		})
	}
	g.Go(func() error {
		serve(gctx, s.rounds, func(r round) { s.marked <- s.p.doRound(gctx, r) })
		return nil
	})
	g.Go(func() error { return s.p.readAll(gctx, s.state.Next, s.free, s.full) })
	var writer sync.WaitGroup // outlives the context: it writes the last state
	var saveErr error
	writer.Go(func() {
		for st := range s.saves { // to the end, or the loop would block
			if saveErr == nil {
				saveErr = st.save(s.p.cfg.StateFile)
			}
			if saveErr != nil {
				stop()
			}
		}
	})
	g.Go(func() error {
		defer stop()
		defer func() { // the listing on its way ends with the context
			stop()
			if s.core.marks.listBusy {
				<-s.lists
			}
		}()
		return s.loop(gctx)
	})
	err := g.Wait()
	s.save()
	close(s.saves)
	writer.Wait()
	s.publish(time.Now())
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	if saveErr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = saveErr
	}
	return err
}

func serve[T any](ctx context.Context, in <-chan T, do func(T)) {
	for {
		select {
		case v := <-in:
			do(v)
		case <-ctx.Done():
			return
		}
	}
}

// loop runs until the replay is done or cannot go on.
func (s *shell) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		s.dispatch(ctx, now)
		if s.core.marks.phase == finished {
			return nil
		}
		if s.p.cfg.StateFile != "" && s.core.low != s.state.Next && now.Sub(s.savedAt) >= s.p.cfg.StateInterval {
			s.savedAt = now
			s.save()
		}
		s.publish(now)

		full := s.full
		if !s.core.wantTrips() {
			full = nil
		}
		var alarm <-chan time.Time
		if at := s.wake(now); !at.IsZero() {
			timer.Reset(at.Sub(now))
			alarm = timer.C
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-alarm:
		case trips := <-full:
			s.core.trips(time.Now(), trips)
			s.free <- trips[:cap(trips)]
		case c := <-s.answers:
			err = s.answer(c)
		case r := <-s.marked:
			s.core.marked(time.Now(), r.w, r.missing)
			err = s.trouble("put watermark", r.err)
		case l := <-s.lists:
			err = s.listed(l)
		}
		if err != nil {
			return err
		}
	}
}

// dispatch hands out everything that is to be done now.
func (s *shell) dispatch(ctx context.Context, now time.Time) {
	s.core.advance(now)
	for len(s.idle) > 0 {
		c := s.idle[len(s.idle)-1]
		if c.runs = s.core.records(now, c.runs[:0]); len(c.runs) == 0 {
			break
		}
		s.idle = s.idle[:len(s.idle)-1]
		s.calls <- c
	}
	if s.core.list(now) {
		go func() {
			shards, err := s.p.listShards(ctx)
			s.lists <- listReply{shards, err}
		}()
	}
	if w, shards := s.core.watermarks(now); len(shards) > 0 {
		s.rounds <- round{w: w, shards: shards}
	}
}

// wake returns when the loop has to look again by itself.
func (s *shell) wake(now time.Time) time.Time {
	at := s.core.wake(now)
	if s.p.cfg.StateFile != "" && s.core.low != s.state.Next {
		if save := s.savedAt.Add(s.p.cfg.StateInterval); at.IsZero() || save.Before(at) {
			at = save
		}
	}
	return at
}

func (s *shell) answer(c *call) error {
	now := time.Now()
	var err error
	for i, r := range c.runs {
		s.core.answer(now, r, c.outcomes[i])
		if c.outcomes[i] == delivered && err == nil {
			if at := s.core.routed(now, r.lane, c.routes[i]); at != nil {
				err = s.p.misrouted(r.lane, at)
			}
		}
	}
	s.core.settle()
	s.idle = append(s.idle, c)
	return errors.Join(err, s.trouble("put records", c.err))
}

func (s *shell) listed(l listReply) error {
	if l.err != nil {
		s.core.unlisted(time.Now())
		return s.trouble("list shards", l.err)
	}
	before, known := len(s.core.marks.shards), s.core.marks.listed
	s.core.listed(time.Now(), l.shards)
	if known && before != len(l.shards) {
		s.p.log.Info("stream was resharded", zap.Int("before", before), zap.Int("open", len(l.shards)))
	}
	return nil
}

// trouble logs when calls begin to fail and when they work again, and returns
// the error that ends the run if trying again is of no use.
func (s *shell) trouble(what string, err error) error {
	if err == nil {
		if s.troubled {
			s.troubled = false
			s.p.log.Info("Kinesis answers again", zap.String("stream", s.p.cfg.Stream))
		}
		return nil
	}
	if f := s.p.fatal(err); f != nil {
		return f
	}
	if !s.troubled {
		s.troubled = true
		s.p.log.Warn("a call to Kinesis failed and is tried again", zap.String("call", what),
			zap.String("stream", s.p.cfg.Stream), zap.String("error", amazon.Brief(err)))
	}
	return nil
}

// save gives the progress to the writer, in place of one that still waits.
func (s *shell) save() {
	if s.p.cfg.StateFile == "" {
		return
	}
	s.state.Next, s.state.Done = s.core.low, s.core.marks.phase == finished
	select {
	case <-s.saves:
	default:
	}
	s.saves <- s.state
}

// publish makes the statistics of now visible.
func (s *shell) publish(now time.Time) {
	c := s.core
	s.rate.add(now, c.acked)
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	st := &s.p.stats
	st.Sent, st.Throttled, st.Failed, st.Repeated = c.acked, c.throttled, c.failed, c.repeated
	st.Rate, st.Shards, st.Done = s.rate.perSecond(now), len(c.marks.shards), c.marks.phase == finished
	if c.marks.sent != noWatermark {
		st.Watermark = time.Unix(0, c.marks.sent).UTC()
	}
	if c.marks.phase >= finishing && st.Total > 0 {
		st.Watermark = time.Unix(0, floorMilli(s.lastTS)).UTC()
	}
	st.Lag, st.Remaining = c.lag(now), 0
	switch left := st.Total - st.Sent; {
	case st.Done || !c.started || left == 0:
	case s.p.cfg.Speedup > 0:
		st.Remaining = max(0, c.dueAt(s.lastTS).Sub(now)) + st.Lag
	case st.Rate > 0:
		st.Remaining = time.Duration(float64(left) / st.Rate * float64(time.Second))
	}
}
