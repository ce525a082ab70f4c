package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// ErrMismatch says that the job exists and is another one than asked for.
var ErrMismatch = errors.New("the job is another one")

// CreateJob begins a job: manifest 0 and HEAD {generation 1, n 0}, created only
// if there is none. If there is one, the racer that lost or a resumed run gets
// what is there, as Recover does, provided that its spec is the one asked for;
// else ErrMismatch and the sentence of Spec.Diff. nonce is a new generation's
// (NewNonce).
func CreateJob(ctx context.Context, store Store, spec Spec, now time.Time, nonce uint64) (Head, *Manifest, error) {
	if err := spec.Validate(); err != nil {
		return Head{}, nil, fmt.Errorf("create job: %w", err)
	}
	head, m, err := resumeJob(ctx, store, spec)
	if !errors.Is(err, ErrNotFound) {
		return head, m, err
	}
	m = &Manifest{Job: spec.Job, Generation: 1, Nonce: nonce, Created: now.UTC(), Spec: spec}
	for p := range spec.Partitions {
		m.Partitions = append(m.Partitions, PartitionEntry{Partition: stream.Partition(p)})
	}
	data, ref, err := m.Encode()
	if err != nil {
		return Head{}, nil, err
	}
	if err := store.Put(ctx, ref.Name, data); err != nil {
		return Head{}, nil, fmt.Errorf("write manifest 0 of job %s: %w", spec.Job, err)
	}
	head = Head{
		Format: documentFormat, Job: spec.Job, Generation: 1, Nonce: nonce,
		CommitNonce: commitNonce(nonce, 0), Manifests: []ManifestRef{ref},
	}
	if data, err = head.Encode(); err != nil {
		return Head{}, nil, err
	}
	_, err = store.SwapHead(ctx, spec.Job, "", data)
	switch {
	case err == nil:
		// Read back, so that a creator and a resumed run hold equal values.
		return resumeJob(ctx, store, spec)
	case errors.Is(err, ErrConflict):
		return resumeJob(ctx, store, spec)
	case errors.Is(err, ErrUncertain):
		head, m, rerr := resumeJob(ctx, store, spec)
		if errors.Is(rerr, ErrNotFound) {
			return Head{}, nil, fmt.Errorf("create HEAD of job %s, start again: %w", spec.Job, err)
		}
		return head, m, rerr
	}
	return Head{}, nil, fmt.Errorf("create HEAD of job %s: %w", spec.Job, err)
}

func resumeJob(ctx context.Context, store Store, want Spec) (Head, *Manifest, error) {
	head, m, err := Recover(ctx, store, want.Job)
	if err != nil {
		return head, nil, err
	}
	if d := m.Spec.Diff(want); d != "" {
		return head, m, fmt.Errorf("%w: %s", ErrMismatch, d)
	}
	return head, m, nil
}

// commitNonce names one swap of HEAD: the swapper's own nonce and the checkpoint.
func commitNonce(nonce uint64, n stream.BarrierID) string {
	return fmt.Sprintf("%016x-%d", nonce, n)
}
