package dataset

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

func TestOpenRides(t *testing.T) {
	const (
		places = ",-73.985,40.75,-73.7825,40.644,1,2013000001,2013000002\n"
		begin  = ",START,2014-05-06 07:08:09,1970-01-01 00:00:00" + places
		end    = ",END,2014-05-06 07:20:00,2014-05-06 07:08:09" + places
		other  = ",END,2014-05-06 07:08:09,2014-05-06 07:20:00" + places // in the other order
	)
	want := oneTrip
	want.TotalCents = 0
	content := "6" + begin + // 1
		"7" + begin + // 2
		"6" + end + // 3: a trip
		"6" + end + // 4: unpaired, as its START is used up
		"8" + end + // 5: unpaired
		"7" + begin + // 6: unpaired: there is one
		" 7 " + other + // 7: a trip
		"6" + begin + // 8
		"6,END,2014-05-06 07:20:00,2014-05-06 07:08:10" + places + // 9: unpaired: another beginning
		"6" + end + // 10: a trip
		"9" + begin + // 11: unpaired in the end
		"a,START,2014-05-06,1970-01-01 00:00:00" + places + // 12: pickup_time
		"9,END,x,2014-05-06 07:08:09" + places + // 13: dropoff_time
		"9,END,2014-05-06 07:20:00,x" + places + // 14: dropoff_time
		"b,START,2014-05-06 07:08:09,,x,40.75,-73.7825,40.644,1,2,3\n" + // 15: coordinate
		"b,START,2014-05-06 07:08:09,,-73.985,90.75,-73.7825,40.644,1,2,3\n" + // 16: range
		"b,PAUSE,2014-05-06 07:08:09,1970-01-01 00:00:00" + places + // 17: format
		"b,START,2014-05-06 07:08:09\n" + // 18: format
		"c" + begin // 19: unpaired in the end
	f := open(t, write(t, "rides", content))
	report := f.Report()[0]
	rejected := map[trip.Reason]int64{ReasonUnpaired: 6, trip.ReasonPickupTime: 1, trip.ReasonDropoffTime: 2,
		trip.ReasonCoordinate: 1, trip.ReasonRange: 1, trip.ReasonFormat: 2}
	if report.Valid != 3 || report.Starts != 3 || report.Rows != 16 || !maps.Equal(report.Rejected, rejected) {
		t.Errorf("report %+v, want %v", report, rejected)
	}
	for i, got := range all(t, f) {
		if got != want {
			t.Errorf("trip %d: %+v, want %+v", i, got, want)
		}
	}
	if unpaired := report.Examples[0]; unpaired.Line != 4 || unpaired.Reason != ReasonUnpaired {
		t.Errorf("example %+v", unpaired)
	}
	// Under a header they are rows of that.
	if f := open(t, write(t, "rides", foilMerged+"6"+begin)); f.Report()[0].Rejected[trip.ReasonPickupTime] != 1 {
		t.Errorf("under a header: %+v", f.Report())
	}
	late := open(t, write(t, "rides", "1"+begin+"2"+begin+"2"+end))
	if got := late.Report()[0].Examples; len(got) != 1 || got[0].Line != 1 || !strings.HasPrefix(got[0].Text, "1,START,2014") {
		t.Errorf("examples %+v", got)
	}
}

func TestRealRidesAsNaively(t *testing.T) {
	t.Parallel()
	path := filepath.Join(realData(t), "rides", "nycTaxiRides.gz")
	f := open(t, path)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	events := csv.NewReader(unzipped)
	instant := func(text string) int64 {
		at, err := time.Parse(time.DateTime, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixNano()
	}
	degrees := func(text string) float64 {
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	begun := map[string][]string{}
	var trips []trip.Trip
	lines, unpaired, beyond := 0, 0, 0
	for ; ; lines++ {
		row, err := events.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		start, ok := begun[row[0]]
		outside := false
		for i, bound := range []float64{180, 90, 180, 90} {
			x := degrees(row[4+i])
			outside = outside || x < -bound || x > bound
		}
		switch {
		case outside:
			beyond++
		case row[1] == "START":
			begun[row[0]] = row
		case !ok:
			unpaired++
		default:
			delete(begun, row[0])
			trips = append(trips, trip.Trip{Pickup: instant(start[2]), Dropoff: instant(row[2]),
				PickupLon: degrees(start[4]), PickupLat: degrees(start[5]), DropoffLon: degrees(row[6]), DropoffLat: degrees(row[7])})
		}
	}
	unpaired += len(begun)
	report := f.Report()[0]
	if lines != 100_000 || report.Valid != int64(len(trips)) || report.Starts != report.Valid ||
		!maps.Equal(report.Rejected, map[trip.Reason]int64{ReasonUnpaired: int64(unpaired), trip.ReasonRange: int64(beyond)}) {
		t.Errorf("%d lines, report %+v, want %d trips, %d unpaired, %d out of range", lines, report, len(trips), unpaired, beyond)
	}
	slices.SortStableFunc(trips, func(a, b trip.Trip) int { return int(min(1, max(-1, a.Dropoff-b.Dropoff))) })
	if !slices.Equal(all(t, f), trips) {
		t.Error("not the trips of the naive reader")
	}
	t.Logf("%d events: %d trips, %d unpaired, %d out of range", lines, len(trips), unpaired, beyond)
}
