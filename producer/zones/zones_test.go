package zones

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNewYork(t *testing.T) {
	zones := NewYork()
	if zones.Len() != 260 {
		t.Errorf("%d zones, want 260", zones.Len())
	}
	for id := int64(-1); id < 300; id++ {
		lat, lon, ok := zones.Point(id)
		want := id >= 1 && id <= 263 && id != 57 && id != 104 && id != 105
		if ok != want || ok && (lat < 40.5 || lat > 40.92 || lon < -74.25 || lon > -73.7) {
			t.Errorf("zone %d: %v, %v, %v", id, lat, lon, ok)
		}
	}
	if _, _, ok := zones.Point(1 << 62); ok {
		t.Error("a zone beyond all")
	}
	// JFK airport and Times Square.
	for id, want := range map[int64]point{132: {40.646985, -73.786533}, 230: {40.759818, -73.984196}} {
		lat, lon, _ := zones.Point(id)
		if got := (point{lat, lon}); abs(got.lat-want.lat) > 0.001 || abs(got.lon-want.lon) > 0.001 {
			t.Errorf("zone %d is at %v, want about %v", id, got, want)
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }

func TestRead(t *testing.T) {
	zones, err := Read(strings.NewReader("\ufeffZone, LocationId ,LON,lat,latitude\r\n\"a,b\",7,-73.9,1,40.7\nx,2,-73.8,1,40.6\nagain,7,1,1,1\n"))
	if err != nil || zones.Len() != 2 {
		t.Fatalf("%v", err)
	}
	if lat, lon, ok := zones.Point(7); !ok || lat != 40.7 || lon != -73.9 {
		t.Errorf("zone 7: %v, %v, %v", lat, lon, ok)
	}
	for _, id := range []int64{0, 1, 3, 8} {
		if _, _, ok := zones.Point(id); ok {
			t.Errorf("zone %d is there", id)
		}
	}
	zones, err = Read(strings.NewReader("locationid,lat,lon,min_lat,max_lat,min_lon,max_lon\n" +
		"1,1,1,0,1,0,1\n1,2,2,0,2,0,2\n1,3,3,0,1,0,3\n1,4,4,x,9,0,9\n1,5,5\n"))
	if err != nil {
		t.Fatal(err)
	}
	if lat, _, _ := zones.Point(1); lat != 2 {
		t.Errorf("the zone is at %v, not where its largest box is", lat)
	}
}

func TestReadRefuses(t *testing.T) {
	const head = "LocationID,lat,lon\n"
	for content, say := range map[string]string{
		"":                         "is empty",
		head:                       "no zone",
		"LocationID,lat\n1,2\n":    "no column centroid_lon",
		"id,lat,lon\n1,2,3\n":      "no column locationid",
		head + "1,2\n":             "line 2: the longitude of zone 1",
		head + "1,2,3\n\n0,2,3\n":  `line 4: the LocationID "0"`,
		head + "x,2,3\n":           `LocationID "x"`,
		head + "1000001,2,3\n":     "LocationID",
		head + "1,91,3\n":          "latitude",
		head + "1,nan,3\n":         "latitude",
		head + "1,2,181\n":         "longitude",
		head + "1,0,0\n":           "no place",
		head + "1,\"2\"x,3\n":      "malformed",
		"\"a\"b,LocationID\n1,2\n": "malformed",
	} {
		if _, err := Read(strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v, want it to say %q", content, err, say)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "x")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("an absent file: %v", err)
	}
	path := filepath.Join(t.TempDir(), "zones.csv")
	if err := os.WriteFile(path, []byte(head), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "zones.csv") {
		t.Errorf("an empty table: %v", err)
	}
}

// Whatever a table is, its zones are on earth.
func FuzzRead(f *testing.F) {
	f.Add("LocationID,lat,lon\n1,2,3\n")
	f.Add("locationid,latitude,long,min_lat,max_lat,min_lon,max_lon\n7,1,1,0,1,0,1\n7,2,2,0,2,0,2\n")
	f.Fuzz(func(t *testing.T, content string) {
		zones, err := Read(strings.NewReader(content))
		if err != nil {
			return
		}
		found := 0
		for id := int64(1); id <= MaxID; id++ {
			lat, lon, ok := zones.Point(id)
			if ok {
				found++
			}
			if !(abs(lat) <= 90 && abs(lon) <= 180) {
				t.Fatalf("zone %d is at %v, %v", id, lat, lon)
			}
		}
		if found != zones.Len() {
			t.Fatalf("%d zones, Len %d", found, zones.Len())
		}
	})
}
