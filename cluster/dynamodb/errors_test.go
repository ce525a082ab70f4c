package dynamodb

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/tripgrid/tripgrid/cluster"
)

// through returns a table that uses the SDK's own client.
func through(t *testing.T, change func(*sdk.Options, *http.Transport), configs ...func(*Config)) *Table {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	o := sdk.Options{Region: "eu-west-1", HTTPClient: &http.Client{Transport: tr}, Credentials: credentials.NewStaticCredentialsProvider("id", "key", "")}
	change(&o, tr)
	c := Config{Table: "leases", Scope: "job/1", Backoff: time.Microsecond, MaxBackoff: time.Microsecond, Attempts: 3}
	for _, ch := range configs {
		ch(&c)
	}
	table, err := New(sdk.New(o), c)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func answering(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// What a user can get wrong is answered in one sentence with what to do; and
// the client does not retry behind the table's back.
func TestAnswersOfTheServerAreExplained(t *testing.T) {
	for _, c := range []struct {
		status   int
		code     string
		attempts int
		want     string
	}{
		{400, "ResourceNotFoundException", 1, "lease table leases in eu-west-1 does not exist: create it, or set the right table and region"},
		{400, "AccessDeniedException", 1, "this identity may not call dynamodb:GetItem on lease table leases in eu-west-1: grant it (AccessDeniedException: told so)"},
		{400, "UnrecognizedClientException", 1, "refused the credentials for lease table leases in eu-west-1: check them, the region and the machine's clock"},
		{400, "InvalidSignatureException", 1, "refused the credentials"},
		{400, "ExpiredTokenException", 1, "refused the credentials"},
		{400, "ValidationException", 1, "lease table leases in eu-west-1 does not take it: check that its keys are scope and resource (ValidationException: told so)"},
		{400, "ProvisionedThroughputExceededException", 3, "still throttled after 3 attempts: raise its capacity or bill it on demand"},
		{400, "ThrottlingException", 3, "still throttled"},
		{400, "RequestLimitExceeded", 3, "still throttled"},
		{500, "InternalServerError", 3, "lease table leases in eu-west-1 failed: InternalServerError: told so"},
		{503, "ServiceUnavailable", 3, "lease table leases in eu-west-1 failed: ServiceUnavailable: told so"},
	} {
		var attempts atomic.Int64
		s := answering(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			attempts.Add(1)
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(c.status)
			fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"told so"}`, c.code)
		})
		table := through(t, func(o *sdk.Options, _ *http.Transport) { o.BaseEndpoint = &s.URL })
		_, err := table.Get(t.Context(), "shard")
		says(t, c.code, err, "read lease of shard: ")
		says(t, c.code, err, c.want)
		if n := attempts.Load(); n != int64(c.attempts) {
			t.Errorf("%s was asked %d times, want %d", c.code, n, c.attempts)
		}
	}
}

func TestUnreachableServersAreExplained(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	t.Cleanup(secure.Close)
	silent := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	cutting := answering(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	quick := func(c *Config) { c.Timeout = 50 * time.Millisecond }
	for _, c := range []struct {
		name   string
		change func(*sdk.Options, *http.Transport)
		config func(*Config)
		want   string
	}{
		{name: "no credentials", want: "there are no AWS credentials for lease table leases in eu-west-1: give the machine a role or set a profile",
			change: func(o *sdk.Options, _ *http.Transport) {
				o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{}, fmt.Errorf("no EC2 IMDS role found")
				})
			}},
		{name: "no region", want: "there is no DynamoDB endpoint for lease table leases: set a region or an endpoint",
			change: func(o *sdk.Options, _ *http.Transport) { o.Region = "" }},
		{name: "no such region", want: "the DynamoDB endpoint of eu-wets-1 has no address: check the region, the endpoint and the name server",
			change: func(o *sdk.Options, tr *http.Transport) {
				o.Region = "eu-wets-1"
				tr.DialContext = func(_ context.Context, _, addr string) (net.Conn, error) {
					host, _, _ := net.SplitHostPort(addr)
					return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
				}
			}},
		{name: "nobody there", want: "nothing listens at the DynamoDB endpoint of eu-west-1: check the endpoint",
			change: func(o *sdk.Options, _ *http.Transport) { o.BaseEndpoint = aws.String("http://" + nobody) }},
		{name: "own certificate", want: "shows a certificate that is not trusted: check the endpoint or set the CA bundle in AWS_CA_BUNDLE",
			change: func(o *sdk.Options, _ *http.Transport) { o.BaseEndpoint = &secure.URL }},
		{name: "no answer", want: "DynamoDB gave no answer within 50ms in 3 attempts: check the network to lease table leases in eu-west-1", config: quick,
			change: func(o *sdk.Options, _ *http.Transport) { o.BaseEndpoint = &silent.URL }},
		{name: "cut", want: "lease table leases in eu-west-1 failed: ",
			change: func(o *sdk.Options, _ *http.Transport) { o.BaseEndpoint = &cutting.URL }},
	} {
		if c.config == nil {
			c.config = func(*Config) {}
		}
		table := through(t, c.change, c.config)
		_, err := table.List(t.Context())
		says(t, c.name, err, c.want)
		_, err = table.Update(t.Context(), cluster.Lease{Resource: "shard"}, 1)
		says(t, c.name, err, "update lease of shard: ")
		says(t, c.name, err, c.want)
	}
}

func says(t *testing.T, name string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", name, err, want)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a sentence: %q", name, err)
	}
}

// nobody listens there, and no test is given that port.
const nobody = "127.0.0.1:1"
