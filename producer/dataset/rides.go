package dataset

import (
	"slices"

	"github.com/tripgrid/tripgrid/trip"
)

// Ride events are rows of 11 columns without a header: ride id, START or END, two
// times, start longitude and latitude, end longitude and latitude, passengers,
// taxi, driver. A START has the time at which it began first; an END has that and
// the time at which it ended, in either order: in known files the later is first.
const (
	rideColumns   = 11
	rideID        = 0
	rideEvent     = 1
	rideTime      = 2
	rideOtherTime = 3
	rideStartLon  = 4
	rideStartLat  = 5
	rideEndLon    = 6
	rideEndLat    = 7
)

// maxOpenRides bounds the memory of rides that have begun: New York has less
// than 20,000 on the road.
const maxOpenRides = 1 << 18

// openRide is a START that waits for its END.
type openRide struct {
	line     int64
	pickup   int64
	lat, lon float64
	text     string // of the row, for an Example
}

// isRide says whether a row without a header is a ride event.
func isRide(cells [][]byte) bool {
	if len(cells) < rideColumns || !allBlank(cells[rideColumns:]) {
		return false
	}
	event := string(trip.TrimSpace(cells[rideEvent]))
	return event == "START" || event == "END"
}

// readRide makes a trip of an END and the START before it.
func (r *rows) readRide(number int64, line []byte, cells [][]byte, t *trip.Trip) (outcome, trip.Reason) {
	start := string(trip.TrimSpace(cells[rideEvent])) == "START"
	id := string(trip.TrimSpace(cells[rideID]))
	one, ok := r.clock.parse(cells[rideTime])
	if !ok && start {
		return isBad, trip.ReasonPickupTime
	}
	if !ok {
		return isBad, trip.ReasonDropoffTime
	}
	for column, into := range [...]*float64{
		rideStartLon: &t.PickupLon, rideStartLat: &t.PickupLat, rideEndLon: &t.DropoffLon, rideEndLat: &t.DropoffLat,
	} {
		if into == nil {
			continue
		}
		if *into, ok = trip.ParseCoordinate(cells[column]); !ok {
			return isBad, trip.ReasonCoordinate
		}
	}
	if bad := t.CheckCoordinates(); bad != nil {
		return isBad, bad.Reason
	}
	open, waits := r.open[id]
	if start {
		if waits || len(r.open) >= maxOpenRides {
			return isBad, ReasonUnpaired
		}
		if r.open == nil {
			r.open = map[string]openRide{}
		}
		r.open[id] = openRide{number, one, t.PickupLat, t.PickupLon, string(line[:min(len(line), exampleBytes)])}
		return isStart, ""
	}
	other, ok := r.clock.parse(cells[rideOtherTime])
	if !ok {
		return isBad, trip.ReasonDropoffTime
	}
	switch {
	case !waits:
		return isBad, ReasonUnpaired
	case other == open.pickup:
		t.Dropoff = one
	case one == open.pickup:
		t.Dropoff = other
	default:
		return isBad, ReasonUnpaired
	}
	delete(r.open, id)
	t.Pickup, t.PickupLat, t.PickupLon, t.TotalCents = open.pickup, open.lat, open.lon, 0
	return isTrip, ""
}

// unpaired returns the STARTs without an END, by line, once the file is read.
func (r *rows) unpaired() []openRide {
	rides := make([]openRide, 0, len(r.open))
	for _, ride := range r.open {
		rides = append(rides, ride)
	}
	slices.SortFunc(rides, func(a, b openRide) int { return int(a.line - b.line) })
	return rides
}
