package trip

// Trip is one completed ride. Times are nanoseconds since 1970-01-01T00:00:00Z
// (so 1678 to 2261); coordinates are WGS84 degrees. A Trip holds no pointers,
// so that columns and buffers of trips cost the collector nothing.
type Trip struct {
	Pickup, Dropoff                              int64
	PickupLat, PickupLon, DropoffLat, DropoffLon float64
	// TotalCents is the fare with everything, in cents, rounded half away from
	// zero; 0 where the source has none.
	TotalCents int64
}

// EventTime is the drop-off: the moment at which the trip becomes known.
func (t *Trip) EventTime() int64 { return t.Dropoff }

// Envelope is what tripgrid's producer adds to a trip so that a repeat can be
// told: Seq is gapless per (Producer, Lane), starting at 0. See PROTOCOL R14.
type Envelope struct {
	Producer uint64 // digest of the job and the data, never 0
	Lane     uint16
	Seq      uint64
}

// Kind says what an event is.
type Kind uint8

const (
	KindTrip Kind = iota + 1
	KindWatermark
)

// FinalWatermark is the event time of the final watermark: no trip follows.
const FinalWatermark int64 = 1<<63 - 1

// Event is one decoded record of the stream.
type Event struct {
	Kind Kind
	Trip Trip
	// ID is the record's trip_id, 0 where it has none.
	ID uint64
	// Envelope is the zero value for trips that another producer wrote.
	Envelope Envelope
	// Watermark is the watermark's event time, FinalWatermark for the last one.
	Watermark int64
}
