package remote

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// fakeS3 is a bucket named "bucket" in us-east-1 with what S3 documents for the
// calls of this package.
type fakeS3 struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]string
	requests []string // "list prefix", "head key", "get key bytes=5-"
	// fault, if set, may answer the nth request (1 is the first).
	fault func(nth int, what string, w http.ResponseWriter, r *http.Request) bool
	sums  bool // objects have a checksum
}

func newFakeS3(t *testing.T, objects map[string]string) *fakeS3 {
	f := &fakeS3{objects: objects}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeS3) client(region, key string) *s3.Client {
	return s3.New(s3.Options{BaseEndpoint: aws.String(f.URL), UsePathStyle: true, Region: region,
		Credentials: credentials.NewStaticCredentialsProvider(key, "secret", "")})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	what := strings.ToLower(r.Method) + " " + key
	if r.URL.Query().Has("list-type") {
		what = "list " + r.URL.Query().Get("prefix")
	}
	if span := r.Header.Get("Range"); span != "" {
		what += " " + span
	}
	f.requests = append(f.requests, what)
	content, there := f.objects[key]
	tag := etag(content)
	switch auth := r.Header.Get("Authorization"); {
	case f.fault != nil && f.fault(len(f.requests), what, w, r):
	case !strings.Contains(auth, "Credential=key/"):
		refuse(w, 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case !strings.Contains(auth, "/us-east-1/s3/"):
		w.Header().Set("X-Amz-Bucket-Region", "us-east-1")
		refuse(w, 301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.")
	case bucket != "bucket":
		refuse(w, 404, "NoSuchBucket", "The specified bucket does not exist")
	case strings.HasPrefix(what, "list"):
		f.list(w, r)
	case !there:
		refuse(w, 404, "NoSuchKey", "The specified key does not exist.")
	case r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != tag:
		refuse(w, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	default:
		if f.sums && r.Header.Get("Range") == "" {
			sum := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
			w.Header().Set("X-Amz-Checksum-Crc32c", base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}))
			w.Header().Set("X-Amz-Checksum-Type", "FULL_OBJECT")
		}
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
}

// list answers two keys at a time.
func (f *fakeS3) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	type content struct {
		Key, ETag string
		Size      int
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
	}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") {
			continue
		}
		if len(page.Contents) == 2 {
			page.IsTruncated, page.NextContinuationToken = true, page.Contents[1].Key
			break
		}
		page.Contents = append(page.Contents, content{key, etag(f.objects[key]), len(f.objects[key])})
	}
	_ = xml.NewEncoder(w).Encode(page)
}

func etag(content string) string {
	sum := md5.Sum([]byte(content))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// half sends the header and half of a content, and breaks the connection.
func half(w http.ResponseWriter, content string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write([]byte(content[:len(content)/2]))
	_ = http.NewResponseController(w).Flush()
	if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
		c.Close()
	}
}

var quiet = log.New(io.Discard, "", 0)
