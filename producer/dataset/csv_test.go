package dataset

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"github.com/tripgrid/tripgrid/trip"
)

// What Python's csv.reader makes of one line.
func TestSplit(t *testing.T) {
	for _, row := range []struct {
		line string
		want []string
	}{
		{``, []string{``}},
		{`a,b`, []string{`a`, `b`}},
		{`,`, []string{``, ``}},
		{"a\rb,c", []string{"a\rb", "c"}}, // no quote: only commas count
		{`"a,b",c`, []string{`a,b`, `c`}},
		{`"a""b"`, []string{`a"b`}},
		{`""`, []string{``}},
		{`"",`, []string{``, ``}},
		{`a"b",c`, []string{`a"b"`, `c`}},
		{`"a"b"c,d`, []string{`ab"c`, `d`}},
		{`"a" ,b`, []string{`a `, `b`}},
		{` "a,b"`, []string{` "a`, `b"`}},
		{`"a`, []string{`a`}},
		{`x,"`, []string{`x`, ``}},
		{"\"a\rb\"", []string{"a\rb"}},
		{"\"a\"\r\r", []string{`a`}},
		{"a,\"b\",\r", []string{`a`, `b`, ``}},
		{"\"a\"\rb", nil},
		{"a\rb,\"c\"", nil},
	} {
		var s splitter
		cells, ok := s.split([]byte(row.line))
		var got []string
		for _, cell := range cells {
			got = append(got, string(cell))
		}
		if ok != (row.want != nil) || !slices.Equal(got, row.want) {
			t.Errorf("split(%q) = %q, %v; want %q", row.line, got, ok, row.want)
		}
	}
}

func TestParseHeaderPrefersNames(t *testing.T) {
	var s splitter
	cells, _ := s.split([]byte("pickup_lat, PickUp_Latitude ,pickup_latitude,x,Dropoff_Time,lpep_dropoff_datetime,p\u0130ckup_time,pic\u212aup_time"))
	header := parseHeader(cells)
	want := [columnCount]int{7, 5, 1, -1, -1, -1, -1}
	if header == nil || header.at != want || header.width != 8 {
		t.Errorf("header %+v, want columns %v", header, want)
	}
	for _, line := range []string{"", "a,b", "total_amount,total_amt", "pickup", "pickup_latitudes"} {
		cells, _ := s.split([]byte(line))
		if got := parseHeader(cells); got != nil {
			t.Errorf("%q is a header: %+v", line, got)
		}
	}
}

// Whatever a line is, reading it ends, gives a valid trip or a reason, and lines
// that encoding/csv takes are split as it does.
func FuzzRows(f *testing.F) {
	for _, seed := range []string{yellow2009, yellow2014, green2013, debs2015, jsonLine, `"a""b",c` + "\n" + `x"y"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var rows rows
		var ride trip.Trip
		for i, line := range strings.SplitAfter(string(content), "\n") {
			text, what, reason := rows.read(int64(i+1), []byte(line), &ride)
			if (what == isBad) != (reason != "") {
				t.Fatalf("%q: outcome %d with reason %q", text, what, reason)
			}
			if what == isTrip && (ride.CheckCoordinates() != nil || ride.Pickup < trip.MinTime || ride.Dropoff > trip.MaxTime) {
				t.Fatalf("%q: an invalid trip %+v", text, ride)
			}
			if len(text) == 0 || strings.ContainsAny(string(text), "\r") {
				continue
			}
			want, err := csv.NewReader(strings.NewReader(string(text))).Read()
			if err != nil {
				continue
			}
			cells, ok := rows.splitter.split(text)
			if !ok || len(cells) != len(want) {
				t.Fatalf("split(%q) = %q, want %q", text, cells, want)
			}
			for i := range cells {
				if string(cells[i]) != want[i] {
					t.Fatalf("split(%q) = %q, want %q", text, cells, want)
				}
			}
		}
	})
}

// OpenSpool's checks are tested byte by byte; this is for its arithmetic.
func FuzzOpenSpool(f *testing.F) {
	d := Generate(GeneratorOptions{Trips: 3})
	head := spoolHeader(d.Identity())
	f.Add(head)
	f.Add(slices.Concat(head, make([]byte, 3*tripSize+checksumSize)))
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := OpenSpool(write(t, "x", string(content)))
		if err == nil {
			checkDataset(t, d)
			_ = d.Close()
		}
	})
}
