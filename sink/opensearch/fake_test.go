package opensearch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// fake is as much of an OpenSearch node as the sink talks to: _bulk with external
// versions, realtime GET, and what a plan has to say to a request beforehand.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	docs     map[string]stored // by index/id
	requests []request
	// plan may answer a bulk request itself, and item one of its items.
	plan func(n int, r request) *reply
	item func(n int, index, id string, version int64) *fakeItem
	// answer may change the answer to a request that was executed.
	answer func(n int, items []map[string]any) []map[string]any
}

type stored struct {
	version int64
	body    json.RawMessage
	history []int64
}

type request struct {
	docs, bytes int
	gzip        bool
	header      http.Header
}

type reply struct {
	status int
	header map[string]string
	body   string
	hold   <-chan struct{} // before the answer
	run    bool            // the documents are stored all the same
}

type fakeItem struct {
	status int
	kind   string
	reason string
}

func newFake(t *testing.T) *fake {
	f := &fake{docs: map[string]stored{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Server.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/_bulk" && r.Method == http.MethodPost:
		f.bulk(w, r)
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		fmt.Fprint(w, `{"cluster_name":"fake","version":{"distribution":"opensearch","number":"2.19.0"}}`)
	case strings.Contains(r.URL.Path, "/_doc/") && r.Method == http.MethodGet:
		index, id, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/_doc/")
		id, _ = url.PathUnescape(id)
		f.mu.Lock()
		d, ok := f.docs[index+"/"+id]
		f.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"found":false}`)
			return
		}
		fmt.Fprintf(w, `{"_version":%d,"found":true,"_source":%s}`, d.version, d.body)
	default:
		refuse(w, http.StatusBadRequest, "illegal_argument_exception", "no handler found for uri ["+r.URL.Path+"]")
	}
}

func refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.WriteHeader(status)
	fmt.Fprint(w, failure(kind, reason))
}

func failure(kind, reason string) string {
	b, _ := json.Marshal(map[string]any{"error": map[string]any{"type": kind, "reason": reason}})
	return string(b)
}

type operation struct {
	Index struct {
		Index   string `json:"_index"`
		ID      string `json:"_id"`
		Version *int64 `json:"version"`
		Type    string `json:"version_type"`
	} `json:"index"`
	body json.RawMessage
}

// parse reads a bulk body as strictly as OpenSearch does.
func parse(b []byte) ([]operation, error) {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return nil, fmt.Errorf("the bulk request must be terminated by a newline [\\n]")
	}
	lines := bytes.Split(b[:len(b)-1], []byte("\n"))
	if len(lines)%2 != 0 {
		return nil, fmt.Errorf("an action without a source")
	}
	var ops []operation
	for i := 0; i < len(lines); i += 2 {
		var op operation
		d := json.NewDecoder(bytes.NewReader(lines[i]))
		d.DisallowUnknownFields()
		if err := d.Decode(&op); err != nil || op.Index.Version == nil || op.Index.Type != "external_gte" || op.Index.Index == "" {
			return nil, fmt.Errorf("malformed action: %s", lines[i])
		}
		if n := len(op.Index.ID); n == 0 || n > 512 {
			return nil, fmt.Errorf("id is too long, must be no longer than 512 bytes but was: %d", n)
		}
		op.body = lines[i+1]
		ops = append(ops, op)
	}
	return ops, nil
}

func (f *fake) bulk(w http.ResponseWriter, r *http.Request) {
	zipped := r.Header.Get("Content-Encoding") == "gzip"
	in := io.Reader(r.Body)
	if zipped {
		z, err := gzip.NewReader(in)
		if err != nil {
			refuse(w, 400, "parse_exception", "no gzip")
			return
		}
		in = z
	}
	b, _ := io.ReadAll(in)
	ops, err := parse(b)
	if err != nil {
		refuse(w, 400, "illegal_argument_exception", err.Error())
		return
	}
	f.mu.Lock()
	n := len(f.requests)
	req := request{len(ops), len(b), zipped, r.Header.Clone()}
	f.requests = append(f.requests, req)
	var rep *reply
	if f.plan != nil {
		rep = f.plan(n, req)
	}
	f.mu.Unlock()
	var items []map[string]any
	if rep == nil || rep.run {
		items = f.execute(n, ops)
	}
	if rep != nil {
		if rep.hold != nil {
			select {
			case <-rep.hold:
			case <-r.Context().Done():
			}
		}
		for k, v := range rep.header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(rep.status)
		fmt.Fprint(w, rep.body)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
}

func (f *fake) execute(n int, ops []operation) []map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := make([]map[string]any, 0, len(ops))
	for _, op := range ops {
		ix := op.Index
		it := f.judge(n, op)
		entry := map[string]any{"_id": ix.ID, "status": it.status}
		if it.kind != "" {
			entry["error"] = map[string]any{"type": it.kind, "reason": it.reason}
		}
		items = append(items, map[string]any{"index": entry})
	}
	if f.answer != nil {
		items = f.answer(n, items)
	}
	return items
}

func (f *fake) judge(n int, op operation) fakeItem {
	ix, key := op.Index, op.Index.Index+"/"+op.Index.ID
	if f.item != nil {
		if it := f.item(n, ix.Index, ix.ID, *ix.Version); it != nil {
			return *it
		}
	}
	if !json.Valid(op.body) {
		return fakeItem{400, "mapper_parsing_exception", "failed to parse"}
	}
	old, there := f.docs[key]
	if there && old.version > *ix.Version {
		return fakeItem{409, "version_conflict_engine_exception", fmt.Sprintf("[%s]: version conflict, current version [%d] is higher than the one provided [%d]",
			ix.ID, old.version, *ix.Version)}
	}
	f.docs[key] = stored{*ix.Version, bytes.Clone(op.body), append(old.history, *ix.Version)}
	if there {
		return fakeItem{status: 200}
	}
	return fakeItem{status: 201}
}

func (f *fake) stored(index, id string) (stored, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.docs[index+"/"+id]
	return d, ok
}

func (f *fake) seen() []request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]request(nil), f.requests...)
}
