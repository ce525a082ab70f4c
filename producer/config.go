package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/producer/dataset"
)

// API is what the producer needs of Kinesis; [kinesis.Client] has it. Calls may
// be made from several goroutines at once.
type API interface {
	PutRecords(context.Context, *kinesis.PutRecordsInput, ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error)
	ListShards(context.Context, *kinesis.ListShardsInput, ...func(*kinesis.Options)) (*kinesis.ListShardsOutput, error)
}

// Config says what to replay, to where and how fast. Stream, Client, Job and
// Data are required; the zero value of everything else is its default.
type Config struct {
	// Stream is the name of the Kinesis stream.
	Stream string
	Client API
	// Job is part of the producer id: two jobs on one stream are two producers.
	Job string
	// Data is sorted by drop-off. The caller closes it, after Run has returned.
	Data dataset.Dataset

	// Speedup is how many seconds of event time pass in one second. 0 sends as
	// fast as the stream takes it.
	Speedup float64
	// Seek starts at the first trip with a drop-off at or after it. The zero
	// time starts at the beginning.
	Seek time.Time
	// StateFile keeps the progress for a restart. Empty: every Run starts anew.
	StateFile string
	// Aggregate is how many trips a record holds at most; 1 sends plain
	// records. Default 32.
	Aggregate int
	// InFlight is how many PutRecords calls run at once. Default 4.
	InFlight int

	// WatermarkInterval is the time between watermarks. Default 1 s; 100 ms
	// with Speedup 0, where a second holds days of event time and windows
	// would pile up unfired.
	WatermarkInterval time.Duration
	// ShardRefresh is the time between listings of the shards. Default 10 s.
	ShardRefresh time.Duration
	// Linger is how long due trips wait for others of their lane in a paced
	// replay. Default 50 ms; it grows when the stream has so few shards that
	// 256 lanes in that time would pass 700 records a second and shard.
	Linger time.Duration
	// StateInterval is the shortest time between two writes of the StateFile.
	// Default 250 ms.
	StateInterval time.Duration
	// CallTimeout bounds one call to Kinesis. Default 15 s.
	CallTimeout time.Duration
	// RetryBase and RetryMax bound the wait before a record goes again: it
	// doubles from the one to the other, and its upper half is random.
	// Defaults 25 ms and 2 s.
	RetryBase, RetryMax time.Duration

	// Logger gets transitions. Nil is silence.
	Logger *zap.Logger
}

func (c *Config) setDefaults() {
	if c.Aggregate == 0 {
		c.Aggregate = 32
	}
	if c.InFlight == 0 {
		c.InFlight = 4
	}
	if c.WatermarkInterval == 0 {
		c.WatermarkInterval = time.Second
		if c.Speedup == 0 {
			c.WatermarkInterval = 100 * time.Millisecond
		}
	}
	for _, d := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&c.ShardRefresh, 10 * time.Second},
		{&c.Linger, 50 * time.Millisecond},
		{&c.StateInterval, 250 * time.Millisecond},
		{&c.CallTimeout, 15 * time.Second},
		{&c.RetryBase, 25 * time.Millisecond},
		{&c.RetryMax, 2 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
}

// Validate reports the first value that cannot be used.
func (c *Config) Validate() error {
	switch {
	case c.Stream == "":
		return errors.New("producer: no stream is named: set Stream")
	case c.Client == nil:
		return errors.New("producer: no Kinesis client is given: set Client")
	case c.Job == "":
		return errors.New("producer: no job is named: set Job")
	case c.Data == nil:
		return errors.New("producer: no data set is given: set Data")
	case c.InFlight < 0 || c.InFlight > Lanes:
		return fmt.Errorf("producer: %d calls in flight are not possible: use 1 to %d", c.InFlight, Lanes)
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"watermark interval", c.WatermarkInterval}, {"shard refresh", c.ShardRefresh}, {"linger", c.Linger},
		{"state interval", c.StateInterval}, {"call timeout", c.CallTimeout},
		{"retry base", c.RetryBase}, {"retry maximum", c.RetryMax},
	} {
		if d.v < 0 {
			return fmt.Errorf("producer: the %s %s is negative: use a positive duration, or 0 for the default", d.name, d.v)
		}
	}
	return c.validateReplay()
}

// validateReplay reports what Summarize cannot use either.
func (c *Config) validateReplay() error {
	switch {
	case c.Speedup < 0 || math.IsNaN(c.Speedup) || math.IsInf(c.Speedup, 0):
		return fmt.Errorf("producer: speedup %v is not a pace: use a number above 0, or 0 for as fast as it goes", c.Speedup)
	case !c.Seek.IsZero() && (c.Seek.Year() < 1678 || c.Seek.Year() > 2261):
		return fmt.Errorf("producer: seek time %s is outside the years 1678 to 2261: choose a time within the data", c.Seek.Format(time.RFC3339))
	case c.Aggregate < 0 || c.Aggregate > maxTrips:
		return fmt.Errorf("producer: %d trips in a record are not possible: use 1 to %d", c.Aggregate, maxTrips)
	}
	return nil
}
