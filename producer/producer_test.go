package producer

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"

	"github.com/tripgrid/tripgrid/trip"
)

func mustNew(t *testing.T, cfg Config) *Producer {
	t.Helper()
	if cfg.Stream == "" {
		cfg.Stream = "taxi"
	}
	if cfg.Job == "" {
		cfg.Job = "taxi"
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tripsOf returns the trips of a log in the order of their arrival.
func tripsOf(log []landed) (out []landed) {
	for _, l := range log {
		if l.ev.Kind == trip.KindTrip {
			out = append(out, l)
		}
	}
	return out
}

func TestEverySize(t *testing.T) {
	for _, n := range []int{0, 1, 255, 257, 40_000} {
		for _, aggregate := range []int{1, 32} {
			for _, speedup := range []float64{0, 1e6} {
				synctest.Test(t, func(t *testing.T) {
					data := someTrips(n, time.Second)
					f := &fake{shards: 3, latency: 5 * time.Millisecond}
					p := mustNew(t, Config{Client: f, Data: data, Speedup: speedup, Aggregate: aggregate})
					if err := p.Run(t.Context()); err != nil {
						t.Fatal(err)
					}
					if r := check(t, f.log, data, 0, p.ID(), 3); r != 0 {
						t.Errorf("%d repeats without a fault", r)
					}
					if s := p.Stats(); !s.Done || s.Sent != int64(n) || s.Total != int64(n) || s.Shards != 3 {
						t.Errorf("stats %+v", s)
					}
					if n > 0 && p.Stats().Watermark.UnixNano() != data[n-1].Dropoff {
						t.Errorf("the watermark stays at %s", p.Stats().Watermark)
					}
					if full := (n + aggregate - 1) / aggregate; speedup == 0 && f.entries > full+full/20+Lanes+100 {
						t.Errorf("%d records for %d trips, %d a record", f.entries, n, aggregate)
					}
				})
			}
		}
	}
}

func TestSeekIsExact(t *testing.T) {
	data := someTrips(1000, time.Second)
	for i := 300; i < 310; i++ { // equal times: the first of them
		data[i].Dropoff = data[300].Dropoff
	}
	for _, tc := range []struct{ seek, first int64 }{
		{data[0].Dropoff - 1, 0}, {data[300].Dropoff, 300}, {data[300].Dropoff + 1, 310},
		{data[999].Dropoff, 999}, {data[999].Dropoff + 1, 1000},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{shards: 2}
			p := mustNew(t, Config{Client: f, Data: data, Seek: time.Unix(0, tc.seek)})
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, f.log, data, tc.first, p.ID(), 2)
			if s := p.Stats(); s.Total != 1000-tc.first {
				t.Errorf("total %d, want %d", s.Total, 1000-tc.first)
			}
		})
	}
}

// TestPace attacks the pace: no trip leaves early, none leaves much later than
// the linger, and a gap neither holds the watermark nor hurries the trips.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := someTrips(20_000, 700*time.Millisecond)
		for i := range data {
			if i >= 5000 { // a day without trips, then a burst in one instant
				data[i].Dropoff += int64(24 * time.Hour)
			}
			if i >= 7000 && i < 9000 {
				data[i].Dropoff = data[7000].Dropoff
			}
		}
		const speedup = 1440
		f := &fake{shards: 4, latency: 10 * time.Millisecond}
		p := mustNew(t, Config{Client: f, Data: data, Speedup: speedup})
		start := time.Now()
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, f.log, data, 0, p.ID(), 4)
		for _, l := range tripsOf(f.log) {
			due := start.Add(time.Duration(float64(l.ev.Trip.Dropoff-data[0].Dropoff) / speedup))
			if late := l.at.Sub(due); late < 0 || late > 300*time.Millisecond {
				t.Fatalf("trip %d came %s after it was due", l.ev.ID, late)
			}
		}
		var last landed
		quiet := time.Duration(0)
		for _, l := range f.log {
			if l.ev.Kind != trip.KindWatermark || l.shard != "shard-0" || l.ev.Watermark == trip.FinalWatermark {
				continue
			}
			if last.at.IsZero() || l.ev.Watermark > last.ev.Watermark {
				if !last.at.IsZero() {
					quiet = max(quiet, l.at.Sub(last.at))
				}
				last = l
			}
		}
		if quiet > 1100*time.Millisecond {
			t.Errorf("the watermark stood still for %s", quiet)
		}
		want := time.Duration(float64(data[len(data)-1].Dropoff-data[0].Dropoff) / speedup)
		if took := time.Since(start); took < want || took > want+time.Second {
			t.Errorf("the replay took %s, want %s", took, want)
		}
	})
}

// TestStatsWhilePaced looks at the statistics from outside, in the middle.
func TestStatsWhilePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := someTrips(10_000, time.Second)
		f := &fake{shards: 1, latency: 10 * time.Millisecond}
		f.fault = func(int, *kinesis.PutRecordsInput) faults { return faults{} }
		p := mustNew(t, Config{Client: f, Data: data, Speedup: 100})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(40 * time.Second) // of the bubble
		s := p.Stats()
		if s.Sent < 3900 || s.Sent > 4000 || s.Rate < 90 || s.Rate > 110 || s.Lag > time.Second ||
			s.Remaining < 59*time.Second || s.Remaining > 62*time.Second || s.Done ||
			s.Watermark.Before(time.Unix(0, data[3800].Dropoff)) || s.Watermark.After(time.Unix(0, data[4001].Dropoff)) {
			t.Errorf("stats %+v", s)
		}
		f.mu.Lock()
		f.fault = func(int, *kinesis.PutRecordsInput) faults {
			return faults{refuse: func(int) string { return throughputExceeded }}
		}
		f.mu.Unlock()
		time.Sleep(10 * time.Second)
		if s := p.Stats(); s.Lag < 9*time.Second || s.Lag > 11*time.Second || s.Throttled == 0 || s.Repeated == 0 {
			t.Errorf("stats while throttled %+v", s)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

// TestFaultsAndCrashes runs the whole producer, encoder and state file included,
// against calls that fail in every way, and kills it again and again.
func TestFaultsAndCrashes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) {
		dice := rand.New(rand.NewPCG(7, 7))
		data := someTrips(15_000, 100*time.Millisecond)
		f := &fake{shards: 4, latency: 8 * time.Millisecond}
		f.fault = func(int, *kinesis.PutRecordsInput) faults {
			some := func(code string) func(int) string {
				return func(int) string {
					if dice.IntN(3) == 0 {
						return code
					}
					return ""
				}
			}
			switch dice.IntN(8) {
			case 0:
				return faults{refuse: some(throughputExceeded)}
			case 1:
				return faults{refuse: some("InternalFailure")}
			case 2:
				return faults{lost: errors.New("connection reset"), refuse: some("InternalFailure")}
			case 3:
				return faults{lost: errors.New("connection refused"), nothing: true}
			}
			return faults{}
		}
		var lives int
		var id uint64
		for {
			lives++
			p := mustNew(t, Config{Client: f, Data: data, StateFile: path, StateInterval: 10 * time.Millisecond, Aggregate: 1 + dice.IntN(12)})
			id = p.ID()
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(50+dice.IntN(250))*time.Millisecond)
			err := p.Run(ctx)
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if lives > 1000 {
				t.Fatal("no progress")
			}
		}
		repeats := check(t, f.log, data, 0, id, 4)
		if lives < 5 || repeats == 0 {
			t.Errorf("%d lives, %d repeats: the test attacks nothing", lives, repeats)
		}
		t.Logf("%d lives, %d repeats", lives, repeats)

		// Done: one more run only says so again.
		before := len(tripsOf(f.log))
		f.fault = nil
		p := mustNew(t, Config{Client: f, Data: data, StateFile: path})
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(tripsOf(f.log)); got != before {
			t.Errorf("a finished replay sent %d trips again", got-before)
		}
		if l := f.log[len(f.log)-1]; l.ev.Watermark != trip.FinalWatermark {
			t.Errorf("the last record is %+v", l)
		}
		if s := p.Stats(); !s.Done || s.Sent != s.Total {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestFatalErrorsEndRun(t *testing.T) {
	api := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "no"} }
	for _, tc := range []struct {
		list, put error
		want      string
	}{
		{list: &types.ResourceNotFoundException{}, want: `stream "taxi" does not exist`},
		{put: api("ResourceNotFoundException"), want: "does not exist"},
		{put: api("AccessDeniedException"), want: "denies access"},
		{put: api("ExpiredTokenException"), want: "credentials"},
		{put: api("KMSDisabledException"), want: "encryption key"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{shards: 1, listErr: tc.list}
			f.fault = func(int, *kinesis.PutRecordsInput) faults { return faults{lost: tc.put, nothing: tc.put != nil} }
			err := mustNew(t, Config{Client: f, Data: someTrips(10, 0)}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTransientListingIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{shards: 1, listErr: errors.New("connection refused")}
		data := someTrips(10, 0)
		p := mustNew(t, Config{Client: f, Data: data})
		go func() {
			time.Sleep(5 * time.Second)
			f.mu.Lock()
			f.listErr = nil
			f.mu.Unlock()
		}()
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, f.log, data, 0, p.ID(), 1)
	})
}

// scattered is a stream that does not follow explicit hash keys.
type scattered struct{ *fake }

func (s scattered) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, o ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	out, err := s.fake.PutRecords(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	for i := range out.Records {
		id := "shard-0"
		out.Records[i].ShardId = &id
	}
	return out, nil
}

func TestMisroutedLanesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := mustNew(t, Config{Client: scattered{&fake{shards: 2}}, Data: someTrips(500, 0)}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "ignores explicit hash keys") {
			t.Errorf("got %v", err)
		}
	})
}

// short is a data set that ends before its length.
type shortData struct{ sliceData }

func (d shortData) Len() int64 { return int64(len(d.sliceData)) + 5 }

func TestUnreadableDataEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := mustNew(t, Config{Client: &fake{shards: 1}, Data: shortData{someTrips(10, 0)}}).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), `from data set "slice"`) {
			t.Errorf("got %v", err)
		}
	})
}
