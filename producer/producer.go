package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/trip"
)

// Producer replays one data set into one stream.
type Producer struct {
	cfg   Config
	log   *zap.Logger
	first int64 // index that Seek found
	total int64 // trips in the data set
	ran   atomic.Bool
	core  *core // owned by the loop of Run

	mu    sync.Mutex
	stats Stats
}

// New checks the configuration and finds the first trip. It sends nothing.
func New(cfg Config) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	p := &Producer{cfg: cfg, log: cfg.Logger, total: cfg.Data.Len()}
	if !cfg.Seek.IsZero() {
		p.first = cfg.Data.SearchTime(cfg.Seek.UnixNano())
	}
	if p.first < 0 || p.first > p.total {
		return nil, fmt.Errorf("producer: data set %q finds trip %d of %d for the seek time: report it", cfg.Data.Identity().Name, p.first, p.total)
	}
	p.stats.Total, p.stats.Speedup = p.total-p.first, cfg.Speedup
	return p, nil
}

// ID returns the producer id that the trips carry.
func (p *Producer) ID() uint64 { return ID(p.cfg.Job, p.cfg.Data.Identity(), p.first) }

// Check says whether Run refuses the state file ([ErrRefused]).
func (p *Producer) Check() error {
	_, err := loadState(p.cfg.StateFile, p.newState())
	return err
}

// Run sends what the state file does not call acknowledged and returns nil once
// every open shard has acknowledged the final watermark and two consecutive
// listings of the shards agree. A replay that is done already sends only the
// final watermark again. Run returns ctx's error when it is told to stop, with
// the progress saved, and a sentence to act on when trying again cannot help: the
// stream is missing or access denied, the state file belongs to another replay
// ([ErrRefused]), the data cannot be read. It may be called once.
func (p *Producer) Run(ctx context.Context) error {
	if p.ran.Swap(true) {
		return errors.New("producer: Run was called twice: make a new Producer")
	}
	st, err := loadState(p.cfg.StateFile, p.newState())
	if err != nil {
		return err
	}
	p.core = newCore(p.cfg, p.first, st.Next, p.total, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	s, err := newShell(p, st)
	if err != nil {
		return err
	}
	p.log.Info("replay starts", zap.String("stream", p.cfg.Stream), zap.String("data", st.Data),
		zap.Int64("trips", p.total-p.first), zap.Int64("acknowledged", st.Next-p.first), zap.Float64("speedup", p.cfg.Speedup))
	if err := s.run(ctx); err != nil {
		return err
	}
	p.log.Info("replay done", zap.String("stream", p.cfg.Stream), zap.Int64("trips", p.total-p.first))
	return nil
}

// readAll reads chunks from the index from on into free buffers.
func (p *Producer) readAll(ctx context.Context, from int64, free <-chan []trip.Trip, full chan<- []trip.Trip) error {
	for from < p.total {
		var buf []trip.Trip
		select {
		case buf = <-free:
		case <-ctx.Done():
			return nil
		}
		buf, err := p.read(from, buf[:min(int64(cap(buf)), p.total-from)])
		if err != nil {
			return err
		}
		from += int64(len(buf))
		select {
		case full <- buf:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// read fills at least one trip of buf from the index from on.
func (p *Producer) read(from int64, buf []trip.Trip) ([]trip.Trip, error) {
	n, err := p.cfg.Data.Read(from, buf)
	if n > 0 { // an error comes back at the next read
		return buf[:n], nil
	}
	if err == nil {
		err = errors.New("nothing was read")
	}
	return nil, fmt.Errorf("producer: read trip %d of %d from data set %q: %w", from, p.total, p.cfg.Data.Identity().Name, err)
}

// Stats is what a replay has done so far.
type Stats struct {
	// Sent of Total trips are acknowledged, earlier runs included.
	Sent, Total int64
	// Rate is acknowledged trips a second over the last few seconds.
	Rate float64
	// Speedup is the pace, 0 for as fast as it goes.
	Speedup float64
	// Lag is how long the oldest due trip has been due without being
	// acknowledged; 0 when nothing is due, and with Speedup 0.
	Lag time.Duration
	// Remaining estimates the time to the end; 0 when it is not known.
	Remaining time.Duration
	// Throttled counts records that their shard had no throughput for, Failed
	// records and calls that failed otherwise, Repeated the records sent again
	// for either reason.
	Throttled, Failed, Repeated int64
	// Shards is how many open shards the stream has.
	Shards int
	// Watermark is the highest one sent; the zero time before the first. At the
	// end it stands at the last trip, and Done says that the final one is
	// acknowledged by every open shard.
	Watermark time.Time
	Done      bool
}

// Stats returns the statistics as of now. It may be called at any time from any
// goroutine, before and after Run too.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}
