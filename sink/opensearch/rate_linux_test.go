//go:build integration && rate

package opensearch_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/testservers"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/opensearch"
	"github.com/tripgrid/tripgrid/stream"
)

// march are the documents of a busy city from the first of March on.
type march struct {
	*pipeline
	at time.Time
}

// next returns the next n, some hundred a window.
func (m *march) next(t *testing.T, n int) []sink.Document {
	t.Helper()
	for len(m.docs) < n {
		var rows []stream.Row
		for range 1000 {
			m.at = m.at.Add(600 * time.Millisecond)
			rows = append(rows, m.trip(m.at))
		}
		m.apply(t, rows, nil, m.at.UnixNano())
	}
	docs := m.docs[:n]
	m.docs = slices.Clone(m.docs[n:])
	return docs
}

// TestRate measures how fast documents go through a Pending into a node, and
// what processor time that takes on either side, which says more than the clock
// does on a machine that others use. It logs, because machines differ.
func TestRate(t *testing.T) {
	server := testservers.OpenSearch(t, testservers.OpenSearchConfig{})
	at := server.URL
	if _, err := connect(t, at).Setup(t.Context(), options("rate")); err != nil {
		t.Fatal(err)
	}
	p, err := sink.NewPending(newSink(t, at, opensearch.SinkConfig{Job: "rate"}), sink.PendingConfig{Writers: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	const warm, rounds, each = 20, 9, 20_000
	source := &march{newPipeline(t, "rate"), time.Date(2016, 3, 1, 0, 0, 0, 0, time.UTC)}
	var rate, node, client, cores, others []float64
	var before map[string]time.Duration
	for round := range warm + rounds {
		docs := source.next(t, each)
		begin, ours, theirs, all := time.Now(), ourCPU(t), processCPU(t, server.PID()), machineCPU(t)
		p.Add(0, docs)
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		ours, theirs, all = ourCPU(t)-ours, processCPU(t, server.PID())-theirs, machineCPU(t)-all
		if round < warm { // the JVM compiles what is hot
			if before = phases(t, at); round%10 == 0 {
				t.Logf("after %7d documents: %.1f us of the node", round*each, theirs.Seconds()*1e6/each)
			}
			continue
		}
		rate = append(rate, each/took.Seconds())
		node, client = append(node, theirs.Seconds()*1e6/each), append(client, ours.Seconds()*1e6/each)
		cores, others = append(cores, theirs.Seconds()/took.Seconds()), append(others, (all-ours-theirs).Seconds()/took.Seconds())
	}
	if st := p.Stats(); st.Rejected != 0 || st.Written != (warm+rounds)*each {
		t.Errorf("%+v", st)
	}
	t.Logf("%d rounds of %d documents, medians [least, most]; %d cores, load %s", rounds, each, runtime.NumCPU(), load())
	t.Logf("rate       %s documents/s", spread(rate))
	t.Logf("node       %s us of processor time a document", spread(node))
	t.Logf("client     %s us of processor time a document", spread(client))
	t.Logf("cores      %s used by the node", spread(cores))
	t.Logf("           %s used by others than node and client", spread(others))
	t.Logf("20,000 documents/s take %.2f cores of the node and %.2f of the client", median(node)*0.02, median(client)*0.02)
	after := phases(t, at)
	for _, phase := range slices.Sorted(maps.Keys(after)) {
		t.Logf("%-10s %6.1f us a document in its threads", phase, (after[phase]-before[phase]).Seconds()*1e6/(rounds*each))
	}
}

// phases are the times that the node's threads have spent, waiting included.
func phases(t *testing.T, at string) map[string]time.Duration {
	t.Helper()
	type spent struct {
		Index int64 `json:"index_time_in_millis"`
		Total int64 `json:"total_time_in_millis"`
	}
	var stats struct {
		Nodes map[string]struct{ Indices map[string]spent }
	}
	ask(t, http.MethodGet, at+"/_nodes/stats/indices/indexing,refresh,merge,flush", "", &stats)
	sum := map[string]time.Duration{}
	for _, n := range stats.Nodes {
		for phase, s := range n.Indices {
			sum[phase] += time.Duration(s.Index+s.Total) * time.Millisecond
		}
	}
	return sum
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

func spread(x []float64) string {
	return fmt.Sprintf("%6.4g [%.4g, %.4g]", median(x), slices.Min(x), slices.Max(x))
}

func ourCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ticks of /proc are hundredths of a second.
const tick = 10 * time.Millisecond

// processCPU is the processor time that a process has used.
func processCPU(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')'):])) // from the third
	var user, system int64
	if _, err := fmt.Sscan(fields[12]+" "+fields[13], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * tick
}

// machineCPU is the processor time that all processes have used.
func machineCPU(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	var user, nice, system, idle, wait, irq, soft int64
	if _, err := fmt.Sscanf(string(b), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+nice+system+irq+soft) * tick
}

func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
