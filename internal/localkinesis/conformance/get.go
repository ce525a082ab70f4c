package conformance

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// five makes a stream of one shard with the records a to e.
func (s suite) five() (name string, shard *string, seqs []*string) {
	s.Helper()
	name = s.create(1)
	for _, d := range []string{"a", "b", "c", "d", "e"} {
		o := s.put(name, "k", d)
		shard, seqs = o.ShardId, append(seqs, o.SequenceNumber)
	}
	return name, shard, seqs
}

func iteratorSequence(s suite) {
	name, shard, seqs := s.five()
	for i, want := range []string{"a b c d e", "b c d e", "c d e", "d e", "e"} {
		s.wantData(s.read(s.iterator(name, shard, types.ShardIteratorTypeAtSequenceNumber, seqs[i]), 5-i), want)
		_, after, _ := strings.Cut(want, " ")
		s.wantData(s.read(s.iterator(name, shard, types.ShardIteratorTypeAfterSequenceNumber, seqs[i]), 4-i), after)
	}
	recs := s.all(name, shard, 5)
	s.wantData(recs, "a b c d e")
	for i, r := range recs {
		s.want(aws.ToString(r.SequenceNumber) == *seqs[i], "record %d was put as %s and is read as %s", i, *seqs[i], aws.ToString(r.SequenceNumber))
		age := time.Since(aws.ToTime(r.ApproximateArrivalTimestamp)).Abs()
		s.want(age < 10*time.Minute, "record %d arrived %v ago", i, age)
	}
}

func iteratorShardStart(s suite) {
	name, shard, _ := s.five()
	start := s.shards(name)[0].SequenceNumberRange.StartingSequenceNumber
	s.wantData(s.read(s.iterator(name, shard, types.ShardIteratorTypeAtSequenceNumber, start), 5), "a b c d e")
}

func iteratorLatest(s suite) {
	name, shard, _ := s.five()
	it := s.iterator(name, shard, types.ShardIteratorTypeLatest, nil)
	s.put(name, "k", "f")
	s.put(name, "k", "g")
	s.wantData(s.read(it, 2), "f g")
	empty := s.create(1)
	it = s.iterator(empty, s.shards(empty)[0].ShardId, types.ShardIteratorTypeLatest, nil)
	s.put(empty, "k", "first")
	s.wantData(s.read(it, 1), "first")
}

// iteratorTimestamp puts records until they have several arrival times, and looks each up.
func iteratorTimestamp(s suite) {
	name := s.create(1)
	shard := s.shards(name)[0].ShardId
	n := 0
	for begin := time.Now(); time.Since(begin) < 40*time.Millisecond || n < 5; n++ {
		s.put(name, "k", fmt.Sprint(n))
	}
	recs := s.all(name, shard, n)
	s.want(len(recs) == n, "%d of %d records read", len(recs), n)
	at := func(ts time.Time) string {
		o, err := s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: shard,
			ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &ts})
		s.ok(err, "GetShardIterator AT_TIMESTAMP")
		got := s.get(o.ShardIterator, 1)
		for len(got.Records) == 0 && got.NextShardIterator != nil {
			got = s.get(got.NextShardIterator, 1)
		}
		return string(got.Records[0].Data)
	}
	times := 0
	for i, r := range recs {
		if i > 0 && recs[i-1].ApproximateArrivalTimestamp.Equal(*r.ApproximateArrivalTimestamp) {
			continue
		}
		times++
		got := at(*r.ApproximateArrivalTimestamp)
		s.want(got == string(r.Data), "at the arrival of record %d: %s", i, got)
		got = at(r.ApproximateArrivalTimestamp.Add(-time.Millisecond))
		before := i
		for before > 0 && !recs[before-1].ApproximateArrivalTimestamp.Before(r.ApproximateArrivalTimestamp.Add(-time.Millisecond)) {
			before--
		}
		s.want(got == fmt.Sprint(before), "1 ms before record %d: %s, not %d", i, got, before)
	}
	s.want(times > 1, "%d records in 40 ms have one arrival time", n)
	s.want(at(time.Now().Add(-time.Hour)) == "0", "an hour before: not the first record")
}

func iteratorRefused(s suite) {
	name, shard, seqs := s.five()
	ask := func(shard string, typ types.ShardIteratorType, seq *string, ts *time.Time) error {
		_, err := s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: &shard,
			ShardIteratorType: typ, StartingSequenceNumber: seq, Timestamp: ts})
		return err
	}
	s.refused(ask("shardId-000000000077", types.ShardIteratorTypeTrimHorizon, nil, nil), "a shard that is not there", missing)
	s.refused(ask(*shard, types.ShardIteratorTypeAtSequenceNumber, aws.String("x"+*seqs[0]), nil), "a malformed sequence number", validation, invalid)
	s.refused(ask(*shard, types.ShardIteratorTypeAfterSequenceNumber, nil, nil), "AFTER_SEQUENCE_NUMBER without one", validation, invalid)
	s.refused(ask(*shard, types.ShardIteratorTypeAtTimestamp, nil, nil), "AT_TIMESTAMP without one", validation, invalid)
}

func iteratorBadType(s suite) {
	name, shard, _ := s.five()
	_, err := s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: shard, ShardIteratorType: "SIDEWAYS"})
	s.refused(err, "a type of iterator that is none", validation, invalid)
}

// iteratorForeign: a sequence number of one shard does not read another.
func iteratorForeign(s suite) {
	name := s.create(2)
	shards := s.shards(name)
	o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: []byte("x"),
		ExplicitHashKey: shards[0].HashKeyRange.StartingHashKey})
	s.ok(err, "PutRecord")
	_, err = s.c.GetShardIterator(s.ctx, &kinesis.GetShardIteratorInput{StreamName: &name, ShardId: shards[1].ShardId,
		ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: o.SequenceNumber})
	s.refused(err, "a sequence number of another shard", invalid)
}

func iteratorGarbage(s suite) {
	for _, it := range []string{"garbage", "AAAAAAAAAAGhbGFsYWxhbGFsYWxhbGFsYWxhbGFsYWxhbGFsYWxhbGFsYQ=="} {
		_, err := s.c.GetRecords(s.ctx, &kinesis.GetRecordsInput{ShardIterator: &it})
		s.refused(err, "GetRecords by "+it, invalid, expired, validation)
	}
}

// iteratorTwice: an iterator may be used again, and gives the same.
func iteratorTwice(s suite) {
	name, shard, _ := s.five()
	it := s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil)
	s.wantData(s.read(it, 5), "a b c d e")
	s.wantData(s.read(it, 5), "a b c d e")
}

func getLimit(s suite) {
	name, shard, _ := s.five()
	it := s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil)
	for _, want := range []string{"a b", "c d", "e"} {
		o := s.get(it, 2)
		for len(o.Records) == 0 && o.NextShardIterator != nil {
			o = s.get(o.NextShardIterator, 2)
		}
		s.wantData(o.Records, want)
		it = o.NextShardIterator
	}
	s.wantData(s.get(s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil), 10_000).Records, "a b c d e")
}

func getLimitRefused(s suite) {
	name, shard, _ := s.five()
	for _, limit := range []int32{-1, 0, 10_001} {
		_, err := s.c.GetRecords(s.ctx, &kinesis.GetRecordsInput{Limit: &limit,
			ShardIterator: s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil)})
		s.refused(err, fmt.Sprint("Limit ", limit), invalid, validation)
	}
}

// getBytes puts 12 MiB: no answer has more than 10, and nothing is lost between them.
func getBytes(s suite) {
	name := s.create(1)
	shard := s.shards(name)[0].ShardId
	const n, size = 12, mib - 1
	for i := range n {
		s.put(name, "k", fmt.Sprintf("%02d%s", i, strings.Repeat("x", size-2)))
	}
	got, answers := 0, 0
	for it := s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil); got < n; answers++ {
		o := s.get(it, 0)
		bytes := 0
		for _, r := range o.Records {
			s.want(strings.HasPrefix(string(r.Data), fmt.Sprintf("%02d", got)), "record %d begins with %s", got, r.Data[:2])
			bytes += len(r.Data)
			got++
		}
		s.want(bytes <= 10*mib, "an answer has %d bytes", bytes)
		s.want(got == n || aws.ToInt64(o.MillisBehindLatest) > 0, "MillisBehindLatest is 0 with %d records left", n-got)
		it = o.NextShardIterator
	}
	s.want(answers > 1, "12 MiB came in one answer")
}

func getEmptyPolls(s suite) {
	name, shard, _ := s.five()
	it := s.iterator(name, shard, types.ShardIteratorTypeLatest, nil)
	for range 5 {
		o := s.get(it, 0)
		s.want(len(o.Records) == 0 && aws.ToInt64(o.MillisBehindLatest) == 0, "an empty poll has %d records and is %d ms behind",
			len(o.Records), aws.ToInt64(o.MillisBehindLatest))
		s.want(aws.ToString(o.NextShardIterator) != "", "an open shard has no next iterator")
		it = o.NextShardIterator
	}
	s.put(name, "k", "f")
	s.wantData(s.read(it, 1), "f")
}

// getMillisBehind reads one record at a time: behind by more than nothing until the last.
func getMillisBehind(s suite) {
	name := s.create(1)
	var shard *string
	n := 0
	for begin := time.Now(); time.Since(begin) < 20*time.Millisecond || n < 3; n++ {
		shard = s.put(name, "k", fmt.Sprint(n)).ShardId
	}
	it := s.iterator(name, shard, types.ShardIteratorTypeTrimHorizon, nil)
	for got := 0; got < n; {
		o := s.get(it, 1)
		got += len(o.Records)
		ms := aws.ToInt64(o.MillisBehindLatest)
		s.want(got != 1 || ms > 0, "MillisBehindLatest is 0 with %d records left", n-got)
		it = o.NextShardIterator
	}
	for range 100 {
		o := s.get(it, 1)
		if it = o.NextShardIterator; *o.MillisBehindLatest == 0 {
			return
		}
	}
	s.Errorf("MillisBehindLatest is never 0 at the tip")
}

// concurrent lets writers write, some one by one and some in batches, while each shard is read.
func concurrent(s suite) {
	const writers, each, size = 6, 60, 20
	name := s.create(3)
	shards := s.shards(name)
	var wg sync.WaitGroup
	done := make(chan struct{})
	failures := make(chan string, writers+len(shards))
	for w := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; n < each; {
				es := []types.PutRecordsRequestEntry{}
				for len(es) < size && (w%2 == 1 || len(es) == 0) {
					es = append(es, entry(fmt.Sprint("writer-", w), fmt.Sprintf("%d %d", w, n)))
					n++
				}
				var err error
				if len(es) == 1 {
					_, err = s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: es[0].PartitionKey, Data: es[0].Data})
				} else {
					_, err = s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: es})
				}
				if err != nil {
					failures <- err.Error()
					return
				}
			}
		}()
	}
	read := make([][]types.Record, len(shards))
	var readers sync.WaitGroup
	for i, sh := range shards {
		it := s.iterator(name, sh.ShardId, types.ShardIteratorTypeTrimHorizon, nil)
		readers.Add(1)
		go func() {
			defer readers.Done()
			for last := false; ; {
				o, err := s.c.GetRecords(s.ctx, &kinesis.GetRecordsInput{ShardIterator: it})
				if err != nil {
					failures <- err.Error()
					return
				}
				read[i], it = append(read[i], o.Records...), o.NextShardIterator
				if last && len(o.Records) == 0 {
					return
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		}()
	}
	wg.Wait()
	close(done)
	readers.Wait()
	close(failures)
	for f := range failures {
		s.Error(f)
	}
	seen := map[string]int{}
	next := map[int]int{}
	for i, recs := range read {
		for n, r := range recs {
			seen[string(r.Data)]++
			s.want(n == 0 || s.number(recs[n-1].SequenceNumber).Cmp(s.number(r.SequenceNumber)) < 0, "%s is out of order", *shards[i].ShardId)
			var w, k int
			_, err := fmt.Sscan(string(r.Data), &w, &k)
			s.ok(err, "record of a writer")
			// Those put one by one keep their order; within a batch AWS promises none.
			s.want(w%2 == 1 || k == next[w], "writer %d: record %d, not %d", w, k, next[w])
			next[w]++
		}
	}
	s.want(len(seen) == writers*each, "%d of %d records read", len(seen), writers*each)
	for d, n := range seen {
		s.want(n == 1, "record %q was read %d times", d, n)
	}
}
