package localkinesis

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a folder until the test ends or stop is called, which may be repeated.
func start(t testing.TB, cfg Config, tune tuning) (s *Server, stop func()) {
	t.Helper()
	s, err := open(cfg, tune)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// client makes an SDK client that tries each call once.
func client(t testing.TB, endpoint string, options ...func(*http.Transport)) *kinesis.Client {
	t.Helper()
	h := awshttp.NewBuildableClient().WithTimeout(time.Minute).WithTransportOptions(options...)
	return kinesis.New(kinesis.Options{
		Region:       "us-east-1",
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:   plainBodies{h},
		Retryer:      aws.NopRetryer{},
	})
}

// plainBodies hides that the SDK's request bodies have a WriteTo. The SDK closes the body when the answer begins, and a
// closed body's WriteTo returns io.EOF, which net/http, should it only then look for a surplus of the body, takes for a
// failed write: it closes the connection under the answer ("use of closed network connection"). Fast servers see that
// now and then.
type plainBodies struct{ kinesis.HTTPClient }

func (c plainBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.HTTPClient.Do(r)
}
