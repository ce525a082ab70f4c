package opensearch_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// options are those of a job with the reference's two queries.
func options(job string) opensearch.Options {
	return opensearch.Options{Job: job, Queries: []opensearch.Query{
		{Name: "pickup_count", Fields: []opensearch.Field{{Name: "pickup_count", Type: opensearch.Long}}},
		{Name: "trip_duration", Fields: []opensearch.Field{
			{Name: "trip_count", Type: opensearch.Long}, {Name: "sum_trip_duration", Type: opensearch.Long},
			{Name: "avg_trip_duration", Type: opensearch.Double},
		}},
	}}
}

// pickup is a result as worker/window makes it, in March 2016.
func pickup(job string, offset int64, cell int, version uint64) sink.Document {
	start := 1456790400 + offset
	text := func(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }
	name := fmt.Sprintf("dr5%03x", cell)
	return sink.Document{
		ID: fmt.Sprintf("%s/pickup_count/%d/%s", job, start, name), Version: version, Query: "pickup_count",
		WindowStart: start, WindowEnd: start + 600, Cell: name,
		Body: fmt.Appendf(nil, `{"query":"pickup_count","cell":%q,"window_start":%q,"window_end":%q,"pickup_count":%d,`+
			`"timestamp":"%s.999Z","location":{"lat":40.755,"lon":-73.98%d}}`,
			name, text(start), text(start+600), version%1000, strings.TrimSuffix(text(start+599), "Z"), cell%10),
	}
}

// samples are one document of every kind, with all the fields that
// worker/window/document.go can give it.
func samples(job string, version uint64) []sink.Document {
	d := func(query, id, body string) sink.Document {
		start := int64(1456790400)
		if query == sink.LateQuery || query == sink.DeadQuery {
			start = 0
		}
		return sink.Document{ID: job + "/" + query + "/" + id, Version: version, Query: query, WindowStart: start, Body: []byte(body)}
	}
	return []sink.Document{
		pickup(job, 0, 1, version),
		d("trip_duration", "1456790400/dr5ru7/JFK", `{"query":"trip_duration","cell":"dr5ru7","airport_code":"JFK",`+
			`"window_start":"2016-03-01T00:00:00Z","window_end":"2016-03-01T00:10:00Z","trip_count":3,"sum_trip_duration":121,`+
			`"avg_trip_duration":40.333333333333336,"timestamp":"2016-03-01T00:09:59.999Z","location":{"lat":40.75,"lon":-73.98}}`),
		d(sink.LateQuery, "shardId-000000000000/1", `{"query":"late","shard":"shardId-000000000000","position":"49590338271490256608559692538361571095921575989136588898/3",`+
			`"event_time":"2016-03-01T00:00:00.123456789Z","watermark":"2016-03-01T00:10:00Z","late_ms":599876,"late_for":["pickup_count","trip_duration"],`+
			`"pickup_cell":"dr5ru7kkkkkk","dropoff_cell":"dr5ru7","airport_code":"LGA","duration_ms":-1200,"total_cents":1350}`),
		d(sink.LateQuery, "shardId-000000000000/2", `{"query":"late","shard":"s","position":"1","event_time":"2016-03-01T00:00:00Z","after_final":true,`+
			`"late_for":["pickup_count"],"pickup_cell":"","dropoff_cell":"","duration_ms":0,"total_cents":0}`),
		d(sink.DeadQuery, "shardId-000000000000/3", `{"query":"dead_letter","shard":"s","position":"2","reason":"no JSON","size":3,"sha256":"00ff","raw":"`+
			strings.Repeat("x", 40_000)+`"}`),
		d(sink.DeadQuery, "shardId-000000000000/4", `{"query":"dead_letter","shard":"s","position":"3","reason":"`+strings.Repeat("r", 40_000)+
			`","size":0,"raw_base64":"AAEC/w=="}`),
	}
}

func TestNames(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.Unix()
	}
	for _, c := range []struct{ got, want string }{
		{opensearch.IndexName("", "taxi", "pickup_count", at("2016-03-01T00:00:00Z")), "taxi-pickup_count-2016.03"},
		{opensearch.IndexName("prod-", "taxi", "pickup_count", at("2016-02-29T23:59:59Z")), "prod-taxi-pickup_count-2016.02"},
		{opensearch.IndexName("", "taxi", "pickup_count", at("2016-03-01T00:30:00+01:00")), "taxi-pickup_count-2016.02"},
		{opensearch.IndexName("", "taxi", "late", 0), "taxi-late-all"},
		{opensearch.IndexName("", "taxi", "dead_letter", 0), "taxi-dead_letter-all"},
		{opensearch.AliasName("prod-", "taxi", ""), "prod-taxi"},
		{opensearch.AliasName("prod-", "taxi", "pickup_count"), "prod-taxi.pickup_count"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestRefusedSettings(t *testing.T) {
	const ok = "http://127.0.0.1:9200"
	for _, c := range []struct {
		cfg  opensearch.Config
		says string
	}{
		{opensearch.Config{}, "no address"},
		{opensearch.Config{Addresses: []string{"search:9200"}}, "is no address"},
		{opensearch.Config{Addresses: []string{"https://u:secret@search:9200"}}, "https://u:xxxxx@search:9200 holds a password"},
		{opensearch.Config{Addresses: []string{"http://search"}, SigV4: "es"}, "want https"},
		{opensearch.Config{Addresses: []string{ok}, SigV4: "s3"}, "no service to sign for"},
		{opensearch.Config{Addresses: []string{ok}, SigV4: "es", Username: "u"}, "choose one way"},
		{opensearch.Config{Addresses: []string{ok}, Password: "secret"}, "no user"},
		{opensearch.Config{Addresses: []string{ok}, Timeout: -1}, "time-out"},
		{opensearch.Config{Addresses: []string{ok}, CAFile: "/absent"}, "read the CA file"},
		{opensearch.Config{Addresses: []string{ok}, CAFile: "setup_test.go"}, "holds no certificate"},
	} {
		_, err := opensearch.Connect(t.Context(), c.cfg)
		wantError(t, err, c.says)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	for _, c := range []struct {
		cfg  opensearch.SinkConfig
		says string
	}{
		{opensearch.SinkConfig{}, "no name"},
		{opensearch.SinkConfig{Job: "Taxi"}, "lower-case"},
		{opensearch.SinkConfig{Job: "taxi", Prefix: "_x"}, "begin with a letter"},
		{opensearch.SinkConfig{Job: "taxi", Prefix: "a b"}, "cannot begin"},
		{opensearch.SinkConfig{Job: strings.Repeat("x", 200)}, "has room for"},
		{opensearch.SinkConfig{Job: "taxi", MaxDocs: -1}, "negative"},
	} {
		wantError(t, c.cfg.Validate(), c.says)
	}
	bad := func(change func(*opensearch.Options)) error {
		o := options("taxi")
		change(&o)
		return o.Validate()
	}
	wantError(t, bad(func(o *opensearch.Options) { o.Queries = nil }), "no query")
	wantError(t, bad(func(o *opensearch.Options) { o.Queries[0].Name = "a-b" }), "cannot name an index")
	wantError(t, bad(func(o *opensearch.Options) { o.Queries[0].Name = "late" }), "late trips")
	wantError(t, bad(func(o *opensearch.Options) { o.Queries[1].Name = "pickup_count" }), "two queries")
	wantError(t, bad(func(o *opensearch.Options) { o.Queries[1].Fields[0].Type = "float" }), "float")
	wantError(t, bad(func(o *opensearch.Options) { o.Retention = time.Second }), "too short")
	wantError(t, bad(func(o *opensearch.Options) { o.Serve = "A" }), "lower-case")
}

// What a user can get wrong about the endpoint is told in one sentence.
func TestPing(t *testing.T) {
	serve := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	const info = `{"cluster_name":"c","version":{"distribution":"opensearch","number":"2.19.1"}}`
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, info) }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct{ at, says string }{
		{gone.URL, "refuses connections: check that it runs"},
		{"http://no-such-host.invalid:9200", "no-such-host.invalid"},
		{secure.URL, "an authority that is not trusted here: name its CA file"},
		{strings.Replace(secure.URL, "https", "http", 1), "wants TLS: write the address with https://"},
		{strings.Replace(serve(200, info), "http", "https", 1), "does not speak TLS"},
		{serve(401, "Unauthorized"), "does not know us (401): check user and password"},
		{serve(403, failure("security_exception", "no permissions for [cluster:monitor/main] and User [name=u]")),
			"permission cluster:monitor/main is missing (403): grant it to the user"},
		{serve(403, `{"Message":"The security token included in the request is invalid."}`), "does not accept the signature (403)"},
		{serve(503, ""), "not available (503)"},
		{serve(200, "<html>Hello</html>"), "is not OpenSearch: check the endpoint"},
		{serve(404, "nothing"), "is not OpenSearch: check the endpoint"},
		{serve(200, `{"tagline":"You Know, for Search","version":{"number":"8.1.0"}}`), `it says "You Know, for Search", version 8.1.0`},
	} {
		_, err := connect(t, c.at).Ping(t.Context())
		wantError(t, err, c.says)
		if err != nil && strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("more than a sentence: %v", err)
		}
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := opensearch.Connect(t.Context(), opensearch.Config{Addresses: []string{secure.URL}, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.Ping(t.Context()); err != nil || s.Version != "2.19.1" {
		t.Error(s, err)
	}
}
