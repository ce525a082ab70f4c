package dataset

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/producer/remote"
)

// The same files make the same data set, wherever they are; what is fetched is
// read at any place, as Parquet needs, and nothing of it stays.
func TestOpenRemote(t *testing.T) {
	t.Parallel()
	random := newRandom(9, 0)
	var rows []yellow2011Row
	for range 3000 {
		row := yellow2011Row{Pickup: point(random.below(1e15)), From: point(int64(1)), To: point(int64(2))}
		row.Dropoff = point(*row.Pickup + 6e8)
		rows = append(rows, row)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"1.parquet": parquetFile(t, rows), "2.csv.gz": zipped(t, debs2015), "3.csv": foilMerged + "x\n", "4.json": jsonLine,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	heads := true
	files := http.FileServer(http.Dir(dir))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && !heads {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer site.Close()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	want := open(t, filepath.Join(dir, "*"))
	urls := []string{site.URL + "/3.csv?signature=hidden", site.URL + "/1.parquet", site.URL + "/4.json", site.URL + "/2.csv.gz"}
	for _, heads = range []bool{true, false} {
		spill := t.TempDir()
		var last Report
		f, err := Open(t.Context(), urls, Options{SpillDir: spill, Remote: remote.Config{HTTP: web}, Progress: func(r Report) { last = r }})
		if err != nil {
			t.Fatal(err)
		}
		if f.Identity() != want.Identity() || !slices.Equal(all(t, f), all(t, want)) {
			t.Errorf("%v, want %v", f.Identity(), want.Identity())
		}
		if last.Bytes == 0 || last.Bytes != last.TotalBytes || last.Fetched != last.Bytes || last.Files != 4 {
			t.Errorf("HEAD %v: last report %+v", heads, last)
		}
		if name := f.Report()[2].Name; name != site.URL+"/3.csv" {
			t.Errorf("the third file is %q", name)
		}
		checkEmpty(t, spill)
	}
	heads = true
	// Some here, some there: in the order of their names.
	f, err := Open(t.Context(), []string{urls[1], filepath.Join(dir, "2.*"), urls[2], filepath.Join(dir, "3.csv")}, Options{Remote: remote.Config{HTTP: web}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, report := range f.Report() {
		names = append(names, filepath.Base(report.Name))
	}
	if want := []string{"2.csv.gz", "3.csv", "1.parquet", "4.json"}; !slices.Equal(names, want) || f.Len() != 3003 {
		t.Errorf("files %v, want %v", names, want)
	}
	for url, say := range map[string]string{
		site.URL + "/absent?signature=hidden": "read trips of " + site.URL + "/absent: the server answers 404 Not Found: check the address",
		"s3://bucket/prefix/":                 "read trips of s3://bucket/prefix/: there is no S3 here",
	} {
		if _, err := Open(t.Context(), []string{urls[1], url}, Options{Remote: remote.Config{HTTP: web}}); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want it to say %q", url, err, say)
		}
	}
	if err := (Options{Remote: remote.Config{Ahead: -2}}).Validate(); err == nil {
		t.Error("-2 files ahead")
	}
}

// While a file is on its way, progress is told.
func TestOpenTellsProgressOfFetching(t *testing.T) {
	told := make(chan struct{})
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(2*len(debs2015)))
		if r.Method == http.MethodHead {
			return
		}
		fmt.Fprint(w, debs2015)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-told:
			fmt.Fprint(w, debs2015)
		case <-time.After(10 * time.Second): // it is cut
		}
	}))
	defer site.Close()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	once := sync.OnceFunc(func() { close(told) })
	f, err := Open(t.Context(), []string{site.URL}, Options{Remote: remote.Config{HTTP: web, Attempts: 1}, Progress: func(r Report) {
		if r.Fetched == int64(len(debs2015)) && r.Bytes == 0 {
			once()
		}
	}})
	if err != nil || f.Len() != 2 {
		t.Fatal(err)
	}
}
