package source

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"

	"github.com/tripgrid/tripgrid/internal/amazon"
	"github.com/tripgrid/tripgrid/stream"
)

// middleware steps between the library and Kinesis. It ties each call to the
// life of Run or of the session, and retries by persist instead of the SDK,
// whose retries hide what failed once their quota is used up.
func (k *KCL) middleware(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("tripgrid", k.step), middleware.Before)
}

func (k *KCL) step(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
	out middleware.InitializeOutput, md middleware.Metadata, err error,
) {
	send := func(ctx context.Context, params any) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, k.cfg.CallTimeout)
		defer cancel()
		out, md, err = next.HandleInitialize(ctx, middleware.InitializeInput{Parameters: params})
		if err != nil { // the SDK says so only outside of the middleware
			err = &smithy.OperationError{ServiceID: kinesis.ServiceID, OperationName: awsmiddleware.GetOperationName(ctx), Err: err}
		}
		return out.Result, err
	}
	var result any
	switch params := in.Parameters.(type) {
	case *kinesis.ListShardsInput:
		result, err = k.listShards(ctx, params, send)
	case *kinesis.GetShardIteratorInput:
		result, err = k.getShardIterator(ctx, params, send)
	case *kinesis.GetRecordsInput:
		result, err = k.getRecords(ctx, params, send)
	default:
		return next.HandleInitialize(ctx, in)
	}
	return middleware.InitializeOutput{Result: result}, md, err
}

type sendFunc func(ctx context.Context, params any) (any, error)

// listShards answers with the whole list at once, from memory if that is recent
// enough. It runs in the library's event loop once a look, and sets how long
// the loop sleeps before the next one.
func (k *KCL) listShards(ctx context.Context, in *kinesis.ListShardsInput, send sendFunc) (any, error) {
	pause := k.cfg.SyncEvery
	if !k.stuck && k.hurries() {
		pause = syncEager
	}
	k.stuck = false
	k.lib.ShardSyncIntervalMillis = int(pause.Milliseconds())
	if out := k.topo.recent(k.cfg.SyncEvery); out != nil {
		return out, nil
	}
	ctx, cancel := joined(ctx, k.ctx)
	defer cancel()
	asked := time.Now()
	var shards []types.Shard
	for params := *in; ; {
		res, err := send(ctx, &params)
		if err != nil {
			err = Explain(k.cfg.Client, k.cfg.Stream, err)
			if repeats, ok := k.warn.let("list " + amazon.Code(err)); ok && ctx.Err() == nil {
				k.log.Warn("shards not listed, trying again", zap.Int("suppressed", repeats), zap.Error(err))
			}
			return nil, reported{err}
		}
		out := res.(*kinesis.ListShardsOutput)
		shards = append(shards, out.Shards...)
		if out.NextToken == nil {
			out, changed := k.topo.set(shards, asked)
			if changed {
				k.lookSoon()
			}
			return out, nil
		}
		params = kinesis.ListShardsInput{NextToken: out.NextToken}
	}
}

// getShardIterator starts a session where it begins, and marks the iterator as
// the session's.
func (k *KCL) getShardIterator(ctx context.Context, in *kinesis.GetShardIteratorInput, send sendFunc) (any, error) {
	s := k.session(stream.ShardID(aws.ToString(in.ShardId)))
	if s == nil || s.ctx.Err() != nil {
		return nil, fmt.Errorf("iterator of %s: %w", aws.ToString(in.ShardId), errSessionOver)
	}
	params := *in
	s.from.apply(&params)
	ctx, cancel := joined(ctx, s.ctx)
	defer cancel()
	out, err := persist(s, func() (*kinesis.GetShardIteratorOutput, error) {
		res, err := send(ctx, &params)
		if err != nil {
			return nil, err
		}
		return res.(*kinesis.GetShardIteratorOutput), nil
	})
	if err != nil {
		return nil, s.unreadable(err)
	}
	marked := *out
	marked.ShardIterator = s.mark(out.ShardIterator)
	return &marked, nil
}

func (o origin) apply(in *kinesis.GetShardIteratorInput) {
	in.StartingSequenceNumber, in.Timestamp = nil, nil
	switch {
	case o.after != "":
		in.ShardIteratorType, in.StartingSequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, aws.String(o.after)
	case !o.at.IsZero():
		in.ShardIteratorType, in.Timestamp = types.ShardIteratorTypeAtTimestamp, aws.Time(o.at)
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
}

// getRecords reads for a session, keeps the batch there and answers with a
// carrier of the same size.
func (k *KCL) getRecords(ctx context.Context, in *kinesis.GetRecordsInput, send sendFunc) (any, error) {
	s, iterator := k.unmark(aws.ToString(in.ShardIterator))
	if s == nil || s.ctx.Err() != nil {
		return nil, errSessionOver
	}
	params := *in
	params.ShardIterator = aws.String(iterator)
	ctx, cancel := joined(ctx, s.ctx)
	defer cancel()
	s.pace.call(time.Now())
	out, err := persist(s, func() (*kinesis.GetRecordsOutput, error) {
		res, err := send(ctx, &params)
		var expired *types.ExpiredIteratorException
		if errors.As(err, &expired) {
			if params.ShardIterator, err = k.renewIterator(ctx, s); err == nil {
				res, err = send(ctx, &params)
			}
		}
		if err != nil {
			return nil, err
		}
		return res.(*kinesis.GetRecordsOutput), nil
	})
	if err == nil {
		err = s.take(out)
	}
	if err != nil {
		return nil, s.unreadable(err)
	}
	carried := *out
	carried.Records = carrier(s.bytes, out.Records)
	if out.NextShardIterator != nil {
		carried.NextShardIterator = s.mark(out.NextShardIterator)
	}
	if out.MillisBehindLatest == nil { // the library dereferences it
		carried.MillisBehindLatest = aws.Int64(-1)
	}
	return &carried, nil
}

// unreadable ends the session because of a call's failure, unless the failure
// came of its end, and returns what the library is told.
func (s *session) unreadable(err error) error {
	s.unread = s.ctx.Err() == nil
	s.end(fmt.Errorf("read %s: %w", s.shard, Explain(s.k.cfg.Client, s.k.cfg.Stream, err)))
	return errSessionOver
}

// take keeps a reply for ProcessRecords.
func (s *session) take(out *kinesis.GetRecordsOutput) error {
	s.batch, s.bytes, s.children = out.Records, 0, out.ChildShards
	s.atEnd = out.NextShardIterator == nil
	for _, r := range out.Records {
		seq := aws.ToString(r.SequenceNumber)
		if stream.CompareSequence(seq, s.last) <= 0 {
			return fmt.Errorf("shard %s gave sequence %q after %q: its order is broken", s.shard, seq, s.last)
		}
		s.last = seq
		s.bytes += len(r.Data)
	}
	return nil
}

// renewIterator replaces an expired iterator: after the last sequence read, or
// where the session began.
func (k *KCL) renewIterator(ctx context.Context, s *session) (*string, error) {
	in := &kinesis.GetShardIteratorInput{StreamName: aws.String(k.cfg.Stream), ShardId: aws.String(string(s.shard))}
	from := s.from
	if s.last != "" {
		from = origin{after: s.last}
	}
	from.apply(in)
	out, err := k.cfg.Client.GetShardIterator(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

// persist retries what may pass while the session lasts: failures for
// Config.ReadFailure, throttling, which another process would meet as well,
// for as long as it lasts.
func persist[T any](s *session, try func() (T, error)) (T, error) {
	const first, most = 250 * time.Millisecond, 2 * time.Second
	began := time.Now()
	for pause := first; ; pause = min(2*pause, most) {
		v, err := try()
		if amazon.Throttled(err) {
			began = time.Now()
		}
		if err == nil || s.ctx.Err() != nil || final(err) || time.Since(began) > s.k.cfg.ReadFailure {
			return v, err
		}
		if repeats, ok := s.k.warn.let("read " + amazon.Code(err)); ok {
			s.k.log.Warn("shard not read, trying again", zap.String("shard", string(s.shard)), zap.Int("suppressed", repeats),
				zap.Error(Explain(s.k.cfg.Client, s.k.cfg.Stream, err)))
		}
		wait := time.NewTimer(pause)
		select {
		case <-s.ctx.Done():
			wait.Stop()
			return v, context.Cause(s.ctx)
		case <-wait.C:
		}
	}
}

// final tells whether trying again cannot help.
func final(err error) bool {
	var notFound *types.ResourceNotFoundException
	var argument *types.InvalidArgumentException
	var denied *types.AccessDeniedException
	return errors.As(err, &notFound) || errors.As(err, &argument) || errors.As(err, &denied)
}

// An iterator is handed to the library as SESSION + space + iterator.
func (s *session) mark(iterator *string) *string {
	return aws.String(strconv.FormatUint(s.id, 10) + " " + aws.ToString(iterator))
}

func (k *KCL) unmark(marked string) (*session, string) {
	id, iterator, ok := strings.Cut(marked, " ")
	n, err := strconv.ParseUint(id, 10, 64)
	if !ok || err != nil {
		return nil, ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byID[n], iterator
}

// zeros is what carriers carry; it is never written, so it takes no memory.
var zeros [10 << 20]byte

// carrier is one record of n bytes in place of a batch, or several if it is
// larger than Kinesis replies get; none in place of none.
func carrier(n int, batch []types.Record) []types.Record {
	if len(batch) == 0 {
		return nil
	}
	out := make([]types.Record, 0, 1)
	for {
		size := min(n, len(zeros))
		out = append(out, types.Record{Data: zeros[:size:size], SequenceNumber: batch[len(batch)-1].SequenceNumber})
		if n -= size; n == 0 {
			return out
		}
	}
}

// joined is ctx that also ends with the other.
func joined(ctx, with context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(with, cancel)
	return ctx, func() { stop(); cancel() }
}
