package dashboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/tripgrid/tripgrid/dashboard"
	"github.com/tripgrid/tripgrid/dashboard/internal/fake"
	"github.com/tripgrid/tripgrid/sink"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(phase dashboard.Phase, closed int) fake.Run {
	return fake.Run{Phase: phase, Closed: closed, Total: 20, Partitions: 2, Shards: 2,
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC) }}
}

func ask(t *testing.T, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// few keeps a fake run's answers short enough for a golden file.
type few struct{ fake.Run }

func (f few) Cells(ctx context.Context, from, to int64) ([]dashboard.Cell, error) {
	cells, err := f.Run.Cells(ctx, from, to)
	return append(cells[:min(3, len(cells))], dashboard.Cell{Geohash: "no geohash", Count: 1}), err
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, target string
		source       dashboard.Source
	}{
		{"state-running", "/api/state", run(dashboard.Running, 9)},
		{"state-starting", "/api/state", run(dashboard.Starting, 0)},
		{"state-finished", "/api/state", run(dashboard.Finished, 20)},
		{"state-failed", "/api/state", run(dashboard.Failed, 5)},
		{"windows", "/api/windows", run(dashboard.Running, 9)},
		{"windows-from", "/api/windows?from=1456795000", run(dashboard.Running, 9)},
		{"windows-none", "/api/windows", run(dashboard.Running, 0)},
		{"cells-latest", "/api/cells?window=latest", few{run(dashboard.Running, 9)}},
		{"cells-window", "/api/cells?window=1456791000", few{run(dashboard.Running, 9)}},
		{"cells-span", "/api/cells?window=1456791600&span=1800", few{run(dashboard.Running, 9)}},
		{"cells-none", "/api/cells", run(dashboard.Running, 0)},
		{"airports", "/api/airports", run(dashboard.Running, 3)},
		{"airports-span", "/api/airports?from=1456791000&to=1456791600", run(dashboard.Running, 3)},
		{"airports-elsewhere", "/api/airports?from=2000000000", run(dashboard.Running, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(t, dashboard.New(c.source, nil), "GET", c.target)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Fatal(w.Code, w.Header(), w.Body)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, w.Body.Bytes(), "", "  "); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, got.Bytes()) {
				t.Errorf("got %s\nwant %s", got.Bytes(), want)
			}
		})
	}
}

func TestBadQuestions(t *testing.T) {
	h := dashboard.New(run(dashboard.Running, 3), nil)
	for target, words := range map[string]string{
		"/api/cells?window=yesterday":  `window="yesterday" is not a time`,
		"/api/cells?span=-1":           "span=-1 is not between 0 and 604800",
		"/api/cells?span=604801":       "span=604801 is not between",
		"/api/cells?span=day":          `span="day" is not a time`,
		"/api/windows?from=1.5":        `from="1.5" is not a time`,
		"/api/airports?from=x":         `from="x" is not a time`,
		"/api/airports?to=x":           `to="x" is not a time`,
		"/api/airports?from=100&to=99": "from=100 is after to=99",
	} {
		w := ask(t, h, "GET", target)
		var answer struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 400 || !strings.Contains(answer.Error, words) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for _, target := range []string{"/nothing", "/api/", "/api/states", "/assets/page.js", "/state.go", "/../doc.go", "/page.js/"} {
		if w := ask(t, h, "GET", target); w.Code != 404 && w.Code != 301 && w.Code != 307 {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if w := ask(t, h, method, "/api/state"); w.Code != 405 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// What a run may report and JSON has no word for must not take the page away.
func TestStrangeState(t *testing.T) {
	end, zero := time.Date(292277, 1, 1, 0, 0, 0, 0, time.UTC), time.Time{}.AddDate(-5, 0, 0)
	h := dashboard.New(strange{reported: dashboard.State{
		Watermark: &end, Started: &zero, Speedup: math.Inf(1), Trips: dashboard.Trips{Rate: math.NaN(), Read: math.MaxUint64},
		Shards: []dashboard.Shard{{ID: "s", Watermark: &end}}, Partitions: []dashboard.Partition{{Watermark: &end}},
	}}, nil)
	w := ask(t, h, "GET", "/api/state")
	var s dashboard.State
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 {
		t.Fatal(w.Code, w.Body, err)
	}
	if s.Watermark.Year() != 9999 || s.Shards[0].Watermark.Year() != 9999 || s.Partitions[0].Watermark.Year() != 9999 ||
		s.Started != nil || s.Speedup != 0 || s.Trips.Rate != 0 || s.Trips.Read != math.MaxUint64 {
		t.Errorf("%s", w.Body)
	}
}

type strange struct {
	fake.Run
	reported dashboard.State
}

func (s strange) State(context.Context) (dashboard.State, error) { return s.reported, nil }

type broken struct{ fake.Run }

var errBroken = errors.New("the results are away")

func (broken) State(context.Context) (dashboard.State, error) { return dashboard.State{}, errBroken }
func (broken) Windows(context.Context) (dashboard.Windows, error) {
	return dashboard.Windows{}, errBroken
}
func (broken) Starts(context.Context, int64, int) ([]int64, error) {
	return nil, errBroken
}

func TestSourceFails(t *testing.T) {
	h := dashboard.New(broken{}, zaptest.NewLogger(t))
	for _, target := range []string{"/api/state", "/api/windows", "/api/cells", "/api/airports"} {
		w := ask(t, h, "GET", target)
		if w.Code != 503 || strings.TrimSpace(w.Body.String()) != `{"error":"the results are away"}` || w.Header().Get("ETag") != "" {
			t.Errorf("%s: %d %s %v", target, w.Code, w.Body, w.Header())
		}
	}
	if w := ask(t, h, "GET", "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
}

func TestETag(t *testing.T) {
	for _, target := range []string{"/", "/page.js", "/api/state", "/api/cells"} {
		h := dashboard.New(run(dashboard.Running, 3), nil)
		first := ask(t, h, "GET", target)
		tag := first.Header().Get("ETag")
		if first.Code != 200 || tag == "" || first.Header().Get("Cache-Control") != "no-cache" {
			t.Fatal(target, first.Code, first.Header())
		}
		if w := ask(t, h, "GET", target, "If-None-Match", tag); w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("%s, unchanged: %d, %d bytes", target, w.Code, w.Body.Len())
		}
		if w := ask(t, h, "HEAD", target); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("ETag") != tag ||
			w.Header().Get("Content-Length") != fmt.Sprint(first.Body.Len()) {
			t.Errorf("HEAD %s: %d, %d bytes, %v", target, w.Code, w.Body.Len(), w.Header())
		}
		if strings.HasPrefix(target, "/api") {
			if w := ask(t, dashboard.New(run(dashboard.Running, 4), nil), "GET", target, "If-None-Match", tag); w.Code != 200 {
				t.Errorf("%s, changed: %d", target, w.Code)
			}
		}
	}
}

// The page must work in a browser that reaches nothing but this server, and the
// server must say so in its headers.
func TestPageStandsAlone(t *testing.T) {
	h := dashboard.New(run(dashboard.Running, 3), nil)
	page := ask(t, h, "GET", "/")
	policy := page.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"} {
		for _, target := range []string{"/", "/api/state", "/nothing"} {
			if got := ask(t, h, "GET", target).Header().Get(name); got != want {
				t.Errorf("%s %s: %q", target, name, got)
			}
		}
	}
	files, err := filepath.Glob("assets/*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	foreign := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	inline := regexp.MustCompile(`(?i)<style|style="|\son[a-z]+="|<script>|javascript:`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", "") // a name, not an address
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s refers to %s", file, found)
		}
		if found := inline.FindString(text); strings.HasSuffix(file, ".html") && found != "" {
			t.Errorf("%s has %s, which the policy forbids", file, found)
		}
		w := ask(t, h, "GET", "/"+filepath.Base(file))
		if w.Code != 200 && filepath.Base(file) != "index.html" || w.Code == 200 && w.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", file, w.Code, w.Header())
		}
	}
	// Whatever the page and its scripts refer to is there.
	for _, m := range regexp.MustCompile(`(?:src|href|from)[ =]"(?:\./)?([a-z]+\.[a-z]+)"`).FindAllStringSubmatch(everything(t, files), -1) {
		if w := ask(t, h, "GET", "/"+m[1]); w.Code != 200 {
			t.Errorf("%s is referred to and answers %d", m[1], w.Code)
		}
	}
}

func everything(t *testing.T, files []string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// Every id that a script asks for exists in the page.
func TestPageHasItsElements(t *testing.T) {
	page, err := os.ReadFile("assets/index.html")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("assets/*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\("([a-z0-9-]+)"\)`).FindAllStringSubmatch(everything(t, scripts), -1) {
		if !bytes.Contains(page, []byte(`id="`+m[1]+`"`)) {
			t.Errorf("no element has the id %q", m[1])
		}
	}
}

func TestNewSource(t *testing.T) {
	db, err := sink.OpenSQLite(filepath.Join(t.TempDir(), "r.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	source := dashboard.NewSource(db, func(context.Context) (dashboard.State, error) { return dashboard.State{Job: "taxi"}, nil })
	ctx := t.Context()
	if w, err := source.Windows(ctx); err != nil || !reflect.DeepEqual(w, dashboard.Windows{}) {
		t.Error(w, err)
	}
	doc := func(query string, start int64, cell, airport, body string) sink.Document {
		return sink.Document{ID: fmt.Sprint(query, start, cell, airport), Version: 1, Query: query, WindowStart: start, WindowEnd: start + 3600,
			Cell: cell, Airport: airport, Body: []byte(body)}
	}
	if _, err := db.Write(ctx, []sink.Document{
		doc("pickup_count", 3600, "dr5ru7", "", `{"pickup_count":12}`), doc("pickup_count", 36000, "dr5ru8", "", `{"pickup_count":3}`),
		doc("trip_duration", 3600, "dr5ru7", "JFK", `{"trip_count":2,"sum_trip_duration":81,"avg_trip_duration":40.5}`),
		doc("trip_duration", 3600, "dr5ru8", "JFK", `{"trip_count":1,"sum_trip_duration":10,"avg_trip_duration":10}`),
	}); err != nil {
		t.Fatal(err)
	}
	h := dashboard.New(source, nil)
	for target, want := range map[string]string{
		"/api/windows":           `{"first":3600,"last":36000,"size":3600,"step":3600,"starts":[3600,36000]}`,
		"/api/airports":          `{"from":3600,"to":36001,"points":[{"start":3600,"end":7200,"airport":"JFK","avg_trip_duration":30.333,"trip_count":3}]}`,
		"/api/cells?window=3600": `{"start":3600,"end":7200,"total":12,"cells":[{"cell":"dr5ru7","south":40.753784,"west":-73.992920,"north":40.759277,"east":-73.981934,"count":12}]}`,
	} {
		w := ask(t, h, "GET", target)
		var got, expected any
		if err := errors.Join(json.Unmarshal(w.Body.Bytes(), &got), json.Unmarshal([]byte(want), &expected)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, expected) {
			t.Errorf("%s:\ngot  %swant %s", target, w.Body, want)
		}
	}
	var s dashboard.State
	if err := json.Unmarshal(ask(t, h, "GET", "/api/state").Body.Bytes(), &s); err != nil || s.Job != "taxi" || s.Shards == nil {
		t.Error(s, err)
	}
}
