package source

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/vmware/vmware-go-kcl-v2/logger"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// AWS_CA_BUNDLE is honoured through the wrapped HTTP client, and bodies arrive
// whole.
func TestClientHonoursTheCABundle(t *testing.T) {
	var got string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = string(b)
		_, _ = io.WriteString(w, `{"Shards":[]}`)
	}))
	defer server.Close()
	list := func() error {
		client, err := NewKinesisClient(t.Context(), server.URL, "us-east-1", nil)
		if err != nil {
			return err
		}
		_, err = client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String("trips")},
			func(o *kinesis.Options) { o.RetryMaxAttempts = 1 })
		return err
	}
	t.Setenv("AWS_CA_BUNDLE", "")
	if list() == nil {
		t.Error("a certificate that nobody vouches for was taken")
	}
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
	if err := list(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(got, `"trips"`) {
		t.Errorf("the body was %q", got)
	}
}

// The library's log neither ends the process nor repeats itself; what it says
// of an ended session, or after the stop, is no warning.
func TestTheLibrarysLog(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	ctx, stop := context.WithCancel(t.Context())
	l := newKCLLog(ctx, zap.New(core))
	l.Fatalf("fatal %d", 1)
	l.Panicf("panic %d", 2)
	for range 10 {
		l.WithFields(logger.Fields{"shard": "s0"}).Errorf("failed: %v", errors.New("x"))
	}
	l.Errorf("session: %v", errSessionOver)
	l.Infof("step")
	stop()
	l.Errorf("at the stop")
	levels := map[string]string{}
	for _, e := range seen.All() {
		levels[e.Message] += e.Level.String() + " "
	}
	for message, want := range map[string]string{"fatal 1": "error ", "panic 2": "error ", "failed: x": "warn ",
		"session: the shard is not owned any more": "debug ", "step": "debug ", "at the stop": "debug "} {
		if levels[message] != want {
			t.Errorf("%q was logged at %q, want %q", message, levels[message], want)
		}
	}
}

func TestConfigNamesWhatIsMissing(t *testing.T) {
	if _, err := NewKCL(Config{}); err == nil || !strings.Contains(err.Error(), "Config.Stream") {
		t.Errorf("got %v", err)
	}
	if _, err := NewKCL(Config{Stream: "trips"}); err == nil || !strings.Contains(err.Error(), "Config.Client") {
		t.Errorf("got %v", err)
	}
}
