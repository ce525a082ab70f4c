package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/stream"
)

// Barrier is an announcement: owners of shards write barrier N as soon as they
// see it. Base is what HEAD showed; N commits only on top of it. Nonce is the
// coordinator's.
type Barrier struct {
	N     stream.BarrierID `json:"n"`
	Base  stream.BarrierID `json:"base"`
	Nonce uint64           `json:"nonce,string"`
}

// Completed says that HEAD shows checkpoint N. It is a cache of HEAD that only grows.
type Completed struct {
	N        stream.BarrierID `json:"n"`
	Manifest ManifestRef      `json:"manifest"`
}

// ask is the wish for a barrier above Above.
type ask struct {
	Above stream.BarrierID `json:"above"`
}

// Keys of the bucket.
const (
	keyBarrier   = "barrier"
	keyAsk       = "request"
	keyCompleted = "completed"
	keyAck       = "ack."
)

// reread is how often watchers read the key itself, in case a watch is lost (R6).
const reread = time.Second

// Board is a generation's notice board in NATS KV: the coordinator announces
// barriers on it, partitions put their acks there. Nothing on it decides
// anything: HEAD does. It is safe for concurrent use.
type Board struct {
	kv         jetstream.KeyValue
	bucket     string
	generation stream.Generation
	limit      func() int64 // of a message
}

// BoardSpec says which board to open.
type BoardSpec struct {
	// Prefix is the log's, stream.Spec.Prefix.
	Prefix     string
	Job        string
	Generation stream.Generation
	// Replicas and Partitions are for a board that is made: 1 replica embedded, 3
	// in a cluster; each partition may need a message's 1 MiB for its ack.
	Replicas, Partitions int
}

// BoardBucket is the name of a generation's bucket, without the prefix.
func BoardBucket(job string, g stream.Generation) string {
	return fmt.Sprintf("%s-%d-checkpoint", job, g)
}

// OpenBoard opens the board of a generation without a prefix.
func OpenBoard(ctx context.Context, js jetstream.JetStream, job string, g stream.Generation, replicas int) (*Board, error) {
	return BoardSpec{Job: job, Generation: g, Replicas: replicas}.Open(ctx, js)
}

// Open opens a generation's board and creates it if it is missing.
func (s BoardSpec) Open(ctx context.Context, js jetstream.JetStream) (*Board, error) {
	if err := CheckJob(s.Job); err != nil {
		return nil, err
	}
	bucket := stream.Bucket{
		Prefix: s.Prefix, Name: BoardBucket(s.Job, s.Generation),
		Description: "tripgrid: barriers and acks of job " + s.Job, Replicas: s.Replicas,
		MaxBytes: int64(max(128, s.Partitions+8)) << 20,
	}
	kv, err := stream.OpenBucket(ctx, js, bucket)
	if err != nil {
		return nil, err
	}
	return &Board{kv: kv, bucket: bucket.FullName(), generation: s.Generation, limit: js.Conn().MaxPayload}, nil
}

// Announced returns the current announcement, the zero Barrier before the first.
func (b *Board) Announced(ctx context.Context) (Barrier, error) {
	var v Barrier
	_, err := b.get(ctx, keyBarrier, &v)
	return v, err
}

// Completed returns the newest completed checkpoint that the board knows.
func (b *Board) Completed(ctx context.Context) (Completed, error) {
	var v Completed
	_, err := b.get(ctx, keyCompleted, &v)
	return v, err
}

// WatchBarrier calls fn with the current announcement, if there is one, and
// with every later one that it sees, N growing; it may miss announcements that
// were overtaken. It reads the key itself every second, besides watching it
// (R6), and returns when ctx ends.
func (b *Board) WatchBarrier(ctx context.Context, fn func(Barrier)) error {
	var last stream.BarrierID
	return b.watch(ctx, keyBarrier, func(_ string, data []byte) error {
		var v Barrier
		if err := decodeValue(data, &v); err != nil {
			return err
		}
		if v.N > last {
			last = v.N
			fn(v)
		}
		return nil
	})
}

// WatchCompleted calls fn with the newest completed checkpoint, if there is
// one, and with later ones, N growing; it returns when ctx ends.
func (b *Board) WatchCompleted(ctx context.Context, fn func(Completed)) error {
	var last stream.BarrierID
	return b.watch(ctx, keyCompleted, func(_ string, data []byte) error {
		var v Completed
		if err := decodeValue(data, &v); err != nil {
			return err
		}
		if v.N > last {
			last = v.N
			fn(v)
		}
		return nil
	})
}

// RequestBarrier asks the coordinator for a barrier above the given one, which
// cancels an unfinished checkpoint at or below it: an owner that acquires a
// shard does not write what was announced before (R6).
func (b *Board) RequestBarrier(ctx context.Context, above stream.BarrierID) error {
	return grow(ctx, b, keyAsk, ask{Above: above}, func(a ask) stream.BarrierID { return a.Above })
}

// PutAck puts a partition's ack, unless one for the same or a later barrier is
// there. The part must be in the store before.
func (b *Board) PutAck(ctx context.Context, a Ack) error {
	key := keyAck + a.Partition.String()
	return grow(ctx, b, key, a, func(a Ack) stream.BarrierID { return a.Barrier })
}

func (b *Board) putCompleted(ctx context.Context, c Completed) error {
	return grow(ctx, b, keyCompleted, c, func(c Completed) stream.BarrierID { return c.N })
}

// announce sets the barrier key to v if it still is prev, and returns what it is
// afterwards: v, or what another coordinator announced. After an error it may
// be called again with the same values.
func (b *Board) announce(ctx context.Context, prev, v Barrier) (Barrier, error) {
	for {
		var there Barrier
		rev, err := b.get(ctx, keyBarrier, &there)
		if err != nil || there != prev {
			return there, err
		}
		if err := b.set(ctx, keyBarrier, v, rev); err == nil {
			return v, nil
		} else if !isConflict(err) {
			return Barrier{}, err
		}
	}
}

// acks returns the acks for barrier n that are on the board, of the partitions
// that have none in skip.
func (b *Board) acks(ctx context.Context, n stream.BarrierID, partitions int, skip func(stream.Partition) bool) ([]Ack, error) {
	var all []Ack
	for p := range partitions {
		var a Ack
		if skip != nil && skip(stream.Partition(p)) {
			continue
		}
		_, err := b.get(ctx, keyAck+strconv.Itoa(p), &a)
		if err != nil && !errors.Is(err, ErrCorrupt) { // a corrupt one is none
			return nil, err
		}
		if err == nil && n > 0 && a.Barrier == n {
			all = append(all, a)
		}
	}
	return all, nil
}

// grow sets a key to v unless what is there is at or above it.
func grow[T any](ctx context.Context, b *Board, key string, v T, of func(T) stream.BarrierID) error {
	for {
		var there T
		rev, err := b.get(ctx, key, &there)
		if err != nil && !errors.Is(err, ErrCorrupt) { // a corrupt one is replaced
			return err
		}
		if err == nil && rev > 0 && of(there) >= of(v) {
			return nil
		}
		if err := b.set(ctx, key, v, rev); err == nil || !isConflict(err) {
			return err
		}
	}
}

// get reads a key; revision 0 says that it is not there. The revision comes
// with ErrCorrupt, too.
func (b *Board) get(ctx context.Context, key string, v any) (uint64, error) {
	e, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the key %s of %s: %w", key, b.bucket, err)
	}
	if err := decodeValue(e.Value(), v); err != nil {
		return e.Revision(), fmt.Errorf("the key %s of %s is %w: %w", key, b.bucket, ErrCorrupt, err)
	}
	return e.Revision(), nil
}

// set writes a key that still has the given revision. The error may also mean
// that the answer was lost.
func (b *Board) set(ctx context.Context, key string, v any, revision uint64) error {
	data, err := encodeValue(v)
	if err != nil {
		return fmt.Errorf("encode the key %s: %w", key, err)
	}
	if limit := b.limit() - valueOverhead; int64(len(data)) > limit {
		return fmt.Errorf("write the key %s of %s: it has %d bytes compressed, the NATS server takes %d: raise its max_payload", key, b.bucket, len(data), limit)
	}
	if _, err := b.kv.Update(ctx, key, data, revision); err != nil {
		return fmt.Errorf("write the key %s of %s: %w", key, b.bucket, err)
	}
	return nil
}

// isConflict tells a lost compare-and-swap; a replicated stream says 10164
// where a single one says 10071.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// watch calls fn, from one goroutine, with the keys that match and their values
// as they change, and for a single key with its value every second.
func (b *Board) watch(ctx context.Context, keys string, fn func(key string, value []byte) error) error {
	var w jetstream.KeyWatcher
	err := outlast(ctx, func() (err error) {
		w, err = b.kv.Watch(ctx, keys)
		return err
	}, nil)
	if err != nil {
		return fmt.Errorf("watch %s of %s: %w", keys, b.bucket, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	values := make(chan jetstream.KeyValueEntry)
	single := !strings.Contains(keys, "*")
	g.Go(func() error {
		defer func() { _ = w.Stop() }() // the connection may be gone
		return forward(ctx, w.Updates(), values)
	})
	if single {
		g.Go(func() error { return b.poll(ctx, keys, values) })
	}
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case e := <-values:
				if err := fn(e.Key(), e.Value()); err != nil {
					return fmt.Errorf("the key %s of %s is %w: %w", e.Key(), b.bucket, ErrCorrupt, err)
				}
			}
		}
	})
	return g.Wait()
}

// outlast calls f again for as long as NATS or the store does not answer; told,
// if it is not nil, hears of it.
func outlast(ctx context.Context, f func() error, told func(error)) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := f()
		if err == nil || !errors.Is(err, ErrUnavailable) && !stream.Transient(err) {
			return err
		}
		if told != nil && ctx.Err() == nil {
			told(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func forward(ctx context.Context, updates <-chan jetstream.KeyValueEntry, values chan<- jetstream.KeyValueEntry) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-updates:
			if !ok {
				updates = nil // the connection is closed; polling goes on
				continue
			}
			if e == nil || e.Operation() != jetstream.KeyValuePut {
				continue
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case values <- e:
			}
		}
	}
}

func (b *Board) poll(ctx context.Context, key string, values chan<- jetstream.KeyValueEntry) error {
	t := time.NewTicker(reread)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		e, err := b.kv.Get(ctx, key)
		if err != nil {
			continue // not there yet, or NATS is away: the next second will tell
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case values <- e:
		}
	}
}
