package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

const (
	// publishTimeout is how long an acknowledgement is waited for before the
	// tail is asked. Too short costs a read; too long delays a fail-over.
	publishTimeout = 2 * time.Second
	// brokenReads is how often a tail must be below an acknowledged sequence
	// to be believed: about one second.
	brokenReads = 8
	// recordOverhead is at least what the server's store adds to a frame and
	// its subject: 34 bytes, and the expectation's header.
	recordOverhead = 34 + 80
)

// softLimit is where data stops (R13).
func softLimit(maxBytes int64) uint64 { return uint64(maxBytes) / 10 * 9 }

// Writer publishes the frames of one shard to one partition, one at a time.
// It is not safe for concurrent use.
type Writer struct {
	log     *Log
	p       Partition
	shard   ShardID
	subject string
	id      Identity

	// What is known of the subject's tail. Not known at first, and after a
	// Publish that was given up with its outcome open.
	known bool
	seq   uint64
	upto  Position
	ended bool
}

// Writer returns a writer; it does no I/O. Its first Publish reads the tail,
// unless Start was called.
func (l *Log) Writer(p Partition, s ShardID, id Identity) *Writer {
	return &Writer{log: l, p: p, shard: s, subject: l.Subject(p, s), id: id}
}

// Identity is what the writer's frames must carry.
func (w *Writer) Identity() Identity { return w.id }

// Start takes over a tail that Log.Tail has just returned, or that Publish has.
func (w *Writer) Start(tail Tail) {
	w.known = true
	w.seq, w.upto, w.ended = tail.Seq, tail.Header.Upto, tail.Header.Flags&FlagEnd != 0
}

// Result of a Publish.
type Result struct {
	// Rebased: the frame was not published (again). The subject's last frame
	// is Tail, an own one whose acknowledgement was lost or one of a lower
	// epoch: take Upto, Watermark and Barrier from it, drop what is buffered
	// up to Upto, and go on. The writer has done so itself.
	//
	// Otherwise the frame has landed and is Tail.
	Rebased bool
	Tail    Tail
}

// Landed tells whether the frame was published and acknowledged.
func (r Result) Landed() bool { return !r.Rebased && r.Tail.Seq > 0 }

// Publish publishes a frame, of which h is the header. h.After must be the
// Upto of the frame before; else, as after a lost race, Publish rebases. It
// returns when the outcome is certain, or ctx is done: after that the next
// Publish begins by asking for the tail, so that ending Publish early is always
// safe.
//
// Errors: ErrFenced, ErrSameEpoch (Result.Tail then says who wrote), ErrBroken,
// ErrEnded, ctx's error, and what cannot succeed (a frame of another identity
// or size, a closed connection). All else is retried, the identical bytes with
// the same expectation. A full stream holds Publish up; data frames wait
// already at 90% of the limit (R13), with nothing in flight, so that a waiting
// one can be cancelled and sent again with a barrier.
func (w *Writer) Publish(ctx context.Context, frame []byte, h *Header) (Result, error) {
	if err := w.check(frame, h); err != nil {
		return Result{}, err
	}
	if !w.known {
		if r, done, err := w.learn(ctx, h); done || err != nil {
			return r, err
		}
	}
	switch {
	case w.ended:
		return Result{}, w.errorf(ErrEnded, "after sequence %d", w.seq)
	case w.seq > 0 && h.After != w.upto:
		return Result{}, fmt.Errorf("stream: frame of shard %s for %s begins after %v, but sequence %d ends at %v",
			w.shard, w.log.StreamName(w.p), h.After, w.seq, w.upto)
	}
	if h.Flags&(FlagBarrier|FlagEnd|FlagWatermarkOnly) == 0 {
		if err := w.awaitRoom(ctx); err != nil {
			return Result{}, w.wrap("wait for room", err)
		}
	}
	return w.publish(ctx, frame, h)
}

func (w *Writer) check(frame []byte, h *Header) error {
	if _, err := w.log.partAndShard(w.p, w.shard); err != nil {
		return err
	}
	if h.Shard != w.shard || h.Nonce != w.log.spec.Nonce || h.Epoch != w.id.Epoch || h.Writer != w.id.Writer {
		return fmt.Errorf("stream: frame of shard %s, nonce %016x, epoch %d, writer %016x is not of shard %s, nonce %016x, epoch %d, writer %016x",
			h.Shard, h.Nonce, h.Epoch, h.Writer, w.shard, w.log.spec.Nonce, w.id.Epoch, w.id.Writer)
	}
	if len(frame) > MaxFrameBytes {
		return fmt.Errorf("stream: frame of shard %s has %d bytes, at most %d are allowed", w.shard, len(frame), MaxFrameBytes)
	}
	return nil
}

// learn asks for a tail that is not known. done: the frame does not follow it.
func (w *Writer) learn(ctx context.Context, h *Header) (r Result, done bool, err error) {
	tail, err := w.log.Tail(ctx, w.p, w.shard)
	if err != nil {
		return Result{}, false, err
	}
	switch Decide(w.id, w.seq, tail) {
	case Resend:
	case Rebase:
		w.Start(tail)
		return Result{Rebased: true, Tail: tail}, w.ended || tail.Header.Upto != h.After, nil
	default:
		r, done, err = w.follow(ctx, tail)
		return r, done, err
	}
	w.known = true
	return Result{}, false, nil
}

// publish sends until the outcome is certain.
func (w *Writer) publish(ctx context.Context, frame []byte, h *Header) (Result, error) {
	var wait backoff
	w.known = false // until the outcome is certain
	held := false
	for attempt := 1; ; attempt++ {
		try, cancel := context.WithTimeout(ctx, publishTimeout)
		seq, err := w.log.publish(try, w.subject, frame, w.seq)
		cancel()
		switch {
		case err == nil:
			tail := Tail{Seq: seq, Header: *h, Checksum: Checksum(frame)}
			w.log.parts[w.p].usage.add(len(frame) + len(w.subject) + recordOverhead)
			w.Start(tail)
			return Result{Tail: tail}, nil
		case ctx.Err() != nil:
			return Result{}, w.wrap("publish", ctx.Err())
		case errors.Is(err, nats.ErrMaxPayload):
			return Result{}, w.wrap("publish", fmt.Errorf("it has %d bytes, the NATS server takes messages of at most %d now: raise max_payload to %d there: %w",
				len(frame), w.log.js.Conn().MaxPayload(), natsconn.LeastPayload, err))
		case hopeless(err):
			return Result{}, w.wrap("publish", err)
		}
		w.retried(attempt, err)
		if hasCode(err, codeStoreFailed) {
			if !held {
				held = true
				w.held(w.log.stored(ctx, w.p), uint64(w.log.spec.MaxBytes))
			}
		} else {
			tail, err := w.log.Tail(ctx, w.p, w.shard)
			if err != nil {
				return Result{}, err
			}
			if r, done, err := w.follow(ctx, tail); done || err != nil {
				return r, err
			}
		}
		if err := wait.sleep(ctx); err != nil {
			return Result{}, w.wrap("publish", err)
		}
	}
}

// hopeless errors come again however often the same bytes are sent.
func hopeless(err error) bool {
	return errors.Is(err, natsconn.ErrDenied) || hasCode(err, codeMessageTooLarge) ||
		errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) ||
		errors.Is(err, nats.ErrBadSubject) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// follow does what Decide says of the tail. done is false for Resend.
func (w *Writer) follow(ctx context.Context, tail Tail) (r Result, done bool, err error) {
	var wait backoff
	for reads := 1; ; reads++ {
		switch Decide(w.id, w.seq, tail) {
		case Resend:
			return Result{}, false, nil
		case Rebase:
			w.Start(tail)
			return Result{Rebased: true, Tail: tail}, true, nil
		case Fenced:
			return Result{Tail: tail}, true, w.errorf(ErrFenced, "sequence %d has epoch %d, ours is %d", tail.Seq, tail.Header.Epoch, w.id.Epoch)
		case SameEpoch:
			return Result{Tail: tail}, true, w.errorf(ErrSameEpoch, "sequence %d has epoch %d and writer %016x, ours is %016x",
				tail.Seq, tail.Header.Epoch, tail.Header.Writer, w.id.Writer)
		}
		if reads == brokenReads {
			return Result{Tail: tail}, true, w.errorf(errRegressed, "last sequence is %d, %d was acknowledged", tail.Seq, w.seq)
		}
		if err := wait.sleep(ctx); err != nil {
			return Result{}, true, w.wrap("publish", err)
		}
		if tail, err = w.log.Tail(ctx, w.p, w.shard); err != nil {
			return Result{}, true, err
		}
	}
}

// awaitRoom waits while data may not be written (R13).
func (w *Writer) awaitRoom(ctx context.Context) error {
	limit := softLimit(w.log.spec.MaxBytes)
	for first := true; ; first = false {
		stored := w.log.stored(ctx, w.p)
		if stored < limit {
			return nil
		}
		if first {
			w.held(stored, limit)
		}
		if err := sleep(ctx, pollUsage); err != nil {
			return err
		}
	}
}

func (w *Writer) retried(attempt int, cause error) {
	if o := w.log.spec.Observer; o != nil && o.Retried != nil {
		o.Retried(w.p, w.shard, attempt, cause)
	}
}

func (w *Writer) held(bytes, limit uint64) {
	if o := w.log.spec.Observer; o != nil && o.Held != nil {
		o.Held(w.p, w.shard, bytes, limit)
	}
}

func (w *Writer) wrap(verb string, err error) error {
	return fmt.Errorf("stream: %s a frame of shard %s to %s: %w", verb, w.shard, w.log.StreamName(w.p), err)
}

func (w *Writer) errorf(sentinel error, format string, args ...any) error {
	return fmt.Errorf("stream: shard %s in %s: %w: %s", w.shard, w.log.StreamName(w.p), sentinel, fmt.Sprintf(format, args...))
}
