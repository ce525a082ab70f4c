// Package trip is tripgrid's domain: what a trip is, which trips are valid, and
// where they are. It imports none of tripgrid's other packages.
//
// # Validity
//
// A record is a valid trip if both of its times parse, all four coordinates are
// finite numbers, |lat| <= 90 and |lon| <= 180. Nothing else makes a record bad:
// a missing, malformed or absurd amount, trip_id or envelope counts as none.
// Whether a trip lies in New York is the [Geofence]'s business, not validity's.
//
// A bad record has one [Reason], the first that applies in this order: json
// (not one JSON value), type (no object, or "type" is neither "trip" nor
// "watermark"), pickup_time, dropoff_time, coordinate (no finite number), range.
// A watermark event whose own time is unusable has the reason watermark. The
// readers of files (producer/dataset) add columns, fields, format and quoting.
//
// # Events
//
// [Decode] reads one JSON event: UTF-8, in any field order, with either spelling
// of the coordinates (pickup_lat, or pickup_latitude where the first is absent
// or null), as numbers or as strings of numbers. Unknown fields are skipped,
// however deep; the last of several equal names counts. As with encoding/json,
// NaN and Infinity are not JSON, nesting beyond 10,000 is refused, and invalid
// UTF-8 in strings is tolerated. [AppendTrip] and [AppendWatermark] write the
// same events.
//
// # Times
//
// Times are nanoseconds since 1970-01-01T00:00:00Z, written as
// YYYY-MM-DD[T ]HH:MM[:SS[.f]][zone], UTC where no zone is given; digits beyond
// nanoseconds are cut. Instants outside of the years 1678 to 2261 do not fit and
// are bad (pickup_time, dropoff_time): the one deliberate deviation from the
// batch oracle, which knows the years 1 to 9999.
//
// # Cells
//
// A [Cell] is a geohash cell. A coordinate on the edge of two cells belongs to
// the upper (northern, eastern) one, latitude 90 and longitude 180 to the last
// one, exactly: coordinates that come from 32-bit floats, as TLC's do from 2015
// on, lie on an edge in about one of a thousand trips. The boxes of a [Geofence]
// include all of their edges.
package trip
