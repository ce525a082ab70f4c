package window

import (
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

func TestQueryValidate(t *testing.T) {
	cell := Field{Of: PickupCell, Precision: 6}
	count := []Aggregate{{Name: "n", Op: Count}}
	for _, test := range []struct {
		want string
		q    Query
	}{
		{"", Query{Name: "ok", Key: []Field{cell}, Window: time.Second, Aggregates: count}},
		{"", Query{Name: "ok", Key: []Field{{Of: DropoffAirport}, cell}, Window: time.Minute, Aggregates: count}},
		{"1 to 64 lower-case", Query{Name: "Bad name", Key: []Field{cell}, Window: time.Second, Aggregates: count}},
		{"taken by documents of late trips", Query{Name: sink.LateQuery, Key: []Field{cell}, Window: time.Second, Aggregates: count}},
		{`query "routes": a key with the drop-off cell is not a function of the pick-up cell`,
			Query{Name: "routes", Key: []Field{cell, {Of: DropoffCell, Precision: 6}}, Window: time.Second, Aggregates: count}},
		{`query "airports": a key without the pick-up cell is not a function of it`,
			Query{Name: "airports", Key: []Field{{Of: DropoffAirport}}, Window: time.Second, Aggregates: count}},
		{"the pick-up cell twice", Query{Name: "q", Key: []Field{cell, cell}, Window: time.Second, Aggregates: count}},
		{"precision 13", Query{Name: "q", Key: []Field{{Of: PickupCell, Precision: 13}}, Window: time.Second, Aggregates: count}},
		{"window 1.5s", Query{Name: "q", Key: []Field{cell}, Window: 1500 * time.Millisecond, Aggregates: count}},
		{"window 0s", Query{Name: "q", Key: []Field{cell}, Aggregates: count}},
		{"no aggregates", Query{Name: "q", Key: []Field{cell}, Window: time.Second}},
		{"no duration is above", Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: count,
			Filter: Filter{Duration: &DurationRange{Above: 1, UpTo: 1}}}},
		{`"cell" cannot name`, Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: []Aggregate{{Name: "cell", Op: Count}}}},
		{`two aggregates are named "n"`, Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: append(count, count...)}},
		{"of nothing else", Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: []Aggregate{{Name: "n", Op: Count, Of: TotalCents}}}},
		{"unknown measure", Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: []Aggregate{{Name: "n", Op: Sum}}}},
		{"unknown operation", Query{Name: "q", Key: []Field{cell}, Window: time.Second, Aggregates: []Aggregate{{Name: "n", Op: 9}}}},
	} {
		switch err := test.q.Validate(); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.q.Name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%v, want ...%s...", err, test.want)
		}
	}
	if _, err := Queries("nowhere", time.Minute); err == nil {
		t.Error("an unknown profile was accepted")
	}
}

// TestQueryHash: every field of a definition is in its hash.
func TestQueryHash(t *testing.T) {
	base := func() Query { q, _ := Queries(trip.GeofenceBBox, time.Minute); return q[1] }
	seen := map[string]int{}
	for i, change := range []func(*Query){
		func(*Query) {},
		func(q *Query) { q.Name = "other" },
		func(q *Query) { q.Key[0].Precision = 5 },
		func(q *Query) { q.Key = q.Key[:1] },
		func(q *Query) { q.Filter.Airport = false },
		func(q *Query) { q.Filter.Duration = nil },
		func(q *Query) { q.Filter.Duration.Above = 1 },
		func(q *Query) { q.Filter.Duration.UpTo++ },
		func(q *Query) { q.Window *= 2 },
		func(q *Query) { q.Aggregates[1].Of = TotalCents },
		func(q *Query) { q.Aggregates[1].Op = Average },
		func(q *Query) { q.Aggregates[1].Name = "s" },
		func(q *Query) { q.Aggregates = q.Aggregates[:2] },
		func(q *Query) { q.MinCount = 2 },
	} {
		q := base()
		change(&q)
		if j, ok := seen[q.Hash()]; ok {
			t.Errorf("changes %d and %d have one hash", i, j)
		}
		seen[q.Hash()] = i
	}
	q := base()
	q.MinCount = 0
	if q.Hash() != base().Hash() {
		t.Error("0 and 1 are one MinCount, but two hashes")
	}
}

// TestPartitionOf pins the hash that manifests call HashName (R8). The values
// are those of another implementation of xxHash64.
func TestPartitionOf(t *testing.T) {
	for _, test := range []struct {
		cell string
		n    int
		want stream.Partition
	}{{"dr5ru7", 16, 5}, {"dr5ru7", 64, 5}, {"dr5rsn", 16, 5}, {"dr5x1n", 4, 3}} {
		c, err := trip.ParseCell(test.cell)
		if err != nil {
			t.Fatal(err)
		}
		if got := PartitionOf(c, test.n); got != test.want {
			t.Errorf("PartitionOf(%s, %d) = %s, want %s", test.cell, test.n, got, test.want)
		}
	}
	if got, want := PartitionOfRecord("shardId-000000000000", stream.Position{Seq: "4957", Sub: 2}, 64), stream.Partition(20); got != want {
		t.Errorf("PartitionOfRecord = %s, want %s", got, want)
	}
}

// TestWindowBounds: windows are multiples of their length since 1970, before it too.
func TestWindowBounds(t *testing.T) {
	for _, test := range []struct{ at, window, start string }{
		{"2016-01-01T00:00:00Z", "10m", "2016-01-01T00:00:00Z"},
		{"2016-01-01T00:09:59.999999999Z", "10m", "2016-01-01T00:00:00Z"},
		{"1970-01-01T00:00:00Z", "1h", "1970-01-01T00:00:00Z"},
		{"1969-12-31T23:59:59.999999999Z", "1h", "1969-12-31T23:00:00Z"},
		{"1969-12-31T23:00:00Z", "1h", "1969-12-31T23:00:00Z"},
		{"1700-01-01T00:00:00Z", "7s", "1699-12-31T23:59:54Z"},
	} {
		at, err1 := time.Parse(time.RFC3339Nano, test.at)
		length, err2 := time.ParseDuration(test.window)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		o := newOperator(Query{Window: length})
		p := o.pane(at.UnixNano(), stream.MinWatermark, &pool{})
		if got := time.Unix(0, p.start).UTC().Format(time.RFC3339); got != test.start || p.end-p.start != int64(length) {
			t.Errorf("%s is in the window of %s from %s, want %s", test.at, test.window, got, test.start)
		}
	}
}

// TestConfig: a machine is refused where its groups would span partitions, and
// versions run out loudly (R7).
func TestConfig(t *testing.T) {
	queries, _ := Queries(trip.GeofenceBBox, time.Minute)
	good := Config{Job: "j", Generation: 1, Partitions: 2, Queries: queries, Shards: []stream.ShardID{"a"}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"job":       func(c *Config) { c.Job = "" },
		"partition": func(c *Config) { c.Partition = 2 },
		"precision": func(c *Config) { c.Precision = 7 },
		"queries":   func(c *Config) { c.Queries = nil },
		"one name":  func(c *Config) { c.Queries = append(c.Queries[:2:2], c.Queries[0]) },
		"shards":    func(c *Config) { c.Shards = nil },
		"one shard": func(c *Config) { c.Shards = []stream.ShardID{"a", "a"} },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
