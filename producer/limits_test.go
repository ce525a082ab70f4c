package producer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// limited is a stream with Kinesis' limits: each shard takes 1 MB and 1,000
// records a second, with a second's worth of burst.
type limited struct {
	*fake
	bytes, records [16]float64 // what is left, by shard
	last           time.Time
}

func (l *limited) PutRecords(ctx context.Context, in *kinesis.PutRecordsInput, o ...func(*kinesis.Options)) (*kinesis.PutRecordsOutput, error) {
	time.Sleep(15 * time.Millisecond) // of the bubble
	l.mu.Lock()
	now := time.Now()
	gone := min(1, now.Sub(l.last).Seconds())
	l.last = now
	for i := range l.bytes {
		l.bytes[i] = min(1e6, l.bytes[i]+gone*1e6)
		l.records[i] = min(1e3, l.records[i]+gone*1e3)
	}
	l.mu.Unlock()
	out := &kinesis.PutRecordsOutput{}
	for _, e := range in.Records {
		l.mu.Lock()
		k, err := ParseHashKey(*e.ExplicitHashKey)
		if err != nil {
			return nil, err
		}
		s := int(k[0]) * l.shards / 256
		if size := float64(len(e.Data)); l.bytes[s] < size || l.records[s] < 1 {
			out.Records = append(out.Records, types.PutRecordsResultEntry{ErrorCode: aws.String(throughputExceeded)})
		} else {
			l.bytes[s] -= size
			l.records[s]--
			id := l.land(append([]byte(nil), e.Data...), *e.ExplicitHashKey)
			out.Records = append(out.Records, types.PutRecordsResultEntry{SequenceNumber: aws.String("1"), ShardId: &id})
		}
		l.mu.Unlock()
	}
	return out, nil
}

// TestLimitsAreFilled attacks the back-off: a stream that throttles gets nearly
// all it takes, with watermarks going on.
func TestLimitsAreFilled(t *testing.T) {
	for _, shards := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			l := &limited{fake: &fake{shards: shards}}
			data := someTrips(30_000, time.Second)
			p := mustNew(t, Config{Client: l, Data: data})
			start := time.Now()
			if err := p.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, l.log, data, 0, p.ID(), shards)
			bytes := 0.0
			for range data {
				bytes += 300
			}
			took, s := time.Since(start), p.Stats()
			t.Logf("%d shards: %s, %.0f trips/s, %+v", shards, took, float64(len(data))/took.Seconds(), s)
			if least := bytes / 1e6 / float64(shards); took.Seconds() > 1.25*least+1 {
				t.Errorf("%d shards took %s, could be %.1f s", shards, took, least)
			}
			var last time.Time
			for _, r := range l.log {
				if r.shard != "shard-0" || r.ev.Kind != 2 {
					continue
				}
				if !last.IsZero() && r.at.Sub(last) > time.Second {
					t.Errorf("no watermark for %s", r.at.Sub(last))
				}
				last = r.at
			}
		})
	}
}

// TestFewShardsArePacedWithinTheirRecords attacks the linger: one shard takes
// 256 lanes without being throttled.
func TestFewShardsArePacedWithinTheirRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &limited{fake: &fake{shards: 1}}
		data := someTrips(30_000, 500*time.Millisecond)
		p := mustNew(t, Config{Client: l, Data: data, Speedup: 1200}) // 2,400 trips/s
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, l.log, data, 0, p.ID(), 1)
		if s := p.Stats(); s.Throttled > 0 {
			t.Errorf("throttled %d times", s.Throttled)
		}
	})
}
