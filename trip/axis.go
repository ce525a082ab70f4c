package trip

// axis is one coordinate axis [-half, +half] cut in 2**bits equal parts.
//
// Part k is [edge(k), edge(k+1)); the value +half belongs to the last part. An
// edge is k*2*half/2**bits - half, and half is 45 times a power of two: with at
// most 30 bits that is an integer of 37 bits times a power of two, so edge is
// exact in a float64, and therefore so is index, whatever its division guessed.
type axis struct {
	half  float64
	last  int64
	scale float64 // parts per degree
	shift int64   // half in units
	unit  float64 // 45 units are one part
}

var axes = func() (all [MaxPrecision + 1][2]axis) {
	for precision := 1; precision <= MaxPrecision; precision++ {
		all[precision] = [2]axis{
			newAxis(90, 1, 5*precision/2),
			newAxis(180, 2, (5*precision+1)/2),
		}
	}
	return all
}()

// newAxis makes the axis of half = 45 << power degrees.
func newAxis(half int64, power, bits int) axis {
	parts := int64(1) << bits
	down := bits - power - 1 // a part is 45 / 2**down degrees
	return axis{
		half:  float64(half),
		last:  parts - 1,
		scale: float64(parts) / float64(2*half),
		shift: half << down,
		unit:  1 / float64(int64(1)<<down),
	}
}

func axesOf(precision int) (lats, lons *axis) {
	return &axes[precision][0], &axes[precision][1]
}

func (a *axis) edge(k int64) float64 {
	return float64(k*45-a.shift) * a.unit
}

// index returns the part of a value within [-half, +half].
func (a *axis) index(value float64) int64 {
	k := min(int64((value+a.half)*a.scale), a.last)
	for value < a.edge(k) {
		k--
	}
	for k < a.last && value >= a.edge(k+1) {
		k++
	}
	return k
}

// interleave mixes the indices of both axes into 5*precision bits. The first bit
// is longitude's, so the last one is latitude's if their number is even.
func interleave(lat, lon int64, precision int) uint64 {
	if precision%2 == 0 {
		return spread(uint64(lat)) | spread(uint64(lon))<<1
	}
	return spread(uint64(lon)) | spread(uint64(lat))<<1
}

// deinterleave is the inverse of interleave.
func deinterleave(bits uint64, precision int) (lat, lon int64) {
	if precision%2 == 0 {
		return squash(bits), squash(bits >> 1)
	}
	return squash(bits >> 1), squash(bits)
}

// spread puts a zero bit above every one of the lower 32 bits of x.
func spread(x uint64) uint64 {
	x &= 0xffffffff
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & latBits
}

// squash is the inverse of spread; it ignores the odd bits.
func squash(x uint64) int64 {
	x &= latBits
	x = (x | x>>1) & 0x3333333333333333
	x = (x | x>>2) & 0x0f0f0f0f0f0f0f0f
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return int64((x | x>>16) & 0xffffffff)
}
