package amazon_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/tripgrid/tripgrid/internal/amazon"
)

// TestExplain asks servers that are wrong in one way each.
func TestExplain(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	good := credentials.NewStaticCredentialsProvider("key", "secret", "")
	answer := func(status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, c := range []struct {
		name, at string
		creds    aws.CredentialsProvider
		want     string
	}{
		{"no credentials", answer(200, "{}"), nil, "there are no AWS credentials for stream trips: give the machine a role or set a profile"},
		{"an expired token", answer(400, `{"__type":"ExpiredTokenException","message":"it has expired"}`), good,
			"Kinesis refused the credentials for stream trips: check them, the region and the machine's clock (ExpiredTokenException: it has expired)"},
		{"nobody", "http://127.0.0.1:1", good, "nothing listens at the Kinesis endpoint of eu-west-1: check the endpoint"},
		{"http for https", strings.Replace(answer(200, "{}"), "http://", "https://", 1), good,
			"the Kinesis endpoint of eu-west-1 does not speak TLS: begin it with http://"},
		{"a page", answer(200, "<html>"), good,
			"what answers at the Kinesis endpoint of eu-west-1 is not Kinesis: check the endpoint, and whether it begins with http:// or https://"},
		{"a service that is throttled", answer(400, `{"__type":"LimitExceededException","message":"slow down"}`), good, ""},
	} {
		cfg, err := amazon.Config(t.Context(), "eu-west-1", c.creds)
		if err != nil {
			t.Fatal(err)
		}
		client := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
			o.BaseEndpoint, o.Retryer = &c.at, aws.NopRetryer{}
		})
		_, err = client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: aws.String("trips")})
		if got := amazon.Explain(err, "Kinesis", "stream trips", "eu-west-1"); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q; of %v", c.name, got, c.want, err)
		}
	}
}
