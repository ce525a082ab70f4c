package opensearch_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// cluster keeps what Setup puts, and has a retention plugin, which the test node
// lacks. It is a fake of the requests, not of what OpenSearch makes of them.
type cluster struct {
	*httptest.Server
	mu       sync.Mutex
	put      map[string]json.RawMessage
	mappings string
	noISM    bool
	refuse   string // a path's part that is answered with 403
	version  string
	log      []string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{put: map[string]json.RawMessage{}, mappings: "{}", version: "2.19.1"}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := r.URL.Path
	switch {
	case c.refuse != "" && strings.Contains(p, c.refuse):
		refuse(w, 403, "security_exception", "no permissions for [indices:admin/index_template/put] and User [name=u]")
		return
	case strings.HasPrefix(p, "/_plugins") && c.noISM:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":"no handler found for uri [%s] and method [GET]"}`, p)
		return
	case r.Method != http.MethodGet:
		b, _ := io.ReadAll(r.Body)
		c.log = append(c.log, r.Method+" "+r.URL.RequestURI())
		if r.Method == http.MethodPut {
			c.put[p] = b
		}
		fmt.Fprint(w, `{"acknowledged":true}`)
		return
	}
	list := func(prefix, plural, singular string) {
		var all []string
		for at, b := range c.put {
			if name, ok := strings.CutPrefix(at, prefix); ok {
				all = append(all, fmt.Sprintf(`{"name":%q,%q:%s}`, name, singular, b))
			}
		}
		fmt.Fprintf(w, `{%q:[%s]}`, plural, strings.Join(all, ","))
	}
	switch {
	case p == "/":
		fmt.Fprintf(w, `{"cluster_name":"c","version":{"distribution":"opensearch","number":%q}}`, c.version)
	case strings.HasPrefix(p, "/_component_template/"):
		list("/_component_template/", "component_templates", "component_template")
	case strings.HasPrefix(p, "/_index_template/"):
		list("/_index_template/", "index_templates", "index_template")
	case strings.HasSuffix(p, "/_mapping"):
		fmt.Fprint(w, c.mappings)
	case strings.HasPrefix(p, "/_plugins") && c.put[p] != nil:
		fmt.Fprintf(w, `{"_seq_no":7,"_primary_term":2,%s`, strings.TrimPrefix(string(c.put[p]), "{"))
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{}`)
	}
}

func setup(t *testing.T, c *cluster, o opensearch.Options) (opensearch.Plan, []string, error) {
	t.Helper()
	c.log = nil
	plan, err := connect(t, c.URL).Setup(t.Context(), o)
	return plan, c.log, err
}

func TestSetupRetention(t *testing.T) {
	c, o := newCluster(t), options("taxi")
	o.Retention = 30 * 24 * time.Hour
	c.mappings = `{"taxi-late-all":{"mappings":{"dynamic":"strict","properties":{}}},"taxi-pickup_count-2016.03":{"mappings":{"dynamic":"strict","properties":{}}},
		"taxi-pickup_count-x-2016.03":{"mappings":{}}}`
	_, log, err := setup(t, c, o)
	all := strings.Join(log, "\n")
	if err != nil || !strings.Contains(all, "PUT /_plugins/_ism/policies/taxi-retention\nPOST /_plugins/_ism/add/taxi-pickup_count-2016.03") ||
		strings.Contains(all, "count-x") || !strings.Contains(all, "PUT /taxi-late-all/_mapping") {
		t.Errorf("%v\n%s", err, all)
	}
	policy := string(c.put["/_plugins/_ism/policies/taxi-retention"])
	for _, part := range []string{`"min_index_age":"720h"`, `"taxi-pickup_count-*"`, `"taxi-trip_duration-*"`} {
		if !strings.Contains(policy, part) || strings.Contains(policy, "taxi-late") {
			t.Errorf("policy %s", policy)
		}
	}
	if _, log, err := setup(t, c, o); err != nil || strings.Contains(strings.Join(log, ""), "_ism") {
		t.Errorf("again: %v %v", err, log)
	}
	o.Retention *= 2
	_, log, err = setup(t, c, o)
	all = strings.Join(log, "\n")
	if err != nil || !strings.Contains(all, "taxi-retention?if_seq_no=7&if_primary_term=2\nPOST /_plugins/_ism/change_policy/taxi-pickup_count-2016.03") {
		t.Errorf("changed: %v\n%s", err, all)
	}
	o.Retention = 0
	if plan, _, err := setup(t, c, o); err != nil || !strings.Contains(plan.String(), "still deletes indices") {
		t.Errorf("%v\n%s", err, plan)
	}
	c.put["/_plugins/_ism/policies/taxi-retention"] = json.RawMessage(`{"policy":{"description":"mine"}}`)
	o.Retention = time.Hour
	_, log, err = setup(t, c, o)
	wantError(t, err, "retention policy taxi-retention that is not tripgrid's")
	c.noISM = true
	if plan, _, err := setup(t, c, o); err != nil || !strings.Contains(plan.String(), "no index state management plugin") || len(log) != 0 {
		t.Errorf("%v %v\n%s", err, log, plan)
	}
}

func TestSetupStandsInTheWay(t *testing.T) {
	c, o := newCluster(t), options("taxi")
	plan, log, err := setup(t, c, o)
	if err != nil || plan.Changes() != 5 || len(log) != 5 {
		t.Fatalf("%v %v\n%s", err, log, plan)
	}
	const at = "/_index_template/taxi-pickup_count"
	good := c.put[at]
	for _, s := range []struct{ body, says string }{
		{`{"index_patterns":["x"]}`, "index template taxi-pickup_count that is not tripgrid's"},
		{`{"_meta":"text"}`, "not tripgrid's"},
		{`{"_meta":{"managed_by":"tripgrid","setup_version":9,"job":"taxi","query":"pickup_count"}}`, "newer tripgrid (set-up 9, this one has 2)"},
	} {
		c.put[at] = json.RawMessage(s.body)
		_, log, err := setup(t, c, o)
		wantError(t, err, s.says)
		if len(log) != 0 {
			t.Errorf("changed all the same: %v", log)
		}
	}
	c.put[at] = good
	o.Queries = o.Queries[1:]
	if plan, log, err := setup(t, c, o); err != nil || len(log) != 0 || !strings.Contains(plan.String(), "not declared any more") {
		t.Errorf("%v %v\n%s", err, log, plan)
	}
	c.refuse = "_index_template/taxi-trip"
	o.Queries[0].Fields = o.Queries[0].Fields[:2]
	_, _, err = setup(t, c, o)
	wantError(t, err, "update index template taxi-trip_duration", "permission indices:admin/index_template/put is missing (403)")
}

// What a result's template says, in full.
func TestTemplate(t *testing.T) {
	c := newCluster(t)
	if _, _, err := setup(t, c, options("taxi")); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Patterns []string `json:"index_patterns"`
		Composed []string `json:"composed_of"`
		Version  int
		Template struct {
			Aliases  map[string]any
			Mappings struct {
				Properties map[string]struct{ Type string }
			}
		}
	}
	if err := json.Unmarshal(c.put["/_index_template/taxi-trip_duration"], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cell": "keyword", "airport_code": "keyword", "window_start": "date", "window_end": "date", "timestamp": "date", "location": "geo_point",
		"trip_count": "long", "sum_trip_duration": "long", "avg_trip_duration": "double",
	}
	for name, f := range got.Template.Mappings.Properties {
		if want[name] != f.Type {
			t.Errorf("field %s is %s", name, f.Type)
		}
		delete(want, name)
	}
	if len(want) != 0 || got.Patterns[0] != "taxi-trip_duration-*" || got.Composed[0] != "taxi.common" || got.Version != 2 ||
		got.Template.Aliases["taxi"] == nil || got.Template.Aliases["taxi.trip_duration"] == nil {
		t.Errorf("%+v, without %v", got, want)
	}
	if common := string(c.put["/_component_template/taxi.common"]); !strings.Contains(common, `"dynamic":"strict"`) {
		t.Error(common)
	}
}

// A format of dates that a cluster does not know would be refused.
func TestDateFormat(t *testing.T) {
	for version, fast := range map[string]bool{"1.3.2": false, "2.9.0": false, "2.11.1": false, "2.12.0": true, "2.19.1": true, "3.0.0": true, "3.1.0-SNAPSHOT": true} {
		c := newCluster(t)
		c.version = version
		if _, _, err := setup(t, c, options("taxi")); err != nil {
			t.Fatal(err)
		}
		for query, dates := range map[string]int{"pickup_count": 2, "trip_duration": 2, "late": 0, "dead_letter": 0} {
			if !fast {
				dates = 0
			}
			got := string(c.put["/_index_template/taxi-"+query])
			if n := strings.Count(got, `"format":"rfc3339_lenient"`); n != dates || got == "" {
				t.Errorf("version %s: %d dates of query %s have the fast format, want %d", version, n, query, dates)
			}
		}
	}
}

// TestCheck: what a worker needs of the set-up is its fields, and not how the
// indices are kept.
func TestCheck(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c.URL)
	set := options("taxi")
	set.Shards, set.Replicas, set.Refresh, set.Serve, set.Retention = 3, 1, time.Second, "rides", 24*time.Hour
	if _, err := client.Setup(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if err := client.Check(t.Context(), options("taxi")); err != nil {
		t.Errorf("a job that is set up with other options: %v", err)
	}
	more := options("taxi")
	more.Queries[0].Fields = append(more.Queries[0].Fields, opensearch.Field{Name: "tips", Type: opensearch.Long})
	if err := client.Check(t.Context(), more); err == nil || !strings.Contains(err.Error(), "has no field tips of type long: run tripgrid setup") {
		t.Errorf("a query with another field: %v", err)
	}
	if err := client.Check(t.Context(), options("other")); err == nil || !strings.Contains(err.Error(), "other.common is absent") {
		t.Errorf("another job: %v", err)
	}
}
