package dataset

import (
	"math"

	"github.com/tripgrid/tripgrid/producer/zones"
	"github.com/tripgrid/tripgrid/trip"
)

// The reasons for bad rows that the files of TLC add to those of package trip.
const (
	// ReasonZone: a LocationID is absent, malformed, or a zone without a place.
	ReasonZone trip.Reason = "zone"
	// ReasonUnpaired: a ride's START without its END, or END without its START.
	ReasonUnpaired trip.Reason = "unpaired"
)

// reading says how times and places of rows are understood. The zero value is
// the default: UTC, and the zones of New York.
type reading struct {
	clock *clock
	zones *zones.Table
}

// place sets both ends of a trip from zone ids.
func (r *reading) place(t *trip.Trip, from, to int64) trip.Reason {
	if r.zones == nil {
		r.zones = zones.NewYork()
	}
	var ok1, ok2 bool
	t.PickupLat, t.PickupLon, ok1 = r.zones.Point(from)
	t.DropoffLat, t.DropoffLon, ok2 = r.zones.Point(to)
	if !ok1 || !ok2 {
		return ReasonZone
	}
	return ""
}

// zoneID reads a LocationID, which some tools write as 132.0; anything else is 0,
// which no zone has.
func zoneID(cell []byte) int64 {
	x, ok := trip.ParseCoordinate(cell)
	if !ok {
		return 0
	}
	return wholeID(x)
}

// wholeID is 0 for what is no LocationID.
func wholeID(x float64) int64 {
	if !(1 <= x && x <= zones.MaxID) || x != math.Trunc(x) {
		return 0
	}
	return int64(x)
}
