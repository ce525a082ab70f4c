package opensearch_test

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// dashboards is a server that takes an import as OpenSearch Dashboards' source
// says that it does; status and body are what it answers instead.
type dashboards struct {
	status int
	header map[string]string
	body   string
	got    []byte
	seen   http.Header
	err    error
}

func (d *dashboards) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.seen = r.Header.Clone()
	d.got, d.err = importedFile(r)
	for k, v := range d.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(max(d.status, http.StatusOK))
	fmt.Fprint(w, d.body)
}

func importedFile(r *http.Request) ([]byte, error) {
	switch {
	case r.Method != http.MethodPost || r.URL.RequestURI() != "/_dashboards/api/saved_objects/_import?overwrite=true":
		return nil, fmt.Errorf("%s %s", r.Method, r.URL.RequestURI())
	case r.Header.Get("osd-xsrf") != "true":
		return nil, fmt.Errorf("no osd-xsrf")
	}
	f, h, err := r.FormFile("file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if filepath.Ext(h.Filename) != ".ndjson" {
		return nil, fmt.Errorf("Invalid file extension %s", filepath.Ext(h.Filename))
	}
	return io.ReadAll(f)
}

func TestImportDashboards(t *testing.T) {
	d := &dashboards{body: `{"successCount":3,"success":true,"successResults":[{"type":"search","id":"a","meta":{}},{"id":"b","overwrite":true},{"id":"c","overwrite":true}]}`}
	srv := httptest.NewTLSServer(d)
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	ndjson := savedObjects(t, options("taxi"))
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, c := range []struct {
		cfg           opensearch.DashboardsConfig
		authorization string
	}{
		{opensearch.DashboardsConfig{URL: srv.URL + "/_dashboards/", Username: "u", Password: "p", Tenant: "taxis"},
			"Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))},
		{opensearch.DashboardsConfig{URL: srv.URL + "/_dashboards", SigV4: "es", Region: "eu-west-1"}, "AWS4-HMAC-SHA256 "},
	} {
		c.cfg.CAFile = ca
		got, err := opensearch.ImportDashboards(t.Context(), c.cfg, ndjson)
		if err != nil || d.err != nil || got != (opensearch.Imported{Objects: 3, Replaced: 2}) {
			t.Errorf("%+v %v %v", got, err, d.err)
		}
		if !bytes.Equal(d.got, ndjson) {
			t.Errorf("it got %d bytes, not the %d that were sent", len(d.got), len(ndjson))
		}
		if a := d.seen.Get("Authorization"); !strings.HasPrefix(a, c.authorization) || d.seen.Get("securitytenant") != c.cfg.Tenant {
			t.Errorf("Authorization %q, tenant %q", a, d.seen.Get("securitytenant"))
		}
	}
}

func TestImportRefused(t *testing.T) {
	for _, c := range []struct {
		answer dashboards
		says   string
	}{
		{dashboards{body: `{"successCount":7,"success":false,"errors":[
			{"type":"visualization","id":"v","meta":{"title":"V"},"error":{"type":"missing_references","references":[{"type":"index-pattern","id":"p"}]}},
			{"type":"search","id":"s","error":{"type":"unknown","message":"Document is from the future","statusCode":422}},
			{"type":"dashboard","id":"d","error":{"type":"unsupported_type"}}]}`},
			"took 7 and refused 3: visualization v (missing references index-pattern p), search s (Document is from the future), dashboard d (unsupported type)"},
		{dashboards{status: 400, body: `{"statusCode":400,"error":"Bad Request","message":"Request must contain a osd-xsrf header."}`},
			"refuses it (400): Request must contain a osd-xsrf header."},
		{dashboards{status: 401, body: `{"statusCode":401,"error":"Unauthorized","message":"Authentication Exception"}`},
			"does not know us (401): check user and password"},
		{dashboards{status: 403, body: `{"message":"no permissions for [indices:data/write/bulk] and User [name=u]"}`},
			"permission indices:data/write/bulk is missing (403): grant it to the user"},
		{dashboards{status: 302, header: map[string]string{"Location": "/app/login?"}}, "sends us to /app/login? instead, which is where people log in"},
		{dashboards{status: 404, body: `{"error":"no handler found"}`}, "has no such interface (404): give the address that a browser opens, with its path (/_dashboards)"},
		{dashboards{status: 503, body: `OpenSearch Dashboards server is not ready yet`}, "is not available (503): OpenSearch Dashboards server is not ready yet"},
		{dashboards{body: `<html>hello</html>`}, "is not OpenSearch Dashboards: give the address that a browser opens"},
		{dashboards{body: `{"name":"node","cluster_name":"taxis"}`}, "is not OpenSearch Dashboards: give the address that a browser opens"},
	} {
		srv := httptest.NewServer(&c.answer)
		_, err := opensearch.ImportDashboards(t.Context(), opensearch.DashboardsConfig{URL: srv.URL + "/_dashboards"}, []byte("{}\n"))
		wantError(t, err, c.says)
		if err != nil && (strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "import saved objects: ")) {
			t.Errorf("%v", err)
		}
		srv.Close()
	}
	for url, says := range map[string]string{
		"":                           "write it like https://host:5601",
		"dashboards:5601":            "write it like https://host:5601",
		"http://" + nobody:           "opensearch dashboards at http://127.0.0.1",
		"https://u:secret@host:5601": "holds a password",
	} {
		_, err := opensearch.ImportDashboards(t.Context(), opensearch.DashboardsConfig{URL: url}, nil)
		wantError(t, err, says)
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}
