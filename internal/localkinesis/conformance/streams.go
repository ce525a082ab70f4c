package conformance

import (
	"context"
	"crypto/rand"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func streamLife(s suite) {
	name := s.create(3)
	sum, err := s.c.DescribeStreamSummary(s.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	s.ok(err, "DescribeStreamSummary")
	d := sum.StreamDescriptionSummary
	s.want(aws.ToInt32(d.OpenShardCount) == 3, "OpenShardCount is %d", aws.ToInt32(d.OpenShardCount))
	s.want(d.StreamStatus == types.StreamStatusActive, "StreamStatus is %s", d.StreamStatus)
	s.want(aws.ToInt32(d.RetentionPeriodHours) == 24, "RetentionPeriodHours is %d", aws.ToInt32(d.RetentionPeriodHours))
	age := time.Since(aws.ToTime(d.StreamCreationTimestamp)).Abs()
	s.want(age < 10*time.Minute, "StreamCreationTimestamp is %v off", age)
	full, err := s.c.DescribeStream(s.ctx, &kinesis.DescribeStreamInput{StreamName: &name})
	s.ok(err, "DescribeStream")
	f := full.StreamDescription
	s.want(aws.ToString(f.StreamName) == name && strings.HasSuffix(aws.ToString(f.StreamARN), ":stream/"+name),
		"described as %s, %s", aws.ToString(f.StreamName), aws.ToString(f.StreamARN))
	s.want(len(f.Shards) == 3 && !aws.ToBool(f.HasMoreShards), "%d shards, HasMoreShards %v", len(f.Shards), aws.ToBool(f.HasMoreShards))
	page, err := s.c.DescribeStream(s.ctx, &kinesis.DescribeStreamInput{StreamName: &name, Limit: aws.Int32(2)})
	s.ok(err, "DescribeStream with Limit")
	s.want(len(page.StreamDescription.Shards) == 2 && aws.ToBool(page.StreamDescription.HasMoreShards), "Limit 2: %d shards, HasMoreShards %v",
		len(page.StreamDescription.Shards), aws.ToBool(page.StreamDescription.HasMoreShards))
	_, err = s.c.DeleteStream(s.ctx, &kinesis.DeleteStreamInput{StreamName: &name})
	s.ok(err, "DeleteStream")
	s.deleted(name)
	_, err = s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: []byte("x")})
	s.refused(err, "PutRecord after DeleteStream", missing)
}

func streamDuplicate(s suite) {
	name := s.create(1)
	_, err := s.c.CreateStream(s.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)})
	s.refused(err, "CreateStream of an existing name", inUse)
}

func streamUnknown(s suite) {
	name := aws.String("conformance-" + rand.Text())
	_, err := s.c.DescribeStream(s.ctx, &kinesis.DescribeStreamInput{StreamName: name})
	s.refused(err, "DescribeStream", missing)
	_, err = s.c.DescribeStreamSummary(s.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})
	s.refused(err, "DescribeStreamSummary", missing)
	_, err = s.c.ListShards(s.ctx, &kinesis.ListShardsInput{StreamName: name})
	s.refused(err, "ListShards", missing)
	_, err = s.c.DeleteStream(s.ctx, &kinesis.DeleteStreamInput{StreamName: name})
	s.refused(err, "DeleteStream", missing)
	_, err = s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: []byte("x")})
	s.refused(err, "PutRecord", missing)
	_, err = s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: name, Records: entries(2)})
	s.refused(err, "PutRecords", missing)
	_, err = s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamName: name,
		ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeLatest})
	s.refused(err, "GetShardIterator", missing)
}

func streamARN(s suite) {
	name := s.create(1)
	sum, err := s.c.DescribeStreamSummary(s.ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	s.ok(err, "DescribeStreamSummary")
	arn := sum.StreamDescriptionSummary.StreamARN
	_, err = s.c.DescribeStream(s.ctx, &kinesis.DescribeStreamInput{StreamARN: arn})
	s.ok(err, "DescribeStream by ARN")
	l, err := s.c.ListShards(s.ctx, &kinesis.ListShardsInput{StreamARN: arn})
	s.ok(err, "ListShards by ARN")
	_, err = s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamARN: arn, PartitionKey: aws.String("k"), Data: []byte("one")})
	s.ok(err, "PutRecord by ARN")
	_, err = s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamARN: arn, Records: entries(1)})
	s.ok(err, "PutRecords by ARN")
	i, err := s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamARN: arn, ShardId: l.Shards[0].ShardId,
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	s.ok(err, "GetShardIterator by ARN")
	s.want(len(s.read(i.ShardIterator, 2)) == 2, "what was put by ARN is not read")
	_, err = s.c.DeleteStream(s.ctx, &kinesis.DeleteStreamInput{StreamARN: arn})
	s.ok(err, "DeleteStream by ARN")
	s.deleted(name)
}

func streamBadName(s suite) {
	for _, name := range []string{"with space", "slash/slash", strings.Repeat("n", 129)} {
		_, err := s.c.CreateStream(s.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)})
		s.refused(err, "CreateStream of "+name, validation, invalid)
	}
}

// streamRecreated: a new stream of an old name has nothing of the old.
func streamRecreated(s suite) {
	name := s.create(1)
	s.put(name, "k", "old")
	_, err := s.c.DeleteStream(s.ctx, &kinesis.DeleteStreamInput{StreamName: &name})
	s.ok(err, "DeleteStream")
	s.deleted(name)
	_, err = s.c.CreateStream(s.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(1)})
	s.ok(err, "CreateStream again")
	s.active(name)
	fresh := s.put(name, "k", "new")
	s.wantData(s.all(name, fresh.ShardId, 1), "new")
}

func streamsPaging(s suite) {
	want := []string{s.create(1), s.create(1), s.create(1)}
	var got []string
	in := &kinesis.ListStreamsInput{Limit: aws.Int32(1)}
	for more := true; more; {
		o, err := s.c.ListStreams(s.ctx, in)
		s.ok(err, "ListStreams")
		s.want(len(o.StreamNames) <= 1, "Limit 1: %d names", len(o.StreamNames))
		got = append(got, o.StreamNames...)
		if more = aws.ToBool(o.HasMoreStreams); more {
			s.want(len(o.StreamNames) == 1, "an empty page that is not the last")
			in.ExclusiveStartStreamName = &o.StreamNames[0]
		}
	}
	for _, w := range want {
		s.want(slices.Contains(got, w), "ListStreams lacks %s", w)
	}
	s.want(slices.IsSorted(got) && len(slices.Compact(slices.Clone(got))) == len(got), "pages are out of order or repeat: %q", got)
}

// ranges are the open shards' hash key ranges by their starts.
func (s suite) hashRange(sh types.Shard) (lo, hi *big.Int) {
	s.Helper()
	s.want(sh.HashKeyRange != nil, "%s has no hash key range", aws.ToString(sh.ShardId))
	return s.number(sh.HashKeyRange.StartingHashKey), s.number(sh.HashKeyRange.EndingHashKey)
}

func (s suite) number(text *string) *big.Int {
	s.Helper()
	n, ok := new(big.Int).SetString(aws.ToString(text), 10)
	s.want(ok, "%q is no decimal number", aws.ToString(text))
	return n
}

var maxHashKey = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

func shardsCover(s suite) {
	for _, n := range []int32{1, 3, 8} {
		shards := s.shards(s.create(n))
		s.want(len(shards) == int(n), "%d shards, not %d", len(shards), n)
		slices.SortFunc(shards, func(a, b types.Shard) int {
			x, _ := s.hashRange(a)
			y, _ := s.hashRange(b)
			return x.Cmp(y)
		})
		next := new(big.Int)
		for _, sh := range shards {
			lo, hi := s.hashRange(sh)
			s.want(lo.Cmp(next) == 0 && hi.Cmp(lo) >= 0, "%s covers %v to %v, not from %v on", *sh.ShardId, lo, hi, next)
			next.Add(hi, big.NewInt(1))
			r := sh.SequenceNumberRange
			s.want(r != nil && r.EndingSequenceNumber == nil && sh.ParentShardId == nil && sh.AdjacentParentShardId == nil,
				"%s of a new stream is closed or has a parent", *sh.ShardId)
			s.number(r.StartingSequenceNumber)
		}
		s.want(next.Sub(next, big.NewInt(1)).Cmp(maxHashKey) == 0, "the shards end at %v", next)
	}
}

func ids(shards []types.Shard) string {
	var b []string
	for _, sh := range shards {
		b = append(b, aws.ToString(sh.ShardId))
	}
	return strings.Join(b, " ")
}

func shardsPaging(s suite) {
	name := s.create(7)
	o, err := s.c.ListShards(s.ctx, &kinesis.ListShardsInput{StreamName: &name, MaxResults: aws.Int32(3)})
	s.ok(err, "ListShards")
	s.want(len(o.Shards) == 3 && o.NextToken != nil, "MaxResults 3: %d shards, a token: %v", len(o.Shards), o.NextToken != nil)
	for _, n := range []int32{1, 3, 6, 7, 8} {
		paged := ids(s.list(&kinesis.ListShardsInput{StreamName: &name, MaxResults: &n}))
		s.want(paged == ids(s.shards(name)), "pages of %d: %s", n, paged)
	}
}

func shardsTokenAndName(s suite) {
	name := s.create(2)
	o, err := s.c.ListShards(s.ctx, &kinesis.ListShardsInput{StreamName: &name, MaxResults: aws.Int32(1)})
	s.ok(err, "ListShards")
	_, err = s.c.ListShards(s.ctx, &kinesis.ListShardsInput{StreamName: &name, NextToken: o.NextToken})
	s.refused(err, "ListShards with StreamName and NextToken", invalid, validation)
}

func shardsExclusiveStart(s suite) {
	name := s.create(4)
	all := s.shards(name)
	for i, sh := range all {
		got := ids(s.list(&kinesis.ListShardsInput{StreamName: &name, ExclusiveStartShardId: sh.ShardId}))
		s.want(got == ids(all[i+1:]), "after %s: %s", *sh.ShardId, got)
	}
}

func shardsBadToken(s suite) {
	_, err := s.c.ListShards(s.ctx, &kinesis.ListShardsInput{NextToken: aws.String("Z2FyYmFnZQ==")})
	s.refused(err, "ListShards with a made-up token", invalid, validation, "ExpiredNextTokenException")
}

// unknownOperation sends an operation that Kinesis does not have. AWS finds no permission for it.
func unknownOperation(s suite) {
	_, err := s.c.ListStreams(s.ctx, &kinesis.ListStreamsInput{}, kinesis.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("other operation",
			func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				if r, ok := in.Request.(*smithyhttp.Request); ok {
					r.Header.Set("X-Amz-Target", "Kinesis_20131202.TuneRadio")
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
	}))
	s.refused(err, "TuneRadio", "UnknownOperationException", "AccessDeniedException")
}
