//go:build integration

package opensearch_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/testservers"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// ask asks the node, and fails t unless it answers with 200 or 201.
func ask(t testing.TB, method, u, body string, out any) {
	t.Helper()
	status, b, err := talk(context.Background(), method, u, body)
	if err != nil || status > 201 {
		t.Fatalf("%s %s: %d %s %v", method, u, status, b, err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	}
}

// TestNode runs everything over one node, because it takes a while to start.
func TestNode(t *testing.T) {
	at := testservers.OpenSearch(t, testservers.OpenSearchConfig{}).URL
	t.Run("suite", func(t *testing.T) {
		// The suite's documents have no fields of ours: nothing of them is indexed.
		ask(t, http.MethodPut, at+"/_index_template/suite", `{"index_patterns":["testnode-suite*"],"template":{"mappings":{"enabled":false},
			"settings":{"index":{"number_of_replicas":0}}}}`, nil)
		runSuite(t, at, opensearch.SinkConfig{})
	})
	t.Run("suite in small gzipped requests", func(t *testing.T) {
		runSuite(t, at, opensearch.SinkConfig{Gzip: true, MaxDocs: 700, Concurrency: 3})
	})
	t.Run("setup", func(t *testing.T) { testSetup(t, at) })
	t.Run("take over", func(t *testing.T) { testTakeOver(t, at) })
	t.Run("mapping conflict", func(t *testing.T) { testConflict(t, at) })
	t.Run("taken name", func(t *testing.T) { testTakenName(t, at) })
	t.Run("stale versions and blocks", func(t *testing.T) { testBlocks(t, at) })
	t.Run("dashboards", func(t *testing.T) { testDashboards(t, at) })
}

func testSetup(t *testing.T, at string) {
	c, o := connect(t, at), options("taxi")
	if err := c.Check(t.Context(), o); err == nil || !strings.Contains(err.Error(), "run tripgrid setup") {
		t.Errorf("before the set-up: %v", err)
	}
	o.DryRun = true
	plan, err := c.Setup(t.Context(), o)
	if err != nil || plan.Changes() != 5 || !strings.Contains(plan.String(), "nothing is changed") {
		t.Fatalf("%v\n%s", err, plan)
	}
	if status, _, _ := talk(t.Context(), http.MethodGet, at+"/_index_template/taxi-late", ""); status != http.StatusNotFound {
		t.Errorf("a dry run made a template: %d", status)
	}
	o.DryRun, o.Retention = false, 24*time.Hour
	plan, err = c.Setup(t.Context(), o)
	if err != nil || plan.Changes() != 5 || !strings.Contains(plan.String(), "no index state management plugin") {
		t.Fatalf("%v\n%s", err, plan)
	}
	o.Retention = 0
	if plan, err = c.Setup(t.Context(), o); err != nil || plan.Changes() != 0 {
		t.Fatalf("again: %v\n%s", err, plan)
	}
	other := o
	other.Serve, other.Shards, other.Refresh = "elsewhere", 2, time.Second
	if err := c.Check(t.Context(), other); err != nil {
		t.Errorf("after the set-up: %v", err)
	}
	s := newSink(t, at, opensearch.SinkConfig{})
	all := samples("taxi", 1)
	unknown := all[0]
	unknown.ID, unknown.Body = "taxi/unknown", []byte(`{"query":"pickup_count","surprise":1}`)
	badDate := all[0]
	badDate.ID, badDate.Body = "taxi/bad", []byte(`{"query":"pickup_count","window_start":"yesterday"}`)
	results, err := s.Write(t.Context(), append(all, unknown, badDate))
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range all {
		if results[i] != (sink.Result{}) {
			t.Errorf("%s: %+v", d.ID, results[i])
		}
	}
	letters := []sink.Document{}
	for i, says := range []string{"surprise", "window_start"} {
		r := results[len(all)+i]
		if r.Retry || !strings.Contains(r.Rejected, says) {
			t.Errorf("rejection of %s: %+v", says, r)
		}
		t.Log(r.Rejected)
		letters = append(letters, opensearch.DeadLetter("taxi", unknown, r.Rejected))
	}
	if results, err := s.Write(t.Context(), letters[:1]); err != nil || results[0] != (sink.Result{}) {
		t.Errorf("dead letter: %+v %v", results, err)
	}
	if plan, err = c.Setup(t.Context(), o); err != nil || plan.Changes() != 0 {
		t.Errorf("with indices: %v\n%s", err, plan)
	}
	// A new query, and a new field of an old one, in indices that are there.
	o.Queries[0].Fields = append(o.Queries[0].Fields, opensearch.Field{Name: "sum_total", Type: opensearch.Long})
	if plan, err = c.Setup(t.Context(), o); err != nil || plan.Changes() != 2 {
		t.Errorf("with a new field: %v\n%s", err, plan)
	}
	if plan, err = c.Setup(t.Context(), o); err != nil || plan.Changes() != 0 {
		t.Errorf("and again: %v\n%s", err, plan)
	}
	ask(t, http.MethodPost, at+"/taxi/_refresh", "", nil)
	var found struct {
		Hits struct{ Total struct{ Value int } }
		Aggs struct {
			Cells struct{ Buckets []any }
		} `json:"aggregations"`
	}
	ask(t, http.MethodGet, at+"/taxi.pickup_count/_search", `{"size":0,"query":{"range":{"timestamp":{"gte":"2016-03-01","lt":"2016-04-01"}}},
		"aggs":{"cells":{"geohash_grid":{"field":"location","precision":6}}}}`, &found)
	if found.Hits.Total.Value != 1 || len(found.Aggs.Cells.Buckets) != 1 {
		t.Errorf("%+v", found)
	}
	ask(t, http.MethodGet, at+"/taxi/_search", `{"size":0}`, &found)
	if found.Hits.Total.Value != len(all)+1 {
		t.Errorf("the job's alias has %d documents, want %d", found.Hits.Total.Value, len(all)+1)
	}
}

func testTakeOver(t *testing.T, at string) {
	c := connect(t, at)
	holders := func() string {
		var got map[string]any
		ask(t, http.MethodGet, at+"/_alias/live,live.*", "", &got)
		var b strings.Builder
		for _, name := range []string{"v1-pickup_count-2016.03", "v2-pickup_count-2016.03", "v1-late-all", "v2-late-all"} {
			if got[name] != nil {
				b.WriteString(name[:3])
			}
		}
		return b.String()
	}
	one, two := options("v1"), options("v2")
	one.Serve, two.Serve = "live", "live"
	for _, o := range []opensearch.Options{one, two} {
		plan, err := c.Setup(t.Context(), o)
		if err != nil || strings.Contains(plan.String(), "beside it") != (o.Job == "v2") {
			t.Fatalf("%v\n%s", err, plan)
		}
		s := newSink(t, at, opensearch.SinkConfig{Job: o.Job})
		if _, err := s.Write(t.Context(), samples(o.Job, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := holders(); got != "v1-v1-" {
		t.Errorf("the alias has %s", got)
	}
	two.TakeOver = true
	for i, changes := range []int{9, 0} { // four templates each, and the aliases
		plan, err := c.Setup(t.Context(), two)
		if err != nil || plan.Changes() != changes {
			t.Errorf("%d: %v\n%s", i, err, plan)
		}
		if got := holders(); got != "v2-v2-" {
			t.Errorf("the alias has %s", got)
		}
	}
	if plan, err := c.Setup(t.Context(), one); err != nil || !strings.Contains(plan.String(), "beside it") {
		t.Errorf("%v\n%s", err, plan)
	}
	// A new month of the old job is not served any more.
	d := samples("v1", 1)[0]
	d.ID, d.WindowStart = "v1/next", d.WindowStart+40*86400
	if r, err := newSink(t, at, opensearch.SinkConfig{Job: "v1"}).Write(t.Context(), []sink.Document{d}); err != nil || r[0] != (sink.Result{}) {
		t.Fatal(r, err)
	}
	if got := holders(); got != "v2-v2-" {
		t.Errorf("the alias has %s", got)
	}
}

// An index that somebody made before, with other types.
func testConflict(t *testing.T, at string) {
	ask(t, http.MethodPut, at+"/planted-pickup_count-2016.03", `{"mappings":{"properties":{"location":{"type":"text"},"timestamp":{"type":"geo_point"}}}}`, nil)
	results, err := newSink(t, at, opensearch.SinkConfig{Job: "planted"}).Write(t.Context(), samples("planted", 1)[:2])
	if err != nil || !strings.Contains(results[0].Rejected, "mapper_parsing_exception") || results[1] != (sink.Result{}) {
		t.Errorf("%+v %v", results, err)
	}
	t.Log(results[0].Rejected)
	plan, err := connect(t, at).Setup(t.Context(), options("planted"))
	if err == nil || !strings.Contains(err.Error(), `index planted-pickup_count-2016.03 has field "location" as text and not as geo_point`) {
		t.Errorf("%v\n%s", err, plan)
	}
	if status, _, _ := talk(t.Context(), http.MethodGet, at+"/_index_template/planted-late", ""); status != http.StatusNotFound {
		t.Error("something was changed all the same")
	}
}

// An index that somebody made with the name of the job's alias.
func testTakenName(t *testing.T, at string) {
	c := connect(t, at)
	if _, err := c.Setup(t.Context(), options("taken")); err != nil {
		t.Fatal(err)
	}
	ask(t, http.MethodPut, at+"/taken", "", nil)
	_, err := newSink(t, at, opensearch.SinkConfig{Job: "taken"}).Write(t.Context(), samples("taken", 1)[:1])
	wantError(t, err, "invalid_alias_name_exception")
	_, err = c.Setup(t.Context(), options("taken"))
	wantError(t, err, "an index is named taken")
	ask(t, http.MethodDelete, at+"/taken", "", nil)
	if r, err := newSink(t, at, opensearch.SinkConfig{Job: "taken"}).Write(t.Context(), samples("taken", 1)[:1]); err != nil || r[0] != (sink.Result{}) {
		t.Error(r, err)
	}
}

func testBlocks(t *testing.T, at string) {
	if _, err := connect(t, at).Setup(t.Context(), options("blocked")); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, at, opensearch.SinkConfig{Job: "blocked"})
	write := func(version uint64) ([]sink.Result, error) {
		return s.Write(t.Context(), samples("blocked", version)[:1])
	}
	for _, v := range []uint64{5, 4, 5, 1<<48 | 1} { // older ones are answered with 409
		if r, err := write(v); err != nil || r[0] != (sink.Result{}) {
			t.Fatalf("version %d: %+v %v", v, r, err)
		}
	}
	const name = "/blocked-pickup_count-2016.03"
	ask(t, http.MethodPut, at+name+"/_settings", `{"index.blocks.write":true}`, nil)
	_, err := write(1<<48 | 2)
	wantError(t, err, "cluster_block_exception")
	ask(t, http.MethodPut, at+name+"/_settings", `{"index.blocks.write":null}`, nil)
	ask(t, http.MethodPost, at+name+"/_close", "", nil)
	_, err = write(1<<48 | 3)
	wantError(t, err, "index_closed_exception")
	ask(t, http.MethodPost, at+name+"/_open", "", nil)
	if r, err := write(1<<48 | 4); err != nil || r[0] != (sink.Result{}) {
		t.Errorf("%+v %v", r, err)
	}
	// Where no index may be made by itself, documents wait.
	ask(t, http.MethodPut, at+"/_cluster/settings", `{"transient":{"action.auto_create_index":"false"}}`, nil)
	defer ask(t, http.MethodPut, at+"/_cluster/settings", `{"transient":{"action.auto_create_index":null}}`, nil)
	_, err = newSink(t, at, opensearch.SinkConfig{Job: "absent"}).Write(t.Context(), samples("absent", 1))
	wantError(t, err, "index_not_found_exception")
}
