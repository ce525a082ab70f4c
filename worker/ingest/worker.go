package ingest

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
)

// Config of a Worker. The fields without a default are required.
type Config struct {
	Log *stream.Log
	// Nonce is the generation's (R8).
	Nonce      uint64
	Partitions int
	// CellPrecision is the precision of the cells that are hashed to partitions.
	CellPrecision int
	Geofence      string
	// Lanes of each producer: trips with higher ones become dead letters. 0 takes
	// every record as the stream has it: repeats are not told.
	Lanes int
	// Manifest reads the newest committed manifest: where shards start.
	Manifest func(context.Context) (*checkpoint.Manifest, error)
	// Board announces barriers. A shard never writes one that was announced
	// before it was opened; on opening it asks for the next (R6).
	Board Board

	// FrameRows seals a frame; 768 rows are about 32 KiB.
	FrameRows int
	// FrameRate is how many frames a second this worker writes, over all its
	// shards and partitions, that are not full; 250. Full ones are not counted.
	FrameRate float64
	Logger    *zap.Logger
}

// Board is what a Worker needs of a checkpoint.Board.
type Board interface {
	// Announced is the newest announcement, read from the authority.
	Announced(context.Context) (checkpoint.Barrier, error)
	// RequestBarrier asks for a barrier above the given one.
	RequestBarrier(ctx context.Context, above stream.BarrierID) error
}

// Worker opens shards and keeps those that are open.
type Worker struct {
	cfg       Config
	fence     *trip.Geofence
	precision int
	nonce     uint64
	log       *zap.Logger

	paced  atomic.Pointer[pace]
	broken chan error // the first ErrBroken

	mu      sync.Mutex
	shards  map[*Shard]struct{}
	barrier stream.BarrierID
}

// New makes a Worker.
func New(cfg Config) (*Worker, error) {
	fence, err := trip.GeofenceByName(cfg.Geofence)
	if err != nil {
		return nil, err
	}
	if cfg.FrameRows == 0 {
		cfg.FrameRows = 768
	}
	if cfg.FrameRate == 0 {
		cfg.FrameRate = 250
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:])
	return &Worker{
		cfg: cfg, fence: fence, precision: cfg.CellPrecision,
		nonce:  binary.LittleEndian.Uint64(nonce[:]) | 1,
		log:    cfg.Logger,
		shards: make(map[*Shard]struct{}),
		broken: make(chan error, 1),
	}, nil
}

// Run returns when ctx ends, or, with the reason, when a shard finds that the
// generation's log is broken: then everybody stops (R16).
func (w *Worker) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-w.broken:
		return err
	}
}

func (w *Worker) note(err error) {
	if errors.Is(err, stream.ErrBroken) {
		select {
		case w.broken <- err:
		default:
		}
	}
}

// HighestBarrier is the highest barrier that stands in the log for any of the
// shards; a coordinator announces above it (R6).
func HighestBarrier(ctx context.Context, log *stream.Log, shards []stream.ShardID) (highest stream.BarrierID, err error) {
	for _, id := range shards {
		tails, err := tailsOf(ctx, log, id)
		if err != nil {
			return 0, err
		}
		for p := range tails {
			highest = max(highest, tails[p].Header.Barrier)
		}
	}
	return highest, nil
}

// Announce tells every open shard to write barrier n.
func (w *Worker) Announce(n stream.BarrierID) {
	w.mu.Lock()
	w.barrier = max(w.barrier, n)
	shards := make([]*Shard, 0, len(w.shards))
	for s := range w.shards {
		shards = append(shards, s)
	}
	w.mu.Unlock()
	for _, s := range shards {
		s.announce(n)
	}
}

// Open starts writing a shard under a lease. It is a source.Open: the Position
// returned is the manifest's, records up to it are not wanted.
func (w *Worker) Open(ctx context.Context, id stream.ShardID, lease stream.Epoch, parents []stream.ShardID) (source.Handler, stream.Position, error) {
	h, pos, err := w.open(ctx, id, lease, parents)
	w.note(err)
	return h, pos, err
}

func (w *Worker) open(ctx context.Context, id stream.ShardID, lease stream.Epoch, parents []stream.ShardID) (source.Handler, stream.Position, error) {
	m, err := w.cfg.Manifest(ctx)
	if err != nil {
		return nil, stream.Position{}, fmt.Errorf("open shard %s: %w", id, err)
	}
	pre := newPrefix(w.cfg.Lanes)
	if i := slices.IndexFunc(m.Vector, func(c checkpoint.ShardCut) bool { return c.Shard == id }); i >= 0 {
		pre = prefixOf(&m.Vector[i], w.cfg.Lanes)
	}
	if err := w.parentsEnded(ctx, m, parents); err != nil {
		return nil, stream.Position{}, fmt.Errorf("open shard %s: %w", id, err)
	}
	tails, err := tailsOf(ctx, w.cfg.Log, id)
	if err != nil {
		return nil, stream.Position{}, fmt.Errorf("open shard %s: %w", id, err)
	}
	epoch := lease
	for p := range tails {
		if tails[p].Seq == 0 && !pre.pos.IsZero() {
			return nil, stream.Position{}, fmt.Errorf("open shard %s: checkpoint %s has it at position %s, but partition %d of the log holds no frame of it: restore the job from the checkpoint (R12): %w",
				id, m.N, pre.pos, p, stream.ErrBroken)
		}
		if tails[p].Header.Upto.Compare(pre.pos) < 0 {
			return nil, stream.Position{}, fmt.Errorf("open shard %s: checkpoint %s has it at position %s, but partition %d of the log ends at %s: restore the job from the checkpoint (R16): %w",
				id, m.N, pre.pos, p, tails[p].Header.Upto, stream.ErrBroken)
		}
		if tails[p].Seq != 0 {
			epoch = max(epoch, tails[p].Header.Epoch+1)
		}
	}
	announced, err := w.cfg.Board.Announced(ctx)
	if err != nil {
		return nil, stream.Position{}, fmt.Errorf("open shard %s: %w", id, err)
	}
	sctx, cancel := context.WithCancelCause(context.Background())
	s := &Shard{
		w: w, id: id, epoch: epoch, ctx: sctx, cancel: cancel, prefix: pre,
		log: w.log.With(zap.String("shard", string(id)), zap.Uint64("epoch", uint64(epoch))),
	}
	ident := stream.Identity{Epoch: epoch, Writer: w.nonce}
	for p := range tails {
		part := stream.Partition(p)
		s.outlets = append(s.outlets, newOutlet(part, w.cfg.Log.Writer(part, id, ident), &tails[p]))
	}
	w.mu.Lock()
	s.asked = max(announced.N, w.barrier)
	asked := s.asked
	w.shards[s] = struct{}{}
	w.repace()
	w.mu.Unlock()
	for _, o := range s.outlets {
		s.wg.Go(func() { s.publish(o) })
	}
	s.wg.Go(s.tick)
	if err := w.cfg.Board.RequestBarrier(ctx, asked); err != nil {
		s.Close()
		return nil, stream.Position{}, fmt.Errorf("open shard %s: %w", id, err)
	}
	s.log.Info("shard opened", zap.Stringer("position", pre.pos), zap.Stringer("checkpoint", m.N))
	return s, pre.pos, nil
}

// tailsOf reads a shard's last frame on every partition.
func tailsOf(ctx context.Context, log *stream.Log, id stream.ShardID) ([]stream.Tail, error) {
	tails := make([]stream.Tail, log.Partitions())
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for p := range tails {
		g.Go(func() (err error) {
			tails[p], err = log.Tail(ctx, stream.Partition(p), id)
			return err
		})
	}
	return tails, g.Wait()
}

// parentsEnded makes sure that a child publishes only after every parent's END
// is on every partition, or in a completed checkpoint (R9).
func (w *Worker) parentsEnded(ctx context.Context, m *checkpoint.Manifest, parents []stream.ShardID) error {
	for _, parent := range parents {
		ended := slices.ContainsFunc(m.Vector, func(c checkpoint.ShardCut) bool {
			return c.Shard == parent && c.State == checkpoint.Ended
		})
		if ended {
			continue
		}
		tails, err := tailsOf(ctx, w.cfg.Log, parent)
		if err != nil {
			return err
		}
		for p := range tails {
			if tails[p].Header.Flags&stream.FlagEnd == 0 {
				return fmt.Errorf("its parent %s has not ended on partition %d yet; the shard is taken again later", parent, p)
			}
		}
	}
	return nil
}

// Progress says where reading a shard resumes; it is a source.Progress.
func (w *Worker) Progress(ctx context.Context, id stream.ShardID) (restart string, ended, known bool, err error) {
	m, err := w.cfg.Manifest(ctx)
	if err != nil {
		return "", false, false, err
	}
	for i := range m.Vector {
		if c := &m.Vector[i]; c.Shard == id {
			return c.Restart, c.State == checkpoint.Ended, true, nil
		}
	}
	return "", false, false, nil
}

func (w *Worker) closed(s *Shard) {
	w.mu.Lock()
	delete(w.shards, s)
	w.repace()
	w.mu.Unlock()
}

func (w *Worker) repace() {
	p := paceFor(len(w.shards)*w.cfg.Partitions, w.cfg.FrameRate)
	w.paced.Store(&p)
}

func (w *Worker) pace() pace { return *w.paced.Load() }

// ShardStatus is what an open shard tells the state page.
type ShardStatus struct {
	Shard     stream.ShardID
	Epoch     stream.Epoch
	Position  stream.Position
	Watermark int64
	// Read and Watermarks count records, cumulative from the shard's start.
	Read, Watermarks uint64
	Behind           time.Duration
	Counts           Counts
}

// Status lists the open shards by name.
func (w *Worker) Status() []ShardStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]ShardStatus, 0, len(w.shards))
	for s := range w.shards {
		s.mu.Lock()
		out = append(out, ShardStatus{
			Shard: s.id, Epoch: s.epoch, Position: s.prefix.pos, Watermark: s.prefix.watermark,
			Read: s.prefix.read, Watermarks: s.prefix.watermarks, Behind: s.behind, Counts: s.counts,
		})
		s.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b ShardStatus) int { return cmp.Compare(a.Shard, b.Shard) })
	return out
}
