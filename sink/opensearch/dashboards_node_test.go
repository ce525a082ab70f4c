//go:build integration

package opensearch_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/trip"
)

// fits are the types that a field may have for what an object does with it.
var fits = map[string][]string{
	"time": {"date"}, "auto_date_histogram": {"date"}, "geohash_grid": {"geo_point"},
	"sum": {"long", "double"}, "max": {"long", "double"}, "weighted_avg": {"long", "double"},
	"terms": {"keyword"}, "sort": {"date", "keyword", "long", "double"},
	"column": {"keyword", "text", "date", "long", "double", "boolean"},
}

// live are the mappings of the node's indices, by the pattern that was asked for.
type live struct {
	at   string
	seen map[string]map[string]properties
}

type properties struct {
	Mappings struct {
		Properties map[string]struct{ Type string }
	}
}

func (l live) indices(t *testing.T, pattern string) map[string]properties {
	t.Helper()
	if _, ok := l.seen[pattern]; !ok {
		var got map[string]properties
		ask(t, http.MethodGet, l.at+"/"+pattern+"/_mapping?ignore_unavailable=true", "", &got)
		l.seen[pattern] = got
	}
	return l.seen[pattern]
}

// mistakes compares what the objects name with the live mappings.
func (l live) mistakes(t *testing.T, ndjson []byte) []string {
	t.Helper()
	found, err := uses(ndjson)
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for _, u := range found {
		indices := l.indices(t, u.index)
		if len(indices) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: no index is named %s", u.object, u.index))
		}
		for _, name := range slices.Sorted(maps.Keys(indices)) {
			switch f, ok := indices[name].Mappings.Properties[u.field]; {
			case !ok:
				wrong = append(wrong, fmt.Sprintf("%s: %s has no field %s", u.object, name, u.field))
			case !slices.Contains(fits[u.purpose], f.Type):
				wrong = append(wrong, fmt.Sprintf("%s: %s has %s as %s, which is no use for %s", u.object, name, u.field, f.Type, u.purpose))
			}
		}
	}
	return wrong
}

func testDashboards(t *testing.T, at string) {
	const job = "board"
	o := options(job)
	if _, err := connect(t, at).Setup(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	k := knownTrips(t, job)
	put(t, newSink(t, at, opensearch.SinkConfig{Job: job}), k.docs)
	ask(t, http.MethodPost, at+"/"+job+"/_refresh", "", nil)
	ndjson := savedObjects(t, o)
	t.Run("fields", func(t *testing.T) { testFields(t, at, ndjson) })
	all, err := parseObjects(ndjson)
	if err != nil {
		t.Fatal(err)
	}
	judges := map[string]func(*testing.T, known, json.RawMessage){
		"map-pickup_count-pickup_count": judgeMap, "lines-trip_duration-avg_trip_duration": judgeLines,
		"late-by-query": judgeLateTable, "dead-by-reason": judgeDeadTable, "late-trips": judgeLateList, "dead-letters": judgeDeadList,
	}
	for _, s := range all {
		if s.Type != "visualization" && s.Type != "search" {
			continue
		}
		name := strings.TrimPrefix(s.ID, "tripgrid-"+job+".")
		judge := judges[name]
		if judge == nil {
			t.Errorf("nobody judges %s", name)
			continue
		}
		delete(judges, name)
		t.Run(name, func(t *testing.T) { judge(t, k, search(t, at, all, s)) })
	}
	if len(judges) > 0 {
		t.Errorf("there is no %v", slices.Collect(maps.Keys(judges)))
	}
}

func testFields(t *testing.T, at string, ndjson []byte) {
	l := live{at, map[string]map[string]properties{}}
	if wrong := l.mistakes(t, ndjson); len(wrong) > 0 {
		t.Errorf("%s", strings.Join(wrong, "\n"))
	}
	// A field with a wrong name is found, wherever it is named.
	found, err := uses(ndjson)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range found {
		if u.field == "query" { // named by the check alone
			continue
		}
		want := fmt.Sprintf("%s: %s", u.object, strings.Replace(u.index, ".", "-", 1))
		missed := slices.ContainsFunc(l.mistakes(t, rename(ndjson, u.field)), func(w string) bool {
			return strings.HasPrefix(w, want) && strings.HasSuffix(w, "has no field "+u.field+"_x")
		})
		if !missed {
			t.Errorf("field %s is renamed, and for %s nothing is wrong", u.field, u.object)
		}
	}
	t.Logf("%d uses of fields", len(found))
	for from, says := range map[string]string{
		`\"field\":\"pickup_count\"`: "has cell as keyword, which is no use for sum",
		`\"field\":\"location\"`:     "has cell as keyword, which is no use for geohash_grid",
	} {
		changed := strings.ReplaceAll(string(ndjson), from, `\"field\":\"cell\"`)
		if wrong := fmt.Sprint(l.mistakes(t, []byte(changed))); !strings.Contains(wrong, says) {
			t.Errorf("with field cell for %s: %s", from, wrong)
		}
	}
	other := strings.ReplaceAll(string(ndjson), `"title":"board.late"`, `"title":"board.early"`)
	if wrong := fmt.Sprint(l.mistakes(t, []byte(other))); !strings.Contains(wrong, "no index is named board.early") {
		t.Error(wrong)
	}
}

type dsl = map[string]any

// search sends what Dashboards sends for an object, with all of March and April
// as the time range, and returns the answer.
func search(t *testing.T, at string, all objects, s saved) json.RawMessage {
	t.Helper()
	within := func(field string) dsl {
		return dsl{"range": dsl{field: dsl{"gte": "2016-03-01T00:00:00.000Z", "lte": "2016-04-30T23:59:59.999Z", "format": "strict_date_optional_time"}}}
	}
	pattern, err := all.pattern(s)
	if err != nil {
		t.Fatal(err)
	}
	index, body := pattern.Attributes.Title, dsl{"size": 0}
	must := []dsl{}
	if f := pattern.Attributes.TimeFieldName; f != "" {
		must = append(must, within(f))
	}
	if s.Type == "search" {
		body["size"] = 500
		sort := []dsl{}
		for _, by := range s.Attributes.Sort {
			sort = append(sort, dsl{by[0]: dsl{"order": by[1]}})
		}
		body["sort"] = sort
	} else if v, err := s.visState(); err != nil {
		t.Fatal(err)
	} else if v.Type != "vega" {
		body["aggs"] = classic(t, v.Aggs)
	} else {
		u, err := v.vegaURL()
		if err != nil || !u.Context {
			t.Fatal(u, err)
		}
		index, must = u.Index, []dsl{within(u.TimeField)}
		body = dsl{}
		if err := json.Unmarshal(u.Body, &body); err != nil || body["query"] != nil {
			t.Fatal(body, err)
		}
	}
	body["query"] = dsl{"bool": dsl{"must": must}}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var answer json.RawMessage
	ask(t, http.MethodPost, at+"/"+index+"/_search?track_total_hits=true", string(b), &answer)
	return answer
}

// classic makes the request of a classic visualisation's aggregations as
// Dashboards does: each bucket is inside the one before, metrics are inside all,
// and a count needs none, as every bucket has its own.
func classic(t *testing.T, aggs []visAgg) dsl {
	t.Helper()
	inner, count := dsl{}, ""
	for _, a := range aggs {
		switch {
		case a.Schema != "metric":
		case a.Type == "count":
			count = a.ID
		default:
			inner[a.ID] = dsl{a.Type: dsl{"field": a.Params.Field}}
		}
	}
	for _, a := range slices.Backward(aggs) {
		if a.Schema == "metric" {
			continue
		}
		params := dsl{"field": a.Params.Field}
		switch a.Type {
		case "terms":
			by := a.Params.OrderBy
			if by == count {
				by = "_count"
			}
			params["size"], params["order"] = a.Params.Size, dsl{by: a.Params.Order}
		case "geohash_grid":
			if a.Params.AutoPrecision || a.Params.UseGeocentroid || a.Params.IsFilteredByCollar {
				t.Fatalf("Dashboards asks for more with %+v", a.Params)
			}
			params["precision"] = a.Params.Precision
		default:
			t.Fatalf("how does Dashboards ask for %s?", a.Type)
		}
		bucket := dsl{a.Type: params}
		if len(inner) > 0 {
			bucket["aggs"] = inner
		}
		inner = dsl{a.ID: bucket}
	}
	return inner
}

type number struct{ Value float64 }

func decode(t *testing.T, answer json.RawMessage, out any) {
	t.Helper()
	if err := json.Unmarshal(answer, out); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
}

func compare[K comparable, V comparable](t *testing.T, got, want map[K]V) {
	t.Helper()
	if len(want) == 0 || !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	t.Logf("%d values as computed from the trips", len(got))
}

func judgeMap(t *testing.T, k known, answer json.RawMessage) {
	var a struct {
		Aggregations struct {
			Grid struct {
				Buckets []struct {
					Key string
					Sum number `json:"1"`
				}
			} `json:"2"`
		}
	}
	decode(t, answer, &a)
	got, want := map[string]float64{}, map[string]float64{}
	for _, b := range a.Aggregations.Grid.Buckets {
		got[b.Key] = b.Sum.Value
	}
	for _, r := range k.rows {
		want[r.Pickup.Prefix(6).String()]++
	}
	compare(t, got, want)
}

// point is one of a line.
type point struct {
	trips   float64
	average int64 // millionths of a minute
}

func judgeLines(t *testing.T, k known, answer json.RawMessage) {
	var a struct {
		Aggregations struct {
			Time struct {
				Interval string
				Buckets  []struct {
					Key     int64
					Airport struct {
						Buckets []struct {
							Key            string
							Average, Trips number
						}
					}
				}
			}
		}
	}
	decode(t, answer, &a)
	times := a.Aggregations.Time.Buckets
	got, want := map[string]point{}, map[string]point{}
	for _, b := range times {
		for _, l := range b.Airport.Buckets {
			got[fmt.Sprint(l.Key, " ", b.Key)] = point{l.Trips.Value, int64(math.Round(l.Average.Value * 1e6))}
		}
	}
	sums, counts := map[string]int64{}, map[string]int64{}
	groups := map[string]map[string][2]int64{} // of each point: sum and count by window and cell
	for _, r := range k.rows {
		if !toAirport(r) {
			continue
		}
		at, bucket := windowStart(r).UnixMilli(), int64(0)
		for _, b := range times {
			if b.Key <= at {
				bucket = b.Key
			}
		}
		key := fmt.Sprint(r.Airport, " ", bucket)
		minutes := r.Duration / int64(time.Minute)
		sums[key] += minutes
		counts[key]++
		if groups[key] == nil {
			groups[key] = map[string][2]int64{}
		}
		group := fmt.Sprint(at, r.Pickup.Prefix(6))
		g := groups[key][group]
		groups[key][group] = [2]int64{g[0] + minutes, g[1] + 1}
	}
	unequal := 0
	for key, n := range counts {
		want[key] = point{float64(n), int64(math.Round(float64(sums[key]) / float64(n) * 1e6))}
		averages := 0.0
		for _, g := range groups[key] {
			averages += float64(g[0]) / float64(g[1])
		}
		if math.Abs(averages/float64(len(groups[key]))*1e6-float64(want[key].average)) > 1 {
			unequal++
		}
	}
	compare(t, got, want)
	if unequal < len(want)/2 {
		t.Errorf("the average of averages would be wrong for %d of %d points: the trips prove little", unequal, len(want))
	}
	if len(times) < 20 || len(times) > 300 {
		t.Errorf("%d buckets of %s", len(times), a.Aggregations.Time.Interval)
	}
}

func judgeLateTable(t *testing.T, k known, answer json.RawMessage) {
	var a struct {
		Aggregations struct {
			Terms struct {
				Buckets []struct {
					Key   string
					Count int64  `json:"doc_count"`
					Max   number `json:"3"`
				}
			} `json:"2"`
		}
	}
	decode(t, answer, &a)
	got, want := map[string][2]int64{}, map[string][2]int64{}
	for _, b := range a.Aggregations.Terms.Buckets {
		got[b.Key] = [2]int64{b.Count, int64(b.Max.Value)}
	}
	watermark := k.rows[len(k.rows)-1].EventTime
	for _, r := range k.late {
		by := (watermark - r.EventTime) / int64(time.Millisecond)
		queries := []string{"pickup_count"}
		if toAirport(r) {
			queries = append(queries, "trip_duration")
		}
		for _, q := range queries {
			w := want[q]
			want[q] = [2]int64{w[0] + 1, max(w[1], by)}
		}
	}
	compare(t, got, want)
}

func judgeDeadTable(t *testing.T, k known, answer json.RawMessage) {
	var a struct {
		Aggregations struct {
			Terms struct {
				Buckets []struct {
					Key   string
					Count int64 `json:"doc_count"`
				}
			} `json:"2"`
		}
	}
	decode(t, answer, &a)
	got, want := map[string]int64{}, map[string]int64{}
	for _, b := range a.Aggregations.Terms.Buckets {
		got[b.Key] = b.Count
	}
	for _, r := range k.reasons {
		want[r]++
	}
	compare(t, got, want)
}

type hit struct {
	Source struct {
		EventTime        time.Time `json:"event_time"`
		Airport          string    `json:"airport_code"`
		Pickup           string    `json:"pickup_cell"`
		Cents            int64     `json:"total_cents"`
		Reason, Position string
	} `json:"_source"`
}

type hits struct{ Hits struct{ Hits []hit } }

func judgeLateList(t *testing.T, k known, answer json.RawMessage) {
	var a hits
	decode(t, answer, &a)
	var got, want []string
	for _, h := range a.Hits.Hits {
		s := h.Source
		got = append(got, fmt.Sprintln(s.EventTime.UnixNano(), s.Pickup, s.Airport, s.Cents))
	}
	for _, r := range slices.Backward(k.late) {
		airport := ""
		if r.Airport != trip.NoAirport {
			airport = r.Airport.String()
		}
		want = append(want, fmt.Sprintln(r.EventTime, r.Pickup, airport, r.TotalCents))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func judgeDeadList(t *testing.T, k known, answer json.RawMessage) {
	var a hits
	decode(t, answer, &a)
	var got []string
	slices.SortFunc(a.Hits.Hits, func(x, y hit) int { return strings.Compare(x.Source.Position, y.Source.Position) })
	for _, h := range a.Hits.Hits {
		got = append(got, h.Source.Reason)
	}
	if !slices.Equal(got, k.reasons) {
		t.Errorf("got %v, want %v", got, k.reasons)
	}
}
