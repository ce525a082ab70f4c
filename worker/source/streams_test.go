package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/tripgrid/tripgrid/stream"
)

// A stream is created once, whoever asks first, and its shards are listed.
func TestEnsureAndListOnALocalStream(t *testing.T) {
	t.Parallel()
	client := local(t, 3) // has "trips"
	if _, err := ListShards(t.Context(), client, "rides"); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a stream that is not there: %v", err)
	}
	for _, name := range []string{"trips", "rides", "rides"} {
		if err := EnsureStream(t.Context(), client, name, 2); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"trips": 3, "rides": 2} {
		shards, err := ListShards(t.Context(), client, name)
		if err != nil || len(shards) != want {
			t.Fatalf("%s: %d shards, want %d: %v", name, len(shards), want, err)
		}
		if last := shards[want-1]; shards[0].HashStart != "0" || last.HashEnd != "340282366920938463463374607431768211455" || last.Closed {
			t.Errorf("%s: %+v", name, shards)
		}
	}
}

// scripted answers each operation with the next of its replies, the last one
// for ever, and notes the tokens it was given.
func scripted(t *testing.T, replies map[string][]string) (client *kinesis.Client, tokens *[]string) {
	t.Helper()
	tokens = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ NextToken, StreamName string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if op == "ListShards" {
			*tokens = append(*tokens, in.NextToken+"/"+in.StreamName)
		}
		all := replies[op]
		if len(all) == 0 {
			t.Errorf("%s is called", op)
			return
		}
		if len(all) > 1 {
			replies[op] = all[1:]
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if kind, failed := strings.CutPrefix(all[0], "!"); failed {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"told so"}`, kind)
			return
		}
		_, _ = io.WriteString(w, all[0])
	}))
	t.Cleanup(server.Close)
	client, err := NewKinesisClient(t.Context(), server.URL, "eu-west-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, tokens
}

func status(s string) string {
	return fmt.Sprintf(`{"StreamDescriptionSummary":{"StreamName":"trips","StreamStatus":%q}}`, s)
}

// Pages are followed, a stream in change is waited for, and of the parents only
// those are named that are listed.
func TestListShardsOfAReshardedStream(t *testing.T) {
	t.Parallel()
	const page1 = `{"NextToken":"more","Shards":[
		{"ShardId":"s3","ParentShardId":"s1","AdjacentParentShardId":"s2","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"99"},"SequenceNumberRange":{"StartingSequenceNumber":"9"}}]}`
	const page2 = `{"Shards":[
		{"ShardId":"s1","ParentShardId":"s0","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"49"},"SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"8"}}]}`
	client, tokens := scripted(t, map[string][]string{
		"DescribeStreamSummary": {status("CREATING"), status("UPDATING"), status("ACTIVE")},
		"ListShards":            {page1, page2},
	})
	shards, err := ListShards(t.Context(), client, "trips")
	want := []Shard{
		{ID: "s1", HashStart: "0", HashEnd: "49", Parents: []stream.ShardID{}, Closed: true},
		{ID: "s3", HashStart: "0", HashEnd: "99", Parents: []stream.ShardID{"s1"}},
	}
	for i := range shards {
		if shards[i].Parents == nil {
			shards[i].Parents = []stream.ShardID{}
		}
	}
	if err != nil || !reflect.DeepEqual(shards, want) {
		t.Errorf("%+v: %v", shards, err)
	}
	if !reflect.DeepEqual(*tokens, []string{"/trips", "more/"}) {
		t.Errorf("tokens %v", *tokens)
	}
}

// Two processes create the stream at once: who loses waits as well.
func TestEnsureStreamRace(t *testing.T) {
	t.Parallel()
	client, _ := scripted(t, map[string][]string{
		"DescribeStreamSummary": {"!ResourceNotFoundException", status("CREATING"), status("ACTIVE")},
		"CreateStream":          {"!ResourceInUseException"},
	})
	if err := EnsureStream(t.Context(), client, "trips", 1); err != nil {
		t.Error(err)
	}
}

// What a user can get wrong is answered in one sentence with what to do.
func TestAnswersOfKinesisAreExplained(t *testing.T) {
	t.Parallel()
	const where = "stream trips in eu-west-1 at http://127.0.0.1:"
	for _, c := range []struct{ describe, create, list, want, then string }{
		{list: "!ResourceNotFoundException", want: "list shards: Kinesis " + where, then: " does not exist: create it, or set the right stream and region"},
		{describe: "!ResourceNotFoundException", want: "list shards: Kinesis " + where, then: " does not exist: create it, or set the right stream and region"},
		{list: "!AccessDeniedException", want: "list shards: this identity may not call kinesis:ListShards on " + where, then: ": grant it (AccessDeniedException: told so)"},
		{describe: "!AccessDeniedException", want: "this identity may not call kinesis:DescribeStreamSummary on " + where},
		{list: "!ExpiredTokenException", want: "Kinesis refused the credentials for " + where, then: ": check them, the region and the machine's clock"},
		{describe: "!UnrecognizedClientException", want: "Kinesis refused the credentials for "},
		{list: "!KMSAccessDeniedException", want: "the KMS key of " + where, then: " cannot be used: enable it and grant kms:Decrypt"},
		{list: "!InternalFailureException", want: "Kinesis failed for " + where, then: ": InternalFailureException: told so"},
		{describe: status("DELETING"), want: "list shards: Kinesis stream trips is being deleted: wait until it is gone, then create it"},
		{describe: "!ResourceNotFoundException", create: "!LimitExceededException", want: "ensure stream: " + where, then: " was not created: the account's limit of streams or shards is reached: raise it or delete some"},
		{describe: "!ResourceNotFoundException", create: "!AccessDeniedException", want: "ensure stream: this identity may not call kinesis:CreateStream on "},
		{list: `{"Shards":[{"ShardId":"s0"}]}`, want: "without its ranges"},
	} {
		if c.describe == "" {
			c.describe = status("ACTIVE")
		}
		client, _ := scripted(t, map[string][]string{"DescribeStreamSummary": {c.describe}, "CreateStream": {c.create}, "ListShards": {c.list}})
		var err error
		if c.create != "" {
			err = EnsureStream(t.Context(), client, "trips", 1)
		} else {
			_, err = ListShards(t.Context(), client, "trips")
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.then) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v is answered: %v", c, err)
		}
	}
}

// Throttling is told as such, after the SDK's attempts.
func TestThrottlingIsExplained(t *testing.T) {
	t.Parallel()
	client, _ := scripted(t, map[string][]string{"DescribeStreamSummary": {"!LimitExceededException"}})
	_, err := ListShards(t.Context(), client, "trips")
	if err == nil || !strings.Contains(err.Error(), " is throttled: add shards, or let fewer applications read it (LimitExceededException: told so)") {
		t.Errorf("it is answered: %v", err)
	}
}

func TestKinesisOutOfReachIsExplained(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	nobody := "http://127.0.0.1:1" // a port that no test is given
	for name, c := range map[string]struct {
		change func(*kinesis.Options, *http.Transport)
		want   string
	}{
		"no credentials": {want: "list shards: there are no AWS credentials for stream trips in eu-west-1: give the machine a role or set a profile",
			change: func(o *kinesis.Options, _ *http.Transport) {
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{}, errors.New("no EC2 IMDS role found")
				})
			}},
		"no region": {want: "list shards: there is no Kinesis endpoint for stream trips: set a region or an endpoint",
			change: func(o *kinesis.Options, _ *http.Transport) { o.Region = "" }},
		"no such region": {want: "list shards: the Kinesis endpoint of eu-wets-1 has no address: check the region, the endpoint and the name server",
			change: func(o *kinesis.Options, tr *http.Transport) {
				o.Region = "eu-wets-1"
				tr.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
					host, _, _ := net.SplitHostPort(addr)
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
				}
			}},
		"nobody there": {want: "list shards: nothing listens at the Kinesis endpoint of eu-west-1: check the endpoint",
			change: func(o *kinesis.Options, _ *http.Transport) { o.BaseEndpoint = &nobody }},
		"own certificate": {want: "list shards: the Kinesis endpoint of eu-west-1 shows a certificate that is not trusted: check the endpoint or set the CA bundle in AWS_CA_BUNDLE",
			change: func(o *kinesis.Options, _ *http.Transport) { o.BaseEndpoint = &secure.URL }},
		"no answer": {want: "list shards: Kinesis gave no answer in time: check the network to stream trips in eu-west-1 at http://127.0.0.1:",
			change: func(o *kinesis.Options, _ *http.Transport) { o.BaseEndpoint = &silent.URL }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := &http.Transport{}
			t.Cleanup(tr.CloseIdleConnections)
			o := kinesis.Options{Region: "eu-west-1", HTTPClient: &http.Client{Transport: tr}, RetryMaxAttempts: 1,
				Credentials: credentials.NewStaticCredentialsProvider("id", "key", "")}
			c.change(&o, tr)
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := ListShards(ctx, kinesis.New(o), "trips")
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("it is answered: %v", err)
			}
		})
	}
}

func TestExplainLeavesAlone(t *testing.T) {
	t.Parallel()
	client := kinesis.New(kinesis.Options{Region: "eu-west-1"})
	if err := Explain(client, "trips", nil); err != nil {
		t.Error(err)
	}
	if err := Explain(client, "trips", context.Canceled); !errors.Is(err, context.Canceled) || err.Error() != context.Canceled.Error() {
		t.Error(err)
	}
	once := Explain(client, "trips", errors.New("x"))
	if twice := Explain(client, "trips", fmt.Errorf("more: %w", once)); twice.Error() != "more: "+once.Error() {
		t.Error(twice)
	}
}
