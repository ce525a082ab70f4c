package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Options adapt the suite to a server.
type Options struct {
	// Deviations are checks to leave out, by name, each with what the server does instead.
	Deviations map[string]string
	// Timeout bounds one check, 1 minute when 0.
	Timeout time.Duration
}

// suite is one check's look at the server.
type suite struct {
	*testing.T
	ctx context.Context
	c   *kinesis.Client
}

var checks = []struct {
	name string
	run  func(suite)
}{
	{"stream-life", streamLife},
	{"stream-duplicate", streamDuplicate},
	{"stream-unknown", streamUnknown},
	{"stream-arn", streamARN},
	{"stream-bad-name", streamBadName},
	{"stream-recreated", streamRecreated},
	{"streams-paging", streamsPaging},
	{"shards-cover", shardsCover},
	{"shards-paging", shardsPaging},
	{"shards-token-and-name", shardsTokenAndName},
	{"shards-exclusive-start", shardsExclusiveStart},
	{"shards-bad-token", shardsBadToken},
	{"unknown-operation", unknownOperation},
	{"route-partition-key", routePartitionKey},
	{"route-explicit", routeExplicit},
	{"route-explicit-over", routeExplicitOver},
	{"route-explicit-malformed", routeExplicitMalformed},
	{"put-batch", putBatch},
	{"put-batch-empty", putBatchEmpty},
	{"put-batch-over-500", putBatchOver},
	{"put-batch-over-10MiB", putBatchOverSize},
	{"put-record-1MiB", putRecordFull},
	{"put-record-over-1MiB", putRecordOver},
	{"put-batch-record-over-1MiB", putBatchRecordOver},
	{"put-key-length", putKeyLength},
	{"put-bytes", putBytes},
	{"put-empty-data", putEmptyData},
	{"put-ordering", putOrdering},
	{"sequence-numbers", sequenceNumbers},
	{"iterator-sequence", iteratorSequence},
	{"iterator-shard-start", iteratorShardStart},
	{"iterator-latest", iteratorLatest},
	{"iterator-timestamp", iteratorTimestamp},
	{"iterator-refused", iteratorRefused},
	{"iterator-bad-type", iteratorBadType},
	{"iterator-foreign-sequence", iteratorForeign},
	{"iterator-garbage", iteratorGarbage},
	{"iterator-twice", iteratorTwice},
	{"get-limit", getLimit},
	{"get-limit-refused", getLimitRefused},
	{"get-bytes", getBytes},
	{"get-empty-polls", getEmptyPolls},
	{"get-millis-behind", getMillisBehind},
	{"concurrent", concurrent},
}

// Run runs every check as a subtest against the server that client talks to.
func Run(t *testing.T, client *kinesis.Client, opt Options) {
	for name := range opt.Deviations {
		if !slices.ContainsFunc(checks, func(c struct {
			name string
			run  func(suite)
		}) bool {
			return c.name == name
		}) {
			t.Errorf("Deviations names %q, which is no check", name)
		}
	}
	timeout := opt.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	for _, c := range checks {
		if why, ok := opt.Deviations[c.name]; ok {
			t.Logf("%s is not asked, a known deviation of this server: %s", c.name, why)
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			c.run(suite{t, ctx, client})
		})
	}
}

// ok wants a call to have succeeded.
func (s suite) ok(err error, what string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
}

func (s suite) want(ok bool, format string, args ...any) {
	s.Helper()
	if !ok {
		s.Fatalf(format, args...)
	}
}

// Codes of refusals.
const (
	invalid    = "InvalidArgumentException"
	validation = "ValidationException"
	missing    = "ResourceNotFoundException"
	inUse      = "ResourceInUseException"
	expired    = "ExpiredIteratorException"
)

// refused wants a call to have been refused with one of the codes, and with a status of a client's fault.
func (s suite) refused(err error, what string, codes ...string) {
	s.Helper()
	var api smithy.APIError
	var http *smithyhttp.ResponseError
	switch {
	case err == nil:
		s.Fatalf("%s was accepted, not refused with %q", what, codes)
	case !errors.As(err, &api):
		s.Fatalf("%s: no answer of the API but %v", what, err)
	case !slices.Contains(codes, api.ErrorCode()):
		s.Fatalf("%s was refused with %s, not with %q: %v", what, api.ErrorCode(), codes, err)
	case errors.As(err, &http) && http.HTTPStatusCode() != 400:
		s.Fatalf("%s was refused with status %d, not 400", what, http.HTTPStatusCode())
	}
}

// create makes a stream, waits until it is active, and deletes it after the check.
func (s suite) create(shards int32) string {
	s.Helper()
	name := "conformance-" + rand.Text()
	_, err := s.c.CreateStream(s.ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards})
	s.ok(err, "CreateStream")
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, _ = s.c.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &name}) // it may be deleted already
	})
	s.active(name)
	return name
}

func (s suite) active(name string) {
	s.Helper()
	w := kinesis.NewStreamExistsWaiter(s.c, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	})
	s.ok(w.Wait(s.ctx, &kinesis.DescribeStreamInput{StreamName: &name}, 30*time.Second), "stream becomes ACTIVE")
}

func (s suite) deleted(name string) {
	s.Helper()
	w := kinesis.NewStreamNotExistsWaiter(s.c, func(o *kinesis.StreamNotExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	})
	s.ok(w.Wait(s.ctx, &kinesis.DescribeStreamInput{StreamName: &name}, 30*time.Second), "stream goes")
}

// shards lists all shards.
func (s suite) shards(name string) []types.Shard {
	s.Helper()
	return s.list(&kinesis.ListShardsInput{StreamName: &name})
}

func (s suite) list(in *kinesis.ListShardsInput) (all []types.Shard) {
	s.Helper()
	for {
		o, err := s.c.ListShards(s.ctx, in)
		s.ok(err, "ListShards")
		all = append(all, o.Shards...)
		if o.NextToken == nil {
			return all
		}
		in = &kinesis.ListShardsInput{NextToken: o.NextToken, MaxResults: in.MaxResults}
	}
}

func (s suite) put(name, key, data string) *kinesis.PutRecordOutput {
	s.Helper()
	o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: &key, Data: []byte(data)})
	s.ok(err, "PutRecord")
	return o
}

func entry(key, data string) types.PutRecordsRequestEntry {
	return types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte(data)}
}

// entries are n records, numbered in their data.
func entries(n int) []types.PutRecordsRequestEntry {
	es := make([]types.PutRecordsRequestEntry, n)
	for i := range es {
		es[i] = entry(fmt.Sprint("key-", i), fmt.Sprint(i))
	}
	return es
}

// batch puts records, and those again that were throttled, and returns their results in order.
func (s suite) batch(name string, es []types.PutRecordsRequestEntry) []types.PutRecordsResultEntry {
	s.Helper()
	results := make([]types.PutRecordsResultEntry, len(es))
	todo := make([]int, len(es))
	for i := range todo {
		todo[i] = i
	}
	for len(todo) > 0 {
		part := make([]types.PutRecordsRequestEntry, len(todo))
		for i, n := range todo {
			part[i] = es[n]
		}
		o, err := s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: part})
		s.ok(err, "PutRecords")
		s.want(len(o.Records) == len(part), "%d results for %d records", len(o.Records), len(part))
		failed := todo[:0:0]
		for i, r := range o.Records {
			if results[todo[i]] = r; r.ErrorCode != nil {
				failed = append(failed, todo[i])
			}
		}
		s.want(aws.ToInt32(o.FailedRecordCount) == int32(len(failed)), "FailedRecordCount is %d, not %d", aws.ToInt32(o.FailedRecordCount), len(failed))
		todo = failed
	}
	return results
}

func (s suite) iterator(name string, shard *string, typ types.ShardIteratorType, seq *string) *string {
	s.Helper()
	o, err := s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{
		StreamName: &name, ShardId: shard, ShardIteratorType: typ, StartingSequenceNumber: seq})
	s.ok(err, "GetShardIterator "+string(typ))
	s.want(aws.ToString(o.ShardIterator) != "", "GetShardIterator %s: no iterator", typ)
	return o.ShardIterator
}

func (s suite) get(it *string, limit int32) *kinesis.GetRecordsOutput {
	s.Helper()
	in := &kinesis.GetRecordsInput{ShardIterator: it}
	if limit > 0 {
		in.Limit = &limit
	}
	o, err := s.c.GetRecords(s.ctx, in)
	s.ok(err, "GetRecords")
	s.want(o.MillisBehindLatest != nil, "MillisBehindLatest is absent with %d records", len(o.Records))
	return o
}

// read follows an iterator until it has read n records, and then to the tip. A missing record shows as a check that runs
// out of time, or as an early tip if the server says that it is there.
func (s suite) read(it *string, n int) []types.Record {
	s.Helper()
	var recs []types.Record
	for it != nil {
		o := s.get(it, 0)
		recs = append(recs, o.Records...)
		if it = o.NextShardIterator; len(o.Records) == 0 && len(recs) >= n {
			break
		}
	}
	return recs
}

// all reads a shard from its beginning.
func (s suite) all(name string, shard *string, n int) []types.Record {
	s.Helper()
	return s.read(s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil), n)
}
