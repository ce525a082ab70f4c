package trip

import (
	"fmt"

	"github.com/mmcloughlin/geohash"
)

// MaxPrecision is the greatest length of a geohash.
const MaxPrecision = 12

// Cell is a geohash cell: its precision (length of the geohash, 1 to 12) in the
// upper four bits, 5*precision bits of geohash in the lower ones, longitude
// first. Zero is no cell. Cells of one precision are ordered as their strings.
type Cell uint64

const (
	cellShift = 60
	cellMask  = 1<<cellShift - 1
	latBits   = 0x5555555555555555 // of an interleaved 64-bit geohash
	lonBits   = 0xaaaaaaaaaaaaaaaa
	base32    = "0123456789bcdefghjkmnpqrstuvwxyz"
)

// CellOf returns the cell of a point in degrees. It is exact: a coordinate on an
// edge belongs to the upper cell, latitude 90 and longitude 180 to the last one.
// It is zero for a point that is no point (NaN, |lat| > 90, |lon| > 180) and for
// a precision outside of 1..12.
func CellOf(lat, lon float64, precision int) Cell {
	if !inRange(lat, lon) || precision < 1 || precision > MaxPrecision {
		return 0
	}
	// The library computes in floating point, 32 bits an axis: its last bit may
	// be wrong, so more than the last bit is wrong only where the bits below the
	// cell's are all zeros or all ones. Those points are next to an edge.
	hash := geohash.EncodeInt(lat, lon)
	rest := uint64(1)<<(64-5*precision) - 1
	low := hash & rest
	lat0, lon0 := low&latBits, low&lonBits
	if lat0 == 0 || lat0 == rest&latBits || lon0 == 0 || lon0 == rest&lonBits {
		return cellAtEdge(lat, lon, precision)
	}
	return newCell(hash>>(64-5*precision), precision)
}

func newCell(bits uint64, precision int) Cell {
	return Cell(uint64(precision)<<cellShift | bits)
}

// cellAtEdge is CellOf by comparison with the exact edges.
func cellAtEdge(lat, lon float64, precision int) Cell {
	lats, lons := axesOf(precision)
	return newCell(interleave(lats.index(lat), lons.index(lon), precision), precision)
}

// Precision is the length of the cell's geohash, 1 to 12; 0 of no cell.
func (c Cell) Precision() int { return int(c >> cellShift) }

// Bits are the 5*Precision() bits of the geohash.
func (c Cell) Bits() uint64 { return uint64(c) & cellMask }

// Prefix returns the coarser cell of precision p that contains c: c itself if p
// is not below its precision, no cell if p is below 1.
func (c Cell) Prefix(p int) Cell {
	switch own := c.Precision(); {
	case p >= own:
		return c
	case p < 1:
		return 0
	default:
		return newCell(c.Bits()>>(5*(own-p)), p)
	}
}

// String is the geohash, as "dr5ru7"; empty for no cell.
func (c Cell) String() string {
	var text [MaxPrecision]byte
	return string(c.AppendText(text[:0]))
}

// AppendText appends the geohash to dst.
func (c Cell) AppendText(dst []byte) []byte {
	for shift := 5 * (c.Precision() - 1); shift >= 0; shift -= 5 {
		dst = append(dst, base32[c.Bits()>>shift&31])
	}
	return dst
}

// ParseCell reads a geohash of 1 to 12 lower-case characters.
func ParseCell(s string) (Cell, error) {
	if len(s) < 1 || len(s) > MaxPrecision {
		return 0, fmt.Errorf("parse cell %.40q: a geohash has 1 to %d characters", s, MaxPrecision)
	}
	var bits uint64
	for i := range len(s) {
		value := base32Value[s[i]]
		if value < 0 {
			return 0, fmt.Errorf("parse cell %q: %q is not a geohash character (%s)", s, s[i], base32)
		}
		bits = bits<<5 | uint64(value)
	}
	return newCell(bits, len(s)), nil
}

var base32Value = func() (values [256]int8) {
	for i := range values {
		values[i] = -1
	}
	for i := range len(base32) {
		values[base32[i]] = int8(i)
	}
	return values
}()

// Box returns the cell's edges in degrees, exactly; zeros for no cell.
func (c Cell) Box() (latMin, latMax, lonMin, lonMax float64) {
	if c.Precision() == 0 {
		return 0, 0, 0, 0
	}
	lats, lons := axesOf(c.Precision())
	lat, lon := deinterleave(c.Bits(), c.Precision())
	return lats.edge(lat), lats.edge(lat + 1), lons.edge(lon), lons.edge(lon + 1)
}

// Center returns the middle of the cell in degrees, exactly; zeros for no cell.
func (c Cell) Center() (lat, lon float64) {
	latMin, latMax, lonMin, lonMax := c.Box()
	return (latMin + latMax) / 2, (lonMin + lonMax) / 2
}
