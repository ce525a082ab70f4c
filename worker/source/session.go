package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// Why a session may be over without fault of its own.
var (
	errConsumerOver = errors.New("the consumer has returned")
	errShardEnded   = errors.New("the shard has ended")
	errSharedOut    = errors.New("another process has more room for it")
	errSessionOver  = errors.New("the shard is not owned any more")
)

// origin is where a session begins to read.
type origin struct {
	after string    // after this sequence number
	at    time.Time // else at this time of arrival
	// else at the trim horizon
}

// session is one ownership of one shard. The library's consumer goroutine
// drives it; watch renews its lease and closes its handler.
type session struct {
	k       *KCL
	id      uint64
	shard   stream.ShardID
	held    *cluster.Held
	from    origin
	parents []stream.ShardID
	began   time.Time
	ctx     context.Context
	cancel  context.CancelCauseFunc
	closed  chan struct{} // no call of the handler follows

	// Of the consumer goroutine alone.
	batch    []types.Record // of the last call, not handed over yet
	bytes    int            // its data
	last     string         // last sequence read
	unread   bool           // Kinesis did not let it read
	atEnd    bool           // the shard is closed and this was its last call
	children []types.ChildShard
	pace     pace
	recs     []Record

	mu      sync.Mutex // held during calls of the handler
	handler Handler
	skip    stream.Position
	over    bool
}

// watch renews the lease until the session is over, then closes the handler.
func (s *session) watch() {
	defer close(s.closed)
	if err := s.held.Keep(s.ctx); err != nil {
		s.end(err)
	}
	why := context.Cause(s.ctx)
	s.mu.Lock() // waits for a call in progress, which sees ctx end
	defer s.mu.Unlock()
	s.over = true
	if s.handler != nil {
		s.handler.Close()
	}
	shard, epoch := zap.String("shard", string(s.shard)), zap.Uint64("epoch", uint64(s.held.Epoch()))
	if !s.failed() {
		if errors.Is(why, context.Canceled) {
			why = errStopping
		}
		s.k.log.Info("shard given up", shard, epoch, zap.NamedError("reason", why))
	} else if repeats, ok := s.k.warn.let("failed " + string(s.shard)); ok {
		s.k.log.Warn("shard given up, it is tried again", shard, epoch, zap.Int("suppressed", repeats), zap.NamedError("reason", why))
	}
}

// end makes the session be over; the first reason counts.
func (s *session) end(why error) { s.cancel(why) }

// failed tells whether the session ended by a failure rather than by a stop, a
// lost lease or the shard's end.
func (s *session) failed() bool {
	switch why := context.Cause(s.ctx); {
	case why == nil, errors.Is(why, context.Canceled), errors.Is(why, errConsumerOver),
		errors.Is(why, errShardEnded), errors.Is(why, errSharedOut), errors.Is(why, cluster.ErrLost):
		return false
	}
	return true
}

// call makes one call of the handler unless the session is over; a failure
// ends it.
func (s *session) call(what string, f func() error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ctx.Err() != nil {
		return false
	}
	if err := f(); err != nil {
		s.end(fmt.Errorf("%s of %s: %w", what, s.shard, err))
		return false
	}
	return true
}

// open makes the handler.
func (s *session) open() {
	s.call("open", func() error {
		h, skip, err := s.k.cfg.Open(s.ctx, s.shard, stream.Epoch(s.held.Epoch()), s.parents)
		if err != nil {
			return err
		}
		s.handler, s.skip = h, skip
		if !skip.IsZero() && stream.CompareSequence(skip.Seq, s.from.after) < 0 {
			return fmt.Errorf("its progress %s lies before the restart %s, the records between would be lost", skip, s.from.after)
		}
		return nil
	})
}

// deliver hands the last call's records over and waits until the next call.
func (s *session) deliver(behind time.Duration) {
	batch, bytes := s.batch, s.bytes
	s.batch = nil
	s.call("records", func() error {
		if s.handler == nil {
			return errors.New("it has no handler")
		}
		s.recs = appendRecords(s.recs[:0], batch, s.skip)
		err := s.handler.Records(s.ctx, s.recs, behind)
		clear(s.recs) // lets go of the data
		return err
	})
	if s.atEnd {
		return
	}
	now := time.Now()
	wait := time.NewTimer(s.pace.next(bytes, now).Sub(now))
	defer wait.Stop()
	select {
	case <-s.ctx.Done():
	case <-wait.C:
	}
}

// appendRecords de-aggregates and leaves out what is at or below skip.
func appendRecords(recs []Record, batch []types.Record, skip stream.Position) []Record {
	for _, r := range batch {
		seq := aws.ToString(r.SequenceNumber)
		if stream.CompareSequence(seq, skip.Seq) < 0 {
			continue
		}
		arrival := aws.ToTime(r.ApproximateArrivalTimestamp)
		add := func(sub int, data []byte, last bool) {
			if pos := (stream.Position{Seq: seq, Sub: uint32(sub)}); pos.Compare(skip) > 0 {
				recs = append(recs, Record{Pos: pos, Last: last, Data: data, Arrival: arrival})
			}
		}
		users, ok := expand(r.Data)
		if !ok {
			add(0, r.Data, true)
			continue
		}
		for i, data := range users {
			add(i, data, i == len(users)-1)
		}
	}
	return recs
}

// terminate tells the handler that the shard has ended, and reports whether
// that is acknowledged.
func (s *session) terminate() bool {
	return s.call("end", func() error {
		if s.handler == nil {
			return errors.New("it has no handler")
		}
		children, err := s.awaitChildren()
		if err != nil {
			return err
		}
		return s.handler.End(s.ctx, children)
	})
}

// awaitChildren waits until the children's ranges cover the shard's.
func (s *session) awaitChildren() ([]stream.Child, error) {
	t := &s.k.topo
	if c := t.childrenOf(s.shard, s.children); c != nil {
		t.doubt() // look for them at once
		return c, nil
	}
	limit := time.NewTimer(s.k.cfg.ReadFailure)
	defer limit.Stop()
	look := time.NewTicker(s.k.cfg.SyncEvery / 2)
	defer look.Stop()
	for {
		if c := t.children(s.shard); c != nil {
			return c, nil
		}
		t.doubt()
		select {
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		case <-limit.C:
			return nil, fmt.Errorf("the shard is closed but no shards that cover its hash range are listed within %s", s.k.cfg.ReadFailure)
		case <-look.C:
		}
	}
}

var errStopping = errors.New("this process stops")
