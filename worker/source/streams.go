package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/tripgrid/tripgrid/stream"
)

// Shard is a shard as Kinesis lists it.
type Shard struct {
	ID stream.ShardID
	// HashStart and HashEnd are its inclusive range of hash keys, decimal.
	HashStart, HashEnd string
	// Parents are the shards that it continues, as far as they are listed: one
	// that is not has been trimmed. A job begins with the shards that have
	// none; the others join by their parents' ends (R8).
	Parents []stream.ShardID
	// Closed says that nothing more is written to it: it was split or merged.
	Closed bool
}

// ListShards returns all shards of a stream by id, once the stream is neither
// being created nor updated. Errors are explained.
func ListShards(ctx context.Context, client *kinesis.Client, name string) ([]Shard, error) {
	if err := awaitActive(ctx, client, name); err != nil {
		return nil, fmt.Errorf("list shards: %w", Explain(client, name, err))
	}
	var listed []types.Shard
	for in := (&kinesis.ListShardsInput{StreamName: aws.String(name)}); ; {
		out, err := ask(ctx, client.ListShards, in)
		if err != nil {
			return nil, fmt.Errorf("list shards: %w", Explain(client, name, err))
		}
		listed = append(listed, out.Shards...)
		if out.NextToken == nil {
			break
		}
		in = &kinesis.ListShardsInput{NextToken: out.NextToken}
	}
	ids := map[stream.ShardID]bool{}
	for _, s := range listed {
		ids[stream.ShardID(aws.ToString(s.ShardId))] = true
	}
	shards := make([]Shard, 0, len(listed))
	for _, s := range listed {
		if s.HashKeyRange == nil || s.SequenceNumberRange == nil {
			return nil, fmt.Errorf("list shards: Kinesis gave shard %s of stream %s without its ranges: is this a Kinesis endpoint?", aws.ToString(s.ShardId), name)
		}
		shards = append(shards, Shard{
			ID: stream.ShardID(aws.ToString(s.ShardId)), Closed: s.SequenceNumberRange.EndingSequenceNumber != nil,
			HashStart: aws.ToString(s.HashKeyRange.StartingHashKey), HashEnd: aws.ToString(s.HashKeyRange.EndingHashKey),
			Parents: slices.DeleteFunc(parentsOf(s), func(p stream.ShardID) bool { return !ids[p] }),
		})
	}
	slices.SortFunc(shards, func(a, b Shard) int { return cmp.Compare(a.ID, b.ID) })
	return shards, nil
}

// EnsureStream creates the stream with that many shards if it does not exist,
// and waits until it is active. One that exists stays as it is. Errors are
// explained.
func EnsureStream(ctx context.Context, client *kinesis.Client, name string, shards int) error {
	err := awaitActive(ctx, client, name)
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) {
		_, err = ask(ctx, client.CreateStream, &kinesis.CreateStreamInput{StreamName: aws.String(name), ShardCount: aws.Int32(int32(shards))})
		var exists *types.ResourceInUseException
		if err == nil || errors.As(err, &exists) { // another process was faster
			err = awaitActive(ctx, client, name)
		}
	}
	if err != nil {
		return fmt.Errorf("ensure stream: %w", Explain(client, name, err))
	}
	return nil
}

// ask bounds a call, with the SDK's retries: the client waits for an answer
// without end.
func ask[In, Out any](ctx context.Context, call func(context.Context, In, ...func(*kinesis.Options)) (Out, error), in In) (Out, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return call(ctx, in)
}

const answerWithin = 10 * time.Second

// activeWithin bounds the wait for a stream that is created or resharded.
const activeWithin = 5 * time.Minute

// awaitActive waits while the stream is created or updated.
func awaitActive(ctx context.Context, client *kinesis.Client, name string) error {
	const first, most = 50 * time.Millisecond, time.Second
	began := time.Now()
	for pause := first; ; pause = min(2*pause, most) {
		out, err := ask(ctx, client.DescribeStreamSummary, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(name)})
		if err != nil {
			return err
		}
		status := out.StreamDescriptionSummary.StreamStatus
		switch {
		case status == types.StreamStatusActive:
			return nil
		case status == types.StreamStatusDeleting:
			return explained{text: fmt.Sprintf("Kinesis stream %s is being deleted: wait until it is gone, then create it", name)}
		case time.Since(began) > activeWithin:
			return explained{text: fmt.Sprintf("Kinesis stream %s is %s since %s: look why in the console", name, status, activeWithin)}
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}
