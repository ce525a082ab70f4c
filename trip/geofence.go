package trip

import "fmt"

// Airport is the airport that a point belongs to.
type Airport uint8

// The airports of the queries. JFK is tested first, as in the reference.
const (
	NoAirport Airport = iota
	JFK
	LGA
)

// String is "JFK", "LGA" or, for no airport, empty.
func (a Airport) String() string {
	switch a {
	case JFK:
		return "JFK"
	case LGA:
		return "LGA"
	}
	return ""
}

// ParseAirport is the inverse of String.
func ParseAirport(s string) (Airport, error) {
	for a := NoAirport; a <= LGA; a++ {
		if a.String() == s {
			return a, nil
		}
	}
	return NoAirport, fmt.Errorf("parse airport %.20q: it is neither JFK nor LGA", s)
}

// Names of the geofence profiles.
const (
	// GeofenceBBox has the boxes of AWS's later consumer; the default.
	GeofenceBBox = "bbox"
	// GeofenceSeed has the geohash cells of the reference architecture. Their
	// centre boxes are missing there (Harlem, the Bronx, the middle of JFK), so
	// they are missing here: it exists to reproduce the reference's results.
	GeofenceSeed = "seed"
)

// Geofence says which points lie in New York and at its airports. It is a list
// of boxes; edges belong to their box. A Geofence is immutable.
type Geofence struct {
	name          string
	city, jfk, lg area
}

// GeofenceByName returns the geofence profile "bbox" or "seed".
func GeofenceByName(name string) (*Geofence, error) {
	switch name {
	case GeofenceBBox:
		return bboxFence, nil
	case GeofenceSeed:
		return seedFence, nil
	}
	return nil, fmt.Errorf("geofence %.40q is unknown: use %s or %s", name, GeofenceBBox, GeofenceSeed)
}

// Name is the name that GeofenceByName knows.
func (g *Geofence) Name() string { return g.name }

// Inside says whether a point in degrees lies in New York. A trip counts if both
// of its ends do.
func (g *Geofence) Inside(lat, lon float64) bool { return g.city.contains(lat, lon) }

// Airport returns the airport at a point in degrees, whether or not that lies in
// New York by the same profile.
func (g *Geofence) Airport(lat, lon float64) Airport {
	switch {
	case g.jfk.contains(lat, lon):
		return JFK
	case g.lg.contains(lat, lon):
		return LGA
	}
	return NoAirport
}

var (
	bboxFence = &Geofence{
		name: GeofenceBBox,
		city: areaOf(box{40.560, 40.878, -74.054, -73.722}),
		jfk:  areaOf(box{40.632, 40.654, -73.800, -73.761}),
		lg:   areaOf(box{40.766, 40.778, -73.881, -73.859}),
	}
	seedFence = &Geofence{
		name: GeofenceSeed,
		city: areaOfCells("dr73", "dr79", "dr78", "dr5x", "dr5r", "dr5p", "dr70", "dr71"),
		jfk: areaOfCells("dr5x2b", "dr5x30", "dr5x1p", "dr5x1n",
			"dr5x0y", "dr5x0w", "dr5x0x", "dr5x28"),
		lg: areaOfCells("dr5ryy", "dr5rzn", "dr5rzjz", "dr5rzmb", "dr5rzm8",
			"dr5rzm2", "dr5rzjr", "dr5rzjq", "dr5rzjw", "dr5rzjy"),
	}
)

// box is a rectangle in degrees that includes its edges.
type box struct{ latMin, latMax, lonMin, lonMax float64 }

func (b *box) contains(lat, lon float64) bool {
	return b.latMin <= lat && lat <= b.latMax && b.lonMin <= lon && lon <= b.lonMax
}

// area is a union of boxes, and the smallest box around them as a cheap test.
type area struct {
	hull  box
	boxes []box
}

func (a *area) contains(lat, lon float64) bool {
	if !a.hull.contains(lat, lon) {
		return false
	}
	for i := range a.boxes {
		if a.boxes[i].contains(lat, lon) {
			return true
		}
	}
	return false
}

func areaOf(boxes ...box) area {
	hull := boxes[0]
	for _, b := range boxes[1:] {
		hull.latMin, hull.latMax = min(hull.latMin, b.latMin), max(hull.latMax, b.latMax)
		hull.lonMin, hull.lonMax = min(hull.lonMin, b.lonMin), max(hull.lonMax, b.lonMax)
	}
	return area{hull, boxes}
}

func areaOfCells(geohashes ...string) area {
	boxes := make([]box, len(geohashes))
	for i, text := range geohashes {
		cell, err := ParseCell(text)
		if err != nil {
			panic(err) // a constant above is misspelt; the package's tests load it
		}
		b := &boxes[i]
		b.latMin, b.latMax, b.lonMin, b.lonMax = cell.Box()
	}
	return areaOf(boxes...)
}
