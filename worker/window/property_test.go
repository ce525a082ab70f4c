package window

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// history is what a machine did with a log.
type history struct {
	docs []sink.Document
	cuts []stream.BarrierID // completed, in order
	acks map[stream.BarrierID]checkpoint.Ack
	body map[stream.BarrierID][]byte
	seen map[stream.BarrierID]int // documents before the cut
	last []byte                   // state at the end
}

// run applies a log (whose first message is FirstMessage) from m.Next() on.
func run(t *rapid.T, m *Machine, log [][]byte) *history {
	h := &history{acks: make(map[stream.BarrierID]checkpoint.Ack), body: make(map[stream.BarrierID][]byte), seen: make(map[stream.BarrierID]int)}
	for m.Next() < FirstMessage+uint64(len(log)) {
		if err := m.Apply(m.Next(), log[m.Next()-FirstMessage]); err != nil {
			t.Fatalf("message %d of %d: %v", m.Next(), len(log), err)
		}
		for step, ok := m.Step(); ok; step, ok = m.Step() {
			ids := make(map[string]bool)
			for _, d := range step.Documents {
				if ids[d.ID] {
					t.Fatalf("R7: %s twice in a frame", d.ID)
				}
				ids[d.ID] = true
				h.docs = append(h.docs, d)
			}
			if n := step.Aligned; n != 0 {
				h.cuts = append(h.cuts, n)
				h.acks[n], h.body[n], h.seen[n] = m.Ack(), m.Encode(nil, nil), len(h.docs)
				conserved(t, h.acks[n])
			}
		}
	}
	h.last = m.Encode(nil, nil)
	return h
}

func (s *simulation) machine(t *rapid.T, p int) *Machine {
	c := s.config
	c.Partition = stream.Partition(p)
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func drawSimulation(t *rapid.T) *simulation {
	return simulate(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 3).Draw(t, "partitions"), rapid.IntRange(1, 4).Draw(t, "shards"),
		rapid.IntRange(0, 120).Draw(t, "steps"), rapid.Bool().Draw(t, "late"))
}

// TestReplay: I2, I6. A machine restored at any completed cut and fed the rest
// of the log emits the same documents under the same versions, completes the
// same cuts with the same bytes, and ends in the same state.
func TestReplay(t *testing.T) {
	completed, overflowed := 0, uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		s := drawSimulation(t)
		s.config.QueueLimit = rapid.SampledFrom([]int{0, 3000, 800}).Draw(t, "queue limit")
		for p, log := range s.logs {
			m := s.machine(t, p)
			straight := run(t, m, log)
			completed += len(straight.cuts)
			overflowed += m.Status().Overflowed
			for i, n := range straight.cuts {
				c := s.config
				c.Partition = stream.Partition(p)
				m, _, err := Restore(c, straight.body[n])
				if err != nil {
					t.Fatalf("restore barrier %d: %v", n, err)
				}
				if !bytes.Equal(m.Encode(nil, nil), straight.body[n]) {
					t.Fatalf("barrier %d: the restored state is encoded otherwise", n)
				}
				if m.Next() != straight.acks[n].Resume {
					t.Fatalf("barrier %d resumes at %d, its ack says %d", n, m.Next(), straight.acks[n].Resume)
				}
				again := run(t, m, log)
				if !slices.Equal(again.cuts, straight.cuts[i+1:]) {
					t.Fatalf("from barrier %d: cuts %v, not %v", n, again.cuts, straight.cuts[i+1:])
				}
				for _, k := range again.cuts {
					if !bytes.Equal(again.body[k], straight.body[k]) {
						t.Fatalf("from barrier %d: the snapshot of barrier %d differs", n, k)
					}
				}
				if !bytes.Equal(again.last, straight.last) {
					t.Fatalf("from barrier %d: another state at the end", n)
				}
				equalDocuments(t, again.docs, straight.docs[straight.seen[n]:])
			}
		}
	})
	if completed < 100 || overflowed == 0 {
		t.Errorf("only %d cuts were completed, %d cancelled by a full queue: the simulation is no test", completed, overflowed)
	}
}

func equalDocuments(t *rapid.T, got, want []sink.Document) {
	same := func(a, b sink.Document) bool {
		ab, bb := a.Body, b.Body
		a.Body, b.Body = nil, nil
		return bytes.Equal(ab, bb) && fmt.Sprint(a) == fmt.Sprint(b)
	}
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("I6: %d documents, not %d, or others", len(got), len(want))
	}
}

// TestCutVector: I3, R5, R6. A cut is where each shard wrote its barrier, in
// every partition, whatever the order of the logs.
func TestCutVector(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSimulation(t)
		vectors := make(map[stream.BarrierID]checkpoint.Vector)
		acks := make(map[stream.BarrierID][]checkpoint.Ack)
		for p, log := range s.logs {
			h := run(t, s.machine(t, p), log)
			if len(h.cuts) == 0 || h.cuts[len(h.cuts)-1] != s.barrier {
				t.Fatalf("the last barrier, %d, is not complete: %v", s.barrier, h.cuts)
			}
			for _, n := range h.cuts {
				v := h.acks[n].Vector
				for _, c := range v {
					i := slices.IndexFunc(s.shards, func(sh *simShard) bool { return sh.id == c.Shard })
					if c.State == checkpoint.Open && c.Position != position(s.shards[i].cuts[n]) {
						t.Fatalf("barrier %d: shard %s is cut at %s, it wrote it at %d", n, c.Shard, c.Position, s.shards[i].cuts[n])
					}
				}
				if first, ok := vectors[n]; ok && !v.Equal(first) {
					// An END may lie before the barrier here and behind it there
					// only if the shard wrote no such barrier.
					t.Fatalf("I3: barrier %d: %s", n, v.Diff(first))
				}
				vectors[n] = v
				acks[n] = append(acks[n], h.acks[n])
			}
		}
		for n, all := range acks {
			if len(all) == len(s.logs) {
				conservedReads(t, n, all)
			}
		}
	})
}

// conservedReads checks the other half of R21: what ingest read is what the
// partitions have.
func conservedReads(t *rapid.T, n stream.BarrierID, acks []checkpoint.Ack) {
	items := make(map[stream.ShardID]uint64)
	for _, a := range acks {
		for _, c := range a.Counters.Shards {
			items[c.Shard] += c.Items
		}
	}
	for _, c := range acks[0].Vector {
		if c.Read != c.Watermarks+items[c.Shard] {
			t.Fatalf("R21: barrier %d: shard %s read %d, %d watermark events and %d items", n, c.Shard, c.Read, c.Watermarks, items[c.Shard])
		}
	}
}

// TestOracle compares the documents of a whole run with a batch over all trips,
// which knows neither shards nor watermarks nor panes.
func TestOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := simulate(rapid.Uint64().Draw(t, "seed"), 2, rapid.IntRange(1, 4).Draw(t, "shards"), rapid.IntRange(0, 150).Draw(t, "steps"), false)
		for p, log := range s.logs {
			got := make(map[string]string)
			for _, d := range run(t, s.machine(t, p), log).docs {
				if d.Query == sink.DeadQuery {
					continue
				}
				if _, ok := got[d.ID]; ok {
					t.Fatalf("%s came twice", d.ID)
				}
				got[d.ID] = summary(t, d)
			}
			if want := batch(s.rows[p]); !maps.Equal(got, want) {
				for id, w := range want {
					if got[id] != w {
						t.Errorf("%s: %q, want %q", id, got[id], w)
					}
				}
				t.Fatalf("%d documents, want %d", len(got), len(want))
			}
		}
	})
}

// TestLate: I8 from the documents' side. Each trip is in one result or in one
// late document of a query that it passes.
func TestLate(t *testing.T) {
	lates := 0
	rapid.Check(t, func(t *rapid.T) {
		s := simulate(rapid.Uint64().Draw(t, "seed"), 1, rapid.IntRange(1, 4).Draw(t, "shards"), rapid.IntRange(0, 150).Draw(t, "steps"), true)
		counted := make(map[string]int)
		for _, d := range run(t, s.machine(t, 0), s.logs[0]).docs {
			var body struct {
				Pickups int      `json:"pickup_count"`
				Trips   int      `json:"trip_count"`
				LateFor []string `json:"late_for"`
			}
			if err := json.Unmarshal(d.Body, &body); err != nil {
				t.Fatal(err)
			}
			counted[d.Query] += body.Pickups + body.Trips
			for _, q := range body.LateFor {
				counted[q]++
				lates++
			}
		}
		var want [2]int
		for _, r := range s.rows[0] {
			want[0]++
			if r.Airport != trip.NoAirport && r.Duration > 0 && r.Duration <= int64(3*time.Hour) {
				want[1]++
			}
		}
		if got := [2]int{counted[PickupCount], counted[TripDuration]}; got != want {
			t.Fatalf("trips in documents: %v, want %v", got, want)
		}
	})
	if lates == 0 {
		t.Error("no trip was late")
	}
}

// batch is the oracle: maps of text.
func batch(rows []stream.Row) map[string]string {
	type group struct{ trips, minutes int }
	groups := make(map[string]*group)
	add := func(id string, r stream.Row) {
		if groups[id] == nil {
			groups[id] = &group{}
		}
		groups[id].trips++
		groups[id].minutes += int(time.Duration(r.Duration).Truncate(time.Minute).Minutes())
	}
	for _, r := range rows {
		window := time.Unix(0, r.EventTime).UTC().Truncate(10 * time.Minute).Unix()
		cell := r.Pickup.String()[:6]
		add(fmt.Sprintf("sim/pickup_count/%d/%s", window, cell), r)
		if d := time.Duration(r.Duration); r.Airport.String() != "" && d > 0 && d <= 3*time.Hour {
			add(fmt.Sprintf("sim/trip_duration/%d/%s/%s", window, cell, r.Airport), r)
		}
	}
	out := make(map[string]string)
	for id, g := range groups {
		out[id] = fmt.Sprintf("%d trips", g.trips)
		if bytes.Contains([]byte(id), []byte("trip_duration")) {
			out[id] += fmt.Sprintf(", %d minutes, %v", g.minutes, float64(g.minutes)/float64(g.trips))
		}
	}
	return out
}

func summary(t *rapid.T, d sink.Document) string {
	var b struct {
		Pickups *int     `json:"pickup_count"`
		Trips   *int     `json:"trip_count"`
		Minutes *int     `json:"sum_trip_duration"`
		Average *float64 `json:"avg_trip_duration"`
	}
	if err := json.Unmarshal(d.Body, &b); err != nil {
		t.Fatalf("%s: %v: %s", d.ID, err, d.Body)
	}
	if b.Pickups != nil {
		return fmt.Sprintf("%d trips", *b.Pickups)
	}
	if b.Trips == nil || b.Minutes == nil || b.Average == nil {
		return string(d.Body)
	}
	return fmt.Sprintf("%d trips, %d minutes, %v", *b.Trips, *b.Minutes, *b.Average)
}
