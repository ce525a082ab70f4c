package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker/window"
)

// partition is one running instance of a partition.
type partition struct {
	p        stream.Partition
	uploads  chan upload     // the newest cut that waits for its upload
	restored []sink.Document // unconfirmed when the snapshot was taken

	mu      sync.Mutex // guards machine
	machine *window.Machine
}

// upload is a cut on its way to the store.
type upload struct {
	ack  checkpoint.Ack
	body []byte
}

// offer replaces a cut that is still waiting.
func (p *partition) offer(up upload) {
	for {
		select {
		case p.uploads <- up:
			return
		default:
		}
		select {
		case <-p.uploads:
		default:
		}
	}
}

// load restores a partition from the newest snapshot that is whole, and proves
// that the log is the one it was taken from. A log that fails the proof because
// it was purged for newer checkpoints meanwhile, by another owner's acks, is no
// other log: then load begins anew with the HEAD of now.
func (w *Windows) load(ctx context.Context, p stream.Partition) (*partition, error) {
	for {
		head, newest, err := checkpoint.Recover(ctx, w.cfg.Store, w.cfg.Job)
		if err != nil {
			return nil, err
		}
		part, err := w.restore(ctx, p, head, newest)
		if !errors.Is(err, stream.ErrBroken) {
			return part, err
		}
		now, _, herr := checkpoint.ReadJob(ctx, w.cfg.Store, w.cfg.Job)
		if errors.Is(herr, checkpoint.ErrUnavailable) {
			return nil, herr
		}
		if herr != nil || now.Upload() == head.Upload() {
			return nil, err
		}
	}
}

func (w *Windows) restore(ctx context.Context, p stream.Partition, head checkpoint.Head, newest *checkpoint.Manifest) (*partition, error) {
	cfg := w.cfg.Machine
	cfg.Partition = p
	part := &partition{p: p, uploads: make(chan upload, 1)}
	valid := func(body []byte, _ checkpoint.PartitionEntry, m *checkpoint.Manifest) (err error) {
		if m.N == 0 {
			part.machine, err = window.New(cfg)
			part.restored = nil
			return err
		}
		part.machine, part.restored, err = window.Restore(cfg, body)
		return err
	}
	_, _, m, fallbacks, err := checkpoint.LoadPart(ctx, w.cfg.Store, head, p, valid)
	for _, f := range fallbacks {
		w.log.Warn("snapshot part refused, an older checkpoint is used", zap.Stringer("partition", p),
			zap.Stringer("checkpoint", f.N), zap.String("object", f.Object), zap.String("reason", f.Reason))
		w.cfg.Fallback(p, f)
	}
	if err != nil {
		return nil, err
	}
	if err := w.prove(ctx, p, newest); err != nil {
		return nil, err
	}
	if m.N != newest.N {
		if err := w.prove(ctx, p, m); err != nil {
			return nil, err
		}
	}
	w.log.Info("partition starts", zap.Stringer("partition", p), zap.Stringer("checkpoint", m.N), zap.Uint64("sequence", part.machine.Next()))
	return part, nil
}

// prove checks that the log holds, where the manifest says so, the barrier
// frames that the manifest's cut was taken at (R16).
func (w *Windows) prove(ctx context.Context, p stream.Partition, m *checkpoint.Manifest) error {
	broken := func(format string, args ...any) error {
		return fmt.Errorf("the log of partition %s is not the one that checkpoint %s was taken from: %s: restore the job from the checkpoint (R16): %w",
			p, m.N, fmt.Sprintf(format, args...), stream.ErrBroken)
	}
	state, err := w.cfg.Log.State(ctx, p)
	if err != nil {
		return err
	}
	if state.Nonce != m.Nonce {
		return broken("its nonce is %016x, not %016x", state.Nonce, m.Nonce)
	}
	if m.N == 0 {
		return nil
	}
	for _, e := range m.Partitions {
		if e.Partition != p {
			continue
		}
		if state.Last < e.Resume {
			return broken("it ends at sequence %d, before the sequence %d to resume from", state.Last, e.Resume)
		}
		for _, a := range e.Anchors {
			if slices.ContainsFunc(m.Vector, func(c checkpoint.ShardCut) bool { return c.Shard == a.Shard && c.State == checkpoint.Ended }) {
				continue // its frames may be purged (R12)
			}
			data, subject, err := w.cfg.Log.Message(ctx, p, a.Seq)
			switch {
			case errors.Is(err, stream.ErrNotFound):
				return broken("shard %s's barrier frame at sequence %d is gone: %v", a.Shard, a.Seq, err)
			case err != nil: // says nothing about the log
				return err
			}
			if sum := stream.Checksum(data); sum != a.Checksum || !strings.HasSuffix(subject, "."+string(a.Shard)) {
				return broken("sequence %d holds a frame of %s with checksum %016x, not shard %s's with %016x", a.Seq, subject, sum, a.Shard, a.Checksum)
			}
		}
	}
	return nil
}
