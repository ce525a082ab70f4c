package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/worker/window"
)

// WindowsConfig configures Windows. Fields without a default are required.
type WindowsConfig struct {
	Job     string
	Store   checkpoint.Store
	Log     *stream.Log
	Board   Board
	Pending *sink.Pending
	// Machine is the machines' configuration; Partition is filled in.
	Machine window.Config
	// Fallback is told when a partition could not use a snapshot part.
	Fallback func(stream.Partition, checkpoint.Fallback)
	Logger   *zap.Logger
}

// Board takes the partitions' acknowledgements.
type Board interface {
	PutAck(context.Context, checkpoint.Ack) error
}

// Windows runs the window side of partitions.
type Windows struct {
	cfg WindowsConfig
	log *zap.Logger

	mu         sync.Mutex
	partitions map[stream.Partition]*partition
	failing    time.Time // since when snapshots are not stored or read
}

// NewWindows makes a Windows.
func NewWindows(cfg WindowsConfig) *Windows {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Fallback == nil {
		cfg.Fallback = func(stream.Partition, checkpoint.Fallback) {}
	}
	return &Windows{cfg: cfg, log: cfg.Logger, partitions: make(map[stream.Partition]*partition)}
}

// Run owns the partitions until ctx ends. An error ends all of them.
func (w *Windows) Run(ctx context.Context, partitions []stream.Partition) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range partitions {
		g.Go(func() error { return w.own(ctx, p) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// own runs one partition, starting over from its snapshot when its view of the
// log has a gap, or when the log was purged ahead of it, because another owner's
// checkpoints do not wait for a slow one (R3).
func (w *Windows) own(ctx context.Context, p stream.Partition) error {
	var last uint64 // stream sequence of the last gap
	for {
		at, err := w.instance(ctx, p)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, stream.ErrGap) && !errors.Is(err, stream.ErrPurged):
			return fmt.Errorf("partition %s: %w", p, err)
		case at <= last:
			return fmt.Errorf("partition %s: the log has the same gap after a reload from the snapshot, so this generation is broken: restore the job from its last checkpoint (R16): %w: %w", p, stream.ErrBroken, err)
		}
		last = at
		w.log.Warn("partition starts over from its snapshot", zap.Stringer("partition", p), zap.Error(err))
	}
}

// instance loads the partition's snapshot and applies its log until ctx ends
// or something is wrong. It returns the sequence that it was at.
func (w *Windows) instance(ctx context.Context, p stream.Partition) (at uint64, err error) {
	part, err := w.await(ctx, p)
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	w.partitions[p] = part
	w.mu.Unlock()
	w.cfg.Pending.Release(uint32(p))
	w.cfg.Pending.Add(uint32(p), part.restored)
	part.restored = nil

	at = part.machine.Next()
	reader, err := w.cfg.Log.Reader(ctx, p, at)
	if err != nil {
		return at, err
	}
	defer reader.Close()
	ctx, cancel := context.WithCancel(ctx)
	var uploads sync.WaitGroup
	uploads.Go(func() { w.upload(ctx, part.uploads) })
	defer uploads.Wait()
	defer cancel()
	for {
		msg, err := reader.Next(ctx)
		if err != nil {
			return at, err
		}
		at = msg.Seq
		if err := w.apply(ctx, part, msg); err != nil {
			return at, err
		}
	}
}

// await is load, tried again for as long as the store is unavailable.
func (w *Windows) await(ctx context.Context, p stream.Partition) (*partition, error) {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		part, err := w.load(ctx, p)
		if !errors.Is(err, checkpoint.ErrUnavailable) {
			w.note(nil)
			return part, err
		}
		w.note(err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// apply takes one message through the machine.
func (w *Windows) apply(ctx context.Context, part *partition, msg stream.Message) error {
	part.mu.Lock()
	defer part.mu.Unlock()
	m := part.machine
	if err := m.Apply(msg.Seq, msg.Data); err != nil {
		return err
	}
	for {
		step, more := m.Step()
		if !more {
			break
		}
		if len(step.Documents) > 0 {
			w.cfg.Pending.Add(uint32(part.p), step.Documents)
		}
		if step.Aligned != 0 {
			pending := w.cfg.Pending.Unconfirmed(uint32(part.p))
			ack := m.Ack()
			ack.Pending = uint64(len(pending))
			part.offer(upload{ack: ack, body: m.Encode(nil, pending)})
		}
	}
	if w.cfg.Pending.Full() {
		part.mu.Unlock()
		err := w.cfg.Pending.Wait(ctx)
		part.mu.Lock()
		return err
	}
	return nil
}

// upload brings cuts to the store, the newest first, and acknowledges them.
func (w *Windows) upload(ctx context.Context, uploads <-chan upload) {
	for {
		select {
		case <-ctx.Done():
			return
		case up := <-uploads:
			for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
				err := w.store(ctx, &up)
				if ctx.Err() != nil {
					return
				}
				w.note(err)
				if err == nil {
					break
				}
				select {
				case <-ctx.Done():
					return
				case up = <-uploads: // a newer cut takes its place
				case <-time.After(wait):
				}
			}
		}
	}
}

// note tells when snapshots begin to fail, for all partitions together, and when
// that is over.
func (w *Windows) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && w.failing.IsZero():
		w.failing = time.Now()
		w.log.Warn("snapshots cannot be stored or read, trying again", zap.Error(err))
	case err == nil && !w.failing.IsZero():
		w.log.Info("snapshots are stored and read again", zap.Duration("after", time.Since(w.failing)))
		w.failing = time.Time{}
	}
}

func (w *Windows) store(ctx context.Context, up *upload) error {
	if up.ack.Part.Name == "" {
		up.body = checkpoint.EncodePart(up.body)
		sum := sha256.Sum256(up.body)
		id := checkpoint.UploadID{Generation: w.cfg.Machine.Generation, N: up.ack.Barrier}
		up.ack.Part = checkpoint.PartRef{
			Name:   checkpoint.PartName(w.cfg.Job, id, up.ack.Partition, up.body),
			Size:   int64(len(up.body)),
			SHA256: hex.EncodeToString(sum[:]),
		}
	}
	if err := w.cfg.Store.Put(ctx, up.ack.Part.Name, up.body); err != nil {
		return err
	}
	return w.cfg.Board.PutAck(ctx, up.ack)
}

// Status pictures the partitions that run, in order.
func (w *Windows) Status() []window.Status {
	w.mu.Lock()
	parts := make([]*partition, 0, len(w.partitions))
	for p := range stream.Partition(w.cfg.Machine.Partitions) {
		if part := w.partitions[p]; part != nil {
			parts = append(parts, part)
		}
	}
	w.mu.Unlock()
	out := make([]window.Status, len(parts))
	for i, part := range parts {
		part.mu.Lock()
		out[i] = part.machine.Status()
		part.mu.Unlock()
	}
	return out
}
