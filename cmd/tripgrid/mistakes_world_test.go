package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tripgrid/tripgrid/internal/localkinesis"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/worker/source"
)

// world is servers that work, and many that do not.
type world struct {
	dir           string
	folders       atomic.Int32
	kinesis, nats string // work
	opensearch    string // works, and is not set up for any job
	ca            string // PEM file, trusted by the AWS clients

	refused  string // host:port where nothing listens
	unknown  string // host:port without an address
	silent   string // host:port that accepts and never answers
	page     string // URL of a web server
	missing  string // URL of a web server that has nothing
	tls      string // URL of an AWS service with a good certificate
	stranger string // URL, with a certificate of an unknown authority
	misnamed string // URL, with a certificate for another name
}

const (
	home  = "eu-central-1" // the region of all that is asked for
	table = "leases"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, name := range []string{"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "")
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
	} {
		t.Setenv(name, value)
	}
	w := &world{dir: t.TempDir()}
	good, bad := newAuthority(t, "Good"), newAuthority(t, "Unknown")
	w.ca = filepath.Join(w.dir, "ca.pem")
	write(t, w.ca, good.pem)
	t.Setenv("AWS_CA_BUNDLE", w.ca)

	local, err := localkinesis.Open(localkinesis.Config{Dir: filepath.Join(w.dir, "kinesis"), Region: home})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	closed := make(chan error, 1)
	go func() { closed <- local.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
	w.kinesis = local.Endpoint()
	client, err := source.NewKinesisClient(ctx, w.kinesis, home, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"trips", "others"} {
		if err := source.EnsureStream(ctx, client, name, 1); err != nil {
			t.Fatal(err)
		}
	}
	nats, err := natsd.Start(natsd.Config{Dir: filepath.Join(w.dir, "nats"), Listen: "127.0.0.1:0", SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Close)
	w.nats = nats.URL()
	w.opensearch = serve(t, freshOpenSearch, nil)

	w.refused, w.silent = nobody, silentPort(t)
	w.unknown = "nowhere.invalid:4567"
	w.page = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><html><body><h1>It works!</h1></body></html>")
	}, nil)
	w.missing = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<html><head><title>404 Not Found</title></head><body><center><h1>404 Not Found</h1></center><hr><center>nginx</center></body></html>")
	}, nil)
	answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }
	w.tls = serve(t, answer, good.certificate(t, "127.0.0.1"))
	w.stranger = serve(t, answer, bad.certificate(t, "127.0.0.1"))
	w.misnamed = strings.Replace(serve(t, answer, good.certificate(t, "elsewhere.example")), "127.0.0.1", "localhost", 1)
	return w
}

// with is a command line with other settings: each NAME=VALUE takes the place
// of the one of its name.
func with(args []string, settings ...string) []string {
	name := func(arg string) string {
		before, _, _ := strings.Cut(arg, "=")
		return before
	}
	var out []string
	for _, arg := range args {
		replaced := false
		for _, s := range settings {
			replaced = replaced || name(arg) == name(s)
		}
		if !replaced {
			out = append(out, arg)
		}
	}
	return append(out, settings...)
}

// worker is a command line that works, in a folder.
func (w *world) worker(dir string) []string {
	return []string{"worker", "--job=" + filepath.Base(dir), "--partitions=1", "--aws-region=" + home, "--kinesis-stream=trips",
		"--kinesis-endpoint=" + w.kinesis, "--nats-url=" + w.nats, "--leases-store=nats", "--leases-table=" + table,
		"--snapshots-url=" + filepath.Join(dir, "snapshots"), "--results-url=" + filepath.Join(dir, "results.db")}
}

func (w *world) produce(dir string) []string {
	return []string{"produce", "--job=" + filepath.Base(dir), "--aws-region=" + home, "--kinesis-stream=trips",
		"--kinesis-endpoint=" + w.kinesis, "--trips=100", "--speedup=0", "--dir=" + filepath.Join(dir, "producer")}
}

func (w *world) setup(dir string) []string {
	return []string{"setup", "--job=" + filepath.Base(dir), "--aws-region=" + home, "--results-url=" + w.opensearch}
}

func (w *world) demo(dir string) []string {
	return []string{"demo", "--dir=" + filepath.Join(dir, "run"), "--addr=127.0.0.1:0", "--trips=100", "--speedup=0", "--exit-when-done"}
}

func (w *world) local(dir string) []string {
	return []string{"local", "--dir=" + filepath.Join(dir, "local"), "--kinesis-addr=127.0.0.1:0", "--nats-addr=127.0.0.1:0"}
}

func (w *world) checkpoints(dir string) []string {
	return []string{"checkpoint", "ls", "--job=" + filepath.Base(dir), "--aws-region=" + home, "--snapshots-url=" + filepath.Join(dir, "snapshots")}
}

// folder is one for a command line, whose name is its job's.
func (w *world) folder() string {
	return filepath.Join(w.dir, fmt.Sprintf("job-%d", w.folders.Add(1)))
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

var quiet = log.New(io.Discard, "", 0)

// serve is the URL of a web server, with TLS if it has a certificate.
func serve(t *testing.T, handler http.HandlerFunc, certificate *tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = quiet
	if certificate == nil {
		s.Start()
	} else {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s.URL
}

func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				_, _ = io.Copy(io.Discard, conn) // until the other side gives up
				conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return l.Addr().String()
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a *authority) certificate(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// natsServer is a NATS server with JetStream, unless the options take it away.
func natsServer(t *testing.T, change func(*server.Options)) string {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 8 << 20}
	change(o)
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return "nats://" + s.Addr().String()
}

// refusal is an error as a service of AWS words it.
type refusal struct {
	status  int
	code    string
	message string
}

// writeJSON answers as Kinesis and DynamoDB do.
func (r refusal) writeJSON(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "d2a8f5c0-0000-1111-2222-333344445555")
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.service#" + r.code, "message": r.message})
}

// writeXML answers as S3 does.
func (r refusal) writeXML(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "4442587FB7D0A2F9")
	if r.code == "PermanentRedirect" || r.code == "AuthorizationHeaderMalformed" {
		w.Header().Set("X-Amz-Bucket-Region", "us-west-2")
	}
	w.WriteHeader(r.status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message><RequestId>4442587FB7D0A2F9</RequestId><HostId>aHost=</HostId></Error>`, r.code, r.message)
}

// jsonService is the URL of a service whose actions are refused; those without
// a refusal are passed to the one behind it, if there is one.
func jsonService(t *testing.T, behind string, refusals map[string]refusal) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		refused, ok := refusals[action]
		if !ok {
			refused, ok = refusals["*"]
		}
		if ok || behind == "" {
			refused.writeJSON(w)
			return
		}
		pass(w, r, behind)
	}, nil)
}

// pass hands a request on.
func pass(w http.ResponseWriter, r *http.Request, to string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	req.Host = r.Host
	answer, err := passing.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

// passing keeps no connection for goleak to find.
var passing = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// bucketRefusing is the URL of an S3 whose requests of a method are refused; an
// empty method is all of them. Others find an empty bucket.
func bucketRefusing(t *testing.T, method string, refused refusal) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		listing := r.URL.Query().Get("list-type") == "2"
		switch {
		case method == "" || method == "LIST" && listing || method == r.Method && !listing:
			refused.writeXML(w)
		case listing:
			w.Header().Set("Content-Type", "application/xml")
			fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>`)
		case r.Method == http.MethodPut && r.Header.Get("If-Match") != "":
			refusal{http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"}.writeXML(w)
		default:
			refusal{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}.writeXML(w)
		}
	}, nil)
}

// freshOpenSearch is a node that nobody has set up, and that takes everything.
func freshOpenSearch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path == "/":
		fmt.Fprint(w, `{"cluster_name":"c","version":{"distribution":"opensearch","number":"2.19.0"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`)
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"type":"resource_not_found_exception","reason":"not found"},"status":404}`)
	default:
		fmt.Fprint(w, `{"acknowledged":true}`)
	}
}

// searchRefusing is the URL of an OpenSearch that answers everything so.
func searchRefusing(t *testing.T, status int, body string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}, nil)
}

// tableThatIs is the URL of a DynamoDB whose table is in a state, with another
// partition key.
func tableThatIs(t *testing.T, state, key string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprintf(w, `{"Table":{"TableName":%q,"TableStatus":%q,"BillingModeSummary":{"BillingMode":"PAY_PER_REQUEST"},
			"KeySchema":[{"AttributeName":%q,"KeyType":"HASH"},{"AttributeName":"resource","KeyType":"RANGE"}],
			"AttributeDefinitions":[{"AttributeName":%q,"AttributeType":"S"},{"AttributeName":"resource","AttributeType":"S"}]}}`, table, state, key, key)
	}, nil)
}

// picture is the path of one.
func picture(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trips.png")
	write(t, name, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"))
	return name
}

// hearing is where a command speaks to people, from several goroutines; heard,
// if it is there, hears it line by line.
type hearing struct {
	heard func(line string)

	mu   sync.Mutex
	said []byte
	from int // of the line at hand
}

func (h *hearing) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, p...)
	for {
		n := bytes.IndexByte(h.said[h.from:], '\n')
		if n < 0 {
			return len(p), nil
		}
		if h.heard != nil {
			h.heard(string(h.said[h.from : h.from+n]))
		}
		h.from += n + 1
	}
}

func (h *hearing) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.said)
}

// streamThatIs is the URL of a Kinesis whose stream is in a state.
func streamThatIs(t *testing.T, state string) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		fmt.Fprintf(w, `{"StreamDescriptionSummary":{"StreamName":"trips","StreamARN":"arn:aws:kinesis:%s:123456789012:stream/trips","StreamStatus":%q,
			"RetentionPeriodHours":24,"StreamCreationTimestamp":1,"OpenShardCount":1,"EnhancedMonitoring":[]}}`, home, state)
	}, nil)
}

// openSearchSetUp is the URL of one whose templates are of a version of the set-up.
func openSearchSetUp(t *testing.T, version int) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, "/_component_template/")
		if !ok || r.Method != http.MethodGet {
			freshOpenSearch(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"component_templates":[{"name":%q,"component_template":{"_meta":{"managed_by":"tripgrid","setup_version":%d},"template":{}}}]}`, name, version)
	}, nil)
}

// nobody listens there, and no test is given that port.
const nobody = "127.0.0.1:1"
