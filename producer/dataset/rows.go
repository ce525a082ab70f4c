package dataset

import (
	"bytes"
	"errors"

	"github.com/tripgrid/tripgrid/trip"
)

// outcome is what a line is.
type outcome int

const (
	isNothing outcome = iota // blank
	isHeader
	isWatermark
	isTrip
	isBad
	isStart // of a ride, whose END makes the trip
)

// rows reads the lines of one file, one by one.
type rows struct {
	splitter splitter
	layout   *layout // of the CSV rows; nil before the first one
	event    trip.Event
	open     map[string]openRide
	found    kinds
	reading
}

var byteOrderMark = []byte("\uFEFF")

// read reads a line, with or without its end. It sets t if that is a valid trip,
// and gives the reason of a bad one. The text is the line without its end.
func (r *rows) read(number int64, line []byte, t *trip.Trip) (text []byte, what outcome, reason trip.Reason) {
	if number == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	line = trimLineEnds(line)
	if isBlank(line) {
		return line, isNothing, ""
	}
	if isJSON(line) {
		what, reason = r.readEvent(line, t)
	} else {
		what, reason = r.readRow(number, line, t)
	}
	return line, what, reason
}

func trimLineEnds(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	for len(line) > 0 && (line[0] == '\n' || line[0] == '\r') {
		line = line[1:]
	}
	return line
}

func isJSON(line []byte) bool {
	if line[0] > ' ' && line[0] < 0x80 {
		return line[0] == '{'
	}
	line = trip.TrimSpace(line)
	return len(line) > 0 && line[0] == '{'
}

func (r *rows) readEvent(line []byte, t *trip.Trip) (outcome, trip.Reason) {
	if err := trip.Decode(line, &r.event); err != nil {
		bad := new(trip.BadRecord)
		if !errors.As(err, &bad) {
			return isBad, trip.ReasonJSON
		}
		if bad.Reason == trip.ReasonWatermark {
			return isWatermark, ""
		}
		return isBad, bad.Reason
	}
	r.found |= kindJSON
	if r.event.Kind == trip.KindWatermark {
		return isWatermark, ""
	}
	*t = r.event.Trip
	return isTrip, ""
}

func (r *rows) readRow(number int64, line []byte, t *trip.Trip) (outcome, trip.Reason) {
	cells, ok := r.splitter.split(line)
	if !ok {
		return isBad, trip.ReasonQuoting
	}
	if (r.layout == nil || r.layout.debs) && isRide(cells) {
		r.found |= kindRides
		return r.readRide(number, line, cells, t)
	}
	reason := r.readCells(cells, t)
	if reason != "" {
		if header := parseHeader(cells); header != nil {
			r.layout = header
			r.found |= header.kind()
			return isHeader, ""
		}
	}
	if r.layout != nil && r.layout.debs {
		r.found |= kindDEBS
	}
	if reason != "" {
		return isBad, reason
	}
	return isTrip, ""
}

// readCells reads a CSV row by the layout at hand. The first row that has the
// shape of DEBS settles that layout, even if the row is bad.
func (r *rows) readCells(cells [][]byte, t *trip.Trip) trip.Reason {
	if r.layout == nil || r.layout.debs {
		if len(cells) < debs.width || !allBlank(cells[debs.width:]) {
			return trip.ReasonFormat
		}
		r.layout = debs
	}
	at := &r.layout.at
	needed := r.layout.needed()
	for _, i := range needed {
		if i < 0 {
			return trip.ReasonColumns
		}
	}
	for _, i := range needed {
		if i >= len(cells) {
			return trip.ReasonFields
		}
	}
	var ok bool
	if t.Pickup, ok = r.clock.parse(cells[at[columnPickupTime]]); !ok {
		return trip.ReasonPickupTime
	}
	if t.Dropoff, ok = r.clock.parse(cells[at[columnDropoffTime]]); !ok {
		return trip.ReasonDropoffTime
	}
	if reason := r.readPlaces(cells, t); reason != "" {
		return reason
	}
	t.TotalCents = 0
	if i := at[columnTotal]; i >= 0 && i < len(cells) {
		t.TotalCents = trip.ParseCents(cells[i])
	}
	return ""
}

// readPlaces reads both ends of a row, all of whose needed columns are there.
func (r *rows) readPlaces(cells [][]byte, t *trip.Trip) trip.Reason {
	if zone := &r.layout.zoneAt; r.layout.zones {
		return r.place(t, zoneID(cells[zone[0]]), zoneID(cells[zone[1]]))
	}
	at := &r.layout.at
	var ok bool
	for c, into := range [...]*float64{
		columnPickupLat: &t.PickupLat, columnPickupLon: &t.PickupLon,
		columnDropoffLat: &t.DropoffLat, columnDropoffLon: &t.DropoffLon,
	} {
		if into == nil {
			continue
		}
		if *into, ok = trip.ParseCoordinate(cells[at[c]]); !ok {
			return trip.ReasonCoordinate
		}
	}
	if bad := t.CheckCoordinates(); bad != nil {
		return bad.Reason
	}
	return ""
}

func allBlank(cells [][]byte) bool {
	for _, cell := range cells {
		if !isBlank(cell) {
			return false
		}
	}
	return true
}
