package trip

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// Times of valid trips lie in [MinTime, MaxTime]: the years 1678 to 2261.
const (
	MinTime int64 = -106_650 * nanosPerDay
	MaxTime int64 = 106_651*nanosPerDay - 1

	nanosPerSecond int64 = 1_000_000_000
	nanosPerDay    int64 = 86_400 * nanosPerSecond
)

// ParseTime reads YYYY-MM-DD[T ]HH:MM[:SS[.f]][zone] as nanoseconds since
// 1970-01-01T00:00:00Z, where a zone is Z or +hh, +hhmm, +hh:mm (or -), perhaps
// after a blank, and UTC where there is none. White space around it is ignored;
// t, z and a comma for the point are accepted; digits beyond nanoseconds are
// cut. It is false for anything else, and outside of [MinTime, MaxTime].
func ParseTime(b []byte) (ns int64, ok bool) {
	if len(b) == 0 || b[0] <= ' ' || b[0] >= utf8.RuneSelf || !isZoneOrDigit(b[len(b)-1]) {
		b = TrimSpace(b)
	}
	if len(b) < 16 || b[4] != '-' || b[7] != '-' || b[13] != ':' ||
		b[10] != ' ' && b[10]|0x20 != 't' {
		return 0, false
	}
	century, ok1 := twoDigits(b[0:])
	year, ok2 := twoDigits(b[2:])
	month, ok3 := twoDigits(b[5:])
	day, ok4 := twoDigits(b[8:])
	hour, ok5 := twoDigits(b[11:])
	minute, ok6 := twoDigits(b[14:])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) {
		return 0, false
	}
	year += 100 * century
	// A year outside of these cannot be brought inside by its zone.
	if year < 1677 || year > 2262 || month < 1 || month > 12 || hour > 23 || minute > 59 ||
		day < 1 || day > daysIn(year, month) {
		return 0, false
	}
	second, nanos, rest, ok := parseSeconds(b[16:])
	if !ok {
		return 0, false
	}
	offset, ok := parseZone(rest)
	if !ok {
		return 0, false
	}
	seconds := daysSinceEpoch(year, month, day)*86_400 +
		int64(hour*3600+minute*60+second) - int64(offset)
	if seconds < MinTime/nanosPerSecond || seconds > MaxTime/nanosPerSecond {
		return 0, false
	}
	return seconds*nanosPerSecond + nanos, true
}

func isZoneOrDigit(c byte) bool { return c|0x20 == 'z' || isDigit(c) }

func isDigit(c byte) bool { return c-'0' <= 9 }

// twoDigits reads the two digits at the start of b, which has two bytes or more.
func twoDigits(b []byte) (int, bool) {
	tens, ones := b[0]-'0', b[1]-'0'
	return int(tens)*10 + int(ones), tens <= 9 && ones <= 9
}

// parseSeconds reads [:SS[.f]] and returns what follows.
func parseSeconds(b []byte) (second int, nanos int64, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != ':' {
		return 0, 0, b, true
	}
	if len(b) < 3 {
		return 0, 0, nil, false
	}
	if second, ok = twoDigits(b[1:]); !ok || second > 59 {
		return 0, 0, nil, false
	}
	b = b[3:]
	if len(b) == 0 || b[0] != '.' && b[0] != ',' {
		return second, 0, b, true
	}
	i, unit := 1, nanosPerSecond
	for ; i < len(b) && isDigit(b[i]); i++ {
		unit /= 10
		nanos += int64(b[i]-'0') * unit
	}
	return second, nanos, b[i:], i > 1
}

// parseZone reads the zone that is all of b, as seconds east of UTC.
func parseZone(b []byte) (offset int, ok bool) {
	if len(b) == 0 {
		return 0, true
	}
	if b[0] == ' ' {
		b = b[1:]
	}
	switch {
	case len(b) == 1:
		return 0, b[0]|0x20 == 'z'
	case len(b) < 3 || b[0] != '+' && b[0] != '-':
		return 0, false
	}
	hours, ok := twoDigits(b[1:])
	if !ok || hours > 23 {
		return 0, false
	}
	minutes := 0
	if rest := b[3:]; len(rest) > 0 {
		if rest[0] == ':' {
			rest = rest[1:]
		}
		if len(rest) != 2 {
			return 0, false
		}
		if minutes, ok = twoDigits(rest); !ok || minutes > 59 {
			return 0, false
		}
	}
	offset = hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

func daysIn(year, month int) int {
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return int("\x00\x1f\x1c\x1f\x1e\x1f\x1e\x1f\x1f\x1e\x1f\x1e\x1f"[month])
}

// daysSinceEpoch counts days of the proleptic Gregorian calendar from
// 1970-01-01; the year begins in March, so that a leap day comes last.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	y := int64(year)
	return 365*y + y/4 - y/100 + y/400 + int64((153*(month-3)+2)/5+day-1) - 719_468
}

// AppendTime appends a time as RFC 3339 in UTC, as 2016-01-01T00:00:00Z. It has
// a fraction, without trailing zeros, only where that is not zero.
func AppendTime(dst []byte, ns int64) []byte {
	seconds := ns / nanosPerSecond
	nanos := ns % nanosPerSecond
	if nanos < 0 {
		seconds--
		nanos += nanosPerSecond
	}
	days := seconds / 86_400
	clock := seconds % 86_400
	if clock < 0 {
		days--
		clock += 86_400
	}
	year, month, day := dateOf(days)
	dst = appendTwo(dst, year/100)
	dst = appendTwo(dst, year%100)
	dst = appendTwo(append(dst, '-'), month)
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), int(clock/3600))
	dst = appendTwo(append(dst, ':'), int(clock/60%60))
	dst = appendTwo(append(dst, ':'), int(clock%60))
	if nanos != 0 {
		dst = append(dst, '.')
		for unit := nanosPerSecond / 10; nanos != 0; unit /= 10 {
			dst = append(dst, '0'+byte(nanos/unit))
			nanos %= unit
		}
	}
	return append(dst, 'Z')
}

func appendTwo(dst []byte, n int) []byte { return append(dst, '0'+byte(n/10), '0'+byte(n%10)) }

// dateOf is the inverse of daysSinceEpoch, for days of the years 1600 and later.
func dateOf(days int64) (year, month, day int) {
	d := days + 719_468 // since 0000-03-01
	century := (4*d + 3) / 146_097
	d -= 146_097 * century / 4
	y := (4*d + 3) / 1461
	d -= 1461 * y / 4
	m := (5*d + 2) / 153
	day = int(d-(153*m+2)/5) + 1
	year, month = int(100*century+y), int(m)+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}

// Time returns ns as a time in UTC.
func Time(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// TrimSpace cuts white space from both ends of b, by the rules of the batch
// oracle: Unicode's white space and the ASCII separators 0x1c to 0x1f.
func TrimSpace(b []byte) []byte {
	for len(b) > 0 {
		r, size := rune(b[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b)
		}
		if !isSpace(r) {
			break
		}
		b = b[size:]
	}
	for len(b) > 0 {
		r, size := rune(b[len(b)-1]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeLastRune(b)
		}
		if !isSpace(r) {
			break
		}
		b = b[:len(b)-size]
	}
	return b
}

func isSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return r == ' ' || '\t' <= r && r <= '\r' || 0x1c <= r && r <= 0x1f
	}
	return unicode.IsSpace(r)
}
