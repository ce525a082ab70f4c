package window

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
)

// goldenState is a machine at a cut with open panes of both queries, an ended
// shard, a dormant one and lane marks; and two pending documents.
func goldenState(t testing.TB) (Config, []byte, []sink.Document) {
	s := &script{t: &testing.T{}}
	a := func(line string) arguments {
		m := make(map[string]string)
		for f := range strings.FieldsSeq(line) {
			k, v, _ := strings.Cut(f, "=")
			m[k] = v
		}
		return arguments{s.t, m}
	}
	s.new(a("shards=a,b,z"))
	for _, line := range []string{
		"shard=z after=0 upto=9 w=10:30 trips=10:01@A,10:02@A>JFK/25m,10:42@C>LGA/7m,10:49@A outside=3 repeated=1 dead=8:json",
		"shard=a after=0 upto=4 w=10:20 trips=10:25@B*3 end children=c:a+b",
		"shard=b after=0 upto=4 w=10:20 trips=10:25@A*3 barrier=5",
		"shard=b after=4 upto=5 w=10:21",
		"shard=z after=9 upto=9 w=10:35 idle barrier=5",
	} {
		f := a(line).frame()
		if f.Cut != nil {
			f.Cut.Marks = []stream.Mark{{Producer: 0xabcdef, Lane: 3, Seq: 17}, {Producer: 0xabcdef, Lane: 255, Seq: 16}}
		}
		if err := s.m.Apply(s.m.Next(), stream.Append(nil, f)); err != nil {
			t.Fatal(err)
		}
		for step, ok := s.m.Step(); ok; step, ok = s.m.Step() {
			if step.Aligned != 0 {
				pending := []sink.Document{
					{ID: "taxi/pickup_count/2", Version: 1<<48 | 2, Query: PickupCount, WindowStart: 1451642400, WindowEnd: 1451643000, Cell: "dr5ru7", Body: []byte("{}")},
					{ID: "taxi/late/a/1", Version: 1<<48 | 1, Query: sink.LateQuery, Airport: "JFK", Body: []byte(`{"a":1}`)},
				}
				return s.cfg, s.m.Encode(nil, pending), pending
			}
		}
	}
	t.Fatal("no cut")
	return s.cfg, nil, nil
}

const goldenFile = "testdata/state-v1.bin"

// TestStateGolden: state of version 1 is read for ever, and written like this.
func TestStateGolden(t *testing.T) {
	cfg, got, pending := goldenState(t)
	if *update {
		if err := os.WriteFile(goldenFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the state is encoded as\n%x\nthe golden file has\n%x", got, want)
	}
	m, docs, err := Restore(cfg, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 2 || docs[0].ID != pending[1].ID || string(docs[1].Body) != string(pending[0].Body) {
		t.Errorf("pending documents are %v", docs)
	}
	if again := m.Encode(nil, docs); !bytes.Equal(again, want) {
		t.Error("the restored state is encoded otherwise")
	}
	st := m.Status()
	if st.Barrier != 5 || st.Next != 4 || clock(st.Watermark) != "10:20" || st.OpenPanes != 3 || st.Groups != 5 {
		t.Errorf("restored: %+v", st)
	}
}

// TestRestoreRefuses: every truncation is refused as corrupt; a state of another
// version, or of something else, by name.
func TestRestoreRefuses(t *testing.T) {
	cfg, body, _ := goldenState(t)
	for n := range body {
		if _, _, err := Restore(cfg, body[:n]); !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(body), err)
		}
	}
	if _, _, err := Restore(cfg, append(body[:len(body):len(body)], 0)); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("one byte too many: %v", err)
	}
	if _, _, err := Restore(cfg, append([]byte{2}, body[1:]...)); !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"job":                  func(c *Config) { c.Job = "other" },
		"generation":           func(c *Config) { c.Generation = 2 },
		"nonce":                func(c *Config) { c.Nonce++ },
		"partition":            func(c *Config) { c.Partition, c.Partitions = 1, 2 },
		"number of partitions": func(c *Config) { c.Partitions = 2 },
		"partition precision":  func(c *Config) { c.Precision = 5 },
		"queries":              func(c *Config) { c.Queries = c.Queries[:1] },
		`"trip_duration"`: func(c *Config) {
			c.Queries = append([]Query(nil), c.Queries...)
			c.Queries[1].MinCount = 3
		},
	} {
		c := cfg
		change(&c)
		if _, _, err := Restore(c, body); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), name) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// TestOrdinalOverflow: R7.
func TestOrdinalOverflow(t *testing.T) {
	cfg, body, _ := goldenState(t)
	m, _, err := Restore(cfg, body)
	if err != nil {
		t.Fatal(err)
	}
	m.ordinal = maxOrdinal - 1
	frame := func(seq, after, upto string) error {
		f := stream.Frame{Header: stream.Header{Nonce: testNonce, Shard: "z", After: stream.Position{Seq: after}, Upto: stream.Position{Seq: upto}}}
		return m.Apply(m.Next(), stream.Append(nil, &f))
	}
	m.next = 7
	if err := frame("7", "9", "10"); err != nil {
		t.Fatal(err)
	}
	if got := m.version(); got != 1<<48|maxOrdinal {
		t.Errorf("version %x", got)
	}
	if err := frame("8", "10", "11"); !errors.Is(err, ErrOverflow) {
		t.Errorf("one frame too many: %v", err)
	}
}

// FuzzRestore: no body panics, and an accepted one is the only encoding of its state.
func FuzzRestore(f *testing.F) {
	cfg, body, _ := goldenState(f)
	f.Add(body)
	f.Add(body[:len(body)/2])
	f.Fuzz(func(t *testing.T, body []byte) {
		m, docs, err := Restore(cfg, body)
		if err != nil {
			if !errors.Is(err, checkpoint.ErrCorrupt) && !errors.Is(err, ErrMismatch) {
				t.Fatalf("no sentinel: %v", err)
			}
			return
		}
		if again := m.Encode(nil, docs); !bytes.Equal(again, body) {
			t.Fatalf("encoded again it is\n%x, not\n%x", again, body)
		}
		conserved(t, m.Ack())
	})
}
