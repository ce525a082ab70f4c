package checkpoint

import (
	"context"
	"time"

	"github.com/tripgrid/tripgrid/stream"
)

// Config configures the coordinator; the zero value of a field is its default.
type Config struct {
	Job string
	// Interval between the starts of checkpoints; default 10 s.
	Interval time.Duration
	// Timeout of a checkpoint; default three intervals. It doubles, up to
	// eightfold, as long as checkpoints time out one after the other.
	Timeout time.Duration
	// Retain is how many manifests HEAD keeps; default 3.
	Retain int
	// Floor is the highest barrier that stands in the log (R6).
	Floor stream.BarrierID
	// Nonce identifies this coordinator; default a random one.
	Nonce uint64
}

// Log is what the coordinator does to the partitions' log.
type Log interface {
	// Purge removes all messages of a partition's stream strictly below a sequence.
	Purge(ctx context.Context, p stream.Partition, below uint64) error
}

// Service runs the coordinator of a job's generation.
type Service struct {
	cfg    Config
	store  Store
	board  *Board
	log    Log
	events Events
	wanted chan struct{}
}

// NewService makes a coordinator for the generation that board belongs to.
func NewService(cfg Config, store Store, board *Board, log Log, events Events) *Service {
	return &Service{cfg: cfg, store: store, board: board, log: log, events: events, wanted: make(chan struct{}, 1)}
}

// Request asks for a checkpoint at once, or, if one is under way, right after it.
func (s *Service) Request() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

// Run coordinates until ctx ends (then it returns ctx.Err()), or until another
// coordinator or generation took over (ErrSuperseded).
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done() // the machine follows
	return ctx.Err()
}
