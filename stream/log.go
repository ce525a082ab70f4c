package stream

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// DefaultMaxBytes is a partition's share of the disk where Spec says nothing.
const DefaultMaxBytes = 1 << 30

// genesisToken stands where the shard does; it is no ShardID.
const genesisToken = "_genesis"

// requestTimeout bounds a single request to the server.
const requestTimeout = 5 * time.Second

// Spec says which log to open.
type Spec struct {
	// Prefix begins every subject and, with _ for the dots, every stream's name:
	// "acme.tripgrid". Empty: none.
	Prefix     string
	Job        string
	Generation Generation
	Partitions int
	// Nonce is of the generation; it stands in the streams' metadata and in
	// every frame (R8).
	Nonce uint64
	// MaxBytes is the limit of each partition's stream, DefaultMaxBytes if 0.
	// An existing stream's limit is raised to it, never lowered.
	MaxBytes int64
	// Replicas of each stream, 1 if 0.
	Replicas int
	// Genesis is the first message of every stream. Every starter of the
	// generation gives the same bytes.
	Genesis []byte
	// Observer, if set, is told what the writers wait for.
	Observer *Observer
}

// Observer is told of what slows writers down. Its functions may be nil, are
// called from publishing goroutines, and must not block.
type Observer struct {
	// Retried: a publish was refused or not answered, and goes on.
	Retried func(p Partition, s ShardID, attempt int, cause error)
	// Held: a data frame waits, since the stream holds bytes of at most limit
	// that data may fill (R13), or is full. Called when the waiting begins.
	Held func(p Partition, s ShardID, bytes, limit uint64)
}

var validToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// Validate tells what is wrong with s.
func (s *Spec) Validate() error {
	if err := CheckPrefix(s.Prefix); err != nil {
		return err
	}
	switch {
	case !validToken.MatchString(s.Job):
		return fmt.Errorf("stream: job %q: want 1 to 128 of A-Z, a-z, 0-9, _ and -", s.Job)
	case s.Generation == 0:
		return errors.New("stream: generations count from 1")
	case s.Partitions < 1:
		return fmt.Errorf("stream: %d partitions", s.Partitions)
	case s.MaxBytes < 0 || s.Replicas < 0:
		return fmt.Errorf("stream: %d bytes, %d replicas", s.MaxBytes, s.Replicas)
	case len(s.Genesis) == 0:
		return errors.New("stream: no genesis given")
	}
	return nil
}

// Log is the log of one generation. It is safe for concurrent use.
type Log struct {
	js    jetstream.JetStream
	spec  Spec
	parts []partition
	// publish is how a message goes out; tests put faults before it.
	publish publishFunc
}

type partition struct {
	name   string
	stream jetstream.Stream
	usage  usage
}

// publishFunc publishes data if expected is the subject's last sequence.
type publishFunc func(ctx context.Context, subject string, data []byte, expected uint64) (seq uint64, err error)

// Name of partition p's stream.
func (s *Spec) streamName(p Partition) string {
	return s.stem() + p.String()
}

// stem is what the streams' names begin with.
func (s *Spec) stem() string { return scoped(s.Prefix, s.Job+"-"+s.Generation.String()+"-") }

func (s *Spec) subject(p Partition, token string) string {
	return s.root() + p.String() + "." + token
}

// root is what the log's subjects begin with.
func (s *Spec) root() string {
	root := s.Job + "." + s.Generation.String() + "."
	if s.Prefix != "" {
		root = s.Prefix + "." + root
	}
	return root
}

// Partitions is the number of partitions.
func (l *Log) Partitions() int { return len(l.parts) }

// StreamName names partition p's stream, for messages and tools.
func (l *Log) StreamName(p Partition) string { return l.spec.streamName(p) }

// Subject is where shard s of partition p is written.
func (l *Log) Subject(p Partition, s ShardID) string { return l.spec.subject(p, string(s)) }

// ShardOf is the shard that a subject of this log belongs to; false for the
// genesis and for foreign subjects.
func (l *Log) ShardOf(subject string) (Partition, ShardID, bool) {
	rest, ok := strings.CutPrefix(subject, l.spec.root())
	if !ok {
		return 0, "", false
	}
	text, shard, ok := strings.Cut(rest, ".")
	p, err := strconv.ParseUint(text, 10, 32)
	if !ok || err != nil || p >= uint64(len(l.parts)) || shard == genesisToken || shard == "" {
		return 0, "", false
	}
	return Partition(p), ShardID(shard), true
}

func (l *Log) part(p Partition) (*partition, error) {
	if int(p) >= len(l.parts) {
		return nil, fmt.Errorf("stream: partition %d of a log of %d", p, len(l.parts))
	}
	return &l.parts[p], nil
}

func (l *Log) partAndShard(p Partition, s ShardID) (*partition, error) {
	if !validToken.MatchString(string(s)) || s == genesisToken {
		return nil, fmt.Errorf("stream: shard %q: want 1 to 128 of A-Z, a-z, 0-9, _ and -", string(s))
	}
	return l.part(p)
}

// Tail is the last frame of a subject; the zero Tail if there is none.
type Tail struct {
	Seq      uint64 // stream sequence
	Header   Header
	Checksum uint64
}

// Tail reads the last frame of a shard in a partition, through the stream's
// leader. It waits out short outages, until ctx is done. A tail of another
// generation is ErrBroken.
//
// A purge keeps every active shard's barrier frame, so a writer that finds
// nothing asks HEAD (R12): ended: finish; progress recorded: R16; else start
// from the base.
func (l *Log) Tail(ctx context.Context, p Partition, s ShardID) (Tail, error) {
	part, err := l.partAndShard(p, s)
	if err != nil {
		return Tail{}, err
	}
	var msg *jetstream.RawStreamMsg
	err = l.request(ctx, func(ctx context.Context) (err error) {
		// part.stream has AllowDirect off, so this asks the leader.
		msg, err = part.stream.GetLastMsgForSubject(ctx, l.Subject(p, s))
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Tail{}, nil
	}
	if err != nil {
		return Tail{}, fmt.Errorf("stream: read last frame of shard %s in %s: %w", s, part.name, named(err))
	}
	t := Tail{Seq: msg.Sequence}
	if t.Checksum, err = DecodeHeader(msg.Data, &t.Header); err != nil {
		return Tail{}, fmt.Errorf("stream: last frame of shard %s in %s, sequence %d: %w", s, part.name, msg.Sequence, err)
	}
	if t.Header.Nonce != l.spec.Nonce || t.Header.Shard != s {
		return Tail{}, fmt.Errorf("stream: last frame of shard %s in %s, sequence %d, is of shard %s and nonce %016x, not of nonce %016x: %w",
			s, part.name, msg.Sequence, t.Header.Shard, t.Header.Nonce, l.spec.Nonce, ErrBroken)
	}
	return t, nil
}

// Message reads one message through the stream's leader, for the proof that
// the log is still the one a snapshot was taken from (R16). ErrNotFound if the
// stream has no such message.
func (l *Log) Message(ctx context.Context, p Partition, seq uint64) (data []byte, subject string, err error) {
	part, err := l.part(p)
	if err != nil {
		return nil, "", err
	}
	var msg *jetstream.RawStreamMsg
	err = l.request(ctx, func(ctx context.Context) (err error) {
		msg, err = part.stream.GetMsg(ctx, seq)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("stream: read sequence %d of %s: %w", seq, part.name, named(err))
	}
	return msg.Data, msg.Subject, nil
}

// State is what a partition's stream holds.
type State struct {
	// First and Last sequence. An emptied stream has First = Last + 1.
	First, Last uint64
	Bytes       uint64
	Nonce       uint64 // of the stream's metadata
}

// State asks the stream's leader. ErrNotFound if the stream is gone.
func (l *Log) State(ctx context.Context, p Partition) (State, error) {
	part, err := l.part(p)
	if err != nil {
		return State{}, err
	}
	var info *jetstream.StreamInfo
	err = l.request(ctx, func(ctx context.Context) (err error) {
		info, err = part.stream.Info(ctx)
		return err
	})
	if err != nil {
		return State{}, fmt.Errorf("stream: state of %s: %w", part.name, named(err))
	}
	nonce, err := nonceOf(info)
	if err != nil {
		return State{}, err
	}
	part.usage.set(info.State.Bytes)
	return State{info.State.FirstSeq, info.State.LastSeq, info.State.Bytes, nonce}, nil
}

// Purge removes what lies below a sequence, and keeps that sequence. Only the
// coordinator purges, below the oldest retained checkpoint's barriers (R12). A
// sequence beyond the last one is ErrRegressed: the server would silently move
// the log's end there.
func (l *Log) Purge(ctx context.Context, p Partition, below uint64) error {
	part, err := l.part(p)
	if err != nil || below <= 1 {
		return err
	}
	st, err := l.State(ctx, p)
	switch {
	case err != nil:
		return err
	case below > st.Last:
		return fmt.Errorf("stream: purge %s below sequence %d, its last is %d: %w", part.name, below, st.Last, errRegressed)
	case below <= st.First:
		return nil
	}
	err = l.request(ctx, func(ctx context.Context) error {
		return part.stream.Purge(ctx, jetstream.WithPurgeSequence(below))
	})
	if err != nil {
		return fmt.Errorf("stream: purge %s below sequence %d: %w", part.name, below, named(err))
	}
	part.usage.expire()
	return nil
}

// Delete removes the log's streams. Those that are gone already are no error.
func (l *Log) Delete(ctx context.Context) error {
	for i := range l.parts {
		err := l.request(ctx, func(ctx context.Context) error { return l.js.DeleteStream(ctx, l.parts[i].name) })
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("stream: delete %s: %w", l.parts[i].name, err)
		}
	}
	return nil
}

// request is retry for requests about the log's streams.
func (l *Log) request(ctx context.Context, f func(context.Context) error) error {
	return request(ctx, l.js.Conn(), l.spec.stem(), f)
}

// send is the publishFunc of a log.
func (l *Log) send(ctx context.Context, subject string, data []byte, expected uint64) (uint64, error) {
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(expected, 10)},
	}}
	nc := l.js.Conn()
	before := nc.LastError()
	ack, err := l.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, natsconn.Denied(nc, before, err, l.spec.root())
	}
	return ack.Sequence, nil
}

// usage is what a stream holds, as far as known here: polled now and then,
// and what this process has added since (R13).
type usage struct {
	mu      sync.Mutex
	bytes   uint64
	polled  time.Time
	polling bool
}

// pollUsage is how long a polled size is believed.
const pollUsage = 250 * time.Millisecond

func (u *usage) set(bytes uint64) {
	u.mu.Lock()
	u.bytes, u.polled = bytes, time.Now()
	u.mu.Unlock()
}

func (u *usage) add(bytes int) {
	u.mu.Lock()
	u.bytes += uint64(bytes)
	u.mu.Unlock()
}

func (u *usage) expire() {
	u.mu.Lock()
	u.polled = time.Time{}
	u.mu.Unlock()
}

// stored is how many bytes partition p holds; one caller polls, others take
// the last known size meanwhile.
func (l *Log) stored(ctx context.Context, p Partition) uint64 {
	u := &l.parts[p].usage
	u.mu.Lock()
	bytes := u.bytes
	poll := !u.polling && time.Since(u.polled) >= pollUsage
	if poll {
		u.polling = true
	}
	u.mu.Unlock()
	if !poll {
		return bytes
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	info, err := l.parts[p].stream.Info(ctx)
	cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.polling, u.polled = false, time.Now()
	if err == nil {
		u.bytes = info.State.Bytes
	}
	return u.bytes
}
