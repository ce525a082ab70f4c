package sink_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *sink.SQLite {
	t.Helper()
	s, err := sink.OpenSQLite(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustWrite(t *testing.T, s sink.Sink, docs ...sink.Document) {
	t.Helper()
	results, err := s.Write(context.Background(), docs)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r != (sink.Result{}) {
			t.Fatalf("%q: %+v", docs[i].ID, r)
		}
	}
}

func TestSQLiteConformance(t *testing.T) {
	dir := t.TempDir()
	sinktest.Run(t, func(t *testing.T, name string) sinktest.Store {
		s, err := sink.OpenSQLite(filepath.Join(dir, name+" 100%?#.db")) // a name that is no URL
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func trips(window int64, cell, airport string, version uint64, n, sum int) sink.Document {
	return sink.Document{
		ID: fmt.Sprint(window, cell, airport), Version: version, Query: "trip_duration", WindowStart: window, WindowEnd: window + 600,
		Cell: cell, Airport: airport,
		Body: fmt.Appendf(nil, `{"cell":%q,"timestamp":"x","trip_count":%d,"sum_trip_duration":%d,"avg_trip_duration":%.4f,"query":"trip_duration"}`,
			cell, n, sum, float64(sum)/float64(n)),
	}
}

func count(window int64, cell string, version uint64, n int) sink.Document {
	return sink.Document{
		ID: fmt.Sprint(window, cell), Version: version, Query: "pickup_count", WindowStart: window, WindowEnd: window + 600, Cell: cell,
		Body: fmt.Appendf(nil, `{ "location":{"lat":1,"lon":[2]}, "pickup_count" : %d,"provisional":false }`, n),
	}
}

func TestSQLiteExport(t *testing.T) {
	docs := []sink.Document{
		trips(1200, "dr5ru7", "LGA", 3, 3, 120), trips(1200, "dr5ru7", "JFK", 4, 2, 81), trips(600, "dr5ru8", "JFK", 4, 1, 5),
		count(600, "dr5ru8", 5, 12), count(600, "dr5ru7", 5, 1), count(0, "dr5rzz", 5, 7),
		{ID: "l", Version: 1, Query: sink.LateQuery, Body: []byte(`{}`)}, {ID: "d", Version: 1, Query: sink.DeadQuery, Body: []byte(`{}`)},
	}
	want := strings.Join([]string{
		`{"query":"pickup_count","cell":"dr5rzz","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:10:00Z","pickup_count":7,"location":{"lat":1,"lon":[2]},"provisional":false}`,
		`{"query":"pickup_count","cell":"dr5ru7","window_start":"1970-01-01T00:10:00Z","window_end":"1970-01-01T00:20:00Z","pickup_count":1,"location":{"lat":1,"lon":[2]},"provisional":false}`,
		`{"query":"pickup_count","cell":"dr5ru8","window_start":"1970-01-01T00:10:00Z","window_end":"1970-01-01T00:20:00Z","pickup_count":12,"location":{"lat":1,"lon":[2]},"provisional":false}`,
		`{"query":"trip_duration","cell":"dr5ru8","airport_code":"JFK","window_start":"1970-01-01T00:10:00Z","window_end":"1970-01-01T00:20:00Z","trip_count":1,"sum_trip_duration":5,"avg_trip_duration":5.0000,"timestamp":"x"}`,
		`{"query":"trip_duration","cell":"dr5ru7","airport_code":"JFK","window_start":"1970-01-01T00:20:00Z","window_end":"1970-01-01T00:30:00Z","trip_count":2,"sum_trip_duration":81,"avg_trip_duration":40.5000,"timestamp":"x"}`,
		`{"query":"trip_duration","cell":"dr5ru7","airport_code":"LGA","window_start":"1970-01-01T00:20:00Z","window_end":"1970-01-01T00:30:00Z","trip_count":3,"sum_trip_duration":120,"avg_trip_duration":40.0000,"timestamp":"x"}`,
	}, "\n") + "\n"
	for range 3 {
		// In whatever order they came and with whatever versions: the same bytes.
		rand.Shuffle(len(docs), func(i, j int) { docs[i], docs[j] = docs[j], docs[i] })
		s := open(t, filepath.Join(t.TempDir(), "r.db"))
		for _, d := range docs {
			old := d
			old.Body, old.Version = []byte(`{"pickup_count":99,"trip_count":50,"sum_trip_duration":9}`), d.Version-1
			mustWrite(t, s, old, d)
		}
		var got bytes.Buffer
		n, err := s.Export(context.Background(), &got)
		if err != nil || n != 6 || got.String() != want {
			t.Fatalf("%d, %v\ngot:\n%swant:\n%s", n, err, got.String(), want)
		}
	}
}

func TestSQLiteExportFails(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "r.db"))
	mustWrite(t, s, count(600, "dr5ru8", 5, 12))
	full := errors.New("pipe is broken")
	if _, err := s.Export(context.Background(), failWriter{full}); !errors.Is(err, full) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Export(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type failWriter struct{ err error }

func (w failWriter) Write([]byte) (int, error) { return 0, w.err }

func TestSQLiteReads(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "r.db"))
	if _, _, ok, err := s.Windows(ctx, "pickup_count"); ok || err != nil {
		t.Fatal(ok, err)
	}
	mustWrite(t, s, count(600, "dr5ru7", 1, 3), count(600, "dr5ru8", 1, 4), count(2400, "dr5ru8", 1, 5),
		trips(600, "dr5ru7", "JFK", 1, 2, 60), trips(600, "dr5ru8", "JFK", 1, 1, 33), trips(600, "dr5ru8", "LGA", 1, 1, 7), trips(1200, "a", "LGA", 1, 4, 8),
		sink.Document{ID: "l1", Version: 1, Query: sink.LateQuery, Body: []byte(`{}`)}, sink.Document{ID: "l2", Version: 1, Query: sink.LateQuery, Body: []byte(`{}`)})
	// Corrections, repeats and stale writes: only the first of them counts.
	mustWrite(t, s, trips(600, "dr5ru7", "JFK", 3, 5, 100))
	mustWrite(t, s, trips(600, "dr5ru7", "JFK", 3, 5, 100), trips(600, "dr5ru7", "JFK", 2, 4, 90))

	first, last, ok, err := s.Windows(ctx, "pickup_count")
	if err != nil || !ok || first != (sink.Window{Start: 600, End: 1200}) || last != (sink.Window{Start: 2400, End: 3000}) {
		t.Error(first, last, ok, err)
	}
	for _, c := range []struct {
		from  int64
		limit int
		want  []int64
	}{{-1 << 62, 10, []int64{600, 2400}}, {600, 2, []int64{600, 2400}}, {601, 10, []int64{2400}}, {0, 1, []int64{2400}}, {2401, 10, nil}} {
		if got, err := s.Starts(ctx, "pickup_count", c.from, c.limit); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("from %d, %d at most: %v, %v, want %v", c.from, c.limit, got, err, c.want)
		}
	}
	for to, want := range map[int64][]sink.CellValue{
		600:  nil,
		601:  {{Cell: "dr5ru7", Value: 3}, {Cell: "dr5ru8", Value: 4}},
		2401: {{Cell: "dr5ru7", Value: 3}, {Cell: "dr5ru8", Value: 9}},
	} {
		if cells, err := s.Cells(ctx, "pickup_count", "pickup_count", 600, to); err != nil || !reflect.DeepEqual(cells, want) {
			t.Errorf("before %d: %v, %v, want %v", to, cells, err, want)
		}
	}
	w := sink.Window{Start: 600, End: 1200}
	airports, err := s.Airports(ctx, 600, 1200)
	if want := []sink.AirportValue{{Window: w, Airport: "JFK", Trips: 6, Minutes: 133}, {Window: w, Airport: "LGA", Trips: 1, Minutes: 7}}; err != nil || !reflect.DeepEqual(airports, want) {
		t.Error(airports, err)
	}
	if n, err := s.Count(ctx, sink.LateQuery); n != 2 || err != nil {
		t.Error(n, err)
	}
	var ids []string
	if err := s.Each(ctx, sink.LateQuery, func(d sink.Document) error { ids = append(ids, d.ID); return nil }); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
}

// What a Write has promised must survive a loss of power: with less than FULL a
// commit in write-ahead mode is not on the disk when it returns.
func TestSQLiteIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	for range 2 { // a new file, and one that is there
		s := open(t, path)
		for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
			if got, err := s.Pragma(name); err != nil || got != want {
				t.Errorf("%s is %q, %v, want %q", name, got, err, want)
			}
		}
	}
}

// A reader sees all of a Write's transaction or nothing of it, while writers go on.
func TestSQLiteReadsWhileWriting(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "r.db"))
	const cells = 40
	write := func(v uint64) {
		var docs []sink.Document
		for i := range cells {
			docs = append(docs, count(600, fmt.Sprintf("dr5r%02d", i), v, int(v)))
		}
		mustWrite(t, s, docs...)
	}
	write(1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for v := range uint64(12) {
			write(v + 2)
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		var got bytes.Buffer
		if n, err := s.Export(t.Context(), &got); err != nil || n != cells {
			t.Fatal(n, err)
		}
		counts := map[string]bool{}
		for line := range strings.Lines(got.String()) {
			_, after, _ := strings.Cut(line, `"pickup_count":`)
			counts[after] = true
		}
		if len(counts) != 1 {
			t.Fatalf("an export mixes two transactions: %v", counts)
		}
	}
}

// An export must come out of the index: a sort would need room for everything.
func TestSQLiteExportDoesNotSort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	open(t, path)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`EXPLAIN QUERY PLAN SELECT id, body FROM document INDEXED BY document_order
		WHERE query NOT IN ('late', 'dead_letter') ORDER BY query, window_start, cell, airport, id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b, c int
		var plan string
		if err := rows.Scan(&a, &b, &c, &plan); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(plan, "TEMP B-TREE") {
			t.Error(plan)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestSQLiteErrors(t *testing.T) {
	ctx := context.Background()
	sentence := func(t *testing.T, err error, is error, words string) {
		t.Helper()
		if err == nil || is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %v with %q", err, is, words)
		}
	}
	path := filepath.Join(t.TempDir(), "r.db")
	create := func(t *testing.T, docs int) {
		t.Helper()
		_ = os.Remove(path)
		s, err := sink.OpenSQLite(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range docs {
			mustWrite(t, s, sinktest.Doc(fmt.Sprint("id", i), 1))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	openErr := func() error {
		s, err := sink.OpenSQLite(path)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	t.Run("no folder", func(t *testing.T) {
		_, err := sink.OpenSQLite(filepath.Join(t.TempDir(), "none", "r.db"))
		sentence(t, err, nil, "check that its folder exists")
	})
	t.Run("another program's file", func(t *testing.T) {
		_ = os.Remove(path)
		db, _ := sql.Open("sqlite", path)
		_, err := db.Exec("CREATE TABLE x (y)")
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		sentence(t, openErr(), sink.ErrCorrupt, "another program made this file")
	})
	t.Run("newer format", func(t *testing.T) {
		create(t, 0)
		db, _ := sql.Open("sqlite", path)
		_, err := db.Exec("PRAGMA user_version = 99")
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		sentence(t, openErr(), nil, "version 99, this tripgrid reads version 1")
	})
	t.Run("no database", func(t *testing.T) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		sentence(t, openErr(), sink.ErrCorrupt, "the file is damaged")
	})
	t.Run("damaged pages", func(t *testing.T) {
		create(t, 300)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 4096; i < len(b); i++ {
			b[i] = 0xa5
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		err = openErr()
		if err == nil {
			s := open(t, path)
			_, err = s.Export(ctx, io.Discard)
		}
		sentence(t, err, sink.ErrCorrupt, "the file is damaged")
	})
	t.Run("disk full", func(t *testing.T) {
		create(t, 0)
		s := open(t, path)
		if err := s.LimitPages(20); err != nil {
			t.Fatal(err)
		}
		var docs []sink.Document
		for i := range 700 {
			docs = append(docs, sinktest.Doc(fmt.Sprint("id", i), 1))
		}
		_, err := s.Write(ctx, docs)
		sentence(t, err, sink.ErrFull, "free some space")
		if n, err := s.Count(ctx, "pickup_count"); n != 0 || err != nil {
			t.Errorf("half a transaction is there: %d, %v", n, err)
		}
		if err := s.LimitPages(1 << 20); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, s, docs...)
	})
}

// TestOpenAtOnce: several processes may make the file at the same moment.
func TestOpenAtOnce(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "results.db")
		var all errgroup.Group
		for range 8 {
			all.Go(func() error {
				s, err := sink.OpenSQLite(path)
				if err != nil {
					return err
				}
				return s.Close()
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
