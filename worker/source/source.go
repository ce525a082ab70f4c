package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/stream"
)

// Source reads a stream and drives a Handler per owned shard. Run blocks until
// the context ends (nil) or it cannot go on; it returns only after every
// handler is closed and every goroutine has ended.
type Source interface {
	Run(ctx context.Context) error
}

// Record is one user record, de-aggregated.
type Record struct {
	Pos stream.Position
	// Last says that no further user record shares this sequence number: the
	// sequence is covered whole once this record is.
	Last bool
	// Data may be kept and must not be changed.
	Data []byte
	// Arrival is Kinesis' approximate time of arrival; zero if not given.
	Arrival time.Time
}

// Handler drives one owned shard. Its calls never overlap.
type Handler interface {
	// Records hands over the records of one poll, consecutive with those
	// before; recs is valid until it returns. It blocks for back-pressure and
	// returns when ctx ends. It is called for every poll, also without
	// records, so that idleness can be judged. behind is how far the poll was
	// behind the tip; negative if Kinesis did not say. An error gives the
	// shard up; it is taken again after a pause.
	Records(ctx context.Context, recs []Record, behind time.Duration) error
	// End says that the shard is closed and read to its end. It returns nil
	// once END is acknowledged on all partitions; then SHARD_END is recorded.
	// The children's hash ranges cover the shard's (R8).
	End(ctx context.Context, children []stream.Child) error
	// Close says that ownership is over; nothing follows.
	Close()
}

// Open makes the handler of a shard that was leased at the given epoch.
// parents are those whose END must be seen before anything is published (R9).
// Records at or below the returned position are not handed over.
type Open func(ctx context.Context, shard stream.ShardID, lease stream.Epoch, parents []stream.ShardID) (Handler, stream.Position, error)

// Progress says what HEAD's manifest knows of a shard: reading resumes after
// sequence restart; if it is empty and the shard known, at the generation's
// start. It is asked before Open.
type Progress func(ctx context.Context, shard stream.ShardID) (restart string, ended, known bool, err error)

// Start is where shards without a parent begin when HEAD has no progress of
// theirs: the trim horizon, or the first record that arrived at or after
// Timestamp. There is no "latest": it is resolved to a timestamp once, when
// the generation begins (R8).
type Start struct {
	Timestamp time.Time
}

// Config of NewKCL. Stream, Client, Leases, Open and Progress are needed; the
// zero value of the others is the default named.
type Config struct {
	Stream   string
	Client   *kinesis.Client
	Leases   *cluster.Leases // owner and failover time are its; one table per generation (R17)
	Open     Open
	Progress Progress
	Start    Start // default: the trim horizon

	// PollEvery is the time between two calls for one shard, 200 ms at least on
	// AWS: more if others read the same stream. Default 200 ms.
	PollEvery time.Duration
	// SyncEvery is the time between looks for shards to lease; the list of
	// shards is never older when one is leased. After a lease was taken the
	// next look follows at once. Default 200 ms.
	SyncEvery time.Duration
	// MaxRecords of one call, 10,000 at most. Default 10,000.
	MaxRecords int
	// ReadFailure is for how long a shard may fail to be read before it is
	// given up for others. Default 30 s.
	ReadFailure time.Duration
	// CallTimeout bounds a call of Kinesis. Default 20 s.
	CallTimeout time.Duration
	// StopTimeout bounds the shutdown. Default 10 s.
	StopTimeout time.Duration
	Logger      *zap.Logger // default: none
}

func (c Config) withDefaults() Config {
	if c.PollEvery == 0 {
		c.PollEvery = 200 * time.Millisecond
	}
	if c.SyncEvery == 0 {
		c.SyncEvery = 200 * time.Millisecond
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 10_000
	}
	if c.ReadFailure == 0 {
		c.ReadFailure = 30 * time.Second
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = 20 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

// Validate names what is missing or cannot work.
func (c Config) Validate() error {
	switch c = c.withDefaults(); {
	case c.Stream == "":
		return errors.New("no Kinesis stream is named: set Config.Stream")
	case c.Client == nil:
		return fmt.Errorf("no Kinesis client for stream %s: set Config.Client", c.Stream)
	case c.Leases == nil:
		return fmt.Errorf("no lease table for stream %s: set Config.Leases", c.Stream)
	case c.Open == nil || c.Progress == nil:
		return fmt.Errorf("no handler for stream %s: set Config.Open and Config.Progress", c.Stream)
	case c.MaxRecords < 1 || c.MaxRecords > 10_000:
		return fmt.Errorf("MaxRecords %d of stream %s is not within 1 to 10000", c.MaxRecords, c.Stream)
	case c.PollEvery < 10*time.Millisecond || c.SyncEvery < 10*time.Millisecond:
		return fmt.Errorf("PollEvery %s and SyncEvery %s of stream %s must be 10ms at least", c.PollEvery, c.SyncEvery, c.Stream)
	case c.ReadFailure < 0 || c.CallTimeout < 0 || c.StopTimeout < 0:
		return fmt.Errorf("ReadFailure, CallTimeout and StopTimeout of stream %s must be positive", c.Stream)
	}
	return nil
}
