package localkinesis

import (
	"context"
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

// client makes an SDK client and drops its connections when the test ends.
func client(t testing.TB, endpoint string) *kinesis.Client {
	t.Helper()
	h := awshttp.NewBuildableClient().WithTimeout(30 * time.Second)
	c := kinesis.New(kinesis.Options{
		Region:       "us-east-1",
		BaseEndpoint: &endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
		HTTPClient:   h,
		Retryer:      aws.NopRetryer{},
	})
	return c
}
