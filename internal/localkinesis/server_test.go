package localkinesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// refusal calls an operation that is to be refused and returns code and message.
func refusal(t testing.TB, s *Server, op, body string) (code, message string) {
	t.Helper()
	w := &answerWriter{header: http.Header{}}
	b := w.call(s, op, []byte(body))
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(b, &e); err != nil || w.status == http.StatusOK {
		t.Fatalf("%s of %.80s was answered with %d: %s", op, body, w.status, b)
	}
	return e.Type, e.Message
}

func wantRefusal(t testing.TB, s *Server, code, op, body string) {
	t.Helper()
	if got, message := refusal(t, s, op, body); got != code || !strings.HasSuffix(message, ".") {
		t.Errorf("%s of %.80s is refused with %s (%s), not %s", op, body, got, message, code)
	}
}

func TestRefusals(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
	record := `"Data":"YQ==","PartitionKey":"k"`
	for _, c := range [][3]string{
		{"UnknownOperationException", "SplitShard", `{"StreamName":"s"}`},
		{"UnknownOperationException", "SubscribeToShard", `{}`},
		{"SerializationException", "CreateStream", `{"StreamName":`},
		{"SerializationException", "CreateStream", `{"StreamName":5}`},
		{"SerializationException", "PutRecord", `{"StreamName":"s","Data":"?"}`},
		{"SerializationException", "PutRecords", ``},
		{"InvalidArgumentException", "CreateStream", `{"ShardCount":1}`},
		{"InvalidArgumentException", "CreateStream", `{"StreamName":"x"}`},
		{"ValidationException", "CreateStream", `{"StreamName":"x","ShardCount":0}`},
		{"LimitExceededException", "CreateStream", `{"StreamName":"x","ShardCount":1001}`},
		{"ValidationException", "CreateStream", `{"StreamName":"../x","ShardCount":1}`},
		{"ValidationException", "CreateStream", `{"StreamName":"x","StreamModeDetails":{"StreamMode":"FREE"}}`},
		{"InvalidArgumentException", "CreateStream", `{"StreamName":"x","ShardCount":1,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`},
		{"InvalidArgumentException", "CreateStream", `{"StreamName":"x","ShardCount":1,"MaxRecordSizeInKiB":2048}`},
		{"InvalidArgumentException", "CreateStream", `{"StreamName":"x","ShardCount":1,"Tags":{"a":"b"}}`},
		{"InvalidArgumentException", "CreateStream", `{"StreamName":"x","ShardCount":1,"RecordDistributionStrategy":"AUTO"}`},
		{"InvalidArgumentException", "PutRecord", `{"StreamName":"s","DryRun":true,` + record + `}`},
		{"ValidationException", "PutRecord", `{"StreamName":"s","PartitionKey":"k"}`},
		{"ValidationException", "PutRecord", `{"StreamName":"s","SequenceNumberForOrdering":"x",` + record + `}`},
		{"InvalidArgumentException", "PutRecord", `{` + record + `}`},
		{"InvalidArgumentException", "PutRecord", `{"StreamName":"s","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/other",` + record + `}`},
		{"ResourceNotFoundException", "PutRecord", `{"StreamARN":"arn:aws:kinesis:us-west-2:000000000000:stream/s",` + record + `}`},
		{"ValidationException", "PutRecord", `{"StreamARN":"s",` + record + `}`},
		{"ValidationException", "GetShardIterator", `{"StreamName":"s","ShardIteratorType":"LATEST"}`},
		{"InvalidArgumentException", "GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":4000000000}`},
		{"ValidationException", "GetRecords", `{}`},
		{"InvalidArgumentException", "ListShards", `{"StreamName":"s","ShardFilter":{"Type":"AT_LATEST"}}`},
		{"ResourceNotFoundException", "ListShards", `{"StreamName":"s","StreamCreationTimestamp":1}`},
		{"InvalidArgumentException", "ListShards", `{"StreamName":"s","ExclusiveStartShardId":"x"}`},
		{"ValidationException", "ListStreams", `{"Limit":0}`},
		{"InvalidArgumentException", "ListStreams", `{"NextToken":"?"}`},
	} {
		wantRefusal(t, s, c[0], c[1], c[2])
	}
	code, message := refusal(t, s, "SplitShard", `{}`)
	if !strings.Contains(message, "Kinesis_20131202.SplitShard is not served") {
		t.Errorf("%s: %s", code, message)
	}
}

func TestOnDemand(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	mustCall(t, s, "CreateStream", `{"StreamName":"s","StreamModeDetails":{"StreamMode":"ON_DEMAND"}}`)
	d := mustCall(t, s, "DescribeStreamSummary", `{"StreamName":"s"}`)["StreamDescriptionSummary"].(map[string]any)
	if d["OpenShardCount"] != 4.0 || d["StreamModeDetails"].(map[string]any)["StreamMode"] != "ON_DEMAND" {
		t.Errorf("described as %v", d)
	}
}

// TestExpiry: iterators and tokens live for 5 minutes, to the millisecond, also over a restart.
func TestExpiry(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	tune := defaultTuning()
	tune.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	dir := t.TempDir()
	s, stop := start(t, Config{Dir: dir}, tune)
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":2}`)
	it := mustCall(t, s, "GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"]
	tok := mustCall(t, s, "ListShards", `{"StreamName":"s","MaxResults":1}`)["NextToken"]
	get, list := fmt.Sprintf(`{"ShardIterator":%q}`, it), fmt.Sprintf(`{"NextToken":%q}`, tok)
	pass(tokenLife)
	stop()
	s, _ = start(t, Config{Dir: dir}, tune)
	if _, ok := mustCall(t, s, "GetRecords", get)["MillisBehindLatest"]; !ok {
		t.Error("no MillisBehindLatest")
	}
	mustCall(t, s, "ListShards", list)
	pass(time.Millisecond)
	wantRefusal(t, s, "ExpiredIteratorException", "GetRecords", get)
	wantRefusal(t, s, "ExpiredNextTokenException", "ListShards", list)
	mustCall(t, s, "DeleteStream", `{"StreamName":"s"}`)
	pass(-time.Minute)
	wantRefusal(t, s, "ResourceNotFoundException", "GetRecords", get)
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":2}`)
	wantRefusal(t, s, "ResourceNotFoundException", "GetRecords", get) // it was another stream
}

// TestFrozenClock: streams created within one moment, also one after the deletion of the other and over restarts, share no
// sequence number.
func TestFrozenClock(t *testing.T) {
	tune := defaultTuning()
	frozen := time.Now()
	tune.now = func() time.Time { return frozen }
	dir := t.TempDir()
	seen := map[any]bool{}
	for range 3 {
		s, stop := start(t, Config{Dir: dir}, tune)
		for range 3 {
			mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
			for range 3 {
				n := mustCall(t, s, "PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"k"}`)["SequenceNumber"]
				if seen[n] {
					t.Fatalf("%v was given twice", n)
				}
				seen[n] = true
			}
			mustCall(t, s, "DeleteStream", `{"StreamName":"s"}`)
		}
		stop()
	}
}

// TestBatchOrder: what goes to one shard keeps its order within a call, which is more than AWS promises.
func TestBatchOrder(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":3}`)
	out := mustCall(t, s, "PutRecords", string(putBody("s", 500, 10)))
	if out["FailedRecordCount"] != 0.0 {
		t.Fatalf("%v failed", out["FailedRecordCount"])
	}
	last := map[any]string{}
	for i, r := range out["Records"].([]any) {
		m := r.(map[string]any)
		shard, n := m["ShardId"], m["SequenceNumber"].(string)
		if n <= last[shard] { // all have 56 digits
			t.Fatalf("record %d: %s follows %s in %s", i, n, last[shard], shard)
		}
		last[shard] = n
	}
	if len(last) != 3 {
		t.Errorf("%d shards were used", len(last))
	}
}

// TestPartialFailure: a shard that takes nothing does not hinder the others, and the answer says which records are stored.
func TestPartialFailure(t *testing.T) {
	s, stop := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":2}`)
	st, err := s.store.find(streamRef{name: new("s")})
	if err != nil {
		t.Fatal(err)
	}
	st.shards[1].log.mu.Lock()
	st.shards[1].log.fail(io.ErrShortWrite)
	st.shards[1].log.mu.Unlock()
	out := mustCall(t, s, "PutRecords", string(putBody("s", 100, 10)))
	failed := 0.0
	for _, r := range out["Records"].([]any) {
		m := r.(map[string]any)
		if m["ErrorCode"] == nil {
			if m["ShardId"] != "shardId-000000000000" {
				t.Errorf("stored in %v", m["ShardId"])
			}
			continue
		}
		failed++
		if m["ErrorCode"] != "InternalFailure" || m["SequenceNumber"] != nil || !strings.Contains(m["ErrorMessage"].(string), "shardId-000000000001 takes no more records") {
			t.Errorf("failed as %v", m)
		}
	}
	if failed == 0 || out["FailedRecordCount"] != failed {
		t.Errorf("FailedRecordCount is %v of %v", out["FailedRecordCount"], failed)
	}
	wantCode := func(key string) {
		t.Helper()
		w := &answerWriter{header: http.Header{}}
		if w.call(s, "PutRecord", fmt.Appendf(nil, `{"StreamName":"s","Data":"","PartitionKey":"k","ExplicitHashKey":"%s"}`, key)); w.status != http.StatusInternalServerError {
			t.Errorf("put into the failed shard: %d %s", w.status, w.body)
		}
	}
	wantCode(st.meta.Shards[1].HashEnd)
	st.shards[1].log.mu.Lock()
	st.shards[1].log.failed = nil // so that it can be closed without an error
	st.shards[1].log.mu.Unlock()
	stop()
}

// TestHTTP: what is no call of Kinesis is answered clearly, and the connection stays.
func TestHTTP(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	var dials int
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}}
	ask := func(method, target, ct string, body io.Reader) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, s.Endpoint(), body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Target", target)
		r.Header.Set("Content-Type", ct)
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.ContentLength != int64(len(b)) || resp.Header.Get("X-Amzn-Requestid") == "" {
			t.Fatalf("answer of %d bytes, Content-Length %d: %v, %v", len(b), resp.ContentLength, err, resp.Header)
		}
		return resp.StatusCode, string(b)
	}
	for _, x := range []struct {
		method, target, ct string
		body               io.Reader
		status             int
		says               string
	}{
		{"GET", "", "", nil, 404, "local Kinesis endpoint"},
		{"POST", "", contentType, strings.NewReader("{}"), 404, "X-Amz-Target"},
		{"POST", "DynamoDB_20120810.PutItem", contentType, strings.NewReader("{}"), 400, "UnknownOperationException"},
		{"POST", targetPrefix + "ListStreams", "application/x-amz-cbor-1.1", strings.NewReader("\xa0"), 400, "AWS_CBOR_DISABLE"},
		{"POST", targetPrefix + "ListStreams", contentType, struct{ io.Reader }{strings.NewReader("{}")}, 200, "StreamNames"}, // chunked
		{"POST", targetPrefix + "PutRecords", contentType, bytes.NewReader(make([]byte, maxBody+2)), 413, "RequestEntityTooLarge"},
		{"POST", targetPrefix + "ListStreams", contentType, nil, 200, "StreamNames"},
	} {
		status, body := ask(x.method, x.target, x.ct, x.body)
		if status != x.status || !strings.Contains(body, x.says) {
			t.Errorf("%s %s: %d %s", x.method, x.target, status, body)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections were needed", dials)
	}
	c.CloseIdleConnections()
}

// TestStopWithIdleConnections: connections that a client holds, used or not, do not hinder the end.
func TestStopWithIdleConnections(t *testing.T) {
	s, stop := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	fresh, err := net.Dial("tcp", s.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	resp, err := http.Get(s.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	begin := time.Now()
	stop()
	if d := time.Since(begin); d > drainBudget/2 {
		t.Errorf("stopping took %v", d)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, Config{Dir: dir}, defaultTuning())
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "held by another process") {
		t.Errorf("a second opening: %v", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), Addr: s.ln.Addr().String()}); err == nil {
		t.Error("a taken address is accepted")
	}
	resp, err := http.Get(s.Endpoint()) // answered: Run runs
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err := s.Run(context.Background()); err == nil {
		t.Error("a second Run is accepted")
	}
	for _, cfg := range []Config{{}, {Dir: dir, AccountID: "12"}, {Dir: dir, Region: "a:b"}} {
		if _, err := Open(cfg); err == nil || !strings.HasPrefix(err.Error(), "localkinesis: ") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	stop()
	start(t, Config{Dir: dir}, defaultTuning())
}

// TestDeleteUnderLoad deletes a stream while it is written and read: every call ends, with an answer of the API.
func TestDeleteUnderLoad(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	for range 3 {
		mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":2}`)
		it := mustCall(t, s, "GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"]
		var wg sync.WaitGroup
		started := make(chan struct{}, 8)
		for i := range 8 {
			op, body := "PutRecords", putBody("s", 50, 50)
			if i%2 == 1 {
				op, body = "GetRecords", fmt.Appendf(nil, `{"ShardIterator":%q}`, it)
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				w := &answerWriter{header: http.Header{}}
				for n := 0; ; n++ {
					b := w.call(s, op, body)
					if n == 2 {
						started <- struct{}{}
					}
					if w.status == http.StatusOK {
						continue
					}
					if !bytes.Contains(b, []byte("ResourceNotFoundException")) {
						t.Errorf("%s ended with %s", op, b)
					}
					return
				}
			}()
		}
		for range 8 {
			<-started
		}
		mustCall(t, s, "DeleteStream", `{"StreamName":"s"}`)
		wg.Wait()
	}
}

// TestIndexStaysSmall: memory grows by an entry for each 64 KiB, not by records.
func TestIndexStaysSmall(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	mustCall(t, s, "CreateStream", `{"StreamName":"s","ShardCount":1}`)
	w := &answerWriter{header: http.Header{}}
	data := base64.StdEncoding.EncodeToString(make([]byte, 10_000))
	body := fmt.Appendf(nil, `{"StreamName":"s","Data":"%s","PartitionKey":"k"}`, data)
	const n = 200
	for range n {
		w.call(s, "PutRecord", body)
	}
	st, err := s.store.find(streamRef{name: new("s")})
	if err != nil {
		t.Fatal(err)
	}
	log := st.shards[0].log
	if most := log.end>>16 + 1; int64(len(log.index)) > most || log.end < n*10_000 {
		t.Errorf("%d index entries for %d bytes, more than %d", len(log.index), log.end, most)
	}
}
