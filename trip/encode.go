package trip

import "strconv"

// AppendTrip appends a trip event as compact JSON, which Decode reads back to
// the same trip, id and envelope. Coordinates have the fewest digits that give
// the same float64. The zero envelope is left out.
func AppendTrip(dst []byte, t *Trip, id uint64, env Envelope) []byte {
	dst = append(dst, `{"type":"trip","trip_id":`...)
	dst = strconv.AppendUint(dst, id, 10)
	dst = append(dst, `,"pickup_datetime":"`...)
	dst = AppendTime(dst, t.Pickup)
	dst = append(dst, `","dropoff_datetime":"`...)
	dst = AppendTime(dst, t.Dropoff)
	dst = append(dst, `","pickup_lat":`...)
	dst = appendFloat(dst, t.PickupLat)
	dst = append(dst, `,"pickup_lon":`...)
	dst = appendFloat(dst, t.PickupLon)
	dst = append(dst, `,"dropoff_lat":`...)
	dst = appendFloat(dst, t.DropoffLat)
	dst = append(dst, `,"dropoff_lon":`...)
	dst = appendFloat(dst, t.DropoffLon)
	dst = append(dst, `,"total_amount":`...)
	dst = appendCents(dst, t.TotalCents)
	if env != (Envelope{}) {
		dst = append(dst, `,"producer":"`...)
		for shift := 60; shift >= 0; shift -= 4 {
			dst = append(dst, "0123456789abcdef"[env.Producer>>shift&15])
		}
		dst = append(dst, `","lane":`...)
		dst = strconv.AppendUint(dst, uint64(env.Lane), 10)
		dst = append(dst, `,"lane_seq":`...)
		dst = strconv.AppendUint(dst, env.Seq, 10)
	}
	return append(dst, '}')
}

func appendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if -1e-6 < f && f < 1e-6 && f != 0 {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// appendCents appends an amount of cents as a number of dollars.
func appendCents(dst []byte, cents int64) []byte {
	n := uint64(cents)
	if cents < 0 {
		dst = append(dst, '-')
		n = -n
	}
	dst = strconv.AppendUint(dst, n/100, 10)
	if n%100 != 0 {
		dst = appendTwo(append(dst, '.'), int(n%100))
	}
	return dst
}

// AppendWatermark appends a watermark event: no trip that follows has a drop-off
// before w, nanoseconds since 1970, rounded down to milliseconds and into
// [MinTime, MaxTime], outside of which no valid trip lies. FinalWatermark is
// marked as final, and carries MaxTime for readers that do not know the mark.
func AppendWatermark(dst []byte, w int64) []byte {
	const milli = 1_000_000
	clamped := min(max(w, MinTime), MaxTime)
	if rest := clamped % milli; rest < 0 {
		clamped -= rest + milli
	} else {
		clamped -= rest
	}
	dst = append(dst, `{"type":"watermark","watermark":"`...)
	dst = AppendTime(dst, clamped)
	dst = append(dst, '"')
	if w == FinalWatermark {
		dst = append(dst, `,"final":true`...)
	}
	return append(dst, '}')
}
