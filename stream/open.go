package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// errAgain marks an error of which one more try may get rid.
var errAgain = errors.New("try again")

// createAttempts is how often a stream is created again; about 2 seconds.
const createAttempts = 10

// errRegressed is an ErrRegressed, which is an ErrBroken.
var errRegressed = fmt.Errorf("%w: %w", ErrRegressed, ErrBroken)

const (
	nonceKey = "tripgrid-nonce" // of a stream's metadata, 16 hex digits

	codeWrongLastSequence         = 10071
	codeWrongLastSequenceConstant = 10164 // in a cluster, while others are in flight
	codeStoreFailed               = 10077 // MaxBytes reached, or the disk is full
	codeStoreNotCreated           = 10049 // a folder in the way: no permission, or a deleted stream's that is still going
	codeMessageTooLarge           = 10054
)

// OpenLog opens the generation's log: it creates the streams that are absent
// and writes the genesis as each one's first message; where another starter
// was first, it compares (R8). ErrBroken, with the stream's name, if a stream
// belongs to another generation nonce, has another genesis, or settings under
// which it may lose messages.
//
// Several processes may open the same log at once.
func OpenLog(ctx context.Context, js jetstream.JetStream, spec Spec) (*Log, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := natsconn.CheckPayload(js.Conn()); err != nil {
		return nil, err
	}
	if spec.MaxBytes == 0 {
		spec.MaxBytes = DefaultMaxBytes
	}
	spec.Replicas = max(1, spec.Replicas)
	spec.Genesis = bytes.Clone(spec.Genesis)
	l := &Log{js: js, spec: spec, parts: make([]partition, spec.Partitions)}
	l.publish = l.send
	var g errgroup.Group // one's failure leaves no other one's request half answered
	g.SetLimit(16)
	for i := range l.parts {
		g.Go(func() error { return l.open(ctx, Partition(i)) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx context.Context, p Partition) error {
	part := &l.parts[p]
	part.name = l.spec.streamName(p)
	again := 0
	err := l.request(ctx, func(ctx context.Context) (err error) {
		part.stream, err = l.js.Stream(ctx, part.name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			part.stream, err = l.js.CreateStream(ctx, l.config(p))
		}
		// The server removes a deleted stream's folder behind its answer.
		if again < createAttempts && hasCode(err, codeStoreNotCreated) {
			again++
			return errors.Join(errAgain, err)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another starter, at this moment
			part.stream, err = l.js.Stream(ctx, part.name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("stream: open %s: %w", part.name, advised(ctx, l.js, err, l.config(p), len(l.parts)))
	}
	info := part.stream.CachedInfo()
	if err := l.checkSettings(info, l.config(p)); err != nil {
		return err
	}
	if cfg := info.Config; cfg.MaxBytes < l.spec.MaxBytes {
		cfg.MaxBytes = l.spec.MaxBytes
		err := l.request(ctx, func(ctx context.Context) (err error) {
			part.stream, err = l.js.UpdateStream(ctx, cfg)
			return err
		})
		if err != nil {
			return fmt.Errorf("stream: raise the limit of %s to %d bytes: %w", part.name, cfg.MaxBytes, advised(ctx, l.js, err, cfg, len(l.parts)))
		}
	}
	return l.genesis(ctx, p)
}

func (l *Log) config(p Partition) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       l.spec.streamName(p),
		Subjects:   []string{l.spec.subject(p, "*")},
		Retention:  jetstream.LimitsPolicy,
		Storage:    jetstream.FileStorage,
		Discard:    jetstream.DiscardNew,
		MaxBytes:   l.spec.MaxBytes,
		Replicas:   l.spec.Replicas,
		Duplicates: time.Second, // no message has an id; the window costs memory
		DenyDelete: true,
		Metadata: map[string]string{
			nonceKey:              fmt.Sprintf("%016x", l.spec.Nonce),
			"tripgrid-job":        l.spec.Job,
			"tripgrid-generation": l.spec.Generation.String(),
		},
	}
}

func nonceOf(info *jetstream.StreamInfo) (uint64, error) {
	text, ok := info.Config.Metadata[nonceKey]
	nonce, err := strconv.ParseUint(text, 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("stream: %s has no generation nonce in its metadata: %w", info.Config.Name, ErrBroken)
	}
	return nonce, nil
}

// checkSettings refuses a stream of another generation's nonce, and one that
// may drop messages by itself or answer reads from any replica.
func (l *Log) checkSettings(info *jetstream.StreamInfo, want jetstream.StreamConfig) error {
	if !slices.Equal(info.Config.Subjects, want.Subjects) {
		return fmt.Errorf("stream: %s takes messages of %q instead of %q: it is somebody else's: choose another subject prefix or job name: %w",
			info.Config.Name, info.Config.Subjects, want.Subjects, ErrBroken)
	}
	nonce, err := nonceOf(info)
	if err != nil {
		return err
	}
	if nonce != l.spec.Nonce {
		return fmt.Errorf("stream: %s was begun with other snapshots (nonce %016x, generation %d here has %016x): give those, or choose another job name or subject prefix: %w",
			info.Config.Name, nonce, l.spec.Generation, l.spec.Nonce, ErrBroken)
	}
	c := info.Config
	if c.Retention != jetstream.LimitsPolicy || c.Discard != jetstream.DiscardNew || c.Storage != jetstream.FileStorage ||
		c.MaxAge != 0 || c.MaxMsgs > 0 || c.MaxMsgsPerSubject > 0 || c.AllowDirect || c.AllowRollup {
		return fmt.Errorf("stream: %s has settings under which messages may vanish or reads be stale"+
			" (retention %v, discard %v, storage %v, max age %v, max messages %d, per subject %d, direct %v, rollup %v): %w",
			c.Name, c.Retention, c.Discard, c.Storage, c.MaxAge, c.MaxMsgs, c.MaxMsgsPerSubject, c.AllowDirect, c.AllowRollup, ErrBroken)
	}
	return nil
}

// genesis makes sure that the stream's first message is ours, unless it is
// purged: then the nonce alone tells whose stream it is.
func (l *Log) genesis(ctx context.Context, p Partition) error {
	part := &l.parts[p]
	subject := l.spec.subject(p, genesisToken)
	var last uint64
	err := l.request(ctx, func(ctx context.Context) error {
		info, err := part.stream.Info(ctx)
		if err != nil {
			return err
		}
		part.usage.set(info.State.Bytes)
		if last = info.State.LastSeq; last > 0 {
			return nil
		}
		msg := nats.NewMsg(subject)
		msg.Data = l.spec.Genesis
		nc := l.js.Conn()
		before := nc.LastError()
		_, err = l.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequence(0), jetstream.WithRetryAttempts(0))
		err = natsconn.Denied(nc, before, err, l.spec.root())
		if refused(err) { // a loser: compare
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("stream: write genesis of %s: %w", part.name, named(err))
	}
	data, got, err := l.Message(ctx, p, 1)
	if errors.Is(err, ErrNotFound) {
		st, serr := l.State(ctx, p)
		if serr != nil {
			return serr
		}
		if st.First > 1 {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if got != subject || !bytes.Equal(data, l.spec.Genesis) {
		return fmt.Errorf("stream: %s begins with another genesis (%d bytes on %s, checksum %016x) than this one (%d bytes, %016x): %w",
			part.name, len(data), got, Checksum(data), len(l.spec.Genesis), Checksum(l.spec.Genesis), ErrBroken)
	}
	return nil
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	var api jetstream.JetStreamError
	if !errors.As(err, &api) || api.APIError() == nil {
		return false
	}
	for _, c := range codes {
		if api.APIError().ErrorCode == c {
			return true
		}
	}
	return false
}

// refused tells whether a publish was refused for its expectation.
func refused(err error) bool {
	return hasCode(err, codeWrongLastSequence, codeWrongLastSequenceConstant)
}

// named adds ErrNotFound to the client's errors of that kind.
func named(err error) error {
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// Transient tells whether a request may be answered if it is asked again:
// there is no leader, or it did not answer in time.
func Transient(err error) bool {
	return errors.Is(err, errAgain) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

// retry calls f until it succeeds, fails for good, or ctx is done.
func retry(ctx context.Context, f func(context.Context) error) error {
	var wait backoff
	for {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := f(attempt)
		cancel()
		if err == nil || !Transient(err) || ctx.Err() != nil {
			return err
		}
		if cerr := wait.sleep(ctx); cerr != nil {
			return err
		}
	}
}

// backoff grows from 5 ms to 1 s, with jitter.
type backoff struct{ last time.Duration }

func (b *backoff) sleep(ctx context.Context) error {
	b.last = min(time.Second, max(5*time.Millisecond, 2*b.last))
	return sleep(ctx, b.last/2+rand.N(b.last/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
