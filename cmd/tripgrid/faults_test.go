//go:build integration

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/testservers"
)

// lanes is how many scenarios run at a time: they mostly wait.
const lanes = 3

// TestServices runs the whole path over real servers in separate processes.
// Every scenario but the first has a fault in mid-stream that workers live
// through; what is stored in the end is exact.
func TestServices(t *testing.T) {
	c, l := newCloud(t), newLoad(t)
	free := make(chan struct{}, lanes)
	var all sync.WaitGroup
	for _, scenario := range []struct {
		name string
		run  func(*site)
	}{ // the longest first
		{"opensearch-down", openSearchDown},
		{"s3-refused", s3Refused},
		{"killed", killed},
		{"dynamodb-frozen", dynamoDBFrozen},
		{"too-many-requests", tooManyRequests},
		{"paused", paused},
		{"nats-killed", natsKilled},
		{"mapping-conflict", mappingConflict},
		{"plain", plain},
	} {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			t.Run(scenario.name, func(t *testing.T) { scenario.run(newSite(t, c, l, scenario.name)) })
		})
	}
	all.Wait()
}

func hasShards(m *member) bool { return m.says("shard opened") > m.says("shard given up") }

func coordinates(m *member) bool {
	return m.says(`lease acquired  {"resource": "coordinator"`) > m.says("leadership lost")
}

// plain: nothing happens, and everything is there at once.
func plain(s *site) {
	s.setup()
	s.workers()
	s.produce(0)
	s.mustEndExact()
}

// openSearchDown: OpenSearch is killed, and started again after a minute.
// Checkpoints go on meanwhile, with the documents that wait as a part of them:
// the workers that had them in memory are killed, too, and none is lost.
func openSearchDown(s *site) {
	own := testservers.OpenSearch(s.t, testservers.OpenSearchConfig{HeapMiB: 512})
	s.opensearch, s.node = own.URL, own.URL
	s.setup()
	s.workers()
	s.produce(time.Minute)
	before := s.untilFlowing()
	n := s.checkpoint()
	own.Kill()
	s.hold(45 * time.Second)
	if now := s.checkpoint(); now < n+3 {
		s.t.Errorf("checkpoint %s was the newest when OpenSearch was killed, %s is 45 s later", n, now)
	}
	for _, m := range s.running("window") {
		m.kill()
	}
	s.worker("window-early", "window").mustFail("tripgrid: opensearch at " + own.URL)
	s.hold(15 * time.Second)
	own.Restart(s.t)
	s.worker("window-3", "window")
	s.worker("window-4", "window")
	if s.stored() == len(s.load.want) {
		s.t.Errorf("nothing was left to store: %d documents were there before", before)
	}
	s.mustEndExact()
}

// s3Refused: the buckets refuse connections for 30 s. Results go on, and
// checkpoints afterwards. Of the workers that have shards and that coordinate
// checkpoints one is killed meanwhile: the others take over in the outage.
func s3Refused(s *site) {
	proxy := s.proxied(&s.s3)
	s.setup()
	s.workers()
	s.produce(45 * time.Second)
	before := s.untilFlowing()
	if err := proxy.Refuse(true); err != nil {
		s.t.Fatal(err)
	}
	n := s.checkpoint()
	s.hold(15 * time.Second)
	if during := s.stored(); during <= before || during == len(s.load.want) {
		s.t.Errorf("%d results were stored before S3 was gone and %d in the middle of it, of %d", before, during, len(s.load.want))
	}
	for _, m := range []*member{s.working(hasShards), s.working(coordinates)} {
		m.kill()
	}
	s.hold(15 * time.Second)
	s.working(coordinates)
	s.working(func(m *member) bool { return m.says("shard opened")-m.says("shard given up") == 4 })
	if now := s.checkpoint(); now != n {
		s.t.Errorf("checkpoint %s came to be without a store, %s was the newest", now, n)
	}
	if s.stored() == len(s.load.want) {
		s.t.Error("all results were stored before S3 was back")
	}
	if err := proxy.Refuse(false); err != nil {
		s.t.Fatal(err)
	}
	s.mustEndExact()
}

// dynamoDBFrozen: the lease table does not answer for 20 s, four times as long
// as a lease lasts.
func dynamoDBFrozen(s *site) {
	proxy := s.proxied(&s.dynamodb)
	s.setup()
	s.workers()
	s.produce(40 * time.Second)
	s.untilFlowing()
	proxy.Freeze(true)
	s.hold(20 * time.Second)
	lost := 0
	for _, m := range s.cast.members {
		lost += m.says("shard given up")
	}
	if lost == 0 {
		s.t.Error("no lease was lost while the table was frozen")
	}
	if during := s.stored(); during == len(s.load.want) {
		s.t.Error("all results were stored before the table answered again")
	}
	proxy.Freeze(false)
	s.mustEndExact()
}

// natsKilled: the partition log is gone for 10 s.
func natsKilled(s *site) {
	own := testservers.NATS(s.t, testservers.NATSConfig{})
	s.nats = own.URL
	s.setup()
	s.workers()
	s.produce(25 * time.Second)
	s.untilFlowing()
	own.Kill()
	n := s.checkpoint()
	s.hold(10 * time.Second)
	if now := s.checkpoint(); now > n {
		s.t.Errorf("checkpoint %s came to be without a log, %s was the newest", now, n)
	}
	if s.stored() == len(s.load.want) {
		s.t.Error("all results were stored before the log was back")
	}
	own.Restart(s.t)
	s.mustEndExact()
}

// tooManyRequests: OpenSearch refuses half of all bulk requests.
func tooManyRequests(s *site) {
	proxy := s.proxied(&s.opensearch)
	s.setup()
	s.workers()
	proxy.Status(http.StatusTooManyRequests, `{"error":{"type":"rejected_execution_exception","reason":"the queue is full"},"status":429}`,
		0.5, testservers.PathContains("/_bulk"))
	s.produce(15 * time.Second)
	s.untilFlowing()
	refused := proxy.Faults()
	if refused == 0 {
		s.t.Error("no request was refused before the first results")
	}
	s.mustEndExact()
	if now := proxy.Faults(); now < refused+3 {
		s.t.Errorf("%d requests were refused early in the replay, %d in the whole of it", refused, now)
	}
}

// killed: the workers are killed three times: all of them, one that reads
// shards, and one that aggregates.
func killed(s *site) {
	s.setup()
	s.workers()
	s.produce(40 * time.Second)
	stored := s.untilFlowing()
	for i, victims := range []func() []*member{
		func() []*member { return s.running("ingest", "window") },
		func() []*member { return []*member{s.working(hasShards)} },
		func() []*member { return []*member{s.working(coordinates)} },
	} {
		if i > 0 {
			stored = s.until(float64(stored)/float64(len(s.load.want)) + 0.15)
		}
		if stored == len(s.load.want) {
			s.t.Fatalf("kill %d comes too late", i+1)
		}
		killed := victims()
		for _, m := range killed {
			m.kill()
			s.t.Logf("kill %d: %s at %d of %d results, checkpoint %s", i+1, m.name, stored, len(s.load.want), s.checkpoint())
		}
		for _, m := range killed {
			role, _, _ := strings.Cut(m.name, "-")
			s.worker(fmt.Sprintf("%s-%d", role, len(s.cast.members)+1), role)
		}
	}
	s.mustEndExact()
}

// paused: a worker that reads shards and the one that coordinates checkpoints
// stand still until others have taken over, and then go on as if they still
// owned what they had.
func paused(s *site) {
	s.setup()
	s.workers()
	s.produce(30 * time.Second)
	s.untilFlowing()
	still := []*member{s.working(hasShards), s.working(coordinates)}
	n := s.checkpoint()
	for _, m := range still {
		m.signal(syscall.SIGSTOP)
	}
	s.await("the others have taken over", func() (int, bool) {
		now := s.checkpoint()
		return int(now), now >= n+3
	})
	if s.stored() == len(s.load.want) {
		s.t.Error("all results were stored before the others had taken over")
	}
	s.working(func(m *member) bool { return m != still[1] && coordinates(m) })
	for _, m := range still {
		m.signal(syscall.SIGCONT)
	}
	s.mustEndExact()
}

// mappingConflict: the index of one query takes no window that does not begin
// at a full hour. What it refuses is a dead letter, the rest is exact.
func mappingConflict(s *site) {
	s.setup()
	s.workers()
	const query = "trip_duration"
	s.await("the workers have looked at the templates", func() (int, bool) {
		n := 0
		for _, m := range s.cast.members {
			n += m.says("partition starts")
		}
		return n, n > 0
	})
	var month string
	for key := range s.load.want {
		if f := strings.Split(key, " "); f[0] == query {
			month = strings.ReplaceAll(f[len(f)-1][:7], "-", ".")
		}
	}
	s.ask(http.MethodPut, "/"+s.job+"-"+query+"-"+month, map[string]any{"mappings": map[string]any{"properties": map[string]any{
		"window_start": map[string]any{"type": "date", "format": "yyyy-MM-dd'T'HH:00:00'Z'"}}}}, nil)
	s.produce(0)
	s.cast.mustEnd(s.t)

	full := *s.load
	var docs, raw []found
	for _, f := range s.all() {
		if !s.isRecord(&f) {
			docs = append(docs, f)
			continue
		}
		var dead struct {
			Query  string
			Reason string
			Of     string `json:"document_query"`
			Raw    string
		}
		if err := json.Unmarshal(f.Source, &dead); err != nil {
			s.t.Fatal(err)
		}
		if dead.Query != "dead_letter" || dead.Of != query || !strings.Contains(dead.Reason, "[window_start]") {
			s.t.Fatalf("dead letter %s", f.Source)
		}
		raw = append(raw, found{Source: json.RawMessage(dead.Raw)})
	}
	refused := func(key string, _ result) bool {
		return strings.HasPrefix(key, query) && !strings.HasSuffix(key, ":00:00Z")
	}
	taken := maps.Clone(full.want)
	maps.DeleteFunc(taken, refused)
	if len(raw) == 0 || len(raw) != len(full.want)-len(taken) {
		s.t.Fatalf("%d dead letters for %d results that cannot be stored", len(raw), len(full.want)-len(taken))
	}
	s.mustEqual(append(docs, raw...)) // nothing is lost
	s.load = &load{want: taken}
	s.mustEqual(docs)
	s.mustVerify()
}
