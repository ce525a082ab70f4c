package opensearch_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/sink/opensearch"
)

// A node that was away is used again as soon as it is back, whether it is the
// only one or not.
func TestNodeComesBack(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		f := newFake(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := l.Addr().String()
		srv := &http.Server{Handler: f}
		go srv.Serve(l)
		addresses := []string{"http://" + at, "http://" + nobody}[:nodes]
		client, err := opensearch.Connect(t.Context(), opensearch.Config{Addresses: addresses})
		if err != nil {
			t.Fatal(err)
		}
		s, err := opensearch.NewSink(client, opensearch.SinkConfig{Job: "taxi"})
		if err != nil {
			t.Fatal(err)
		}
		works := func() bool {
			for range 2 * nodes { // the nodes take turns
				if _, err := s.Write(t.Context(), docs(2)); err == nil {
					return true
				}
			}
			return false
		}
		if !works() {
			t.Error("at first: not stored")
		}
		srv.Close()
		for range 10 {
			_, err := s.Write(t.Context(), docs(2))
			wantError(t, err, "127.0.0.1")
		}
		if l, err = net.Listen("tcp", at); err != nil {
			t.Fatal(err)
		}
		srv = &http.Server{Handler: f}
		go srv.Serve(l)
		if !works() {
			t.Errorf("%d nodes: one is back and is not used", nodes)
		}
		s.Close()
		srv.Close()
	}
}

func TestHeaders(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, c := range []struct {
		cfg  opensearch.Config
		want string
	}{
		{opensearch.Config{}, ""},
		{opensearch.Config{Username: "u", Password: "p"}, "Basic dTpw"},
		{opensearch.Config{SigV4: "es", Region: "eu-west-1"}, "/eu-west-1/es/aws4_request"},
		{opensearch.Config{SigV4: "aoss", Region: "eu-west-1"}, "/eu-west-1/aoss/aws4_request"},
	} {
		f := newFake(t)
		c.cfg.Addresses = []string{f.URL}
		client, err := opensearch.Connect(t.Context(), c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		s, err := opensearch.NewSink(client, opensearch.SinkConfig{Job: "taxi", Gzip: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(t.Context(), docs(1)); err != nil {
			t.Error(err)
		}
		h := f.seen()[0].header
		if a := h.Get("Authorization"); !strings.Contains(a, c.want) || (c.want == "") != (a == "") {
			t.Errorf("%+v: Authorization %q", c.cfg, a)
		}
		if c.cfg.SigV4 != "" && len(h.Get("X-Amz-Content-Sha256")) != 64 {
			t.Errorf("%+v: no digest", c.cfg)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	none := t.TempDir() + "/none"
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	cfg := opensearch.Config{Addresses: []string{newFake(t).URL}, SigV4: "es"}
	_, err := opensearch.Connect(t.Context(), cfg)
	wantError(t, err, "no AWS region: set it")
	cfg.Region = "eu-west-1"
	c, err := opensearch.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Ping(t.Context())
	wantError(t, err, "no AWS credentials to sign with: give this machine a role")
}

// nobody listens there, and no test is given that port.
const nobody = "127.0.0.1:1"
