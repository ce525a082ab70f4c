package conformance

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const mib = 1 << 20

func (s suite) wantData(recs []types.Record, want string) {
	s.Helper()
	var got []string
	for _, r := range recs {
		got = append(got, string(r.Data))
	}
	s.want(strings.Join(got, " ") == want, "read %q, not %q", got, want)
}

// owner is the shard whose range has a hash key.
func (s suite) owner(shards []types.Shard, hash *big.Int) string {
	s.Helper()
	for _, sh := range shards {
		if lo, hi := s.hashRange(sh); lo.Cmp(hash) <= 0 && hash.Cmp(hi) <= 0 {
			return *sh.ShardId
		}
	}
	s.Fatalf("no shard owns %v", hash)
	return ""
}

func routePartitionKey(s suite) {
	name := s.create(5)
	shards := s.shards(name)
	var es []types.PutRecordsRequestEntry
	var want []string
	for i := range 200 {
		key := fmt.Sprintf("такси %d", i*i)
		sum := md5.Sum([]byte(key))
		es, want = append(es, entry(key, "x")), append(want, s.owner(shards, new(big.Int).SetBytes(sum[:])))
	}
	for i, r := range s.batch(name, es) {
		s.want(aws.ToString(r.ShardId) == want[i], "PutRecords puts %q into %s, its MD5 says %s", *es[i].PartitionKey, aws.ToString(r.ShardId), want[i])
	}
	for i, e := range es[:20] {
		o := s.put(name, *e.PartitionKey, "x")
		s.want(aws.ToString(o.ShardId) == want[i], "PutRecord puts %q into %s, its MD5 says %s", *e.PartitionKey, aws.ToString(o.ShardId), want[i])
	}
}

func routeExplicit(s suite) {
	name := s.create(3)
	var es []types.PutRecordsRequestEntry
	var want []string
	for _, sh := range s.shards(name) {
		for _, h := range []*string{sh.HashKeyRange.StartingHashKey, sh.HashKeyRange.EndingHashKey} {
			es = append(es, types.PutRecordsRequestEntry{PartitionKey: aws.String("same"), ExplicitHashKey: h, Data: []byte("x")})
			want = append(want, *sh.ShardId)
		}
	}
	for i, r := range s.batch(name, es) {
		s.want(aws.ToString(r.ShardId) == want[i], "PutRecords puts hash key %s into %s, not %s", *es[i].ExplicitHashKey, aws.ToString(r.ShardId), want[i])
		o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("same"),
			ExplicitHashKey: es[i].ExplicitHashKey, Data: []byte("x")})
		s.ok(err, "PutRecord")
		s.want(aws.ToString(o.ShardId) == want[i], "PutRecord puts hash key %s into %s, not %s", *es[i].ExplicitHashKey, aws.ToString(o.ShardId), want[i])
	}
}

func (s suite) refusesHash(name, hash string) {
	s.Helper()
	_, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), ExplicitHashKey: &hash, Data: []byte("x")})
	s.refused(err, "PutRecord with ExplicitHashKey "+hash, invalid, validation)
}

func routeExplicitOver(s suite) {
	s.refusesHash(s.create(1), new(big.Int).Add(maxHashKey, big.NewInt(1)).String())
}

func routeExplicitMalformed(s suite) {
	name := s.create(1)
	for _, h := range []string{"-1", "0x10", "01", "1.0", "one"} {
		s.refusesHash(name, h)
	}
}

func putBatch(s suite) {
	name := s.create(1)
	want := map[string]string{}
	for i, r := range s.batch(name, entries(500)) {
		want[aws.ToString(r.SequenceNumber)] = fmt.Sprint(i)
	}
	s.want(len(want) == 500, "500 records have %d sequence numbers", len(want))
	recs := s.all(name, s.shards(name)[0].ShardId, 500)
	s.want(len(recs) == 500, "%d records read", len(recs))
	for _, r := range recs {
		n := string(r.Data)
		s.want(want[*r.SequenceNumber] == n && *r.PartitionKey == "key-"+n, "%s is read as %s with key %s", *r.SequenceNumber, n, *r.PartitionKey)
	}
}

func putBatchEmpty(s suite) {
	name := s.create(1)
	_, err := s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: []types.PutRecordsRequestEntry{}})
	s.refused(err, "PutRecords without records", validation, invalid)
}

func putBatchOver(s suite) {
	name := s.create(1)
	_, err := s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: entries(501)})
	s.refused(err, "PutRecords of 501 records", validation, invalid)
	o := s.put(name, "k", "after")
	s.wantData(s.all(name, o.ShardId, 1), "after")
}

func putBatchOverSize(s suite) {
	name := s.create(1)
	es := make([]types.PutRecordsRequestEntry, 11)
	for i := range es {
		es[i] = entry("k", strings.Repeat("x", mib-1))
	}
	_, err := s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: es})
	var http *smithyhttp.ResponseError
	s.want(errors.As(err, &http) && http.HTTPStatusCode()/100 == 4, "PutRecords of 11 MiB: %v", err)
	o := s.put(name, "k", "after")
	s.wantData(s.all(name, o.ShardId, 1), "after")
}

func putRecordFull(s suite) {
	name := s.create(1)
	data := bytes.Repeat([]byte{0xfb, 0xff, 0}, mib/3)[:mib-3]
	o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("key"), Data: data})
	s.ok(err, "PutRecord of 1 MiB with its key")
	recs := s.all(name, o.ShardId, 1)
	s.want(len(recs) == 1 && bytes.Equal(recs[0].Data, data), "1 MiB is not read back")
}

func putRecordOver(s suite) {
	name := s.create(1)
	_, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: make([]byte, mib+1)})
	s.refused(err, "PutRecord of 1 MiB + 1", validation, invalid)
}

func putBatchRecordOver(s suite) {
	name := s.create(1)
	_, err := s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: []types.PutRecordsRequestEntry{
		entry("k", "x"), entry("k", strings.Repeat("x", mib+1))}})
	s.refused(err, "PutRecords of 1 MiB + 1", validation, invalid)
}

// putKeyLength counts characters, not bytes.
func putKeyLength(s suite) {
	name := s.create(1)
	s.put(name, strings.Repeat("k", 256), "x")
	s.put(name, strings.Repeat("ю", 256), "x")
	for _, key := range []string{"", strings.Repeat("k", 257), strings.Repeat("ю", 257)} {
		_, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: &key, Data: []byte("x")})
		s.refused(err, fmt.Sprintf("PutRecord with a key of %d bytes", len(key)), validation, invalid)
		_, err = s.c.PutRecords(s.ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: []types.PutRecordsRequestEntry{entry(key, "x")}})
		s.refused(err, fmt.Sprintf("PutRecords with a key of %d bytes", len(key)), validation, invalid)
	}
}

func putBytes(s suite) {
	name := s.create(1)
	var data []string
	keys := []string{"ключ ☃ 🚕", `a"b\c/`, " ", "\t\r\n\b\f", "\u2028<&>", "\x7f\x01"}
	for n := range 256 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(255 - i)
		}
		data = append(data, string(b))
	}
	var es []types.PutRecordsRequestEntry
	for i, d := range data {
		es = append(es, entry(keys[i%len(keys)], d))
	}
	place := map[string]int{}
	for i, r := range s.batch(name, es) {
		place[aws.ToString(r.SequenceNumber)] = i
	}
	recs := s.all(name, s.shards(name)[0].ShardId, len(es))
	s.want(len(recs) == len(es), "%d of %d records read", len(recs), len(es))
	for _, r := range recs {
		i, ok := place[*r.SequenceNumber]
		s.want(ok && string(r.Data) == data[i], "record %d: read %x", i, r.Data)
		s.want(*r.PartitionKey == *es[i].PartitionKey, "record %d: partition key %q, not %q", i, *r.PartitionKey, *es[i].PartitionKey)
	}
}

func putEmptyData(s suite) {
	name := s.create(1)
	o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"), Data: []byte{}})
	s.ok(err, "PutRecord without data")
	recs := s.all(name, o.ShardId, 1)
	s.want(len(recs) == 1 && len(recs[0].Data) == 0, "read %v", recs)
}

func putOrdering(s suite) {
	name := s.create(1)
	var prev, shard *string
	var want []string
	for i := range 20 {
		o, err := s.c.PutRecord(s.ctx, &kinesis.PutRecordInput{StreamName: &name, PartitionKey: aws.String("k"),
			Data: strconv.AppendInt(nil, int64(i), 10), SequenceNumberForOrdering: prev})
		s.ok(err, "PutRecord with SequenceNumberForOrdering")
		prev, shard, want = o.SequenceNumber, o.ShardId, append(want, strconv.Itoa(i))
	}
	s.wantData(s.all(name, shard, 20), strings.Join(want, " "))
}

// sequenceNumbers of a shard grow as numbers, from the shard's start on, and have no leading zeros.
func sequenceNumbers(s suite) {
	name := s.create(2)
	last := map[string]*big.Int{}
	for _, sh := range s.shards(name) {
		last[*sh.ShardId] = s.number(sh.SequenceNumberRange.StartingSequenceNumber)
	}
	for i := range 60 {
		o := s.put(name, fmt.Sprint("key-", i), "x")
		n := s.number(o.SequenceNumber)
		s.want(n.Cmp(last[*o.ShardId]) > 0, "%s: %v follows %v", *o.ShardId, n, last[*o.ShardId])
		s.want(n.String() == *o.SequenceNumber, "%q is not in canonical form", *o.SequenceNumber)
		last[*o.ShardId] = n
	}
}
