package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Bucket says which key-value bucket to open: the notice board of checkpoints,
// the lease table.
type Bucket struct {
	// Prefix is the log's, Spec.Prefix.
	Prefix string
	// Name is the bucket's, without the prefix: "taxi-1-checkpoint".
	Name        string
	Description string
	// Replicas and MaxBytes are for a bucket that is made: 1 and 128 MiB if 0.
	Replicas int
	MaxBytes int64
}

const (
	// bucketBytes is the limit of a bucket where none is given, since some
	// accounts ask for one.
	bucketBytes = 128 << 20
	// ownerKey says in a bucket's metadata whose it is: prefixes and names may
	// meet in one bucket's name.
	ownerKey = "tripgrid-bucket"
)

// FullName is the bucket's name on the server.
func (b Bucket) FullName() string { return scoped(b.Prefix, b.Name) }

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// CheckPrefix says why prefix cannot be the beginning of subjects.
func CheckPrefix(prefix string) error {
	if prefix != "" && (len(prefix) > 128 || !validPrefix.MatchString(prefix)) {
		return fmt.Errorf("stream: %q is no subject prefix: use up to 128 letters, digits, _ and -, with dots between", prefix)
	}
	return nil
}

// scoped puts the prefix before a name that may have no dots.
func scoped(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return strings.ReplaceAll(prefix, ".", "_") + "_" + name
}

// OpenBucket opens a bucket, and makes it if it is missing. It is made as a
// stream, because CreateKeyValue always allows direct gets, which any replica
// may answer with an old value; a bucket that was made so is corrected. A
// refused write proves that the user may write.
func OpenBucket(ctx context.Context, js jetstream.JetStream, b Bucket) (jetstream.KeyValue, error) {
	if err := CheckPrefix(b.Prefix); err != nil {
		return nil, err
	}
	name := b.FullName()
	owner := strings.TrimPrefix(b.Prefix+"."+b.Name, ".")
	cfg := jetstream.StreamConfig{
		Name: "KV_" + name, Subjects: []string{"$KV." + name + ".>"}, Description: b.Description,
		Storage: jetstream.FileStorage, Replicas: max(1, b.Replicas), MaxBytes: cmp.Or(b.MaxBytes, bucketBytes), MaxMsgsPerSubject: 1,
		Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, Duplicates: 2 * time.Minute,
		Metadata: map[string]string{ownerKey: owner},
	}
	var s jetstream.Stream
	err := request(ctx, js.Conn(), cfg.Name, func(ctx context.Context) (err error) {
		s, err = js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			s, err = js.CreateStream(ctx, cfg)
		}
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another starter, at this moment
			s, err = js.Stream(ctx, cfg.Name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", name, advised(ctx, js, err, cfg, 1))
	}
	there := s.CachedInfo().Config
	// Buckets of versions without a prefix have no owner.
	if of := there.Metadata[ownerKey]; of != owner && (of != "" || b.Prefix != "") {
		return nil, fmt.Errorf("open the bucket %s: it is not of %s, but of %q: choose another subject prefix, or delete it", name, owner, of)
	}
	if there.AllowDirect {
		there.AllowDirect = false
		err := request(ctx, js.Conn(), cfg.Name, func(ctx context.Context) error {
			_, err := js.UpdateStream(ctx, there)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("forbid direct gets of the bucket %s: %w", name, err)
		}
	}
	var kv jetstream.KeyValue
	err = request(ctx, js.Conn(), name, func(ctx context.Context) (err error) {
		if kv, err = js.KeyValue(ctx, name); err != nil {
			return err
		}
		_, err = kv.Update(ctx, "none", nil, math.MaxInt64)
		if refused(err) {
			err = nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", name, err)
	}
	return kv, nil
}
