package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mmcloughlin/geohash"

	"github.com/tripgrid/tripgrid/producer/dataset"
	"github.com/tripgrid/tripgrid/trip"
)

// The naive oracle: what the results must be, computed in one loop over all
// trips with maps and strings. It shares no code with the pipeline but the
// reader of the trips.

// result is one expected or exported document without what follows from its key.
type result struct {
	Pickups, Trips, Minutes int64
}

type box struct{ latMin, latMax, lonMin, lonMax float64 }

func (b box) has(lat, lon float64) bool {
	return b.latMin <= lat && lat <= b.latMax && b.lonMin <= lon && lon <= b.lonMax
}

type naiveProfile struct {
	city, jfk, lga []box
	minCount       int64
	anyDuration    bool
}

func boxesOf(codes string) (out []box) {
	for _, c := range strings.Fields(codes) {
		b := geohash.BoundingBox(c)
		out = append(out, box{b.MinLat, b.MaxLat, b.MinLng, b.MaxLng})
	}
	return out
}

// The figures are those of the reference architecture and of its later consumer.
func naiveProfileOf(name string) naiveProfile {
	if name == "seed" {
		return naiveProfile{
			city:     boxesOf("dr73 dr79 dr78 dr5x dr5r dr5p dr70 dr71"),
			jfk:      boxesOf("dr5x2b dr5x30 dr5x1p dr5x1n dr5x0y dr5x0w dr5x0x dr5x28"),
			lga:      boxesOf("dr5ryy dr5rzn dr5rzjz dr5rzmb dr5rzm8 dr5rzm2 dr5rzjr dr5rzjq dr5rzjw dr5rzjy"),
			minCount: 2, anyDuration: true,
		}
	}
	return naiveProfile{
		city:     []box{{40.560, 40.878, -74.054, -73.722}},
		jfk:      []box{{40.632, 40.654, -73.800, -73.761}},
		lga:      []box{{40.766, 40.778, -73.881, -73.859}},
		minCount: 1,
	}
}

func anyHas(boxes []box, lat, lon float64) bool {
	for _, b := range boxes {
		if b.has(lat, lon) {
			return true
		}
	}
	return false
}

// naive computes the documents of a data set, from a trip on, by key
// "query cell airport start".
func naive(t testing.TB, d dataset.Dataset, from int64, profile string, window time.Duration) map[string]result {
	t.Helper()
	prof := naiveProfileOf(profile)
	out := map[string]result{}
	buf := make([]trip.Trip, 4096)
	for i := from; i < d.Len(); {
		n, err := d.Read(i, buf)
		if err != nil {
			t.Fatal(err)
		}
		i += int64(n)
		for _, tr := range buf[:n] {
			if !anyHas(prof.city, tr.PickupLat, tr.PickupLon) || !anyHas(prof.city, tr.DropoffLat, tr.DropoffLon) {
				continue
			}
			start := int64(math.Floor(float64(tr.Dropoff/1e9)/window.Seconds())) * int64(window.Seconds())
			cell := trip.CellOf(tr.PickupLat, tr.PickupLon, 6).String()
			at := time.Unix(start, 0).UTC().Format(time.RFC3339)
			key := fmt.Sprintf("pickup_count %s  %s", cell, at)
			r := out[key]
			r.Pickups++
			out[key] = r
			airport := ""
			if anyHas(prof.jfk, tr.DropoffLat, tr.DropoffLon) {
				airport = "JFK"
			} else if anyHas(prof.lga, tr.DropoffLat, tr.DropoffLon) {
				airport = "LGA"
			}
			took := time.Duration(tr.Dropoff - tr.Pickup)
			if airport == "" || !prof.anyDuration && (took <= 0 || took > 3*time.Hour) {
				continue
			}
			key = fmt.Sprintf("trip_duration %s %s %s", cell, airport, at)
			r = out[key]
			r.Trips++
			r.Minutes += int64(took / time.Minute)
			out[key] = r
		}
	}
	for key, r := range out {
		if r.Pickups+r.Trips < prof.minCount {
			delete(out, key)
		}
	}
	return out
}

// exported reads an export back, checking what follows from each line's key.
func exported(t testing.TB, name string, window time.Duration) map[string]result {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := map[string]result{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var doc struct {
			Query, Cell string
			Airport     string    `json:"airport_code"`
			Start       time.Time `json:"window_start"`
			End         time.Time `json:"window_end"`
			Pickups     int64     `json:"pickup_count"`
			Trips       int64     `json:"trip_count"`
			Minutes     int64     `json:"sum_trip_duration"`
			Average     float64   `json:"avg_trip_duration"`
		}
		if err := json.Unmarshal(lines.Bytes(), &doc); err != nil {
			t.Fatalf("%s: %v in %s", name, err, lines.Bytes())
		}
		if doc.End.Sub(doc.Start) != window {
			t.Fatalf("window of %v in %s", doc.End.Sub(doc.Start), lines.Bytes())
		}
		if doc.Trips > 0 && math.Abs(doc.Average-float64(doc.Minutes)/float64(doc.Trips)) > 1e-9*math.Abs(doc.Average) {
			t.Fatalf("the average is not sum / count in %s", lines.Bytes())
		}
		key := fmt.Sprintf("%s %s %s %s", doc.Query, doc.Cell, doc.Airport, doc.Start.Format(time.RFC3339))
		if _, twice := out[key]; twice {
			t.Fatalf("%s is there twice", key)
		}
		out[key] = result{doc.Pickups, doc.Trips, doc.Minutes}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// equal compares results document by document.
func equal(t testing.TB, want, got map[string]result) {
	t.Helper()
	bad := 0
	report := func(format string, args ...any) {
		if bad++; bad <= 10 {
			t.Errorf(format, args...)
		}
	}
	for key, w := range want {
		if g, ok := got[key]; !ok {
			report("missing: %s %+v", key, w)
		} else if g != w {
			report("differs: %s is %+v, want %+v", key, g, w)
		}
	}
	for key, g := range got {
		if _, ok := want[key]; !ok {
			report("extra: %s %+v", key, g)
		}
	}
	if bad > 0 {
		t.Fatalf("%d of %d documents are not as the oracle has them", bad, len(want))
	}
	if len(want) == 0 {
		t.Fatal("the oracle has no documents: the test shows nothing")
	}
}
