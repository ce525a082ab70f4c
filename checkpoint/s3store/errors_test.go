package s3store

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

func TestConfigIsValidated(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"":                             func(*Config) {},
		"the S3 bucket is missing":     func(c *Config) { c.Bucket = "" },
		"is no S3 bucket":              func(c *Config) { c.Bucket = "bucket/folder" },
		"is no S3 prefix":              func(c *Config) { c.Prefix = "/a" },
		"is no S3 encryption":          func(c *Config) { c.SSE = "aes" },
		"set it to aws:kms":            func(c *Config) { c.KMSKeyID = "k" },
		"S3 takes 5 MiB":               func(c *Config) { c.PartSize = 1 << 20 },
		"leave it out for the default": func(c *Config) { c.Attempts = -1 },
	} {
		cfg := Config{Bucket: "b"}
		change(&cfg)
		err := cfg.Validate()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
}

// Every mistake of a user is answered by what to do.
func TestOpenSaysWhatToDo(t *testing.T) {
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0) // of the refused handshake
	tls.StartTLS()
	defer tls.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	f := newFake(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	good := credentials.NewStaticCredentialsProvider("key", "secret", "")
	for _, c := range []struct {
		name, endpoint, region string
		creds                  aws.CredentialsProvider
		bucket, want           string
	}{
		{"no bucket", f.URL, "us-east-1", good, "other", "list s3://other/: there is no bucket other: create it or correct its name"},
		{"wrong region", f.URL, "eu-west-1", good, "bucket", "the bucket bucket is in the region us-east-1: set that region"},
		{"wrong key", f.URL, "us-east-1", credentials.NewStaticCredentialsProvider("k", "s", ""), "bucket", "the credentials are wrong: check the access key"},
		{"no credentials", f.URL, "us-east-1", nil, "bucket", "there are no credentials: set AWS_ACCESS_KEY_ID"},
		{"nobody there", "http://" + free.Addr().String(), "us-east-1", good, "bucket", "the endpoint cannot be reached: check its address"},
		{"unknown host", "http://nobody.invalid", "us-east-1", good, "bucket", "the endpoint cannot be reached: check its address"},
		{"unknown CA", tls.URL, "us-east-1", good, "bucket", "AWS_CA_BUNDLE names the file of its CA"},
		{"no TLS", strings.Replace(f.URL, "http:", "https:", 1), "us-east-1", good, "bucket", "begin it with http://"},
	} {
		client, err := NewClient(t.Context(), c.endpoint, c.region, c.creds)
		if err != nil {
			t.Fatal(err)
		}
		cfg := settings("")
		cfg.Bucket = c.bucket
		_, err = Open(t.Context(), client, cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := NewClient(t.Context(), f.URL, "", good); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("no region: %v", err)
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	large := make([]byte, minPartSize+1)
	put := func(s *Store, t *testing.T) error { return s.Put(t.Context(), "taxi/1/1/p", []byte("x")) }
	get := func(s *Store, t *testing.T) error { _, err := s.Get(t.Context(), "taxi/1/1/p"); return err }
	for _, c := range []struct {
		op, code string
		status   int
		message  string
		call     func(*Store, *testing.T) error
		want     string
	}{
		{"get", "AccessDenied", 403, "", get, "get s3://bucket/p/taxi/1/1/p: access denied: allow s3:GetObject (and s3:ListBucket on the bucket"},
		{"put", "AccessDenied", 403, "", put, "put s3://bucket/p/taxi/1/1/p: access denied: allow s3:PutObject and s3:GetObject on arn:aws:s3:::bucket/p/taxi/1/1/p"},
		{"put", "AccessDenied", 403, "User: arn:aws:iam::1:user/u is not authorized to perform: kms:GenerateDataKey on the resource", put,
			"allow kms:GenerateDataKey on the KMS key alias/k"},
		{"list", "AccessDenied", 403, "", func(s *Store, t *testing.T) error { _, err := s.List(t.Context(), ""); return err },
			"allow s3:ListBucket on arn:aws:s3:::bucket, and kms:"},
		{"delete", "AccessDenied", 403, "", func(s *Store, t *testing.T) error { return s.Delete(t.Context(), "taxi/1/1/p") }, "allow s3:DeleteObject on"},
		{"head", "", 403, "", func(s *Store, t *testing.T) error { return s.Put(t.Context(), "taxi/1/1/p", large) }, "allow s3:GetObject (and"},
		{"create", "AccessDenied", 403, "", func(s *Store, t *testing.T) error { return s.Put(t.Context(), "taxi/1/1/p", large) }, "allow s3:PutObject on"},
		{"put", "KMS.NotFoundException", 400, "", put, `the KMS key "alias/k" cannot be used`},
		{"put", "ExpiredToken", 400, "", put, "the credentials have expired: renew them"},
		{"put", "SignatureDoesNotMatch", 403, "", put, "the credentials are wrong"},
		{"put", "RequestTimeTooSkewed", 403, "", put, "this machine's clock is wrong"},
		{"put", "SlowDown", 503, "", put, "answer lost: S3 throttles the requests or is down"},
		{"put", "InternalError", 500, "", put, "answer lost: S3 failed: try again later"},
		{"put", "ConditionalRequestConflict", 409, "", put, "other writers of the same name keep S3 busy"},
		{"put", "NotImplemented", 501, "", put, "the server lacks what the store needs"},
		{"get", "AuthorizationHeaderMalformed", 400, "", get, "the bucket bucket is in another region"},
		{"get", "NoSuchBucket", 404, "Not there.", get, "there is no bucket bucket: create it or correct its name: S3 says NoSuchBucket: Not there"},
	} {
		f := newFake(t)
		cfg := settings("p")
		cfg.SSE, cfg.KMSKeyID = "aws:kms", "alias/k"
		s := open(t, f, cfg)
		f.onFault(c.op, func(_ int, w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) bool {
			refuse(w, c.status, c.code, c.message)
			return true
		})
		err := c.call(s, t)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("%s %s: %v, want %q", c.op, c.code, err, c.want)
		}
	}
}
