package sinktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/tripgrid/tripgrid/sink"
)

// Store is a sink whose documents can be read back, at once after a Write: for
// OpenSearch by a realtime GET.
type Store interface {
	sink.Sink
	Get(ctx context.Context, id string) (sink.Document, bool, error)
}

// Run runs the conformance suite. open opens the store called name: a new one,
// or the one that was closed under that name before. It fails t if it cannot.
func Run(t *testing.T, open func(t *testing.T, name string) Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Store)
	}{
		{"documents come back", testRoundTrip},
		{"highest version stays", testVersions},
		{"a repeat changes nothing", testRepeat},
		{"one id twice in a call", testTwice},
		{"one result per document", testResults},
		{"nothing to write", testNothing},
		{"many documents", testMany},
		{"concurrent calls", testConcurrent},
		{"cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, nameOf(t))
			defer func() { check(t, s.Close()) }()
			c.test(t, s)
		})
	}
	t.Run("durable", func(t *testing.T) {
		name := nameOf(t)
		s := open(t, name)
		write(t, s, Doc("a", 7), Doc("b", 1<<48|9))
		check(t, s.Close())
		if _, err := s.Write(context.Background(), []sink.Document{Doc("c", 1)}); err == nil {
			t.Error("Write after Close: no error")
		}
		s = open(t, name)
		write(t, s, Doc("a", 6))
		want(t, s, "a", 7)
		want(t, s, "b", 1<<48|9)
		check(t, s.Close())
	})
}

// Doc returns a plausible document, whose body shows its version.
func Doc(id string, version uint64) sink.Document {
	return sink.Document{
		ID: id, Version: version, Query: "pickup_count", WindowStart: 1456790400, WindowEnd: 1456791000, Cell: "dr5ru7",
		Body: fmt.Appendf(nil, `{"cell":"dr5ru7","pickup_count":%d}`, version),
	}
}

func nameOf(t *testing.T) string {
	return strings.ToLower(strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write writes documents and expects all of them to be taken.
func write(t *testing.T, s Store, docs ...sink.Document) {
	t.Helper()
	results, err := s.Write(context.Background(), docs)
	check(t, err)
	if len(results) != len(docs) {
		t.Fatalf("%d results for %d documents", len(results), len(docs))
	}
	for i, r := range results {
		if r != (sink.Result{}) {
			t.Fatalf("document %q: %+v", docs[i].ID, r)
		}
	}
}

// want expects Doc(id, version) to be stored, or nothing if version is 0.
func want(t *testing.T, s Store, id string, version uint64) {
	t.Helper()
	d, ok, err := s.Get(context.Background(), id)
	check(t, err)
	switch {
	case !ok && version == 0:
	case !ok:
		t.Errorf("%q is not stored", id)
	case version == 0:
		t.Errorf("%q is stored", id)
	case d.Version != version:
		t.Errorf("%q has version %d, want %d", id, d.Version, version)
	case string(d.Body) != string(Doc(id, version).Body):
		t.Errorf("%q version %d has the body %s", id, version, d.Body)
	}
}

func testRoundTrip(t *testing.T, s Store) {
	full := sink.Document{ID: "taxi|trip_duration|\"ü\"|1", Version: math.MaxInt64, Query: "trip_duration",
		WindowStart: -600, WindowEnd: 0, Cell: "dr5ru7", Airport: "JFK",
		Body: []byte(`{"nested":{"a":[1,2,{"b":"}\""}]},"text":"\u00e9 ü €","avg_trip_duration":40.0,"null":null}`)}
	late := sink.Document{ID: "late", Version: 1, Query: sink.LateQuery, Body: []byte(`{}`)}
	dead := sink.Document{ID: "dead", Version: 1, Query: sink.DeadQuery, Body: []byte(`{"raw":"AAEC/w=="}`)}
	write(t, s, full, late, dead)
	for _, d := range []sink.Document{full, late, dead} {
		got, ok, err := s.Get(context.Background(), d.ID)
		check(t, err)
		if !ok || fmt.Sprintf("%+v %s", got, got.Body) != fmt.Sprintf("%+v %s", d, d.Body) {
			t.Errorf("got  %+v %s\nwant %+v %s", got, got.Body, d, d.Body)
		}
	}
	want(t, s, "absent", 0)
}

func testVersions(t *testing.T, s Store) {
	write(t, s, Doc("a", 5), Doc("b", 5))
	write(t, s, Doc("a", 4), Doc("b", 6))
	want(t, s, "a", 5)
	want(t, s, "b", 6)
	// A new generation is above every ordinal of the one before.
	write(t, s, Doc("a", 2<<48|1))
	write(t, s, Doc("a", 1<<48|(1<<48-1)))
	want(t, s, "a", 2<<48|1)
}

// A store may pass over a document that it has, or write the same bytes again:
// documents of one id and version are the same (I6).
func testRepeat(t *testing.T, s Store) {
	write(t, s, Doc("a", 5), Doc("b", 3))
	write(t, s, Doc("a", 5))
	write(t, s, Doc("b", 3), Doc("a", 5), Doc("b", 3), Doc("a", 4))
	want(t, s, "a", 5)
	want(t, s, "b", 3)
	write(t, s, Doc("a", 6), Doc("b", 2)) // and a repeat did not move it
	want(t, s, "a", 6)
	want(t, s, "b", 3)
}

func testTwice(t *testing.T, s Store) {
	write(t, s, Doc("a", 1), Doc("b", 9), Doc("a", 2), Doc("b", 8), Doc("a", 2))
	want(t, s, "a", 2)
	want(t, s, "b", 9)
}

func testResults(t *testing.T, s Store) {
	noBody, text, noID, high := Doc("no body", 1), Doc("text", 1), Doc("", 1), Doc("high", math.MaxInt64+1)
	noBody.Body, text.Body = nil, []byte(`{"open":`)
	docs := []sink.Document{Doc("a", 1), noBody, Doc("b", 1), text, noID, high, Doc("c", 1)}
	results, err := s.Write(context.Background(), docs)
	check(t, err)
	if len(results) != len(docs) {
		t.Fatalf("%d results for %d documents", len(results), len(docs))
	}
	for i, rejected := range []bool{false, true, false, true, true, true, false} {
		if (results[i].Rejected != "") != rejected || results[i].Retry {
			t.Errorf("document %d, %q: %+v, want rejected %t", i, docs[i].ID, results[i], rejected)
		}
	}
	for id, version := range map[string]uint64{"a": 1, "b": 1, "c": 1, "no body": 0, "text": 0, "high": 0} {
		want(t, s, id, version)
	}
}

func testNothing(t *testing.T, s Store) { write(t, s) }

func testMany(t *testing.T, s Store) {
	docs := make([]sink.Document, 4_611) // more than a store takes at once
	for i := range docs {
		docs[i] = Doc(fmt.Sprint("doc-", i), uint64(i+1))
	}
	write(t, s, docs...)
	for _, i := range []int{0, 63, 64, 1999, 4095, 4096, len(docs) - 1} {
		want(t, s, docs[i].ID, docs[i].Version)
	}
}

func testConcurrent(t *testing.T, s Store) {
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for v := range uint64(20) {
				docs := []sink.Document{Doc(fmt.Sprint("x", w), v+1), Doc(fmt.Sprint("y", w), 100-v)}
				if _, err := s.Write(context.Background(), docs); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for w := range 4 {
		want(t, s, fmt.Sprint("x", w), 20)
		want(t, s, fmt.Sprint("y", w), 100)
	}
}

func testCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Write(ctx, []sink.Document{Doc("a", 1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Write with a cancelled context: %v", err)
	}
	write(t, s, Doc("a", 1)) // and the store goes on
	want(t, s, "a", 1)
}
