//go:build integration

package testservers

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// outlives writes, kills the server, starts it again and reads what was
// written. read returns what is left: nothing, where the server keeps nothing.
func outlives(t *testing.T, s *Server, write, read func() error) {
	t.Helper()
	t.Logf("%s: %d MiB", s.name, residentMiB(t, s.PID()))
	if err := write(); err != nil {
		t.Fatalf("write: %v", err)
	}
	s.Kill()
	if err := s.ready(t.Context(), s.URL); err == nil {
		t.Error("a killed server answers")
	}
	began, url := time.Now(), s.URL
	s.Restart(t)
	t.Logf("%s: restarted in %v", s.name, time.Since(began).Round(time.Millisecond))
	if s.URL != url {
		t.Errorf("it moved from %s to %s", url, s.URL)
	}
	if err := read(); err != nil {
		t.Fatalf("read after the restart: %v", err)
	}
	s.Pause()
	paused, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.ready(paused, s.URL); err == nil {
		t.Error("a paused server answers")
	}
	s.Resume()
	if err := read(); err != nil {
		t.Fatalf("read after the pause: %v", err)
	}
}

// started logs how long a constructor took.
func started[S any](t *testing.T, construct func(testing.TB) S) S {
	t.Helper()
	began := time.Now()
	s := construct(t)
	t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
	return s
}

func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

func TestOpenSearch(t *testing.T) {
	s := started(t, func(t testing.TB) *Server {
		return OpenSearch(t, OpenSearchConfig{HeapMiB: 512, Settings: map[string]string{"node.name": "judge"}})
	})
	outlives(t, s, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/results/_doc/1?op_type=index", strings.NewReader(`{"trips":3}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		r, err := http1.Do(req)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusCreated {
			return fmt.Errorf("it answers %s", r.Status)
		}
		return nil
	}, func() error { return get(t.Context(), s.URL+"/results/_doc/1") })
	if err := get(t.Context(), s.URL+"/_nodes/judge/stats/process"); err != nil {
		t.Error(err)
	}
}

func TestDynalite(t *testing.T)      { testDynamoDB(t, Dynalite) }
func TestDynamoDBLocal(t *testing.T) { testDynamoDB(t, DynamoDBLocal) }

func testDynamoDB(t *testing.T, construct func(testing.TB) *Server) {
	s := started(t, construct)
	c := dynamodb.New(dynamodb.Options{BaseEndpoint: &s.URL, Region: "eu-west-1", HTTPClient: http1, Credentials: anybody})
	key := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: "shard"}}
	outlives(t, s, func() error {
		if _, err := c.CreateTable(t.Context(), &dynamodb.CreateTableInput{TableName: aws.String("leases"), BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}}}); err != nil {
			return err
		}
		if err := dynamodb.NewTableExistsWaiter(c, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 50 * time.Millisecond }).
			Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("leases")}, time.Minute); err != nil {
			return err
		}
		_, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("leases"), Item: key})
		return err
	}, func() error {
		out, err := c.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("leases"), Key: key})
		if err == nil && len(out.Item) != 1 {
			return fmt.Errorf("the item is %v", out.Item)
		}
		return err
	})
}

func TestKinesalite(t *testing.T) {
	s := started(t, Kinesalite)
	c := kinesis.New(kinesis.Options{BaseEndpoint: &s.URL, Region: "eu-west-1", HTTPClient: http1, Credentials: anybody})
	outlives(t, s, func() error { return putTrip(t, c) }, func() error {
		shards, err := c.DescribeStream(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("trips")})
		if err != nil {
			return err
		}
		if n := len(shards.StreamDescription.Shards); n != 64 {
			return fmt.Errorf("%d shards", n)
		}
		it, err := c.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{StreamName: aws.String("trips"),
			ShardId: shards.StreamDescription.Shards[0].ShardId, ShardIteratorType: "TRIM_HORIZON"})
		if err != nil {
			return err
		}
		out, err := c.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: it.ShardIterator})
		if err == nil && (len(out.Records) != 1 || string(out.Records[0].Data) != "a trip") {
			return fmt.Errorf("the records are %v", out.Records)
		}
		return err
	})
}

func TestKinesisLocal(t *testing.T) {
	s := started(t, KinesisLocal)
	c := kinesis.New(kinesis.Options{BaseEndpoint: &s.URL, Region: "us-east-1", HTTPClient: http1, Credentials: anybody})
	outlives(t, s, func() error { return putTrip(t, c) }, func() error {
		out, err := c.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		if err == nil && len(out.StreamNames) != 0 {
			return fmt.Errorf("it kept %v: say so in the package's doc", out.StreamNames)
		}
		return err
	})
}

// putTrip puts a record into the first of 64 shards.
func putTrip(t *testing.T, c *kinesis.Client) error {
	if _, err := c.CreateStream(t.Context(), &kinesis.CreateStreamInput{StreamName: aws.String("trips"), ShardCount: aws.Int32(64)}); err != nil {
		return err
	}
	if err := kinesis.NewStreamExistsWaiter(c, func(o *kinesis.StreamExistsWaiterOptions) { o.MinDelay = 50 * time.Millisecond }).
		Wait(t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String("trips")}, time.Minute); err != nil {
		return err
	}
	_, err := c.PutRecord(t.Context(), &kinesis.PutRecordInput{StreamName: aws.String("trips"), Data: []byte("a trip"),
		PartitionKey: aws.String("lane"), ExplicitHashKey: aws.String("0")})
	return err
}

func TestVersityGW(t *testing.T) {
	s := started(t, VersityGW)
	s.CreateBucket(t, "snapshots")
	// Through a proxy, so the server checks signatures over another Host than its own.
	proxy := NewProxy(t, s.URL)
	data := bytes.Repeat([]byte("snapshot"), 1<<20)
	outlives(t, s.Server, func() error {
		_, err := s.client(proxy.URL).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("snapshots"), Key: aws.String("a b/c"), Body: bytes.NewReader(data)})
		return err
	}, func() error {
		out, err := s.client(proxy.URL).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("snapshots"), Key: aws.String("a b/c")})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		var got bytes.Buffer
		if _, err := got.ReadFrom(out.Body); err != nil {
			return err
		}
		if !bytes.Equal(got.Bytes(), data) {
			return fmt.Errorf("the object has %d other bytes", got.Len())
		}
		return nil
	})
	if proxy.Requests() == 0 {
		t.Error("nothing went through the proxy")
	}
}

func TestMoto(t *testing.T) {
	s := started(t, Moto)
	c := s3.New(s3.Options{BaseEndpoint: &s.URL, UsePathStyle: true, Region: "us-east-1", HTTPClient: http1, Credentials: anybody})
	outlives(t, s, func() error {
		_, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("snapshots")})
		return err
	}, func() error {
		out, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{})
		if err == nil && len(out.Buckets) != 0 {
			return fmt.Errorf("it kept %d buckets: say so in the package's doc", len(out.Buckets))
		}
		return err
	})
}

func TestNATS(t *testing.T) {
	s := started(t, func(t testing.TB) *Server { return NATS(t, NATSConfig{}) })
	with := func(do func(jetstream.JetStream) error) error {
		nc, err := nats.Connect(s.URL)
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		return do(js)
	}
	outlives(t, s, func() error {
		return with(func(js jetstream.JetStream) error {
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "log", Subjects: []string{"log.*"}}); err != nil {
				return err
			}
			_, err := js.Publish(t.Context(), "log.1", make([]byte, 4<<20))
			return err
		})
	}, func() error {
		return with(func(js jetstream.JetStream) error {
			log, err := js.Stream(t.Context(), "log")
			if err != nil {
				return err
			}
			m, err := log.GetMsg(t.Context(), 1)
			if err == nil && len(m.Data) != 4<<20 {
				return fmt.Errorf("the message has %d bytes", len(m.Data))
			}
			return err
		})
	})
}

// TestDiesWithItsTest: nothing is left when the test is over.
func TestDiesWithItsTest(t *testing.T) {
	var s *Server
	t.Run("server", func(t *testing.T) { s = NATS(t, NATSConfig{}) })
	if err := s.ready(t.Context(), s.URL); err == nil {
		t.Error("it serves after the end of its test")
	}
	select {
	case <-s.process.ended:
	default:
		t.Error("it runs after the end of its test")
	}
}

var anybody = credentials.NewStaticCredentialsProvider("key", "secret", "")
