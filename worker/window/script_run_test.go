package window

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

func (s *script) apply(a arguments) {
	seq := a.number("seq", s.m.Next())
	data := stream.Append(nil, a.frame())
	if err := s.m.Apply(seq, data); err != nil {
		fmt.Fprintf(&s.out, "error: %v\n", err)
		return
	}
	s.log[seq] = data
	if a.has("quiet") {
		s.drain(s.m, func(string, ...any) {})
		s.prev = s.m.Status()
		return
	}
	s.drain(s.m, func(format string, a ...any) { fmt.Fprintf(&s.out, format+"\n", a...) })
	s.changes()
}

// drain takes all steps, says what they are and records it, or compares it with
// what is recorded.
func (s *script) drain(m *Machine, say func(string, ...any)) (documents, cuts int) {
	for {
		step, ok := m.Step()
		if !ok {
			return documents, cuts
		}
		for _, d := range step.Documents {
			documents++
			say("%s", describe(d))
			key := fmt.Sprintf("%s %d", d.ID, d.Version)
			if body, ok := s.docs[key]; ok && body != string(d.Body) {
				s.t.Errorf("I6: %s is %s and %s", key, body, d.Body)
			}
			s.docs[key] = string(d.Body)
		}
		if n := step.Aligned; n != 0 {
			cuts++
			ack, body := m.Ack(), m.Encode(nil, nil)
			conserved(s.t, ack)
			say("aligned %d: %s; resume %d, ordinal %d", n, describeVector(ack), ack.Resume, ack.Ordinal)
			if old, ok := s.parts[n]; ok && string(old) != string(body) {
				s.t.Errorf("I2: the snapshots of barrier %d differ", n)
			}
			s.parts[n] = body
		}
	}
}

// changes says what the documents do not.
func (s *script) changes() {
	now := s.m.Status()
	if now.Watermark != s.prev.Watermark {
		fmt.Fprintf(&s.out, "watermark %s\n", clock(now.Watermark))
	}
	if now.Overflowed != s.prev.Overflowed {
		fmt.Fprintf(&s.out, "queue full\n")
	}
	if now.Cancelled != s.prev.Cancelled {
		fmt.Fprintf(&s.out, "cancelled\n")
	}
	if now.Ghosts != s.prev.Ghosts {
		fmt.Fprintf(&s.out, "ghost\n")
	}
	if now.Queued != s.prev.Queued {
		fmt.Fprintf(&s.out, "queued %d\n", now.Queued)
	}
	s.prev = now
}

func (s *script) status() {
	st := s.m.Status()
	fmt.Fprintf(&s.out, "ordinal %d, watermark %s, barrier %d, aligning %t, waiting %v, queued %d, groups %d\n",
		st.Ordinal, clock(st.Watermark), st.Barrier, st.Aligning, st.Waiting, st.Queued, st.Groups)
	for _, c := range st.Counters.Shards {
		fmt.Fprintf(&s.out, "shard %s: items %d = applied %d + repeated %d + outside %d + dead %d\n", c.Shard, c.Items, c.Applied, c.Repeated, c.Outside, c.Dead)
	}
	for _, c := range st.Counters.Queries {
		fmt.Fprintf(&s.out, "query %s: filtered %d + late %d + open %d + retired %d\n", c.Query, c.Filtered, c.Late, c.Open, c.Retired)
	}
}

// restore replays the log from a snapshot beside the running machine.
func (s *script) restore(n stream.BarrierID) {
	m, _, err := Restore(s.cfg, s.parts[n])
	if err != nil {
		fmt.Fprintf(&s.out, "error: %v\n", err)
		return
	}
	if again := m.Encode(nil, nil); string(again) != string(s.parts[n]) {
		s.t.Errorf("barrier %d: the restored state is encoded otherwise", n)
	}
	known, from := len(s.docs), m.Next()
	documents, cuts := 0, 0
	for m.Next() < s.m.Next() {
		if err := m.Apply(m.Next(), s.log[m.Next()]); err != nil {
			s.t.Errorf("replay from barrier %d: %v", n, err)
			return
		}
		d, c := s.drain(m, func(string, ...any) {})
		documents, cuts = documents+d, cuts+c
	}
	if len(s.docs) != known {
		s.t.Errorf("I6: the replay from barrier %d has other documents or versions: %v", n, slices.Sorted(maps.Keys(s.docs)))
	}
	if a, b := m.Encode(nil, nil), s.m.Encode(nil, nil); string(a) != string(b) {
		s.t.Errorf("I2: the replay from barrier %d ends in another state", n)
	}
	fmt.Fprintf(&s.out, "replayed from message %d: %d documents and %d cuts, all equal\n", from, documents, cuts)
}

func clock(ns int64) string {
	switch ns {
	case stream.MinWatermark:
		return "min"
	case trip.FinalWatermark:
		return "final"
	}
	return strings.TrimSuffix(time.Unix(0, ns).UTC().Format("15:04:05"), ":00")
}

func describe(d sink.Document) string {
	var body map[string]any
	if err := json.Unmarshal(d.Body, &body); err != nil {
		return err.Error() + ": " + string(d.Body)
	}
	version := fmt.Sprintf("v%d", d.Version&maxOrdinal)
	switch d.Query {
	case sink.LateQuery:
		return fmt.Sprintf("late %s %s: %v ms for %v", d.ID, version, body["late_ms"], body["late_for"])
	case sink.DeadQuery:
		return fmt.Sprintf("dead %s %s: %v %v", d.ID, version, body["reason"], body["raw_base64"])
	case PickupCount:
		return fmt.Sprintf("pickup_count %s %s %s: %v", clock(d.WindowStart*1e9), d.Cell, version, body["pickup_count"])
	}
	return fmt.Sprintf("%s %s %s %s %s: %v trips, %v min, %v on average", d.Query, clock(d.WindowStart*1e9), d.Cell, d.Airport, version,
		body["trip_count"], body["sum_trip_duration"], body["avg_trip_duration"])
}

func describeVector(a checkpoint.Ack) string {
	var b []string
	for _, c := range a.Vector {
		s := fmt.Sprintf("%s %s@%s w=%s", c.Shard, c.State, c.Position, clock(c.Watermark))
		if c.Idle {
			s += " idle"
		}
		if c.Final {
			s += " final"
		}
		for _, k := range a.Anchors {
			if k.Shard == c.Shard {
				s += fmt.Sprintf(" anchor %d", k.Seq)
			}
		}
		b = append(b, s)
	}
	return strings.Join(b, ", ")
}

// conserved checks R21 at a cut.
func conserved(t interface{ Errorf(string, ...any) }, a checkpoint.Ack) {
	var applied uint64
	for _, c := range a.Counters.Shards {
		applied += c.Applied
		if c.Items != c.Applied+c.Repeated+c.Outside+c.Dead {
			t.Errorf("R21: shard %+v", c)
		}
	}
	for _, c := range a.Counters.Queries {
		if applied != c.Filtered+c.Late+c.Open+c.Retired {
			t.Errorf("R21: %d trips applied, query %+v", applied, c)
		}
	}
}
