package opensearch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(t *testing.T, at string) *opensearch.Client {
	t.Helper()
	c, err := opensearch.Connect(t.Context(), opensearch.Config{Addresses: []string{at}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newSink(t *testing.T, at string, cfg opensearch.SinkConfig) *opensearch.Sink {
	t.Helper()
	if cfg.Job == "" {
		cfg.Job = "taxi"
	}
	s, err := opensearch.NewSink(connect(t, at), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// store is a Sink whose documents can be read back. OpenSearch keeps an id, a
// version and a body; the other columns of a document are functions of its id,
// and are remembered here.
type store struct {
	*opensearch.Sink
	at, job string
	mu      sync.Mutex
	known   map[string]sink.Document
}

func (s *store) Write(ctx context.Context, docs []sink.Document) ([]sink.Result, error) {
	s.mu.Lock()
	for _, d := range docs {
		s.known[d.ID] = d
	}
	s.mu.Unlock()
	return s.Sink.Write(ctx, docs)
}

func (s *store) Get(ctx context.Context, id string) (sink.Document, bool, error) {
	s.mu.Lock()
	d := s.known[id]
	s.mu.Unlock()
	if id == "" || d.Query == "" {
		return sink.Document{}, false, nil
	}
	index := opensearch.IndexName("", s.job, d.Query, d.WindowStart)
	version, body, ok, err := get(ctx, s.at, index, id)
	d.Version, d.Body = version, body
	return d, ok, err
}

// get reads a document, as it is, by a realtime GET.
func get(ctx context.Context, at, index, id string) (version uint64, body []byte, found bool, err error) {
	var doc struct {
		Version uint64          `json:"_version"`
		Found   bool            `json:"found"`
		Source  json.RawMessage `json:"_source"`
	}
	status, b, err := talk(ctx, http.MethodGet, at+"/"+index+"/_doc/"+url.PathEscape(id), "")
	if err != nil || status == http.StatusNotFound {
		return 0, nil, false, err
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return 0, nil, false, fmt.Errorf("%d: %s: %w", status, b, err)
	}
	return doc.Version, doc.Source, doc.Found, nil
}

var plain = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// talk sends a request past the package under test.
func talk(ctx context.Context, method, u, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := plain.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// runSuite runs the conformance suite over a node; each name is a job.
func runSuite(t *testing.T, at string, cfg opensearch.SinkConfig) {
	stores := map[string]*store{}
	sinktest.Run(t, func(t *testing.T, name string) sinktest.Store {
		cfg.Job = name
		s := &store{Sink: newSink(t, at, cfg), at: at, job: name, known: map[string]sink.Document{}}
		if old := stores[name]; old != nil {
			s.known = old.known
		}
		stores[name] = s
		return s
	})
}

func TestSuite(t *testing.T) {
	runSuite(t, newFake(t).URL, opensearch.SinkConfig{})
}

func TestSuiteSmallRequests(t *testing.T) {
	f := newFake(t)
	runSuite(t, f.URL, opensearch.SinkConfig{Gzip: true, MaxDocs: 7, MaxBytes: 1000, Concurrency: 3})
	for _, r := range f.seen() {
		if !r.gzip || r.docs > 7 || r.docs > 1 && r.bytes > 1000 {
			t.Fatalf("a request of %d documents, %d bytes, gzip %t", r.docs, r.bytes, r.gzip)
		}
	}
}
