package s3store

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
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
)

// API is what the store needs of S3; *s3.Client has it.
type API interface {
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error)
	UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error)
	CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
}

var _ API = (*s3.Client)(nil)

// connectTimeout bounds connecting, so that a silent address is told from a
// slow answer.
const connectTimeout = 5 * time.Second

// NewClient returns a client over the SDK's default configuration
// (environment, profile, AWS_CA_BUNDLE). An empty region and nil credentials
// are the default chain's. An empty endpoint is AWS's own; any other is
// addressed by path (http://host/bucket/key), which S3-compatible servers need.
func NewClient(ctx context.Context, endpoint, region string, creds aws.CredentialsProvider) (*s3.Client, error) {
	// The SDK adds a CA bundle to a *BuildableClient alone, so it is wrapped after.
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 64, 64
		}))}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	if creds != nil {
		options = append(options, config.WithCredentialsProvider(creds))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("configure the S3 client: %w: check AWS_PROFILE, AWS_CA_BUNDLE and the files of the AWS configuration", err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("configure the S3 client: no region is set, name the bucket's region or set AWS_REGION")
	}
	cfg.HTTPClient = opaqueBody{cfg.HTTPClient}
	cfg.Logger = logging.Nop{} // errors come back; it would write to stderr
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = aws.String(endpoint), true
		}
		// The store has a checksum of its own for servers that return none.
		o.DisableLogOutputChecksumValidationSkipped = true
	}), nil
}

// opaqueBody hides from net/http what a request body is: a fast server's
// answer may overtake the end of the request, and the body's early close then
// surfaces as "use of closed network connection".
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
