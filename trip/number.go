package trip

import (
	"encoding/binary"
	"strconv"
	"unsafe"
)

// ParseCoordinate reads a decimal number such as -73.98, .5 or 4e1, with ASCII
// white space around it, rounded to the nearest float64. It is false for
// anything else (no digits, hexadecimal, underscores, NaN) and for a number too
// great for a float64.
func ParseCoordinate(b []byte) (float64, bool) {
	for len(b) > 0 && isNumberSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isNumberSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	d, ok := scanDecimal(b)
	if !ok {
		return 0, false
	}
	return d.float(b)
}

// ParseCents reads a decimal number of units as hundredths of it, rounded half
// away from zero from the exact decimal. Anything else, and amounts beyond ten
// trillion, count as none: 0.
func ParseCents(b []byte) int64 {
	d, ok := scanDecimal(TrimSpace(b))
	if !ok {
		return 0
	}
	return d.cents()
}

func isNumberSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// decimal is a scanned number: mantissa * 10**exp, negated if neg. If the digits
// did not fit into the mantissa, it holds the first of them and cut is set.
type decimal struct {
	mantissa uint64
	exp      int
	neg, cut bool
	integer  bool // it is written as an unsigned one, all of which is the mantissa
}

// scanNumber passes a JSON number in data from index i and sets d to it; it
// returns the index behind it, or the complement of the one where the text is no
// number.
func scanNumber(data []byte, i int, d *decimal) int {
	start := i
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	first := i
	mantissa, i := scanDigits(data, i, 0)
	digits := i - first
	if digits == 0 || digits > 1 && data[first] == '0' {
		return ^i
	}
	exp, integer := 0, !negative
	if i < len(data) && data[i] == '.' {
		i++
		first = i
		if mantissa, i = scanDigits(data, i, mantissa); i == first {
			return ^i
		}
		integer = false
		exp = first - i
		digits -= exp
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		first = i
		if _, i = scanDigits(data, i, 0); i == first {
			return ^i
		}
		digits = maxMantissaDigits + 1 // for the general scanner
	}
	if digits > maxMantissaDigits {
		*d, _ = scanDecimal(data[start:i])
		return i
	}
	*d = decimal{mantissa: mantissa, exp: exp, neg: negative, integer: integer}
	return i
}

// scanDigits passes digits, of which there may be none, appends them to the
// decimal digits of n, and returns the index behind them.
func scanDigits(data []byte, i int, n uint64) (uint64, int) {
	for i+8 <= len(data) {
		x := binary.LittleEndian.Uint64(data[i:])
		const zeros, sixes, highs = 0x3030303030303030, 0x0606060606060606, 0xf0f0f0f0f0f0f0f0
		if x&highs != zeros || (x+sixes)&highs != zeros {
			break
		}
		// Pairs of digits, pairs of pairs, pairs of those; the first is lowest.
		x -= zeros
		x = (x*10 + x>>8) & 0x00ff00ff00ff00ff
		x = (x*100 + x>>16) & 0x0000ffff0000ffff
		x = (x*10_000 + x>>32) & 0xffffffff
		n = n*1e8 + x
		i += 8
	}
	for i < len(data) {
		digit := data[i] - '0'
		if digit > 9 {
			break
		}
		n = n*10 + uint64(digit)
		i++
	}
	return n, i
}

const (
	maxMantissaDigits = 19
	maxExponent       = 1 << 20 // beyond it a number is zero or infinite anyway
)

// scanDecimal reads all of b as [+-](d+[.d*]|.d+)[(e|E)[+-]d+].
func scanDecimal(b []byte) (d decimal, ok bool) {
	i, digits, significant := 0, 0, 0
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		d.neg = b[0] == '-'
		i = 1
	}
	point := false
	for ; i < len(b); i++ {
		c := b[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if !isDigit(c) {
			break
		}
		digits++
		if point {
			d.exp--
		}
		if significant > 0 || c != '0' {
			significant++
		}
		if significant <= maxMantissaDigits {
			d.mantissa = d.mantissa*10 + uint64(c-'0')
		} else {
			d.exp++
			d.cut = d.cut || c != '0'
		}
	}
	if digits == 0 {
		return d, false
	}
	if i == len(b) {
		return d, true
	}
	if b[i]|0x20 != 'e' {
		return d, false
	}
	i++
	negative := false
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		negative = b[i] == '-'
		i++
	}
	if i == len(b) {
		return d, false
	}
	exp := 0
	for ; i < len(b); i++ {
		if !isDigit(b[i]) {
			return d, false
		}
		exp = min(exp*10+int(b[i]-'0'), maxExponent)
	}
	if negative {
		exp = -exp
	}
	d.exp += exp
	return d, true
}

var powersOf10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float returns the number, whose text is b; false if it is too great.
func (d *decimal) float(b []byte) (float64, bool) {
	// Both operands are exact, so their quotient or product is rounded once.
	if d.mantissa < 1<<53 && !d.cut && d.exp > -len(powersOf10) && d.exp < len(powersOf10) {
		f := float64(d.mantissa)
		if d.exp < 0 {
			f /= powersOf10[-d.exp]
		} else {
			f *= powersOf10[d.exp]
		}
		if d.neg {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(b), len(b)), 64)
	return f, err == nil
}

// maxCents bounds amounts, so that sums of them cannot overflow.
const maxCents = 1_000_000_000_000_000

func (d *decimal) cents() int64 {
	cents, exp := d.mantissa, d.exp+2
	for ; exp > 0 && cents != 0; exp-- {
		if cents > maxCents {
			return 0
		}
		cents *= 10
	}
	last := uint64(0) // the digit that was cut last
	for ; exp < 0 && (cents != 0 || last != 0); exp++ {
		last = cents % 10
		cents /= 10
	}
	if last >= 5 {
		cents++
	}
	switch {
	case cents > maxCents:
		return 0
	case d.neg:
		return -int64(cents)
	}
	return int64(cents)
}
