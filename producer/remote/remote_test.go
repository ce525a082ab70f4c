package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// quick are settings for tests: pauses of nothing.
func quick(c Config) Config {
	c.Backoff = time.Nanosecond
	return c
}

func using(f *fakeS3) Config {
	return quick(Config{S3: func(context.Context) (S3, error) { return f.client("us-east-1", "key"), nil }})
}

// fetchAll finds and fetches what URLs mean, and returns names and contents.
func fetchAll(t *testing.T, cfg Config, urls ...string) (names, contents []string, err error) {
	t.Helper()
	dir := t.TempDir()
	c, err := New(cfg, dir)
	if err != nil {
		t.Fatal(err)
	}
	var objects []Object
	for _, url := range urls {
		found, err := c.Find(t.Context(), url)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, found...)
	}
	f := c.Fetch(t.Context(), objects)
	defer func() {
		f.Close()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%d files are left: %v", len(left), err)
		}
	}()
	for i := range objects {
		file, err := f.Next(t.Context(), func() {})
		if err != nil {
			return names, contents, err
		}
		content, err := io.ReadAll(file)
		if err = errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		names, contents = append(names, objects[i].Name), append(contents, string(content))
	}
	return names, contents, nil
}

func TestIs(t *testing.T) {
	for name, want := range map[string]bool{"s3://b/k": true, "https://h/p": true, "gs://b": true, "/a/b://c": false, "a.csv": false, "://x": false, "": false, "c:/x": false} {
		if Is(name) != want {
			t.Errorf("%q is a URL: %v", name, !want)
		}
	}
}

func TestBucketNames(t *testing.T) {
	f := newFakeS3(t, map[string]string{
		"2024/": "", "2024/01.csv": "one", "2024/02.csv": "two", "2024/more/03.csv": "three", "2024/x é+%20.txt": "four", "2025/01.csv": "five", "a": "six",
	})
	for name, want := range map[string]string{
		"s3://bucket/2024/":            "2024/01.csv one, 2024/02.csv two, 2024/more/03.csv three, 2024/x é+%20.txt four",
		"s3://bucket/2024/*.csv":       "2024/01.csv one, 2024/02.csv two",
		"s3://bucket/202?/01.csv":      "2024/01.csv one, 2025/01.csv five",
		"s3://bucket/2024/[a-n]*/*":    "2024/more/03.csv three",
		"s3://bucket/2024/01.csv":      "2024/01.csv one",
		"s3://bucket/2024/x é+%20.txt": "2024/x é+%20.txt four",
		"s3://bucket/*":                "a six",
		"s3://bucket/2025/":            "2025/01.csv five",
		"s3://bucket":                  "2024/01.csv one, 2024/02.csv two, 2024/more/03.csv three, 2024/x é+%20.txt four, 2025/01.csv five, a six",
		"s3://bucket/":                 "2024/01.csv one, 2024/02.csv two, 2024/more/03.csv three, 2024/x é+%20.txt four, 2025/01.csv five, a six",
	} {
		names, contents, err := fetchAll(t, using(f), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for i := range names {
			got = append(got, strings.TrimPrefix(names[i], "s3://bucket/")+" "+contents[i])
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
}

// What a user can get wrong with S3 is said in one sentence.
func TestBucketErrors(t *testing.T) {
	f := newFakeS3(t, map[string]string{"2024/01.csv": "one", "2024/02.csv": "two"})
	denied := func(what string) func(int, string, http.ResponseWriter, *http.Request) bool {
		return func(_ int, got string, w http.ResponseWriter, _ *http.Request) bool {
			if strings.HasPrefix(got, what) {
				refuse(w, 403, "AccessDenied", "Access Denied")
			}
			return strings.HasPrefix(got, what)
		}
	}
	answer := func(what string, status int, code string) func(int, string, http.ResponseWriter, *http.Request) bool {
		return func(_ int, got string, w http.ResponseWriter, _ *http.Request) bool {
			if strings.HasPrefix(got, what) {
				refuse(w, status, code, "Sorry")
			}
			return strings.HasPrefix(got, what)
		}
	}
	// No credentials anywhere.
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	anonymous := func(ctx context.Context) (S3, error) {
		cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
		return s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = &f.URL, true }), err
	}
	as := func(region, key string) func(context.Context) (S3, error) {
		return func(context.Context) (S3, error) { return f.client(region, key), nil }
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	secure := httptest.NewTLSServer(f)
	defer secure.Close()
	secure.Config.ErrorLog = quiet
	at := func(endpoint string) func(context.Context) (S3, error) {
		return func(context.Context) (S3, error) {
			g := &fakeS3{Server: &httptest.Server{URL: endpoint}}
			return g.client("us-east-1", "key"), nil
		}
	}
	for _, c := range []struct {
		name, url string
		s3        func(context.Context) (S3, error)
		fault     func(int, string, http.ResponseWriter, *http.Request) bool
		want      string
	}{
		{"no bucket, list", "s3://absent/x/", as("us-east-1", "key"), nil, "there is no bucket absent: correct its name (S3 says NoSuchBucket"},
		{"no bucket, object", "s3://absent/x", as("us-east-1", "key"), nil, "there is no bucket absent: correct its name"},
		{"bucket unnamed", "s3:///x", as("us-east-1", "key"), nil, "it names no bucket: write s3://bucket/prefix/"},
		{"list denied", "s3://bucket/2024/", as("us-east-1", "key"), denied("list"), "access denied: allow s3:ListBucket on arn:aws:s3:::bucket (S3 says AccessDenied"},
		{"get denied", "s3://bucket/2024/", as("us-east-1", "key"), denied("get"), "access denied: allow s3:GetObject on arn:aws:s3:::bucket/2024/01.csv"},
		{"head denied", "s3://bucket/2024/01.csv", as("us-east-1", "key"), denied("head"), "access denied: allow s3:GetObject on arn:aws:s3:::bucket/2024/01.csv"},
		{"region, list", "s3://bucket/2024/", as("eu-west-1", "key"), nil, "the bucket bucket is in the region us-east-1: set that region"},
		{"region, object", "s3://bucket/2024/01.csv", as("eu-west-1", "key"), nil, "the bucket bucket is in the region us-east-1: set that region"},
		{"region, header", "s3://bucket/2024/", as("us-east-1", "key"), answer("list", 400, "AuthorizationHeaderMalformed"), "the bucket bucket is in another region: set the region"},
		{"credentials", "s3://bucket/2024/", as("us-east-1", "nobody"), nil, "the credentials are wrong: check the access key"},
		{"expired", "s3://bucket/2024/", as("us-east-1", "key"), answer("list", 400, "ExpiredToken"), "the credentials have expired: renew them"},
		{"no credentials", "s3://bucket/2024/", anonymous, nil, "there are no credentials: set AWS_ACCESS_KEY_ID"},
		{"nothing", "s3://bucket/2025/", as("us-east-1", "key"), nil, "no object in the bucket matches: check the prefix"},
		{"no match", "s3://bucket/2024/*.parquet", as("us-east-1", "key"), nil, "no object in the bucket matches"},
		{"pattern", "s3://bucket/2024/[a", as("us-east-1", "key"), nil, "the pattern is malformed"},
		{"no object", "s3://bucket/2024/09.csv", as("us-east-1", "key"), nil, "there is no such object: check the key"},
		{"prefix", "s3://bucket/2024", as("us-east-1", "key"), nil, "end it with a slash to read all under it"},
		{"archived", "s3://bucket/2024/", as("us-east-1", "key"), answer("get", 403, "InvalidObjectState"), "the object is archived: restore it first"},
		{"busy", "s3://bucket/2024/", as("us-east-1", "key"), answer("get", 503, "SlowDown"), "S3 is busy or failed: try again later"},
		{"deleted", "s3://bucket/2024/", as("us-east-1", "key"), answer("get", 404, "NoSuchKey"), "the object is gone: start again"},
		{"refused", "s3://bucket/2024/", at(gone.URL), nil, "the server refuses the connection: check the address and its port"},
		{"unknown host", "s3://bucket/2024/", at("http://absent.invalid"), nil, "the host absent.invalid is unknown: check the address"},
		{"TLS", "s3://bucket/2024/", at(secure.URL), nil, "TLS failed ("},
		{"no TLS", "s3://bucket/2024/", at("https" + strings.TrimPrefix(f.URL, "http")), nil, "the server does not speak TLS: begin the address with http://"},
		{"no S3", "s3://bucket/2024/", nil, nil, "there is no S3 here"},
		{"no client", "s3://bucket/2024/", func(context.Context) (S3, error) { return nil, errors.New("no region is set: set AWS_REGION") }, nil, "no region is set"},
		{"another scheme", "gs://bucket/2024/", nil, nil, "nothing is known of gs://: give a path, an https:// URL or s3://bucket/prefix/"},
	} {
		f.mu.Lock()
		f.fault = c.fault
		f.mu.Unlock()
		cfg := quick(Config{S3: c.s3})
		_, _, err := fetchAll(t, cfg, c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// website serves one content with a strong ETag; fault may answer the nth GET.
type website struct {
	*httptest.Server
	content atomic.Pointer[string]
	gets    atomic.Int64
	spans   chan string
	fault   func(nth int64, w http.ResponseWriter, r *http.Request) bool
}

func newWebsite(t *testing.T, content string, fault func(nth int64, w http.ResponseWriter, r *http.Request) bool) *website {
	s := &website{spans: make(chan string, 100), fault: fault}
	s.content.Store(&content)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *website) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.spans <- r.Header.Get("Range")
		if s.fault != nil && s.fault(s.gets.Add(1), w, r) {
			return
		}
	}
	content := *s.content.Load()
	w.Header().Set("ETag", etag(content))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

func (s *website) asked() (spans []string) {
	for len(s.spans) > 0 {
		spans = append(spans, <-s.spans)
	}
	return spans
}

// A connection that is cut, at either place, costs nothing that has come.
func TestResume(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	var site *website
	cut := func(nth int64, w http.ResponseWriter, _ *http.Request) bool {
		if nth == 1 {
			w.Header().Set("ETag", etag(content))
			half(w, content)
		}
		return nth == 1
	}
	site = newWebsite(t, content, cut)
	_, got, err := fetchAll(t, quick(Config{}), site.URL+"/x.csv")
	if err != nil || len(got) != 1 || got[0] != content {
		t.Fatalf("%v: %d files", err, len(got))
	}
	if spans := site.asked(); !slices.Equal(spans, []string{"", "bytes=5000-"}) {
		t.Errorf("it asked for %q", spans)
	}
	for _, sums := range []bool{false, true} {
		f := newFakeS3(t, map[string]string{"x": content})
		f.sums = sums
		f.fault = func(_ int, what string, w http.ResponseWriter, _ *http.Request) bool {
			if what == "get x" {
				w.Header().Set("ETag", etag(content))
				half(w, content)
			}
			return what == "get x"
		}
		_, got, err = fetchAll(t, using(f), "s3://bucket/x")
		if err != nil || len(got) != 1 || got[0] != content {
			t.Fatalf("%v: %d files", err, len(got))
		}
		if want := []string{"head x", "get x", "get x bytes=5000-"}; !slices.Equal(f.requests, want) {
			t.Errorf("it asked for %q, want %q", f.requests, want)
		}
	}
}

// Without a version, or where Range means nothing, it starts over.
func TestStartOver(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	for name, tag := range map[string]string{"no version": "", "no ranges": etag(content), "weak": `W/"1"`} {
		gets := 0
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tag != "" {
				w.Header().Set("ETag", tag)
			}
			if r.Method == http.MethodGet {
				if gets++; gets < 3 {
					half(w, content)
					return
				}
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			if r.Method == http.MethodGet {
				fmt.Fprint(w, content)
			}
		}))
		_, got, err := fetchAll(t, quick(Config{}), site.URL)
		if err != nil || len(got) != 1 || got[0] != content || gets != 3 {
			t.Errorf("%s: %v, %d files, %d requests", name, err, len(got), gets)
		}
		site.Close()
	}
}

// A file is never put together from two versions.
func TestChanged(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	var site *website
	other := strings.Repeat("x", 10_000)
	site = newWebsite(t, content, func(nth int64, w http.ResponseWriter, _ *http.Request) bool {
		if nth == 1 {
			site.content.Store(&other) // before the cut, which the next request may follow at once
			w.Header().Set("ETag", etag(content))
			half(w, content)
		}
		return nth == 1
	})
	if _, _, err := fetchAll(t, quick(Config{}), site.URL); !errors.Is(err, errChanged) {
		t.Errorf("a web server: %v", err)
	}
	f := newFakeS3(t, map[string]string{"x": content})
	f.fault = func(nth int, what string, w http.ResponseWriter, _ *http.Request) bool {
		if nth == 2 {
			f.objects["x"] = other
			w.Header().Set("ETag", etag(content))
			half(w, content)
		}
		return nth == 2
	}
	if _, _, err := fetchAll(t, using(f), "s3://bucket/x"); !errors.Is(err, errChanged) {
		t.Errorf("S3: %v", err)
	}
}

// What is wrong for ever is asked once; what may mend, a few times.
func TestAttempts(t *testing.T) {
	for status, want := range map[int]int64{404: 1, 403: 1, 401: 1, 410: 1, 501: 1, 500: 3, 503: 3, 429: 3} {
		site := newWebsite(t, "x", func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		})
		_, _, err := fetchAll(t, quick(Config{Attempts: 3}), site.URL+"/x?signature=hidden")
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the server answers %d", status)) || site.gets.Load() != want || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%d: %v, %d requests, want %d", status, err, site.gets.Load(), want)
		}
	}
	// Tries that bring something each do not count.
	content := strings.Repeat("0123456789", 1<<20)
	site := newWebsite(t, content, func(nth int64, w http.ResponseWriter, r *http.Request) bool {
		if nth > 8 {
			return false
		}
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("ETag", etag(content))
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, content[from:from+progress+1])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	_, got, err := fetchAll(t, quick(Config{Attempts: 2}), site.URL)
	if err != nil || len(got) != 1 || got[0] != content {
		t.Errorf("%v, %d requests", err, site.gets.Load())
	}
}

// What a user can get wrong with a web server is said in one sentence.
func TestWebErrors(t *testing.T) {
	site := newWebsite(t, "x", nil)
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	secure.Config.ErrorLog = quiet
	defer secure.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	for name, c := range map[string]struct{ url, want string }{
		"missing":      {missing.URL + "/a.csv", "/a.csv: the server answers 404 Not Found: check the address"},
		"refused":      {gone.URL, "the server refuses the connection: check the address and its port"},
		"unknown host": {"https://user:password@absent.invalid/x?signature=hidden", "read trips of https://absent.invalid/x: the host absent.invalid is unknown"},
		"TLS":          {secure.URL, "TLS failed (tls: failed to verify certificate"},
		"no TLS":       {"https" + strings.TrimPrefix(site.URL, "http"), "the server does not speak TLS: begin the address with http://"},
		"silent":       {silent.URL, "the server has been silent for 50ms: check the network"},
		"no host":      {"https:///x", "it is no valid URL"},
		"malformed":    {"https://user:password@ho st/%zz?signature=hidden", "it is no valid URL"},
		"slash":        {"https://user:password/a@host/x?signature=hidden", "read trips of https://host/x: it is no valid URL"},
		"question":     {"https://user:password?a@host/x?signature=hidden", "read trips of https://host/x: it is no valid URL"},
	} {
		_, _, err := fetchAll(t, quick(Config{Attempts: 2, Timeout: 50 * time.Millisecond}), c.url)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: it tells a secret: %v", name, err)
		}
	}
}

// A file that does not fit is said so, with the folder to look at.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full")
	}
	full.Close()
	createTemp = func(string, string) (*os.File, error) { return os.OpenFile("/dev/full", os.O_RDWR, 0) }
	removeTemp = func(string) error { return nil }
	defer func() { createTemp, removeTemp = os.CreateTemp, os.Remove }()
	site := newWebsite(t, "x", nil)
	for _, cfg := range []Config{{}, {Cache: t.TempDir()}} {
		_, _, err = fetchAll(t, quick(cfg), site.URL)
		if err == nil || !strings.Contains(err.Error(), "no space left on device: free space there, or name another folder") || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %v", err)
		}
	}
}

// The cache spares the second fetch of the same, and only of the same.
func TestCache(t *testing.T) {
	f := newFakeS3(t, map[string]string{"a/1": "one", "a/2": "two"})
	cache := filepath.Join(t.TempDir(), "new", "cache")
	cfg := using(f)
	cfg.Cache = cache
	gets := func() (n int) {
		for _, what := range f.requests {
			if strings.HasPrefix(what, "get") {
				n++
			}
		}
		return n
	}
	for round, want := range []int{2, 2, 3, 4} {
		switch round {
		case 2:
			f.objects["a/1"] = "eins"
		case 3:
			kept, err := filepath.Glob(filepath.Join(cache, "*-2"))
			if err != nil || len(kept) != 1 {
				t.Fatal(kept, err)
			}
			if err := os.WriteFile(kept[0], []byte("t"), 0o644); err != nil { // a crash of the machine
				t.Fatal(err)
			}
		}
		_, got, err := fetchAll(t, cfg, "s3://bucket/a/")
		if err != nil || !slices.Equal(got, []string{f.objects["a/1"], f.objects["a/2"]}) || gets() != want {
			t.Errorf("round %d: %v, %q, %d requests, want %d", round, err, got, gets(), want)
		}
	}
	// What a crash left goes after a day.
	for name, age := range map[string]time.Duration{"part-1": 2 * staleAfter, "part-2": 0} {
		path := filepath.Join(cache, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	f.objects["a/1"] = "un"
	if _, _, err := fetchAll(t, cfg, "s3://bucket/a/1"); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "part-*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "part-2" {
		t.Errorf("left %v, %v", left, err)
	}
}

// Where nobody says a version, what is kept could be an older one: it is not kept.
func TestCacheWithoutVersion(t *testing.T) {
	content := "one"
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		_, _ = io.WriteString(w, content)
	}))
	t.Cleanup(site.Close)
	cfg := quick(Config{Cache: t.TempDir()})
	for _, content = range []string{"one", "two"} {
		if _, got, err := fetchAll(t, cfg, site.URL+"/trips.csv"); err != nil || !slices.Equal(got, []string{content}) {
			t.Errorf("%q instead of %q, %v", got, content, err)
		}
	}
	if left, err := os.ReadDir(cfg.Cache); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A listing that breaks off is no smaller data set.
func TestListingBreaksOff(t *testing.T) {
	for _, token := range []string{"", "<NextContinuationToken>again</NextContinuationToken>"} {
		f := newFakeS3(t, map[string]string{"1": "one"})
		f.fault = func(_ int, _ string, w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprintf(w, "<ListBucketResult><IsTruncated>true</IsTruncated>%s<Contents><Key>1</Key><Size>3</Size></Contents></ListBucketResult>", token)
			return true
		}
		if _, _, err := fetchAll(t, using(f), "s3://bucket/"); err == nil || !strings.Contains(err.Error(), "there are more objects and not where") {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// A listing may take longer than a request may be silent; a folder that cannot be
// written is named.
func TestSlowListingAndBadFolder(t *testing.T) {
	f := newFakeS3(t, map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "8": ""})
	f.fault = func(int, string, http.ResponseWriter, *http.Request) bool {
		time.Sleep(100 * time.Millisecond)
		return false
	}
	cfg := using(f)
	cfg.Timeout, cfg.Attempts = 300*time.Millisecond, 1
	c, err := New(cfg, filepath.Join(t.TempDir(), "absent"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Find(t.Context(), "s3://bucket/")
	if err != nil || len(found) != 8 {
		t.Fatalf("%d objects, %v", len(found), err)
	}
	fetch := c.Fetch(t.Context(), found)
	defer fetch.Close()
	if _, err := fetch.Next(t.Context(), func() {}); err == nil || !strings.Contains(err.Error(), "absent/tripgrid-fetch-") || !strings.Contains(err.Error(), "name a folder that can be written") {
		t.Errorf("an absent folder: %v", err)
	}
}

// Reading ahead is bounded by files and by bytes, and closing ends it.
func TestAhead(t *testing.T) {
	objects := map[string]string{}
	for i := range 20 {
		objects[fmt.Sprintf("%02d", i)] = strings.Repeat("x", 100)
	}
	objects["big"] = strings.Repeat("x", 1000)
	for name, c := range map[string]struct {
		ahead int
		bytes int64
		want  int
	}{"by files": {3, 0, 4}, "by bytes": {64, 550, 5}, "none": {-1, 0, 1}, "one that is larger": {4, 50, 1}} {
		f := newFakeS3(t, objects)
		cfg := using(f)
		cfg.Ahead, cfg.AheadBytes = c.ahead, c.bytes
		dir := t.TempDir()
		client, err := New(cfg, dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := client.Find(t.Context(), "s3://bucket/")
		if err != nil {
			t.Fatal(err)
		}
		fetch := client.Fetch(t.Context(), found)
		file, err := fetch.Next(t.Context(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		gets := func() (n int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, what := range f.requests {
				if strings.HasPrefix(what, "get") {
					n++
				}
			}
			return n
		}
		for deadline := time.Now().Add(5 * time.Second); gets() < c.want && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond) // for those that must not come
		if got := gets(); got != c.want {
			t.Errorf("%s: %d files are fetched while the first is read, want %d", name, got, c.want)
		}
		file.Close()
		for range len(found) - 1 {
			file, err := fetch.Next(t.Context(), func() {})
			if err != nil {
				t.Fatal(err)
			}
			if content, err := io.ReadAll(file); err != nil || len(bytes.Trim(content, "x")) > 0 || len(content) < 100 {
				t.Errorf("%s: %q, %v", name, content, err)
			}
			file.Close()
		}
		if fetch.Came() != 3000 {
			t.Errorf("%s: %d bytes came", name, fetch.Came())
		}
		fetch.Close()
		// In the middle, and at once.
		fetch = client.Fetch(t.Context(), found)
		if file, err = fetch.Next(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
		file.Close()
		fetch.Close()
		client.Fetch(t.Context(), found).Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		fetch = client.Fetch(ctx, found)
		if _, err := fetch.Next(ctx, func() {}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
		fetch.Close()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %d files are left: %v", name, len(left), err)
		}
	}
}

// An object whose bytes are not those of its checksum is refused.
func TestChecksum(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	f := newFakeS3(t, map[string]string{"x": content})
	f.fault = func(_ int, what string, w http.ResponseWriter, r *http.Request) bool {
		if what == "get x" {
			w.Header().Set("X-Amz-Checksum-Crc32c", "AAAAAA==")
			w.Header().Set("X-Amz-Checksum-Type", "FULL_OBJECT")
			w.Header().Set("ETag", etag(content))
			if f.sums { // cut: the SDK cannot see it
				half(w, content)
				return true
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
			return true
		}
		return false
	}
	for _, f.sums = range []bool{false, true} {
		cfg := using(f)
		cfg.Attempts = 2
		if _, _, err := fetchAll(t, cfg, "s3://bucket/x"); !errors.Is(err, errChecksum) {
			t.Errorf("cut %v: %v", f.sums, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{Ahead: -2}, {Ahead: 65}, {AheadBytes: -1}, {Timeout: -1}, {Attempts: -1}, {Backoff: -1}} {
		if _, err := New(c, ""); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
