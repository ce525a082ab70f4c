package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tripgrid/tripgrid/stream"
)

// ErrBroken says that the generation's log is not the one that its checkpoints were
// taken from (R16). It is not cured by an older part: everybody stops.
var ErrBroken = stream.ErrBroken

// Fallback says which object could not be used, and why.
type Fallback struct {
	N      stream.BarrierID
	Object string
	Reason string
}

func (f Fallback) String() string {
	return fmt.Sprintf("checkpoint %d: %s: %s", f.N, f.Object, f.Reason)
}

// ReadJob reads and decodes a job's HEAD and its version.
func ReadJob(ctx context.Context, store Store, job string) (Head, string, error) {
	data, version, err := store.ReadHead(ctx, job)
	if err != nil {
		return Head{}, "", fmt.Errorf("read the HEAD of job %s: %w", job, err)
	}
	h, err := DecodeHead(job, data)
	return h, version, err
}

// LoadManifest reads the manifest that ref names and proves that it is that one.
func LoadManifest(ctx context.Context, store Store, ref ManifestRef) (*Manifest, error) {
	data, err := getChecked(ctx, store, "manifest", ref.Name, ref.SHA256)
	if err != nil {
		return nil, err
	}
	return DecodeManifest(ref.Name, data)
}

func getChecked(ctx context.Context, store Store, kind, name, sum string) ([]byte, error) {
	data, err := store.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	if got := sumHex(data); got != sum {
		return nil, fmt.Errorf("%s %s is %w: its SHA-256 is %.12s, the reference says %.12s", kind, name, ErrCorrupt, got, sum)
	}
	return data, nil
}

// Retained reads all manifests that HEAD retains, newest first. An unreadable
// one is left out and reported. That the store is unavailable says nothing about
// them, and is the error.
func Retained(ctx context.Context, store Store, head Head) ([]*Manifest, []Fallback, error) {
	var all []*Manifest
	var bad []Fallback
	for _, ref := range head.Manifests {
		m, err := LoadManifest(ctx, store, ref)
		switch {
		case err == nil:
			all = append(all, m)
		case errors.Is(err, ErrUnavailable):
			return nil, nil, err
		default:
			bad = append(bad, Fallback{N: ref.N, Object: ref.Name, Reason: err.Error()})
		}
	}
	return all, bad, nil
}

// Recover reads a job's HEAD and the manifest from which its shards' owners
// start: HEAD's newest, or, if that one is unreadable, the newest retained one
// that is readable (then m.N < head.N; the package comment says why that is
// safe). ErrNotFound: there is no such job.
func Recover(ctx context.Context, store Store, job string) (Head, *Manifest, error) {
	head, version, err := ReadJob(ctx, store, job)
	if err != nil {
		return Head{}, nil, err
	}
	for {
		var bad []Fallback
		for _, ref := range head.Manifests {
			m, err := LoadManifest(ctx, store, ref)
			if err == nil {
				return head, m, nil
			}
			if errors.Is(err, ErrUnavailable) {
				return head, nil, err
			}
			bad = append(bad, Fallback{N: ref.N, Object: ref.Name, Reason: err.Error()})
		}
		// Were they swept, because HEAD has moved on meanwhile?
		now, v, err := ReadJob(ctx, store, job)
		if err != nil {
			return head, nil, err
		}
		if v == version {
			return head, nil, fmt.Errorf("no retained manifest of job %s can be read, restore the folder or bucket: %w: %s",
				job, ErrCorrupt, joinFallbacks(bad))
		}
		head, version = now, v
	}
}

// LoadPart finds a partition's newest usable part: it tries the retained
// checkpoints newest first. A part that is missing, truncated or corrupt, or
// that valid refuses, is reported and the partition's part of the checkpoint
// before is tried; an unavailable store is an error at once. If HEAD has moved on since head was read, which may be why
// something is missing, LoadPart begins anew with the HEAD of now. Manifest 0 stands for the empty state: there valid gets a
// nil body and an entry without a part. If valid returns ErrBroken, LoadPart
// returns that at once (R16). If nothing is usable, the error names all objects.
func LoadPart(ctx context.Context, store Store, head Head, p stream.Partition,
	valid func(body []byte, entry PartitionEntry, m *Manifest) error,
) ([]byte, PartitionEntry, *Manifest, []Fallback, error) {
	for {
		body, entry, m, bad, err := tryParts(ctx, store, head, p, valid)
		if len(bad) == 0 || ctx.Err() != nil || errors.Is(err, ErrBroken) || errors.Is(err, ErrUnavailable) {
			return body, entry, m, bad, err
		}
		now, _, herr := ReadJob(ctx, store, head.Job)
		switch {
		case errors.Is(herr, ErrUnavailable): // was it damage, or has HEAD moved on?
			return nil, PartitionEntry{}, nil, nil, herr
		case herr != nil || now.Upload() == head.Upload():
			return body, entry, m, bad, err
		case now.Generation != head.Generation:
			return nil, PartitionEntry{}, nil, bad, fmt.Errorf("load partition %d of generation %d: %w: HEAD is of generation %d",
				p, head.Generation, ErrSuperseded, now.Generation)
		}
		head = now
	}
}

func tryParts(ctx context.Context, store Store, head Head, p stream.Partition,
	valid func([]byte, PartitionEntry, *Manifest) error,
) ([]byte, PartitionEntry, *Manifest, []Fallback, error) {
	var bad []Fallback
	for _, ref := range head.Manifests {
		if ref.Generation != head.Generation {
			continue // another log
		}
		body, entry, m, object, err := loadPart(ctx, store, ref, p, valid)
		if err == nil {
			return body, entry, m, bad, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrBroken) || errors.Is(err, ErrUnavailable) {
			return nil, PartitionEntry{}, nil, bad, fmt.Errorf("load partition %d from checkpoint %d: %w", p, ref.N, err)
		}
		bad = append(bad, Fallback{N: ref.N, Object: object, Reason: err.Error()})
	}
	return nil, PartitionEntry{}, nil, bad, fmt.Errorf("no retained checkpoint has a usable part of partition %d, restore the objects or start a new generation: %w: %s",
		p, ErrCorrupt, joinFallbacks(bad))
}

func loadPart(ctx context.Context, store Store, ref ManifestRef, p stream.Partition,
	valid func([]byte, PartitionEntry, *Manifest) error,
) (body []byte, entry PartitionEntry, m *Manifest, object string, err error) {
	if m, err = LoadManifest(ctx, store, ref); err != nil {
		return nil, entry, nil, ref.Name, err
	}
	if int(p) >= len(m.Partitions) {
		return nil, entry, nil, ref.Name, fmt.Errorf("manifest %s has no partition %d", ref.Name, p)
	}
	entry, object = m.Partitions[p], m.Partitions[p].Part.Name
	if object == "" {
		object = ref.Name
	} else {
		data, err := getChecked(ctx, store, "part", object, entry.Part.SHA256)
		if err != nil {
			return nil, entry, nil, object, err
		}
		if body, err = DecodePart(object, data); err != nil {
			return nil, entry, nil, object, err
		}
	}
	if err := valid(body, entry, m); err != nil {
		return nil, entry, nil, object, fmt.Errorf("the part %s is refused: %w", object, err)
	}
	return body, entry, m, object, nil
}

func joinFallbacks(bad []Fallback) string {
	s := make([]string, len(bad))
	for i, f := range bad {
		s[i] = f.String()
	}
	return strings.Join(s, "; ")
}
