package opensearch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/sink/sinktest"
)

// TestModel: whatever the node does to requests, items and answers, behind a
// Pending nothing is lost, no older version replaces a newer one, and what is
// neither pending nor rejected is stored.
func TestModel(t *testing.T) {
	f := newFake(t)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		job := fmt.Sprint("j", round)
		faults := rapid.SliceOfN(rapid.SampledFrom([]string{
			"", "", "", "503", "429", "lost", "garbled", "short", "middle", "busy", "unavailable", "413", "reject",
		}), 1, 12).Draw(rt, "faults")
		f.play(faults)
		s := newSink(t, f.URL, opensearch.SinkConfig{
			Job: job, MaxDocs: rapid.IntRange(1, 9).Draw(rt, "docs"), Concurrency: rapid.IntRange(1, 3).Draw(rt, "concurrency"),
			Gzip: rapid.Bool().Draw(rt, "gzip"),
		})
		defer s.Close()
		rejected := make(chan sink.Document, 1000)
		p, err := sink.NewPending(s, sink.PendingConfig{
			BatchDocs: 12, Writers: rapid.IntRange(1, 3).Draw(rt, "writers"), Linger: -1,
			Sleep:    func(context.Context, time.Duration) {},
			Rejected: func(_ uint32, d sink.Document, _ string) { rejected <- d },
		})
		if err != nil {
			rt.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		newest := map[string]uint64{}
		for v := range uint64(rapid.IntRange(1, 12).Draw(rt, "steps")) {
			ids := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 25).Draw(rt, "ids")
			var docs []sink.Document
			for _, id := range ids {
				d := sinktest.Doc(fmt.Sprint(id), v+1)
				docs, newest[d.ID] = append(docs, d), v+1
			}
			p.Add(1, docs)
		}
		if err := p.Flush(ctx); err != nil {
			rt.Fatal(err, p.Stats())
		}
		cancel()
		if err := <-done; err != nil {
			rt.Fatal(err)
		}
		close(rejected)
		refused := map[string]uint64{}
		for d := range rejected {
			refused[d.ID] = max(refused[d.ID], d.Version)
		}
		for id, v := range newest {
			d, _ := f.stored(job+"-pickup_count-2016.03", id)
			if d.version != int64(v) && refused[id] != v {
				rt.Errorf("%s: version %d is stored and %d was rejected, want %d", id, d.version, refused[id], v)
			}
			for i := 1; i < len(d.history); i++ {
				if d.history[i] < d.history[i-1] {
					rt.Errorf("%s: an older version replaced a newer one: %v", id, d.history)
				}
			}
		}
	})
}

// play makes the node do what faults say, one a request, and then nothing wrong.
func (f *fake) play(faults []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := len(f.requests)
	fault := func(n int) string {
		if n -= first; n >= 0 && n < len(faults) {
			return faults[n]
		}
		return ""
	}
	f.plan = func(n int, r request) *reply {
		switch fault(n) {
		case "503":
			return &reply{status: 503}
		case "429":
			return &reply{status: 429, body: failure("rejected_execution_exception", "busy")}
		case "lost":
			return &reply{status: 504, run: true}
		case "garbled":
			return &reply{status: 200, body: `{"items":[`, run: true}
		case "413":
			if r.docs > 1 {
				return &reply{status: 413}
			}
		}
		return nil
	}
	f.item = func(n int, _, id string, _ int64) *fakeItem {
		switch kind := fault(n); {
		case kind == "busy" && id < "2":
			return &fakeItem{429, "rejected_execution_exception", "busy"}
		case kind == "unavailable":
			return &fakeItem{503, "unavailable_shards_exception", "primary is not active"}
		case kind == "reject" && id == "7":
			return &fakeItem{400, "mapper_parsing_exception", "no"}
		}
		return nil
	}
	f.answer = func(n int, items []map[string]any) []map[string]any {
		switch kind := fault(n); {
		case kind == "short":
			return items[:len(items)/2]
		case kind == "middle" && len(items) > 2:
			return append(items[:1], items[len(items)-1])
		}
		return items
	}
}
