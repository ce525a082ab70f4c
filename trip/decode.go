package trip

import (
	"math"
	"strconv"
)

// Reason says in one word why a record is bad.
type Reason string

// The reasons, as the batch oracle names them.
const (
	ReasonJSON        Reason = "json"         // not one JSON value
	ReasonType        Reason = "type"         // no object, or an unknown "type"
	ReasonPickupTime  Reason = "pickup_time"  // absent, malformed or outside of 1678..2261
	ReasonDropoffTime Reason = "dropoff_time" // likewise
	ReasonCoordinate  Reason = "coordinate"   // one of the four is no finite number
	ReasonRange       Reason = "range"        // |lat| > 90 or |lon| > 180
	ReasonWatermark   Reason = "watermark"    // a watermark event's time is unusable

	ReasonColumns Reason = "columns" // CSV: the header lacks a needed column
	ReasonFields  Reason = "fields"  // CSV: too few fields for the header
	ReasonFormat  Reason = "format"  // neither JSON, CSV header nor known row
	ReasonQuoting Reason = "quoting" // CSV: broken quoting
)

// BadRecord is the error of a record that gives no event. It is final: the same
// bytes are always bad, for the same reason.
type BadRecord struct {
	Reason Reason
	// Detail says what is wrong, in a few words for people.
	Detail string
}

// Error is "bad record (reason): detail".
func (b *BadRecord) Error() string {
	return "bad record (" + string(b.Reason) + "): " + b.Detail
}

// Decode reads the trip or watermark event that is all of data, a JSON object.
// Its error is a *BadRecord, and ev is unchanged then. It keeps no reference to
// data and allocates nothing for a valid event in usual spelling (long strings
// with escapes in known fields may allocate).
//
// The envelope counts if producer (16 hexadecimal digits, not all zero), lane
// (0..65535) and lane_seq (an unsigned 64-bit integer) are all there; else it is
// zero. A trip_id that is no unsigned 64-bit integer, plain or as a string, is 0.
func Decode(data []byte, ev *Event) error {
	var record fields
	if bad := record.scan(data); bad != nil {
		return bad
	}
	var scratch [64]byte
	switch kind, _ := record[fieldType].string(scratch[:0]); string(kind) {
	case "trip":
		return record.trip(ev)
	case "watermark":
		return record.watermark(ev)
	}
	return &BadRecord{ReasonType, `"type" is neither "trip" nor "watermark"`}
}

// trip decodes a trip event.
func (r *fields) trip(ev *Event) error {
	var t Trip
	var ok bool
	if t.Pickup, ok = r.time(fieldPickupTime); !ok {
		return &BadRecord{ReasonPickupTime, r.describe("pickup_datetime", fieldPickupTime)}
	}
	if t.Dropoff, ok = r.time(fieldDropoffTime); !ok {
		return &BadRecord{ReasonDropoffTime, r.describe("dropoff_datetime", fieldDropoffTime)}
	}
	if t.PickupLat, ok = r.coordinate(fieldPickupLat); !ok {
		return r.badCoordinate("pickup_lat", fieldPickupLat)
	}
	if t.PickupLon, ok = r.coordinate(fieldPickupLon); !ok {
		return r.badCoordinate("pickup_lon", fieldPickupLon)
	}
	if t.DropoffLat, ok = r.coordinate(fieldDropoffLat); !ok {
		return r.badCoordinate("dropoff_lat", fieldDropoffLat)
	}
	if t.DropoffLon, ok = r.coordinate(fieldDropoffLon); !ok {
		return r.badCoordinate("dropoff_lon", fieldDropoffLon)
	}
	if bad := t.CheckCoordinates(); bad != nil {
		return bad
	}
	if total := &r[fieldTotal]; total.isNumber() {
		t.TotalCents = total.number.cents()
	}
	*ev = Event{Kind: KindTrip, Trip: t, Envelope: r.envelope()}
	ev.ID, _ = r.unsigned(fieldID)
	return nil
}

// watermark decodes a watermark event.
func (r *fields) watermark(ev *Event) error {
	if string(r[fieldFinal].text) == "true" {
		*ev = Event{Kind: KindWatermark, Watermark: FinalWatermark}
		return nil
	}
	w, ok := r.time(fieldWatermark)
	if !ok {
		return &BadRecord{ReasonWatermark, r.describe("watermark", fieldWatermark)}
	}
	*ev = Event{Kind: KindWatermark, Watermark: w}
	return nil
}

// CheckCoordinates returns nil if all four coordinates are valid, else why not.
func (t *Trip) CheckCoordinates() *BadRecord {
	if inRange(t.PickupLat, t.PickupLon) && inRange(t.DropoffLat, t.DropoffLon) {
		return nil
	}
	for _, c := range [...]float64{t.PickupLat, t.PickupLon, t.DropoffLat, t.DropoffLon} {
		if math.IsNaN(c) || math.IsInf(c, 0) {
			return &BadRecord{ReasonCoordinate, "a coordinate is not a finite number"}
		}
	}
	return &BadRecord{ReasonRange, "a latitude is beyond 90 degrees or a longitude beyond 180"}
}

// inRange is false for NaN.
func inRange(lat, lon float64) bool {
	return -90 <= lat && lat <= 90 && -180 <= lon && lon <= 180
}

// time reads a string field as a time.
func (r *fields) time(f field) (int64, bool) {
	var scratch [64]byte
	text, ok := r[f].string(scratch[:0])
	if !ok {
		return 0, false
	}
	return ParseTime(text)
}

// coordinate reads field f, or the one after it, which is its other name, as a
// number or a string of one.
func (r *fields) coordinate(f field) (float64, bool) {
	v := &r[f]
	if v.isNull() {
		v = &r[f+1]
	}
	if v.isNumber() {
		return v.number.float(v.text)
	}
	var scratch [64]byte
	if text, ok := v.string(scratch[:0]); ok {
		return ParseCoordinate(text)
	}
	return 0, false
}

// unsigned reads an integer field, plain or as a string.
func (r *fields) unsigned(f field) (uint64, bool) {
	if d := &r[f].number; d.integer && r[f].isNumber() {
		return d.mantissa, true
	}
	var scratch [64]byte
	body, ok := r[f].string(scratch[:0])
	if !ok {
		body = r[f].text
	}
	if len(body) == 0 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range body {
		if !isDigit(c) || n > math.MaxUint64/10 {
			return 0, false
		}
		next := n*10 + uint64(c-'0')
		if next < n*10 {
			return 0, false
		}
		n = next
	}
	return n, true
}

// envelope reads what tripgrid's producer adds; zero unless it is complete.
func (r *fields) envelope() Envelope {
	var scratch [64]byte
	text, ok := r[fieldProducer].string(scratch[:0])
	if !ok || len(text) != 16 {
		return Envelope{}
	}
	producer, ok := hex(text)
	lane, okLane := r.unsigned(fieldLane)
	seq, okSeq := r.unsigned(fieldSeq)
	if !ok || producer == 0 || !okLane || lane > math.MaxUint16 || !okSeq {
		return Envelope{}
	}
	return Envelope{Producer: producer, Lane: uint16(lane), Seq: seq}
}

func (r *fields) badCoordinate(name string, f field) error {
	if r[f].isNull() {
		f++
	}
	return &BadRecord{ReasonCoordinate, r.describe(name, f)}
}

// describe says what is wrong with the field called name.
func (r *fields) describe(name string, f field) string {
	value := r[f].text
	if value == nil {
		return name + " is absent"
	}
	return name + " is " + strconv.QuoteToASCII(string(value[:min(len(value), 40)])) + ", which is unusable"
}
