package localkinesis

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answerWriter is an http.ResponseWriter that keeps the answer.
type answerWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *answerWriter) Header() http.Header { return w.header }
func (w *answerWriter) WriteHeader(s int)   { w.status = s }
func (w *answerWriter) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}

// call sends a body to an operation past the network and returns the answer.
func (w *answerWriter) call(s *Server, op string, body []byte) []byte {
	clear(w.header)
	w.body = w.body[:0]
	r := &http.Request{Method: http.MethodPost, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		Header: http.Header{"X-Amz-Target": {targetPrefix + op}, "Content-Type": {contentType}}}
	s.serve(w, r)
	return w.body
}

// mustCall is call, failing the test on a refusal.
func mustCall(t testing.TB, s *Server, op, body string) map[string]any {
	t.Helper()
	w := &answerWriter{header: http.Header{}}
	b := w.call(s, op, []byte(body))
	if w.status != http.StatusOK {
		t.Fatalf("%s: status %d: %s", op, w.status, b)
	}
	var v map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%s: %v in %q", op, err, b)
		}
	}
	return v
}

// putBody is a PutRecords call of n records of a size.
func putBody(stream string, n, size int) []byte {
	data := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0123456789", size/10)))
	b := []byte(`{"Records":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"Data":"%s","PartitionKey":"key-%d"}`, data, i)
	}
	return fmt.Appendf(b, `],"StreamName":"%s"}`, stream)
}

func benchServer(b *testing.B) *Server {
	s, _ := start(b, Config{Dir: b.TempDir()}, defaultTuning())
	mustCall(b, s, "CreateStream", `{"StreamName":"s","ShardCount":4}`)
	return s
}

// BenchmarkPutRecords puts 500 records of 200 bytes a call into 4 shards, from two goroutines as the load check's
// connections do.
func BenchmarkPutRecords(b *testing.B) {
	s := benchServer(b)
	body := putBody("s", 500, 200)
	b.SetBytes(500 * 200)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		w := &answerWriter{header: http.Header{}}
		for p.Next() {
			if w.call(s, "PutRecords", body); w.status != http.StatusOK {
				b.Fatalf("status %d: %s", w.status, w.body)
			}
		}
	})
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkGetRecords reads 10,000 records of 200 bytes a call.
func BenchmarkGetRecords(b *testing.B) {
	s := benchServer(b)
	w := &answerWriter{header: http.Header{}}
	body := putBody("s", 500, 200)
	for range 81 {
		w.call(s, "PutRecords", body)
	}
	it := mustCall(b, s, "GetShardIterator", `{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`)
	get := fmt.Appendf(nil, `{"ShardIterator":"%s","Limit":10000}`, it["ShardIterator"])
	n := strings.Count(string(w.call(s, "GetRecords", get)), "SequenceNumber")
	b.SetBytes(int64(n) * 200)
	b.ReportAllocs()
	for b.Loop() {
		if w.call(s, "GetRecords", get); w.status != http.StatusOK {
			b.Fatalf("status %d: %s", w.status, w.body)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkParsePutRecords is the request scanner alone.
func BenchmarkParsePutRecords(b *testing.B) {
	body := putBody("s", 500, 200)
	var r putRequest
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.parse(body, false); err != nil {
			b.Fatal(err)
		}
	}
}
