package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// What a reader asks for at a time; what it holds in memory is bounded by it.
const (
	pullMessages  = 32
	pullBytes     = 4 << 20
	pullExpiry    = 2 * time.Second
	pullHeartbeat = 500 * time.Millisecond
	// idleCheck is how long a reader waits before it asks whether the log
	// still ends where it reads: a lost tail is silent otherwise.
	idleCheck = 5 * time.Second
	// abandoned consumers are removed by the server after this.
	abandoned = time.Minute
)

// ErrClosed says that a Reader was closed.
var ErrClosed = errors.New("reader is closed")

// Message is one message of the log.
type Message struct {
	Seq     uint64 // stream sequence
	Subject string // see Log.ShardOf
	Data    []byte // the caller's own
	Time    time.Time
}

// Reader reads a partition's messages in order. It is not safe for concurrent
// use, except for Close.
//
// It is not the client's ordered consumer: that one retries with its own
// clock and context, and moves over purged messages in silence. This one asks
// for a fresh consumer at the next sequence whenever anything is odd, and
// verifies that every sequence delivered is that one (R3).
type Reader struct {
	log  *Log
	part *partition
	p    Partition
	next uint64
	// before is the connection's last error of before the consumer: a denied
	// pull is just not answered.
	before error

	sub    atomic.Pointer[subscription]
	closed atomic.Bool
}

// subscription is a consumer on the server and its messages here.
type subscription struct {
	consumer string
	msgs     jetstream.MessagesContext
}

// Reader opens a reader at sequence from; 0 and 1 are the first frame after
// the genesis, which is not delivered. ErrPurged if from is purged;
// ErrRegressed (an ErrBroken) if the log ends before from - 1.
func (l *Log) Reader(ctx context.Context, p Partition, from uint64) (*Reader, error) {
	part, err := l.part(p)
	if err != nil {
		return nil, err
	}
	r := &Reader{log: l, part: part, p: p, next: max(2, from)}
	if err := r.checkRange(ctx); err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// checkRange refuses a next sequence that the log cannot deliver.
func (r *Reader) checkRange(ctx context.Context) error {
	st, err := r.log.State(ctx, r.p)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: %w", err, ErrBroken)
	case err != nil:
		return err
	case st.Nonce != r.log.spec.Nonce:
		return fmt.Errorf("stream: %s belongs to nonce %016x now, not to %016x: %w", r.part.name, st.Nonce, r.log.spec.Nonce, ErrBroken)
	case st.First > r.next:
		return fmt.Errorf("stream: read %s from sequence %d, its first is %d: %w", r.part.name, r.next, st.First, ErrPurged)
	case st.Last+1 < r.next:
		return fmt.Errorf("stream: read %s from sequence %d, its last is %d: %w", r.part.name, r.next, st.Last, errRegressed)
	}
	return nil
}

// open makes a consumer at the next sequence, in place of the one there is.
func (r *Reader) open(ctx context.Context) error {
	r.drop()
	var c jetstream.Consumer
	r.before = r.log.js.Conn().LastError()
	err := r.log.request(ctx, func(ctx context.Context) (err error) {
		c, err = r.part.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Name:              "reader-" + rand.Text(),
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       r.next,
			AckPolicy:         jetstream.AckNonePolicy,
			InactiveThreshold: abandoned,
			MemoryStorage:     true,
			Replicas:          1,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("stream: read %s from sequence %d: %w", r.part.name, r.next, named(err))
	}
	msgs, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, pullBytes),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("stream: read %s from sequence %d: %w", r.part.name, r.next, err)
	}
	r.sub.Store(&subscription{c.CachedInfo().Name, msgs})
	if r.closed.Load() { // Close came meanwhile
		r.drop()
	}
	return nil
}

// drop stops the subscription and removes its consumer, if the server answers.
func (r *Reader) drop() {
	sub := r.sub.Swap(nil)
	if sub == nil {
		return
	}
	sub.msgs.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// An error is no matter: the server removes an unused consumer itself.
	_ = r.part.stream.DeleteConsumer(ctx, sub.consumer)
}

// Next returns the next message; it waits for it until ctx is done. Outages of
// the server are waited out. ErrGap if what comes is not the next sequence,
// ErrPurged and ErrRegressed as Log.Reader, ErrClosed after Close.
func (r *Reader) Next(ctx context.Context) (Message, error) {
	var wait backoff
	reopened := false
	for {
		if r.closed.Load() {
			return Message{}, fmt.Errorf("stream: read %s: %w", r.part.name, ErrClosed)
		}
		msg, err := r.receive(ctx)
		if err == nil {
			meta, err := msg.Metadata()
			if err != nil {
				return Message{}, fmt.Errorf("stream: read %s: metadata: %w", r.part.name, err)
			}
			seq := meta.Sequence.Stream
			if seq == r.next {
				r.next++
				return Message{Seq: seq, Subject: msg.Subject(), Data: msg.Data(), Time: meta.Timestamp}, nil
			}
			// Lost on the way to this client, or gone from the log? A fresh
			// consumer tells.
			if reopened {
				return Message{}, fmt.Errorf("stream: read %s: sequence %d instead of %d: %w", r.part.name, seq, r.next, ErrGap)
			}
			reopened = true
		} else if ctx.Err() != nil {
			return Message{}, fmt.Errorf("stream: read %s: %w", r.part.name, ctx.Err())
		} else if r.log.js.Conn().IsClosed() {
			return Message{}, fmt.Errorf("stream: read %s: %w", r.part.name, nats.ErrConnectionClosed)
		}
		if r.closed.Load() {
			continue
		}
		if err := r.checkRange(ctx); err != nil {
			return Message{}, err
		}
		if errors.Is(err, errIdle) {
			continue
		}
		if err != nil {
			err = natsconn.Denied(r.log.js.Conn(), r.before, err, r.log.spec.stem())
			if errors.Is(err, natsconn.ErrDenied) {
				return Message{}, fmt.Errorf("stream: read %s: %w", r.part.name, err)
			}
			if err := wait.sleep(ctx); err != nil {
				return Message{}, fmt.Errorf("stream: read %s: %w", r.part.name, err)
			}
		}
		if err := r.open(ctx); err != nil {
			return Message{}, err
		}
	}
}

var errIdle = errors.New("nothing came")

func (r *Reader) receive(ctx context.Context) (jetstream.Msg, error) {
	sub := r.sub.Load()
	if sub == nil {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, idleCheck)
	defer cancel()
	msg, err := sub.msgs.Next(jetstream.NextContext(ctx))
	if errors.Is(err, context.DeadlineExceeded) {
		err = errIdle
	}
	return msg, err
}

// Close ends the reader and a Next that waits. It may be called again.
func (r *Reader) Close() {
	if r.closed.CompareAndSwap(false, true) {
		r.drop()
	}
}
