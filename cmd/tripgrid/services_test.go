//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
	"github.com/tripgrid/tripgrid/internal/testservers"
	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
)

const (
	region = "us-east-1"
	bucket = "snapshots"
)

// workersOf is how many workers of each role a job has.
var workersOf = map[string]int{"ingest": 2, "window": 2}

// cloud is the servers that stand in for AWS, OpenSearch and the NATS cluster.
type cloud struct {
	kinesis, dynamodb, nats, opensearch *testservers.Server
	s3                                  *testservers.S3Server
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{
		kinesis: testservers.Kinesalite(t), dynamodb: testservers.DynamoDBLocal(t),
		nats: testservers.NATS(t, testservers.NATSConfig{}), s3: testservers.VersityGW(t),
		opensearch: testservers.OpenSearch(t, testservers.OpenSearchConfig{HeapMiB: 512}),
	}
	c.s3.CreateBucket(t, bucket)
	t.Setenv("AWS_ACCESS_KEY_ID", c.s3.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", c.s3.SecretKey)
	return c
}

// load is the trips of a run and the results that they must have.
type load struct {
	args []string // of produce
	span time.Duration
	want map[string]result
	// file is what the independent oracle wrote, empty if the trips are generated.
	file string
}

// newLoad is a morning of real trips, or of generated ones where those are not.
func newLoad(t *testing.T) *load {
	t.Helper()
	if shared() == "" {
		const trips = 20_000
		data := dataset.Generate(dataset.GeneratorOptions{Seed: 1, Trips: trips})
		return &load{args: []string{"--trips", fmt.Sprint(trips)}, span: spanOf(t, data), want: naive(t, data, 0, "bbox", 10*time.Minute)}
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "trips.csv"), filepath.Join(dir, "want.jsonl")
	// 98% of the file's trips.
	copyRows(t, filepath.Join(shared(), "data/trips-foil/sample_merged_1.csv"), in, "2013-01-13 01", "2013-01-13 13")
	python(t, "oracle.py", "--profile", "default", "--out", out, in)
	data, err := dataset.Open(t.Context(), []string{in}, dataset.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	return &load{args: []string{"--data", in}, span: spanOf(t, data), want: exported(t, out, 10*time.Minute), file: out}
}

func spanOf(t *testing.T, d dataset.Dataset) time.Duration {
	t.Helper()
	var first, last [1]trip.Trip
	if _, err := d.Read(0, first[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(d.Len()-1, last[:]); err != nil {
		t.Fatal(err)
	}
	return time.Duration(last[0].Dropoff - first[0].Dropoff)
}

// copyRows copies the header and the trips that end in [from, to).
func copyRows(t *testing.T, source, dest, from, to string) {
	t.Helper()
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	kept := rows[:1]
	for _, row := range rows[1:] {
		if row[1] >= from && row[1] < to {
			kept = append(kept, row)
		}
	}
	var out bytes.Buffer
	if err := csv.NewWriter(&out).WriteAll(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dest, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// site is where one job runs: what it has of its own on the servers, and where
// its processes find them, which may be through proxies.
type site struct {
	t     *testing.T
	cloud *cloud
	job   string
	dir   string
	load  *load
	// What the processes are told.
	kinesis, dynamodb, nats, s3, opensearch string
	// node is the OpenSearch that the test itself asks.
	node  string
	store checkpoint.Store
	cast  cast
}

// newSite makes the stream of a job; the test's name is the job's.
func newSite(t *testing.T, c *cloud, l *load, job string) *site {
	t.Helper()
	s := &site{t: t, cloud: c, job: job, dir: t.ArtifactDir(), load: l,
		kinesis: c.kinesis.URL, dynamodb: c.dynamodb.URL, nats: c.nats.URL, s3: c.s3.URL, opensearch: c.opensearch.URL, node: c.opensearch.URL}
	client, err := source.NewKinesisClient(t.Context(), c.kinesis.URL, region, credentials.NewStaticCredentialsProvider("key", "secret", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := source.EnsureStream(t.Context(), client, job, 4); err != nil {
		t.Fatal(err)
	}
	if s.store, err = openStore(t.Context(), settings.Snapshots{URL: s.snapshots(), Endpoint: c.s3.URL}, region); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) snapshots() string { return "s3://" + bucket + "/" + s.job }

// proxied puts a proxy before one of the servers.
func (s *site) proxied(url *string) *testservers.Proxy {
	s.t.Helper()
	p := testservers.NewProxy(s.t, *url)
	*url = p.URL
	return p
}

// setup prepares OpenSearch.
func (s *site) setup() {
	s.t.Helper()
	mustRun(s.t, "setup", "--job", s.job, "--results-url", s.node)
}

// produce starts the replay, which lasts about so long; 0 is as fast as it can.
func (s *site) produce(lasts time.Duration) *member {
	s.t.Helper()
	speedup := 0.0
	if lasts > 0 {
		speedup = float64(s.load.span) / float64(lasts)
	}
	return s.cast.start(s.t, "produce", s.dir, append([]string{
		"produce", "--job", s.job, "--aws-region", region, "--kinesis-stream", s.job, "--kinesis-endpoint", s.kinesis,
		"--speedup", fmt.Sprint(speedup), "--dir", filepath.Join(s.dir, "producer"),
	}, s.load.args...)...)
}

// worker starts a worker that ends when all is done.
func (s *site) worker(name, role string) *member {
	s.t.Helper()
	return s.cast.start(s.t, name, s.dir,
		"worker", "--role", role, "--exit-when-done", "--job", s.job, "--partitions", "4", "--aws-region", region,
		"--kinesis-stream", s.job, "--kinesis-endpoint", s.kinesis, "--nats-url", s.nats,
		"--leases-table", s.job, "--leases-endpoint", s.dynamodb, "--leases-failover", "5s",
		"--snapshots-url", s.snapshots(), "--snapshots-endpoint", s.s3, "--checkpoint-interval", "1s",
		"--results-url", s.opensearch)
}

// workers starts two of each role.
func (s *site) workers() {
	for _, role := range []string{"ingest", "window"} {
		for i := range workersOf[role] {
			s.worker(fmt.Sprintf("%s-%d", role, i+1), role)
		}
	}
}

// running lists the processes of roles that run.
func (s *site) running(roles ...string) []*member {
	var out []*member
	for _, m := range s.cast.members {
		role, _, _ := strings.Cut(m.name, "-")
		if m.running() && slices.Contains(roles, role) {
			out = append(out, m)
		}
	}
	return out
}

// working is the youngest worker that runs and does what is asked for.
func (s *site) working(does func(*member) bool) *member {
	s.t.Helper()
	for _, m := range slices.Backward(s.running("ingest", "window")) {
		if does(m) {
			return m
		}
	}
	s.t.Fatal("no worker does what is to be disturbed")
	return nil
}

// checkpoint is the number of the newest checkpoint, 0 before the first.
func (s *site) checkpoint() stream.BarrierID {
	s.t.Helper()
	head, _, err := checkpoint.ReadJob(s.t.Context(), s.store, s.job)
	if errors.Is(err, checkpoint.ErrNotFound) { // no worker has begun
		return 0
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return head.N
}

// stored counts the documents of results.
func (s *site) stored() int {
	s.t.Helper()
	var answer struct{ Count int }
	s.ask(http.MethodPost, "/"+s.job+"*/_refresh", nil, nil)
	s.ask(http.MethodGet, "/"+s.job+"/_count?ignore_unavailable=true", nil, &answer)
	return answer.Count
}

// untilFlowing waits until results flow and a checkpoint is there.
func (s *site) untilFlowing() int {
	s.t.Helper()
	s.await("there is a checkpoint", func() (int, bool) {
		n := int(s.checkpoint())
		return n, n > 0
	})
	stored := s.until(0.1)
	if stored == len(s.load.want) {
		s.t.Fatalf("all %d results were stored at once, there is nothing to disturb", stored)
	}
	return stored
}

// hold lets time pass, in which no process may end.
func (s *site) hold(d time.Duration) {
	s.t.Helper()
	end := time.Now().Add(d)
	s.await("the outage is over", func() (int, bool) {
		s.cast.mustAllRun(s.t)
		return 0, time.Now().After(end)
	})
}

// mustEndExact waits for the end and compares what is stored.
func (s *site) mustEndExact() {
	s.t.Helper()
	s.cast.mustEnd(s.t)
	s.mustEqual(s.all())
	s.mustVerify()
}

// until waits until so large a share of the results is stored, while no process
// ends, and returns how many are.
func (s *site) until(share float64) int {
	s.t.Helper()
	return s.await(fmt.Sprintf("%.0f%% of the results are stored", 100*share), func() (int, bool) {
		n := s.stored()
		return n, float64(n) >= share*float64(len(s.load.want))
	})
}

// await polls until ok, while no process ends.
func (s *site) await(what string, poll func() (n int, ok bool)) int {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		n, ok := poll()
		if ok {
			return n
		}
		s.cast.mustRun(s.t)
		if time.Now().After(deadline) {
			s.t.Fatalf("it took longer than %v until %s: it is at %d", patience, what, n)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// stored document as OpenSearch has it.
type found struct {
	ID     string          `json:"_id"`
	Index  string          `json:"_index"`
	Source json.RawMessage `json:"_source"`
}

// all reads every document of the job.
func (s *site) all() []found {
	s.t.Helper()
	var out []found
	var page struct {
		Scroll string `json:"_scroll_id"`
		Hits   struct {
			Total struct{ Value int }
			Hits  []found
		}
	}
	s.ask(http.MethodPost, "/"+s.job+"*/_refresh", nil, nil)
	s.ask(http.MethodPost, "/"+s.job+"/_search?scroll=1m", map[string]any{"size": 1000, "sort": []string{"_doc"}, "track_total_hits": true}, &page)
	total := page.Hits.Total.Value
	for len(page.Hits.Hits) > 0 {
		out = append(out, page.Hits.Hits...)
		page.Hits.Hits = nil
		s.ask(http.MethodPost, "/_search/scroll", map[string]any{"scroll": "1m", "scroll_id": page.Scroll}, &page)
	}
	if len(out) != total {
		s.t.Fatalf("OpenSearch gives %d documents and counts %d", len(out), total)
	}
	return out
}

// isRecord tells late trips and dead letters from results.
func (s *site) isRecord(f *found) bool {
	return strings.HasPrefix(f.Index, s.job+"-late-") || strings.HasPrefix(f.Index, s.job+"-dead_letter-")
}

// mustEqual compares documents with the oracle's, all of them.
func (s *site) mustEqual(docs []found) {
	s.t.Helper()
	var lines bytes.Buffer
	for i := range docs {
		if s.isRecord(&docs[i]) {
			s.t.Fatalf("a trip is late or dead: %s", docs[i].Source)
		}
		lines.Write(docs[i].Source)
		lines.WriteByte('\n')
	}
	got := filepath.Join(s.dir, "got.jsonl")
	if err := os.WriteFile(got, lines.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	equal(s.t, s.load.want, exported(s.t, got, 10*time.Minute))
	if s.load.file != "" {
		python(s.t, "compare.py", s.load.file, got)
	}
}

// mustVerify proves the checkpoints that are left.
func (s *site) mustVerify() {
	s.t.Helper()
	mustRun(s.t, "checkpoint", "verify", "--job", s.job, "--aws-region", region, "--snapshots-url", s.snapshots(), "--snapshots-endpoint", s.cloud.s3.URL)
}

// ask asks OpenSearch, which must answer.
func (s *site) ask(method, path string, body, answer any) {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(data)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.node+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := forgetful.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusServiceUnavailable { // an index that is just being made
		time.Sleep(100 * time.Millisecond)
		s.ask(method, path, body, answer)
		return
	}
	if err != nil || resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s: %s %v\n%s", method, path, resp.Status, err, data)
	}
	if answer != nil {
		if err := json.Unmarshal(data, answer); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// forgetful keeps no connection that outlives a killed server.
var forgetful = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
