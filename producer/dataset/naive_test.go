package dataset

import (
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

	"github.com/tripgrid/tripgrid/producer/zones"
	"github.com/tripgrid/tripgrid/trip"
)

// naiveCSV counts what is in a CSV file with one header, by encoding/csv, the
// time package and what the documentation says. known are the zones with a place.
func naiveCSV(t *testing.T, path string, known map[string]bool) (valid int64, rejected map[trip.Reason]int64) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(content), "\ufeff")))
	rows.FieldsPerRecord = -1
	rows.LazyQuotes = true
	rejected = map[trip.Reason]int64{}
	header, err := rows.Read()
	if err != nil {
		t.Fatal(err)
	}
	column := func(names ...string) int {
		return slices.IndexFunc(header, func(cell string) bool {
			return slices.Contains(names, strings.ToLower(strings.TrimSpace(cell)))
		})
	}
	pickup := column("tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_datetime", "trip_pickup_datetime", "pickup_time")
	dropoff := column("tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_datetime", "trip_dropoff_datetime", "dropoff_time")
	places := []int{
		column("pickup_latitude", "start_lat", "pickup_lat"), column("pickup_longitude", "start_lon", "pickup_long"),
		column("dropoff_latitude", "end_lat", "dropoff_lat"), column("dropoff_longitude", "end_lon", "dropoff_long"),
	}
	byZone := places[0] < 0
	if byZone {
		places = []int{column("pulocationid"), column("dolocationid")}
	}
	isTime := func(text string) bool {
		for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04"} {
			if _, err := time.Parse(layout, text); err == nil {
				return true
			}
		}
		return false
	}
	judge := func(row []string) trip.Reason {
		needed := append([]int{pickup, dropoff}, places...)
		switch {
		case slices.Min(needed) < 0:
			return trip.ReasonColumns
		case slices.Max(needed) >= len(row):
			return trip.ReasonFields
		case !isTime(row[pickup]):
			return trip.ReasonPickupTime
		case !isTime(row[dropoff]):
			return trip.ReasonDropoffTime
		case byZone && (!known[row[places[0]]] || !known[row[places[1]]]):
			return ReasonZone
		case byZone:
			return ""
		}
		var xs []float64
		for _, at := range places {
			x, err := strconv.ParseFloat(strings.TrimSpace(row[at]), 64)
			if err != nil {
				return trip.ReasonCoordinate
			}
			xs = append(xs, max(x, -x))
		}
		if max(xs[0], xs[2]) > 90 || max(xs[1], xs[3]) > 180 {
			return trip.ReasonRange
		}
		return ""
	}
	if pickup < 0 {
		rejected[trip.ReasonFormat]++ // the header is no header
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return valid, rejected
		}
		if err != nil {
			t.Fatal(err)
		}
		reason := judge(row)
		switch {
		case pickup < 0:
			rejected[trip.ReasonFormat]++
		case len(row) == 1 && strings.TrimSpace(row[0]) == "":
		case reason != "":
			rejected[reason]++
		default:
			valid++
		}
	}
}

// knownZones reads which zones the shapes have, apart from our table.
func knownZones(t *testing.T, dir string) map[string]bool {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, "zones", "zone_centroids.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range rows[1:] {
		known[row[0]] = true
	}
	return known
}

// Every CSV file: the rows, the trips and the reasons are those of a naive count.
func TestRealCSVAsNaively(t *testing.T) {
	t.Parallel()
	dir := realData(t)
	known := knownZones(t, dir)
	for pattern, files := range map[string]int{"trips-csv/*.csv": 125, "trips-foil/*.csv": 3, "dirty/*.csv": 1, "headers/*.csv": 238} {
		f := open(t, filepath.Join(dir, pattern))
		if len(f.Report()) != files {
			t.Errorf("%s: %d files", pattern, len(f.Report()))
		}
		total := map[trip.Reason]int64{}
		valids := int64(0)
		for _, report := range f.Report() {
			valid, rejected := naiveCSV(t, report.Name, known)
			rows := valid
			for reason, n := range rejected {
				rows += n
				total[reason] += n
			}
			valids += valid
			if report.Valid != valid || report.Rows != rows || !maps.Equal(report.Rejected, rejected) {
				t.Errorf("report %+v, want %d rows, %d valid and %v", report, rows, valid, rejected)
			}
		}
		t.Logf("%s: %d files, %d valid, rejected %v", pattern, len(f.Report()), valids, total)
	}
}

// The built-in table is the one that the shapes give, read as an own table.
func TestRealZones(t *testing.T) {
	own, err := zones.Open(filepath.Join(realData(t), "zones", "zone_centroids.csv"))
	if err != nil {
		t.Fatal(err)
	}
	for id := int64(0); id < 300; id++ {
		lat, lon, ok := own.Point(id)
		if lat2, lon2, ok2 := zones.NewYork().Point(id); lat != lat2 || lon != lon2 || ok != ok2 {
			t.Errorf("zone %d: %v, %v, %v and %v, %v, %v", id, lat, lon, ok, lat2, lon2, ok2)
		}
	}
}

// Other files there are no tables of zones with places, which is said.
func TestRealZonesRefused(t *testing.T) {
	dir := filepath.Join(realData(t), "zones")
	for name, say := range map[string]string{
		"taxi_zone_location_ids.csv": "there is no column", "taxi_zones.shp": "", "taxi_zones.dbf": "", "taxi_zones.shx": "", "taxi_zones.prj": "",
	} {
		_, err := zones.Open(filepath.Join(dir, name))
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const (
	yellow2019 = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID," +
		"store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount," +
		"improvement_surcharge,total_amount,congestion_surcharge\r\n" +
		"1,2014-05-06 07:08:09,2014-05-06 07:20:00,1,2.5,1,N,230,132,1,50,0,0.5,2,5.53,0.3,58.33,\r\n"
	yellow2016 = "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,PULocationID,DOLocationID,total_amount\n" +
		"1,2014-05-06 07:08:09,2014-05-06 07:20:00,230,132.0,58.33,,\n"
	fhv2018 = "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Dispatching_base_number\n" +
		"\"2014-05-06 07:08:09\",\"2014-05-06 07:20:00\",\"230\",\"132\",,B1\n"
	fhvhv2019 = "hvfhs_license_num,dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,SR_Flag\r\n" +
		"HV0003,B1,2014-05-06 07:08:09,2014-05-06 07:20:00,230,132,\r\n"
)

func TestOpenZonesInCSV(t *testing.T) {
	for name, content := range map[string]string{"2019": yellow2019, "2016": yellow2016, "FHV": fhv2018, "FHVHV": fhvhv2019} {
		want := zoneTrip()
		if strings.HasPrefix(name, "F") {
			want.TotalCents = 0
		}
		if got := all(t, open(t, write(t, "trips", content))); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	row := func(from, to string) string {
		return "1,2014-05-06 07:08:09,2014-05-06 07:20:00," + from + "," + to + ",1\n"
	}
	content := yellow2016
	for _, bad := range []string{"57", "104", "105", "264", "265", "0", "-1", "", "x", "1.5", "nan", "1e99"} {
		content += row(bad, "1") + row("1", bad)
	}
	content += "1,x,2014-05-06 07:20:00,57,57,1\n" + // the time is looked at first
		"1,2014-05-06 07:08:09,2014-05-06 07:20:00,1\n" +
		"pickup_datetime,dropoff_datetime,PULocationID,pickup_latitude\n" + "2014-05-06 07:08:09,2014-05-06 07:20:00,1,1\n"
	f := open(t, write(t, "trips", content))
	want := map[trip.Reason]int64{ReasonZone: 24, trip.ReasonPickupTime: 1, trip.ReasonFields: 1, trip.ReasonColumns: 1}
	if report := f.Report()[0]; report.Valid != 1 || !maps.Equal(report.Rejected, want) {
		t.Errorf("report %+v, want %v", report, want)
	}
	// Coordinates, where they are there, are better than zones.
	both := "pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,pickup_latitude,pickup_longitude,dropoff_latitude,dropoff_longitude\n" +
		"2014-05-06 07:08:09,2014-05-06 07:20:00,57,x,1,2,3,4\n"
	if got := all(t, open(t, write(t, "trips", both)))[0]; got.PickupLat != 1 || got.DropoffLon != 4 {
		t.Errorf("both: %+v", got)
	}
	own, err := zones.Read(strings.NewReader("LocationID,lat,lon\n230,1,2\n132,3,4\n57,5,6\n"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := Open(t.Context(), []string{write(t, "trips", yellow2016+row("57", "57")+row("1", "57"))}, Options{Zones: own})
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, g); len(got) != 2 || got[0].PickupLat != 1 || got[1].DropoffLon != 6 {
		t.Errorf("own zones: %+v", got)
	}
}
