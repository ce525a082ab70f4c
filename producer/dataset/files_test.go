package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

// write makes a file in a new folder and returns its path.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func open(t testing.TB, paths ...string) *Files {
	t.Helper()
	f, err := Open(t.Context(), paths, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func at(text string) int64 {
	ns, ok := trip.ParseTime([]byte(text))
	if !ok {
		panic(text)
	}
	return ns
}

// The trip that each layout below spells.
var oneTrip = trip.Trip{
	Pickup: at("2014-05-06 07:08:09"), Dropoff: at("2014-05-06 07:20:00"),
	PickupLat: 40.75, PickupLon: -73.985, DropoffLat: 40.644, DropoffLon: -73.7825, TotalCents: 5833,
}

const (
	yellow2009 = "vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,Passenger_Count,Trip_Distance,Start_Lon,Start_Lat," +
		"Rate_Code,store_and_forward,End_Lon,End_Lat,Payment_Type,Fare_Amt,surcharge,mta_tax,Tip_Amt,Tolls_Amt,Total_Amt\n" +
		"VTS,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,40.75,,,-73.7825,40.644,CASH,50,0,0.5,2,5.83,58.33\n"
	yellow2014 = "vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, pickup_longitude, pickup_latitude," +
		" rate_code, store_and_fwd_flag, dropoff_longitude, dropoff_latitude, payment_type, fare_amount, surcharge, mta_tax," +
		" tip_amount, tolls_amount, total_amount\r\n\r\n" +
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,40.75,1,N,-73.7825,40.644,CSH,50,0,0.5,2,5.83,58.33\r\n"
	yellow2015 = "\ufeffVendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,pickup_longitude," +
		"pickup_latitude,RateCodeID,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,fare_amount,extra," +
		"mta_tax,tip_amount,tolls_amount,improvement_surcharge,total_amount\n" +
		"2,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,40.75,1,N,-73.7825,40.644,2,50,0,0.5,2,5.53,0.3,58.33\n"
	green2013 = "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,RateCodeID,Pickup_longitude," +
		"Pickup_latitude,Dropoff_longitude,Dropoff_latitude,Passenger_count,Trip_distance,Fare_amount,Extra,MTA_tax," +
		"Tip_amount,Tolls_amount,Ehail_fee,Total_amount,Payment_type,Trip_type \n\r\n" +
		"2,2014-05-06 07:08:09,2014-05-06 07:20:00,N,1,-73.985,40.75,-73.7825,40.644,1,2.5,50,0,0.5,2,5.83,,58.33,2,,,\n"
	foilTrips = "medallion,hack_license,vendor_id,rate_code,store_and_fwd_flag,pickup_datetime,dropoff_datetime,passenger_count," +
		"trip_time_in_secs,trip_distance,pickup_longitude,pickup_latitude,dropoff_longitude,dropoff_latitude\n" +
		"M,H,VTS,1,,2014-05-06 07:08:09,2014-05-06 07:20:00,1,711,2.5,-73.985,40.75,-73.7825,40.644\n"
	foilMerged = "pickup_time,dropoff_time,pickup_long,pickup_lat,dropoff_long,dropoff_lat,id_taxi,distance,fare_amount\n" +
		"2014-05-06 07:08:09,2014-05-06 07:20:00,-73.985,40.75,-73.7825,40.644,X,2.5,50\n"
	debs2015 = "M,H,2014-05-06 07:08:09,2014-05-06 07:20:00,711,2.5,-73.985,40.75,-73.7825,40.644,CSH,50,0,0.5,2,5.83,58.33\n"
	jsonLine = `{"type":"trip","pickup_datetime":"2014-05-06T07:08:09Z","dropoff_datetime":"2014-05-06T07:20:00.000Z",` +
		`"pickup_latitude":"40.75","pickup_longitude":-73.985,"dropoff_lat":40.644,"dropoff_lon":-73.7825,"total_amount":58.33}` + "\n"
)

func TestOpenEveryLayout(t *testing.T) {
	t.Parallel()
	layouts := map[string]string{
		"yellow 2009": yellow2009, "yellow 2014": yellow2014, "yellow 2015": yellow2015, "green 2013": green2013,
		"FOIL trips": foilTrips, "FOIL merged": foilMerged, "DEBS 2015": debs2015, "JSON": jsonLine,
		"quoted":        strings.ReplaceAll(strings.ReplaceAll(debs2015, ",", `","`), "M\"", "\"M\""),
		"upper case":    strings.ToUpper(foilMerged),
		"no end":        strings.TrimRight(debs2015, "\n"),
		"JSON, blanks":  " \t" + strings.ReplaceAll(jsonLine, ",", " , "),
		"DEBS, longer":  strings.Replace(debs2015, "\n", ",, \n", 1),
		"header longer": strings.Replace(foilMerged, ",fare_amount", ",fare_amount,a,b,c", 1),
	}
	for name, content := range layouts {
		for _, content := range []string{content, zipped(t, content), zipped(t, content[:9]) + zipped(t, content[9:]) + "\x00\x00"} {
			f := open(t, write(t, "trips", content))
			want := oneTrip
			if strings.HasPrefix(name, "FOIL") || name == "upper case" || name == "header longer" {
				want.TotalCents = 0 // it has none
			}
			if got := all(t, f); len(got) != 1 || got[0] != want {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
			report := f.Report()[0]
			if report.Rows != 1 || report.Valid != 1 || len(report.Rejected) != 0 {
				t.Errorf("%s: report %+v", name, report)
			}
			checkDataset(t, f)
		}
	}
}

// One file with everything in it.
func TestOpenCountsWhatIsBad(t *testing.T) {
	t.Parallel()
	content := "\ufeff" + debs2015 + // 1
		"what is this?\n" + // 2 format
		strings.Replace(debs2015, "58.33", "58.33,extra", 1) + // 3 format
		yellow2014 + // 4-6
		"CMT,2014-05-06,2014-05-06 07:20:00,1,2.5,-73.985,40.75,1,N,-73.7825,40.644,CSH,50\n" + // 7 pickup_time
		"CMT,2014-05-06 07:08:09,2014-05-06 07:60:00,1,2.5,-73.985,40.75,1,N,-73.7825,40.644,CSH,50\n" + // 8 dropoff_time
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,,40.75,1,N,-73.7825,40.644,CSH,50\n" + // 9 coordinate
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,nan,740.75,1,N,-73.7825,40.644,CSH,50\n" + // 10 coordinate
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,740.75,1,N,-73.7825,40.644,CSH,50\n" + // 11 range
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,40.75,1,N,-73.7825\n" + // 12 fields
		"CMT,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,-73.985,40.75,1,N,-73.7825,40.644\n" + // 13, short but good
		"\"a\"\rb,c\n" + // 14 quoting
		"{\"type\":\"trip\"\n" + // 15 json
		"{\"type\":\"ride\"}\n" + // 16 type
		"{\"type\":\"watermark\",\"watermark\":\"never\"}\n" + // 17
		jsonLine + // 18
		"medallion, pickup_datetime, total_amount\n" + // 19
		"M,2014-05-06 07:08:09,1\n" + // 20 columns
		"M,2014-05-06 07:08:09,1\n" + // 21 columns
		"\u2003\x1c\n" + // 22
		"{\"type\":\"trip\",\"pickup_datetime\":\"2014-05-06\"}\n" + // 23 pickup_time
		strings.Repeat("M,2014-05-06 07:08:09,1\n", 5) + // 24-28 columns
		"{\"type\":\"watermark\",\"watermark\":\"2014-05-06T07:08:09Z\"}" // 29
	f := open(t, write(t, "all.csv", content))
	want := map[trip.Reason]int64{
		trip.ReasonFormat: 2, trip.ReasonPickupTime: 2, trip.ReasonDropoffTime: 1, trip.ReasonCoordinate: 2, trip.ReasonRange: 1,
		trip.ReasonFields: 1, trip.ReasonQuoting: 1, trip.ReasonJSON: 1, trip.ReasonType: 1, trip.ReasonColumns: 7,
	}
	report := f.Report()[0]
	if !maps.Equal(report.Rejected, want) || report.Valid != 4 || report.Rows != 23 || report.Watermarks != 2 {
		t.Errorf("report %+v, want %v", report, want)
	}
	var places []int64
	for _, example := range report.Examples {
		places = append(places, example.Line)
	}
	if want := []int64{2, 3, 7, 8, 9, 10, 11, 12, 14, 15, 16, 20, 21, 23, 24}; !slices.Equal(places, want) {
		t.Errorf("examples of lines %v, want %v", places, want)
	}
	if first := report.Examples[0]; first != (Example{2, trip.ReasonFormat, "what is this?"}) {
		t.Errorf("first example %+v", first)
	}
}

// The order is (drop-off, file by name, row), and the identity is the content's.
func TestOpenOrderAndIdentity(t *testing.T) {
	row := func(dropoff string, cents string) string {
		return "M,H,2014-05-06 07:00:00," + dropoff + ",0,0,-73.9,40.7,-73.9,40.7,CSH,0,0,0,0,0," + cents + "\n"
	}
	one := row("2014-05-06 09:00", "0.01") + row("2014-05-06 08:00", "0.02") + row("2014-05-06 08:00", "0.03")
	two := row("2014-05-06 08:00", "0.04") + row("2014-05-06 09:00", "0.05") + row("2014-05-06 07:00", "0.06")
	folder := t.TempDir()
	for name, content := range map[string]string{"b.csv": two, "a.csv": one, "c.txt": "nothing of use\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, filepath.Join(folder, "b.csv"), filepath.Join(folder, "a.csv"))
	var cents []int64
	for _, ride := range all(t, f) {
		cents = append(cents, ride.TotalCents)
	}
	if want := []int64{6, 2, 3, 4, 1, 5}; !slices.Equal(cents, want) {
		t.Errorf("order %v, want %v", cents, want)
	}
	checkDataset(t, f)
	for what, same := range map[string]*Files{
		"pattern":         open(t, filepath.Join(folder, "*.csv")),
		"one file, zip":   open(t, write(t, "x.bin", zipped(t, one+two))),
		"and a bad file":  open(t, filepath.Join(folder, "*")),
		"and other names": open(t, write(t, "1", one), write(t, "2", "\n"+two)),
	} {
		if got := same.Identity(); got.Digest != f.Identity().Digest || got.Trips != 6 {
			t.Errorf("%s: identity %v, want %v", what, got, f.Identity())
		}
	}
	for what, other := range map[string]*Files{
		"ties in another order": open(t, write(t, "y", two+one)),
		"a row twice":           open(t, write(t, "y", one+two+row("2014-05-06 09:00", "0.05"))),
		"another amount":        open(t, write(t, "y", one+strings.Replace(two, "0.06", "0.07", 1))),
		"a file twice":          open(t, filepath.Join(folder, "*.csv"), filepath.Join(folder, "a.csv")),
	} {
		if other.Identity().Digest == f.Identity().Digest {
			t.Errorf("%s: the same identity", what)
		}
	}
	if name := f.Identity().Name; name != "a.csv and 1 more files" {
		t.Errorf("name %q", name)
	}
}

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	zip := zipped(t, strings.Repeat(debs2015, 1000))
	for _, row := range []struct {
		name  string
		paths []string
		say   string
	}{
		{"nothing", nil, "no file is given"},
		{"an absent file", []string{filepath.Join(folder, "x.csv")}, "there is no file"},
		{"a folder", []string{folder}, "it is a folder"},
		{"no match", []string{filepath.Join(folder, "*.csv")}, "no file matches"},
		{"a bad pattern", []string{filepath.Join(folder, "[")}, "malformed"},
		{"no trips", []string{write(t, "fares.csv", "pickup_datetime\nx\n")}, "fares.csv has no valid trip (bad rows: columns 1)"},
		{"an empty file", []string{write(t, "empty", "")}, "empty has no valid trip:"},
		{"a cut gzip", []string{write(t, "cut.gz", zip[:len(zip)-3])}, "cut short"},
		{"a cut gzip header", []string{write(t, "cut.gz", zip[:5])}, "cut short"},
		{"a damaged gzip", []string{write(t, "bad.gz", zip[:len(zip)-8]+"12345678")}, "damaged"},
		{"a gzip and more", []string{write(t, "more.gz", zip+"more than that")}, "damaged"},
		{"one good, one absent", []string{write(t, "good", debs2015), "absent.csv"}, "absent.csv"},
	} {
		f, err := Open(t.Context(), row.paths, Options{})
		if err == nil || f != nil || !strings.Contains(err.Error(), row.say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want it to say %q", row.name, err, row.say)
		}
	}
}

func TestOpenBounds(t *testing.T) {
	path := write(t, "five.csv", strings.Repeat(debs2015, 5))
	if f, err := Open(t.Context(), []string{path}, Options{MaxTrips: 5}); err != nil || f.Len() != 5 {
		t.Errorf("at the bound: %v", err)
	}
	_, err := Open(t.Context(), []string{path}, Options{MaxTrips: 4})
	if err == nil || !strings.Contains(err.Error(), "more than 4 trips") || !strings.Contains(err.Error(), "five.csv") {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := Open(t.Context(), []string{path}, Options{MaxTrips: -1}); err == nil {
		t.Error("a negative bound")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, []string{path}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOpenLongLines(t *testing.T) {
	long := strings.Replace(debs2015, "M,", strings.Repeat("m", 1<<20)+",", 1)
	if f := open(t, write(t, "long", long+debs2015+long)); f.Len() != 3 {
		t.Errorf("%d trips", f.Len())
	}
}

func TestOpenTellsProgress(t *testing.T) {
	t.Parallel()
	one, two := write(t, "1", strings.Repeat(debs2015, 40_000)), write(t, "2", debs2015+"x\n")
	var reports []Report
	paths := []string{one, two}
	slices.Sort(paths)
	_, err := Open(t.Context(), paths, Options{Progress: func(r Report) { reports = append(reports, r) }})
	if err != nil || len(reports) < 4 {
		t.Fatalf("%v, %d reports", err, len(reports))
	}
	for i := 1; i < len(reports); i++ {
		if a, b := reports[i-1], reports[i]; b.Bytes < a.Bytes || b.Rows < a.Rows || b.Valid < a.Valid || b.Index < a.Index {
			t.Errorf("%+v after %+v", b, a)
		}
	}
	last := reports[len(reports)-1]
	if last.Bytes != last.TotalBytes || last.Rows != 40_002 || last.Valid != 40_001 || last.Files != 2 || last.Index != 1 {
		t.Errorf("last report %+v", last)
	}
}

// The in-memory sort is stable, whatever the order and the number of ties.
func TestTableSort(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3*chunkTrips).Draw(t, "trips")
		times := rapid.Int64Range(1, 1_000_000).Draw(t, "times")
		random := newRandom(rapid.Uint64().Draw(t, "seed"), 0)
		var got table
		var want []trip.Trip
		for i := range n {
			row := trip.Trip{Dropoff: random.below(times), TotalCents: int64(i)}
			*got.next() = row
			got.add()
			want = append(want, row)
		}
		got.sort()
		slices.SortStableFunc(want, func(a, b trip.Trip) int { return int(a.Dropoff - b.Dropoff) })
		if !slices.Equal(slices.Concat(got.chunks...), want) {
			t.Fatal("the order is not that of a stable sort")
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	d := Generate(GeneratorOptions{Seed: 1, Duration: 6 * time.Hour})
	var csv, lines []byte
	csv = append(csv, foilMerged[:strings.IndexByte(foilMerged, '\n')+1]...)
	for i, row := range all(b, d) {
		csv = trip.AppendTime(csv, row.Pickup)
		csv = trip.AppendTime(append(csv, ','), row.Dropoff)
		csv = append(csv, ",-73.985,40.75,-73.7825,40.644,X,2.5,50\n"...)
		lines = append(trip.AppendTrip(lines, &row, uint64(i), trip.Envelope{}), '\n')
	}
	for name, content := range map[string][]byte{"csv": csv, "json": lines} {
		b.Run(name, func(b *testing.B) {
			path := write(b, name, string(content))
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				open(b, path)
			}
			b.ReportMetric(float64(b.N)*float64(d.Len())/b.Elapsed().Seconds(), "trips/s")
		})
	}
}
