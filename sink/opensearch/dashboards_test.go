package opensearch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// reference is the dashboard of the reference's two queries.
var reference = opensearch.Dashboard{
	Maps: []opensearch.Map{{Title: "Areas with high pick-up rates", Query: "pickup_count", Sum: "pickup_count"}},
	Lines: []opensearch.Lines{{Title: "Trip duration to the airports", Query: "trip_duration",
		Average: "avg_trip_duration", Weight: "trip_count"}},
}

func savedObjects(t *testing.T, o opensearch.Options) []byte {
	t.Helper()
	ndjson, err := opensearch.SavedObjects(o, reference)
	if err != nil {
		t.Fatal(err)
	}
	return ndjson
}

// saved is a saved object as Dashboards reads it.
type saved struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	Attributes struct {
		Title         string     `json:"title"`
		TimeFieldName string     `json:"timeFieldName"`
		VisState      string     `json:"visState"`
		PanelsJSON    string     `json:"panelsJSON"`
		OptionsJSON   string     `json:"optionsJSON"`
		Columns       []string   `json:"columns"`
		Sort          [][]string `json:"sort"`
		Meta          struct {
			SearchSource string `json:"searchSourceJSON"`
		} `json:"kibanaSavedObjectMeta"`
	} `json:"attributes"`
	References []struct{ Name, Type, ID string } `json:"references"`
	Migration  map[string]string                 `json:"migrationVersion"`
}

type visState struct {
	Title, Type string
	Params      struct{ Spec string }
	Aggs        []visAgg
}

// visAgg is an aggregation of a classic visualisation.
type visAgg struct {
	ID, Type, Schema string
	Params           struct {
		Field, OrderBy, Order string
		Size, Precision       int
		AutoPrecision         bool
		UseGeocentroid        bool
		IsFilteredByCollar    bool
	}
}

// vegaURL is what a Vega spec asks OpenSearch.
type vegaURL struct {
	Index     string          `json:"index"`
	TimeField string          `json:"%timefield%"`
	Context   bool            `json:"%context%"`
	Body      json.RawMessage `json:"body"`
}

type objects []saved

func parseObjects(ndjson []byte) (objects, error) {
	var all objects
	d := json.NewDecoder(bytes.NewReader(ndjson))
	for d.More() {
		var o saved
		if err := d.Decode(&o); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// reference finds what o refers to by that name.
func (all objects) reference(o saved, name string) (saved, error) {
	for _, r := range o.References {
		if r.Name != name {
			continue
		}
		for _, to := range all {
			if to.Type == r.Type && to.ID == r.ID {
				return to, nil
			}
		}
		return saved{}, fmt.Errorf("%s %s refers to %s %s, which is not in the file", o.Type, o.ID, r.Type, r.ID)
	}
	return saved{}, fmt.Errorf("%s %s has no reference %q", o.Type, o.ID, name)
}

// pattern is the index pattern that o searches; none if it searches nothing.
func (all objects) pattern(o saved) (saved, error) {
	var source struct{ IndexRefName string }
	if err := json.Unmarshal([]byte(o.Attributes.Meta.SearchSource), &source); err != nil {
		return saved{}, fmt.Errorf("%s %s: %w", o.Type, o.ID, err)
	}
	if source.IndexRefName == "" {
		return saved{}, nil
	}
	return all.reference(o, source.IndexRefName)
}

func (o saved) visState() (v visState, err error) {
	if err := json.Unmarshal([]byte(o.Attributes.VisState), &v); err != nil {
		return v, fmt.Errorf("%s: %w", o.ID, err)
	}
	return v, nil
}

func (v visState) vegaURL() (u vegaURL, err error) {
	var spec struct{ Data struct{ URL vegaURL } }
	err = json.Unmarshal([]byte(v.Params.Spec), &spec)
	return spec.Data.URL, err
}

// use says that an object needs a field, and for what: "time", "sum", "terms" ...
type use struct{ object, index, field, purpose string }

// uses walks all objects and lists the fields they name.
func uses(ndjson []byte) ([]use, error) {
	all, err := parseObjects(ndjson)
	if err != nil {
		return nil, err
	}
	var found []use
	for _, o := range all {
		add := func(index, field, purpose string) { found = append(found, use{o.ID, index, field, purpose}) }
		if o.Type == "index-pattern" {
			if o.Attributes.TimeFieldName != "" {
				add(o.Attributes.Title, o.Attributes.TimeFieldName, "time")
			}
			add(o.Attributes.Title, "query", "terms") // so that a pattern without a time is looked at as well
			continue
		}
		pattern, err := all.pattern(o)
		if err != nil {
			return nil, err
		}
		index := pattern.Attributes.Title
		for _, c := range o.Attributes.Columns {
			add(index, c, "column")
		}
		for _, s := range o.Attributes.Sort {
			add(index, s[0], "sort")
		}
		if o.Type != "visualization" {
			continue
		}
		v, err := o.visState()
		if err != nil {
			return nil, err
		}
		for _, a := range v.Aggs {
			if a.Params.Field != "" {
				add(index, a.Params.Field, a.Type)
			}
		}
		if v.Type == "vega" {
			u, err := v.vegaURL()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", o.ID, err)
			}
			add(u.Index, u.TimeField, "time")
			var body any
			if err := json.Unmarshal(u.Body, &body); err != nil {
				return nil, err
			}
			walkAggs(body, "", func(field, purpose string) { add(u.Index, field, purpose) })
		}
	}
	return found, nil
}

// walkAggs calls see for each {"field": ...} with the name of the aggregation
// that it is a parameter of.
func walkAggs(v any, aggregation string, see func(field, purpose string)) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for key, inner := range m {
		switch key {
		case "field":
			see(inner.(string), aggregation)
		case "value", "weight": // of weighted_avg
			walkAggs(inner, aggregation, see)
		default:
			walkAggs(inner, key, see)
		}
	}
}

func TestSavedObjects(t *testing.T) {
	o := options("taxi")
	o.Prefix = "nyc."
	ndjson := savedObjects(t, o)
	if again := savedObjects(t, o); !bytes.Equal(ndjson, again) {
		t.Error("the second time it differs")
	}
	all, err := parseObjects(ndjson)
	if err != nil {
		t.Fatal(err)
	}
	kinds, ids := map[string]int{}, map[string]bool{}
	for _, s := range all {
		kinds[s.Type]++
		if ids[s.ID] || !strings.HasPrefix(s.ID, "tripgrid-nyc.taxi") || s.Attributes.Title == "" || s.Migration[s.Type] == "" {
			t.Errorf("%s %q, %q, %v", s.Type, s.ID, s.Attributes.Title, s.Migration)
		}
		ids[s.ID] = true
		if s.Type == "index-pattern" {
			continue
		}
		if _, err := all.pattern(s); err != nil {
			t.Error(err)
		}
		if s.Type == "visualization" {
			if v, err := s.visState(); err != nil || v.Title != s.Attributes.Title {
				t.Errorf("%s: %+v %v", s.ID, v, err)
			}
		}
	}
	if fmt.Sprint(kinds) != "map[dashboard:1 index-pattern:4 search:2 visualization:4]" {
		t.Error(kinds)
	}
	checkPanels(t, all)
	found, err := uses(ndjson)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range found {
		if u.purpose != "column" && u.field != "query" {
			got = append(got, fmt.Sprintf("%s %s %s", strings.TrimPrefix(u.index, "nyc.taxi."), u.purpose, u.field))
		}
	}
	slices.Sort(got)
	want := []string{
		"dead_letter terms reason", "late max late_ms", "late sort event_time", "late terms late_for", "late time event_time",
		"pickup_count geohash_grid location", "pickup_count sum pickup_count", "pickup_count time timestamp",
		"trip_duration auto_date_histogram window_start", "trip_duration sum trip_count", "trip_duration terms airport_code",
		"trip_duration time timestamp", "trip_duration time timestamp", "trip_duration weighted_avg avg_trip_duration",
		"trip_duration weighted_avg trip_count",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the objects use\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// checkPanels checks that the dashboard shows every visualisation and search
// once, and that no panel covers another.
func checkPanels(t *testing.T, all objects) {
	t.Helper()
	dashboard := all[len(all)-1]
	var panels []struct {
		PanelIndex, PanelRefName string
		GridData                 struct {
			X, Y, W, H int
			I          string
		}
	}
	if err := json.Unmarshal([]byte(dashboard.Attributes.PanelsJSON), &panels); err != nil {
		t.Fatal(err)
	}
	shown, taken := map[string]bool{}, map[[2]int]string{}
	for _, p := range panels {
		s, err := all.reference(dashboard, p.PanelRefName)
		if err != nil {
			t.Fatal(err)
		}
		shown[s.ID] = true
		g := p.GridData
		if g.I != p.PanelIndex || g.X < 0 || g.X+g.W > 48 || g.W < 1 || g.H < 1 {
			t.Errorf("%s: %+v", s.ID, p)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s covers %s", s.ID, other)
				}
				taken[[2]int{x, y}] = s.ID
			}
		}
	}
	for _, s := range all {
		if want := s.Type == "visualization" || s.Type == "search"; shown[s.ID] != want {
			t.Errorf("%s: shown %t", s.ID, !want)
		}
	}
}

func TestSavedObjectsRefused(t *testing.T) {
	for says, change := range map[string]func(*opensearch.Options, *opensearch.Dashboard){
		`query "gone" is not one of the job's`:                    func(_ *opensearch.Options, d *opensearch.Dashboard) { d.Maps[0].Query = "gone" },
		`query "pickup_count" has no field "rides"`:               func(_ *opensearch.Options, d *opensearch.Dashboard) { d.Maps[0].Sum = "rides" },
		`no field "avg_trip_duration" of type [long]`:             func(_ *opensearch.Options, d *opensearch.Dashboard) { d.Lines[0].Weight = "avg_trip_duration" },
		"cannot have cells of precision 8":                        func(_ *opensearch.Options, d *opensearch.Dashboard) { d.Maps[0].Precision = 8 },
		"it shows no query":                                       func(_ *opensearch.Options, d *opensearch.Dashboard) { d.Maps, d.Lines = nil, nil },
		`job "Taxi" cannot name an index: use lower-case letters`: func(o *opensearch.Options, _ *opensearch.Dashboard) { o.Job = "Taxi" },
	} {
		o, d := options("taxi"), opensearch.Dashboard{Maps: slices.Clone(reference.Maps), Lines: slices.Clone(reference.Lines)}
		change(&o, &d)
		_, err := opensearch.SavedObjects(o, d)
		wantError(t, err, says)
	}
}

// rename gives a field another name wherever the objects name it, also in JSON
// inside JSON.
func rename(ndjson []byte, field string) []byte {
	return regexp.MustCompile(`"`+field+`(\\*)"`).ReplaceAll(ndjson, []byte(`"`+field+`_x$1"`))
}
