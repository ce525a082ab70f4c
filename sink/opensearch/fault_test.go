package opensearch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/sink/sinktest"
)

const index = "taxi-pickup_count-2016.03" // of sinktest.Doc

func docs(n int) []sink.Document {
	all := make([]sink.Document, n)
	for i := range all {
		all[i] = sinktest.Doc(fmt.Sprint("d", i), 5)
	}
	return all
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v, want it to say %q", err, p)
		}
	}
}

// Each kind of an item's answer means one thing, and does not touch its neighbours.
func TestItems(t *testing.T) {
	stored, again := sink.Result{}, sink.Result{Retry: true}
	for _, c := range []struct {
		item fakeItem
		want sink.Result
	}{
		{fakeItem{200, "", ""}, stored},
		{fakeItem{201, "", ""}, stored},
		{fakeItem{409, "version_conflict_engine_exception", "current version [6] is higher"}, stored},
		{fakeItem{400, "mapper_parsing_exception", "failed to parse field [x]"}, sink.Result{Rejected: "mapper_parsing_exception: failed to parse field [x]"}},
		{fakeItem{400, "strict_dynamic_mapping_exception", "[y] is not allowed"}, sink.Result{Rejected: "strict_dynamic_mapping_exception: [y] is not allowed"}},
		{fakeItem{400, "illegal_argument_exception", "immense term"}, sink.Result{Rejected: "illegal_argument_exception: immense term"}},
		{fakeItem{413, "too_large", "too large"}, sink.Result{Rejected: "too_large: too large"}},
		{fakeItem{400, "index_closed_exception", "closed"}, again},
		{fakeItem{400, "validation_exception", "this action would add [2] total shards"}, again},
		{fakeItem{400, "illegal_argument_exception", "pipeline with id [p] does not exist"}, again},
		{fakeItem{401, "", ""}, again},
		{fakeItem{403, "cluster_block_exception", "read-only"}, again},
		{fakeItem{403, "security_exception", "no permissions"}, again},
		{fakeItem{404, "index_not_found_exception", "no such index"}, again},
		{fakeItem{429, "rejected_execution_exception", "busy"}, again},
		{fakeItem{500, "exception", "?"}, again},
		{fakeItem{503, "unavailable_shards_exception", "primary is not active"}, again},
		{fakeItem{0, "", ""}, again},
	} {
		f := newFake(t)
		f.item = func(_ int, _, id string, _ int64) *fakeItem {
			if id == "d1" {
				return &c.item
			}
			return nil
		}
		got, err := newSink(t, f.URL, opensearch.SinkConfig{}).Write(t.Context(), docs(3))
		if err != nil || !slices.Equal(got, []sink.Result{{}, c.want, {}}) {
			t.Errorf("%+v: %+v, %v", c.item, got, err)
		}
	}
}

// If nothing is known of any document, the reason is told.
func TestNothingStored(t *testing.T) {
	f := newFake(t)
	f.item = func(int, string, string, int64) *fakeItem {
		return &fakeItem{403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/8/index write (api)]"}
	}
	_, err := newSink(t, f.URL, opensearch.SinkConfig{}).Write(t.Context(), docs(3))
	wantError(t, err, "write results: cluster_block_exception: index [x] blocked by")
}

// An answer that leaves documents out says nothing of those.
func TestShortAnswers(t *testing.T) {
	again := sink.Result{Retry: true}
	for name, c := range map[string]struct {
		answer func([]map[string]any) []map[string]any
		want   []sink.Result // nil: an error
	}{
		"end":      {func(i []map[string]any) []map[string]any { return i[:2] }, []sink.Result{{}, {}, again, again}},
		"middle":   {func(i []map[string]any) []map[string]any { return slices.Delete(i, 1, 3) }, []sink.Result{{}, again, again, {}}},
		"foreign":  {func(i []map[string]any) []map[string]any { i[1]["index"].(map[string]any)["_id"] = "x"; return i }, []sink.Result{{}, again, {}, {}}},
		"too long": {func(i []map[string]any) []map[string]any { return append(i, i[0]) }, []sink.Result{{}, {}, {}, {}}},
		"empty":    {func(i []map[string]any) []map[string]any { return i[:0] }, nil},
		"none":     {func([]map[string]any) []map[string]any { return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answer = func(_ int, items []map[string]any) []map[string]any { return c.answer(items) }
			got, err := newSink(t, f.URL, opensearch.SinkConfig{}).Write(t.Context(), docs(4))
			if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A request that is refused as a whole rejects nothing.
func TestRefusedRequests(t *testing.T) {
	for _, c := range []struct {
		reply reply
		says  []string
	}{
		{reply{status: 429, body: failure("circuit_breaking_exception", "data too large")}, []string{"overloaded (429)", "data too large"}},
		{reply{status: 503}, []string{"not available (503): Service Unavailable"}},
		{reply{status: 502, body: "<html>bad gateway</html>"}, []string{"not available (502)"}},
		{reply{status: 504}, []string{"not available (504)"}},
		{reply{status: 401, body: "Unauthorized"}, []string{"does not know us (401)", "user and password"}},
		{reply{status: 403, body: failure("security_exception", "no permissions for [indices:data/write/bulk[s]] and User [name=u]")},
			[]string{"permission indices:data/write/bulk[s] is missing (403)"}},
		{reply{status: 403, body: `{"Message":"User: arn:aws:iam::1:user/u is not authorized to perform: es:ESHttpPost because ..."}`},
			[]string{"permission es:ESHttpPost is missing (403)"}},
		{reply{status: 400, body: failure("illegal_argument_exception", "unknown parameter")}, []string{"refuses it (400)", "unknown parameter"}},
		{reply{status: 404, body: "not here"}, []string{"does not know the request (404)", "not here"}},
		{reply{status: 200, body: "<html>a proxy</html>"}, []string{"damaged"}},
		{reply{status: 200, body: `{"items":[{"index":{"_id":"d0","sta`, run: true}, []string{"damaged"}},
	} {
		f := newFake(t)
		f.plan = func(n int, _ request) *reply {
			if n == 0 {
				return &c.reply
			}
			return nil
		}
		s := newSink(t, f.URL, opensearch.SinkConfig{})
		got, err := s.Write(t.Context(), docs(3))
		if got != nil {
			t.Errorf("%d: %+v", c.reply.status, got)
		}
		wantError(t, err, append(c.says, "write results", "127.0.0.1")[:len(c.says)]...)
		if n := len(f.seen()); n != 1 {
			t.Errorf("%d: tried %d times within one Write", c.reply.status, n)
		}
		if _, err := s.Write(t.Context(), docs(3)); err != nil {
			t.Errorf("%d: and then: %v", c.reply.status, err)
		}
	}
}

// One request of several fails: what the others brought is known.
func TestOneRequestFails(t *testing.T) {
	f := newFake(t)
	f.plan = func(n int, _ request) *reply {
		if n == 1 {
			return &reply{status: 503}
		}
		return nil
	}
	got, err := newSink(t, f.URL, opensearch.SinkConfig{MaxDocs: 2, Concurrency: 1}).Write(t.Context(), docs(6))
	again := sink.Result{Retry: true}
	if err != nil || !slices.Equal(got, []sink.Result{{}, {}, again, again, again, again}) {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d requests: the third one must not follow the one that failed", n)
	}
}

func TestTooLargeRequests(t *testing.T) {
	f := newFake(t)
	f.plan = func(_ int, r request) *reply {
		if r.bytes > 2000 {
			return &reply{status: 413}
		}
		return nil
	}
	all := docs(40)
	all[17].Body = fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", 3000))
	got, err := newSink(t, f.URL, opensearch.SinkConfig{}).Write(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if (r.Rejected != "") != (i == 17) || r.Retry {
			t.Errorf("document %d: %+v", i, r)
		}
		if _, ok := f.stored(index, all[i].ID); ok != (i != 17) {
			t.Errorf("document %d is stored: %t", i, ok)
		}
	}
}

// The most documents of a request halve with each 429 and come back slowly.
func TestPace(t *testing.T) {
	f := newFake(t)
	busy := true
	f.item = func(int, string, string, int64) *fakeItem {
		if busy {
			return &fakeItem{429, "rejected_execution_exception", "queue is full"}
		}
		return nil
	}
	s := newSink(t, f.URL, opensearch.SinkConfig{MaxDocs: 640, Concurrency: 1})
	var got []int
	write := func() {
		_, _ = s.Write(t.Context(), docs(640))
		n, _ := s.Pace()
		got = append(got, n)
	}
	write()
	write()
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d requests: the first 429 ends a Write", n)
	}
	for range 4 {
		write()
	}
	busy = false
	write()
	for range 100 {
		write()
	}
	if got[0] != 320 || slices.Min(got) != 32 || got[len(got)-1] != 640 || got[6] > 32+20*10 {
		t.Errorf("paces %v", got)
	}
	f.plan = func(int, request) *reply { return &reply{status: 429} }
	write()
	if n, _ := s.Pace(); n != 320 {
		t.Errorf("after a request was refused with 429: %d", n)
	}
}

func TestRetryAfter(t *testing.T) {
	f := newFake(t)
	f.plan = func(n int, _ request) *reply {
		if n == 0 {
			return &reply{status: 503, header: map[string]string{"Retry-After": "3600"}}
		}
		return nil
	}
	s := newSink(t, f.URL, opensearch.SinkConfig{MaxPause: 300 * time.Millisecond})
	begin := time.Now()
	_, err := s.Write(t.Context(), docs(1))
	wantError(t, err, "503")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Write(ctx, docs(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Write during the pause: %v", err)
	}
	if _, err := s.Write(t.Context(), docs(1)); err != nil || time.Since(begin) < 300*time.Millisecond {
		t.Errorf("%v, after %v", err, time.Since(begin))
	}
	if n := len(f.seen()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A server that hangs ends with the context, and what it did does not harm.
func TestSlow(t *testing.T) {
	f := newFake(t)
	hold := make(chan struct{})
	f.plan = func(n int, _ request) *reply {
		if n == 0 {
			return &reply{status: 200, hold: hold, run: true}
		}
		return nil
	}
	s := newSink(t, f.URL, opensearch.SinkConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Write(ctx, docs(2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(hold)
	if got, err := s.Write(t.Context(), docs(2)); err != nil || !slices.Equal(got, make([]sink.Result, 2)) {
		t.Errorf("%+v, %v", got, err)
	}
	if d, _ := f.stored(index, "d0"); !slices.Equal(d.history, []int64{5, 5}) {
		t.Errorf("%+v", d)
	}
}

// What would make OpenSearch refuse a whole request is not sent.
func TestUnfit(t *testing.T) {
	f := newFake(t)
	all := docs(5)
	all[0].ID = strings.Repeat("x", 513)
	all[1].ID = "bad\xff"
	all[2].Query = "A/../b"
	all[3].Body = []byte("{\n \"text\": \"a\\nb\",\n \"x\": 1\n}\n")
	got, err := newSink(t, f.URL, opensearch.SinkConfig{}).Write(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, says := range []string{"513 bytes", "UTF-8", "cannot name an index", "", ""} {
		if r := got[i]; r.Retry || (says == "") != (r.Rejected == "") || !strings.Contains(r.Rejected, says) {
			t.Errorf("document %d: %+v", i, r)
		}
	}
	if d, _ := f.stored(index, "d3"); string(d.body) != `{"text":"a\nb","x":1}` {
		t.Errorf("a body of several lines is stored as %s", d.body)
	}
}

// Equal versions have equal content (I6). If not, OpenSearch keeps the last,
// because the sink writes it again, for durability: doc.go.
func TestEqualVersions(t *testing.T) {
	f := newFake(t)
	s := newSink(t, f.URL, opensearch.SinkConfig{})
	d := docs(1)
	for _, body := range []string{`{"x":1}`, `{"x":2}`} {
		d[0].Body = []byte(body)
		if _, err := s.Write(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := f.stored(index, "d0"); string(d.body) != `{"x":2}` {
		t.Errorf("%s", d.body)
	}
}
