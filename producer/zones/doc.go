// Package zones says where New York's taxi zones are.
//
// From mid-2016 on TLC's files name the zones in which a trip begins and ends by
// a LocationID, without coordinates. A [Table] gives each id a point, the zone's
// centroid, so that such a trip can be counted in a cell. It is a point for a
// whole neighbourhood: results by cell are as coarse as the zones.
//
// [NewYork] is built in: 260 zones. TLC's ids 57, 104 and 105 have no polygon,
// 264 and 265 stand for "unknown" and "outside of the city": none has a point,
// and a trip that begins or ends there is refused by those who read it.
//
// [Read] and [Open] read a table of one's own, a CSV file with a header. Columns
// are found by name, whatever their case:
//
//	LocationID                             needed, a whole number, 1 to 1,000,000
//	centroid_lat, latitude or lat          needed, degrees of WGS84
//	centroid_lon, longitude, lon or long   needed
//	min_lat, max_lat, min_lon, max_lon     the box, for zones of several polygons
//
// A zone with several rows is where the one with the largest box is, the first of
// those if there are several; without boxes, where its first row is.
package zones
