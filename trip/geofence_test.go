package trip

import "testing"

// The table of points of the reference: what R's cells and T's boxes say.
func TestGeofenceTableOfPoints(t *testing.T) {
	type verdict struct {
		inside  bool
		airport Airport
	}
	nyc, outside := verdict{true, NoAirport}, verdict{false, NoAirport}
	jfk, lga := verdict{true, JFK}, verdict{true, LGA}
	for _, row := range []struct {
		lat, lon   float64
		seed, bbox verdict
	}{
		{40.7549, -73.9840, nyc, nyc},
		{40.8116, -73.9465, outside, nyc},
		{40.5749, -73.9857, outside, nyc},
		{40.6440, -73.7826, jfk, jfk},
		{40.6467, -73.7895, nyc, jfk},
		{40.7740, -73.8726, lga, lga},
		{0, 0, outside, outside},
	} {
		for name, want := range map[string]verdict{"seed": row.seed, "bbox": row.bbox} {
			g, err := GeofenceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			got := verdict{g.Inside(row.lat, row.lon), g.Airport(row.lat, row.lon)}
			if got != want {
				t.Errorf("%s of %v,%v: got %v, want %v", g.Name(), row.lat, row.lon, got, want)
			}
		}
	}
}

func TestGeofenceIncludesItsEdges(t *testing.T) {
	bbox, _ := GeofenceByName(GeofenceBBox)
	for _, p := range [][2]float64{{40.560, -74.054}, {40.878, -73.722}, {40.560, -73.722}} {
		if !bbox.Inside(p[0], p[1]) {
			t.Errorf("bbox leaves out its corner %v", p)
		}
	}
	if bbox.Inside(40.8780001, -73.9) || bbox.Inside(40.7, -74.0540001) {
		t.Error("bbox takes a point beyond its edge")
	}
	if got := bbox.Airport(40.654, -73.761); got != JFK {
		t.Errorf("corner of JFK: %q", got)
	}
	if got := bbox.Airport(40.766, -73.881); got != LGA {
		t.Errorf("corner of LGA: %q", got)
	}
	// The upper edge of a geohash box belongs to the box of the fence although
	// it belongs to the next cell.
	seed, _ := GeofenceByName(GeofenceSeed)
	cell, err := ParseCell("dr5x2b")
	if err != nil {
		t.Fatal(err)
	}
	latMin, latMax, lonMin, lonMax := cell.Box()
	for _, lat := range []float64{latMin, latMax} {
		for _, lon := range []float64{lonMin, lonMax} {
			if got := seed.Airport(lat, lon); got != JFK {
				t.Errorf("corner %v,%v of dr5x2b: %q", lat, lon, got)
			}
		}
	}
}

func TestGeofenceUnknownName(t *testing.T) {
	for _, name := range []string{"", "default", "BBOX"} {
		if g, err := GeofenceByName(name); err == nil || g != nil {
			t.Errorf("GeofenceByName(%q) = %v, %v", name, g, err)
		}
	}
}

func TestAirportParse(t *testing.T) {
	for _, a := range []Airport{NoAirport, JFK, LGA} {
		if got, err := ParseAirport(a.String()); err != nil || got != a {
			t.Errorf("ParseAirport(%q) = %v, %v", a.String(), got, err)
		}
	}
	if _, err := ParseAirport("EWR"); err == nil {
		t.Error("EWR is no airport of ours")
	}
}
