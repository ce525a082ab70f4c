package amazon

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
)

// connectTimeout bounds connecting, so that a silent address is told from a
// slow answer.
const connectTimeout = 5 * time.Second

// Config is the SDK's default configuration (environment, profile,
// AWS_CA_BUNDLE) with an HTTP client for many goroutines that talk to one host.
// An empty region and nil credentials are the default chain's.
func Config(ctx context.Context, region string, creds aws.CredentialsProvider) (aws.Config, error) {
	// The SDK adds a CA bundle to a *BuildableClient alone, so it is wrapped after.
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).
		WithTransportOptions(func(t *http.Transport) { t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 256 }))}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	if creds != nil {
		options = append(options, config.WithCredentialsProvider(creds))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("configure the AWS client: %w: check AWS_PROFILE, AWS_CA_BUNDLE and the files of the AWS configuration", err)
	}
	cfg.HTTPClient = HTTPClient(cfg.HTTPClient)
	return cfg, nil
}

// HTTPClient hides from net/http what a request body is. With a fast server an
// answer may overtake the end of the request; the body's early close then
// surfaces as "use of closed network connection", and the SDK's retry does the
// same thing twice.
func HTTPClient(inner aws.HTTPClient) aws.HTTPClient { return opaqueBody{inner} }

type opaqueBody struct{ inner aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c opaqueBody) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		clone := *r
		clone.Body = struct{ io.ReadCloser }{r.Body}
		r = &clone
	}
	return c.inner.Do(r)
}
