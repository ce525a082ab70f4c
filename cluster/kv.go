package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// KV is a lease table in a NATS key-value bucket, a row a key:
// PREFIX + the resource id with every byte outside [-_0-9A-Za-z] as =hh.
// The value is JSON; see kvRow. Expiry never uses the bucket's TTL, which an
// update drops.
type KV struct {
	kv     jetstream.KeyValue
	prefix string
}

// NewKV returns the table whose keys begin with prefix, for instance "lease.";
// the bucket may hold other keys.
func NewKV(kv jetstream.KeyValue, prefix string) *KV { return &KV{kv: kv, prefix: prefix} }

const kvVersion = 1

type kvRow struct {
	Version      int        `json:"v"`
	Resource     Resource   `json:"resource"`
	Owner        Owner      `json:"owner,omitempty"`
	Epoch        Epoch      `json:"epoch"`
	Counter      uint64     `json:"counter"`
	Checkpoint   string     `json:"checkpoint,omitempty"`
	CheckpointID uint64     `json:"checkpoint_id,omitempty"`
	Parents      []Resource `json:"parents,omitempty"`
	Ended        bool       `json:"ended,omitempty"`
}

// Get implements Store.
func (s *KV) Get(ctx context.Context, r Resource) (Entry, error) {
	e, err := s.kv.Get(ctx, s.key(r))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Entry{}, fmt.Errorf("lease of %s: %w", r, ErrNotFound)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("read lease of %s: %w", r, err)
	}
	return decodeRow(e)
}

// Create implements Store.
func (s *KV) Create(ctx context.Context, l Lease) (Revision, error) {
	b, err := encodeRow(l)
	if err != nil {
		return 0, err
	}
	rev, err := s.kv.Create(ctx, s.key(l.Resource), b)
	if err != nil {
		return 0, writeError("create", l.Resource, err)
	}
	return Revision(rev), nil
}

// Update implements Store.
func (s *KV) Update(ctx context.Context, l Lease, at Revision) (Revision, error) {
	b, err := encodeRow(l)
	if err != nil {
		return 0, err
	}
	rev, err := s.kv.Update(ctx, s.key(l.Resource), b, uint64(at))
	if err != nil {
		return 0, writeError("update", l.Resource, err)
	}
	return Revision(rev), nil
}

// List implements Store.
func (s *KV) List(ctx context.Context) ([]Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.kv.Watch(ctx, s.prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("list leases in %s: %w", s.kv.Bucket(), err)
	}
	defer func() { _ = w.Stop() }()
	var all []Entry
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list leases in %s: %w", s.kv.Bucket(), ctx.Err())
		case kv, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("list leases in %s: the connection was closed", s.kv.Bucket())
			}
			if kv == nil { // all there was
				return all, nil
			}
			e, err := decodeRow(kv)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
	}
}

func (s *KV) key(r Resource) string {
	var b strings.Builder
	b.WriteString(s.prefix)
	for i := range len(r) {
		switch c := r[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02x", c)
		}
	}
	return b.String()
}

// writeError tells a lost race from the rest. Replicated streams may answer
// with another code than single ones while a write is in flight.
func writeError(verb string, r Resource, err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) ||
		errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("%s lease of %s: %w", verb, r, ErrConflict)
	}
	return fmt.Errorf("%s lease of %s: %w", verb, r, err)
}

func encodeRow(l Lease) ([]byte, error) {
	b, err := json.Marshal(kvRow{Version: kvVersion, Resource: l.Resource, Owner: l.Owner, Epoch: l.Epoch,
		Counter: l.Counter, Checkpoint: l.Checkpoint, CheckpointID: l.CheckpointID, Parents: l.Parents, Ended: l.Ended})
	if err != nil {
		return nil, fmt.Errorf("encode lease of %s: %w", l.Resource, err)
	}
	return b, nil
}

func decodeRow(e jetstream.KeyValueEntry) (Entry, error) {
	var r kvRow
	if err := json.Unmarshal(e.Value(), &r); err != nil {
		return Entry{}, fmt.Errorf("lease under %s in %s is not readable: %w", e.Key(), e.Bucket(), err)
	}
	if r.Version != kvVersion {
		return Entry{}, fmt.Errorf("lease under %s in %s has version %d, this program reads %d: upgrade it",
			e.Key(), e.Bucket(), r.Version, kvVersion)
	}
	return Entry{Revision: Revision(e.Revision()), Lease: Lease{Resource: r.Resource, Owner: r.Owner, Epoch: r.Epoch,
		Counter: r.Counter, Checkpoint: r.Checkpoint, CheckpointID: r.CheckpointID, Parents: r.Parents, Ended: r.Ended}}, nil
}
