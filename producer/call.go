package producer

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/tripgrid/tripgrid/trip"
)

// call is one PutRecords call with its buffers, which are used again.
type call struct {
	runs     []run     // in: the records; out: with the trips they held
	outcomes []outcome // out, one for each run
	routes   []string  // out, the shard each went to if delivered
	err      error     // out, why the whole call failed

	enc     encoder
	buf     []byte
	ends    []int
	entries []types.PutRecordsRequestEntry
}

// do encodes the runs and puts them, once.
func (p *Producer) do(ctx context.Context, c *call) {
	n := c.encode(p.core.ring)
	c.outcomes, c.routes = c.outcomes[:0], c.routes[:0]
	out, err := p.put(ctx, c.entries)
	c.err = err
	for i := range c.runs {
		o, route := unsent, ""
		switch {
		case i >= n:
		case err != nil || i >= len(out.Records):
			o = failed
		default:
			o, route = judge(&out.Records[i])
		}
		c.outcomes = append(c.outcomes, o)
		c.routes = append(c.routes, route)
	}
}

// encode fills entries and the trips that each run took, as far as the call's
// size allows. It returns how many runs it encoded.
func (c *call) encode(ring *ring) int {
	c.buf, c.ends, c.entries = c.buf[:0], c.ends[:0], c.entries[:0]
	for i := range c.runs {
		r := &c.runs[i]
		start := len(c.buf)
		buf, took := c.enc.appendRecord(c.buf, ring, r.first, r.n)
		c.buf = buf
		if len(c.buf) > maxCall && i > 0 {
			c.buf = c.buf[:start]
			break
		}
		r.n = took
		c.ends = append(c.ends, len(c.buf))
	}
	start := 0
	for i, end := range c.ends { // buf does not move any more
		l := &lanes[c.runs[i].lane]
		c.entries = append(c.entries, types.PutRecordsRequestEntry{
			Data: c.buf[start:end:end], PartitionKey: &l.key, ExplicitHashKey: &l.hash,
		})
		start = end
	}
	return len(c.ends)
}

// judge reads one entry of a reply.
func judge(r *types.PutRecordsResultEntry) (outcome, string) {
	switch {
	case r.ErrorCode != nil && *r.ErrorCode == throughputExceeded:
		return throttled, ""
	case r.ErrorCode != nil || r.SequenceNumber == nil:
		return failed, ""
	}
	return delivered, aws.ToString(r.ShardId)
}

func (p *Producer) put(ctx context.Context, entries []types.PutRecordsRequestEntry) (*kinesis.PutRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	out, err := p.cfg.Client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &p.cfg.Stream, Records: entries})
	if err == nil && out == nil {
		err = errors.New("empty reply")
	}
	return out, err
}

// round is one watermark on its way to some shards.
type round struct {
	w       int64
	shards  []shard
	missing []shard // out: who did not acknowledge
	err     error   // out: the last failure of a whole call
}

// doRound puts the watermark to every shard of the round, once.
func (p *Producer) doRound(ctx context.Context, r round) round {
	data := trip.AppendWatermark(nil, r.w)
	key := aws.String("watermark")
	for from := 0; from < len(r.shards); from += maxEntries {
		part := r.shards[from:min(from+maxEntries, len(r.shards))]
		entries := make([]types.PutRecordsRequestEntry, len(part))
		for i := range part {
			entries[i] = types.PutRecordsRequestEntry{Data: data, PartitionKey: key, ExplicitHashKey: &part[i].key}
		}
		out, err := p.put(ctx, entries)
		if err != nil {
			r.err = err
		}
		for i := range part {
			if err == nil && i < len(out.Records) {
				if o, _ := judge(&out.Records[i]); o == delivered {
					continue
				}
			}
			r.missing = append(r.missing, part[i])
		}
	}
	return r
}

// listReply is the answer of a listing.
type listReply struct {
	shards []shard
	err    error
}

// listShards returns the open shards by starting hash key.
func (p *Producer) listShards(ctx context.Context) ([]shard, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	var open []shard
	in := &kinesis.ListShardsInput{StreamName: &p.cfg.Stream}
	for {
		out, err := p.cfg.Client.ListShards(ctx, in)
		if err != nil {
			return nil, err
		}
		for i := range out.Shards {
			s := &out.Shards[i]
			if s.SequenceNumberRange != nil && s.SequenceNumberRange.EndingSequenceNumber != nil {
				continue // closed
			}
			sh, err := newShard(s)
			if err != nil {
				return nil, err
			}
			open = append(open, sh)
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		// Kinesis refuses a token together with the stream's name.
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	if len(open) == 0 {
		return nil, errors.New("no open shard is listed")
	}
	sortShards(open)
	return open, nil
}

func newShard(s *types.Shard) (shard, error) {
	if s.ShardId == nil || s.HashKeyRange == nil {
		return shard{}, errors.New("a shard without id or hash key range is listed")
	}
	start, err := ParseHashKey(aws.ToString(s.HashKeyRange.StartingHashKey))
	if err != nil {
		return shard{}, fmt.Errorf("read shard %s: %w", *s.ShardId, err)
	}
	end, err := ParseHashKey(aws.ToString(s.HashKeyRange.EndingHashKey))
	if err != nil {
		return shard{}, fmt.Errorf("read shard %s: %w", *s.ShardId, err)
	}
	return shard{id: *s.ShardId, start: start, end: end, key: start.String()}, nil
}
