package source

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
)

// fake is a Kinesis endpoint that does what a test scripts: reshards, expired
// iterators, throttling, replies without MillisBehindLatest. What is common is
// tested on internal/localkinesis.
type fake struct {
	mu     sync.Mutex
	shards []*fakeShard
	listed atomic.Int64
	seen   func() // called after every call; may be nil
	// fault may answer a call itself: an error type, or "" to go on.
	fault func(op, shard string) string
	// hang may make a call wait before it does anything; nil goes on.
	hang      func(op string) <-chan struct{}
	noBehind  bool
	noChilden bool // replies name no children
}

type fakeShard struct {
	id, parent, adjacent string
	lo, hi               string
	seqs                 []string
	data                 [][]byte
	closed, unlisted     bool
	iterators            []string // their types, as asked for
}

func newFake(t *testing.T, shards ...*fakeShard) (*fake, *kinesis.Client) {
	t.Helper()
	f := &fake{shards: shards}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	client, err := NewKinesisClient(t.Context(), server.URL, "us-east-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, client
}

func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// awaitLooks waits for n more listings of the shards.
func (f *fake) awaitLooks(w *world, n int64) {
	w.t.Helper()
	f.do(func() { f.seen = func() { w.do(func() {}) } })
	from := f.listed.Load()
	w.await(fmt.Sprintf("%d looks for shards", n), func() bool { return f.listed.Load() >= from+n })
}

func (f *fake) shard(id string) *fakeShard {
	for _, s := range f.shards {
		if s.id == id {
			return s
		}
	}
	return nil
}

// put appends a record; sequence numbers count from 100.
func (s *fakeShard) put(data ...string) *fakeShard {
	for _, d := range data {
		s.seqs = append(s.seqs, strconv.Itoa(100+len(s.seqs)))
		s.data = append(s.data, []byte(d))
	}
	return s
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ShardId, ShardIteratorType, StartingSequenceNumber, ShardIterator string
		Limit                                                             int
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if f.hang != nil {
		if until := f.hang(op); until != nil {
			select {
			case <-until:
			case <-r.Context().Done():
			}
			return
		}
	}
	f.mu.Lock()
	defer func() {
		seen := f.seen
		f.mu.Unlock()
		if seen != nil {
			seen()
		}
	}()
	id, at, _ := strings.Cut(in.ShardIterator, " ")
	if in.ShardId != "" {
		id = in.ShardId
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if f.fault != nil {
		if kind := f.fault(op, id); kind != "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"__type":%q,"message":"by the test"}`, kind)
			return
		}
	}
	var out any
	s := f.shard(id)
	switch op {
	case "ListShards":
		f.listed.Add(1)
		var list []any
		for _, s := range f.shards {
			if !s.unlisted {
				m := map[string]any{"ShardId": s.id, "HashKeyRange": hashRange(s), "SequenceNumberRange": map[string]any{"StartingSequenceNumber": "1"}}
				if s.parent != "" {
					m["ParentShardId"] = s.parent
				}
				if s.adjacent != "" {
					m["AdjacentParentShardId"] = s.adjacent
				}
				list = append(list, m)
			}
		}
		out = map[string]any{"Shards": list}
	case "GetShardIterator":
		s.iterators = append(s.iterators, strings.TrimSpace(in.ShardIteratorType+" "+in.StartingSequenceNumber))
		from := 0
		for from < len(s.seqs) && in.ShardIteratorType == "AFTER_SEQUENCE_NUMBER" && s.seqs[from] <= in.StartingSequenceNumber {
			from++
		}
		out = map[string]any{"ShardIterator": id + " " + strconv.Itoa(from)}
	case "GetRecords":
		from, _ := strconv.Atoi(at)
		to := min(from+max(in.Limit, 1), len(s.seqs))
		records := []any{}
		for i := from; i < to; i++ {
			records = append(records, map[string]any{"SequenceNumber": s.seqs[i], "PartitionKey": "k",
				"Data": base64.StdEncoding.EncodeToString(s.data[i]), "ApproximateArrivalTimestamp": 1.7e9})
		}
		m := map[string]any{"Records": records}
		if !f.noBehind {
			m["MillisBehindLatest"] = 0
		}
		if s.closed && to == len(s.seqs) {
			if !f.noChilden {
				m["ChildShards"] = f.children(s)
			}
		} else {
			m["NextShardIterator"] = id + " " + strconv.Itoa(to)
		}
		out = m
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *fake) children(of *fakeShard) []any {
	children := []any{}
	for _, s := range f.shards {
		if s.parent == of.id || s.adjacent == of.id {
			parents := []string{s.parent}
			if s.adjacent != "" {
				parents = append(parents, s.adjacent)
			}
			children = append(children, map[string]any{"ShardId": s.id, "ParentShards": parents, "HashKeyRange": hashRange(s)})
		}
	}
	return children
}

func hashRange(s *fakeShard) any {
	return map[string]any{"StartingHashKey": s.lo, "EndingHashKey": s.hi}
}
