package trip

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// field is a known name of an event's JSON object.
type field int

// Each coordinate is followed by its other name.
const (
	fieldType field = iota
	fieldID
	fieldPickupTime
	fieldDropoffTime
	fieldPickupLat
	fieldPickupLatitude
	fieldPickupLon
	fieldPickupLongitude
	fieldDropoffLat
	fieldDropoffLatitude
	fieldDropoffLon
	fieldDropoffLongitude
	fieldTotal
	fieldProducer
	fieldLane
	fieldSeq
	fieldWatermark
	fieldFinal
	fieldCount
	fieldUnknown = fieldCount
)

func fieldOf(name []byte) field {
	switch string(name) {
	case "type":
		return fieldType
	case "trip_id":
		return fieldID
	case "pickup_datetime":
		return fieldPickupTime
	case "dropoff_datetime":
		return fieldDropoffTime
	case "pickup_lat":
		return fieldPickupLat
	case "pickup_latitude":
		return fieldPickupLatitude
	case "pickup_lon":
		return fieldPickupLon
	case "pickup_longitude":
		return fieldPickupLongitude
	case "dropoff_lat":
		return fieldDropoffLat
	case "dropoff_latitude":
		return fieldDropoffLatitude
	case "dropoff_lon":
		return fieldDropoffLon
	case "dropoff_longitude":
		return fieldDropoffLongitude
	case "total_amount":
		return fieldTotal
	case "producer":
		return fieldProducer
	case "lane":
		return fieldLane
	case "lane_seq":
		return fieldSeq
	case "watermark":
		return fieldWatermark
	case "final":
		return fieldFinal
	}
	return fieldUnknown
}

// fields holds each known field's last value. It has one more element, for
// unknown fields.
type fields [fieldCount + 1]value

// value is one JSON value of the scanned data. What is absent has no text.
type value struct {
	// text is the value's valid JSON, without white space around it.
	text []byte
	// number is the value if the text is a number.
	number decimal
	// escaped is set if the text is a string with escapes.
	escaped bool
}

// string returns the string that v is, unescaped into scratch if it has escapes;
// false if the value is absent or no string.
func (v *value) string(scratch []byte) ([]byte, bool) {
	if len(v.text) == 0 || v.text[0] != '"' {
		return nil, false
	}
	body := v.text[1 : len(v.text)-1]
	if v.escaped {
		return appendUnescaped(scratch, body), true
	}
	return body, true
}

// isNumber is false for what is absent.
func (v *value) isNumber() bool {
	return len(v.text) > 0 && (v.text[0] == '-' || isDigit(v.text[0]))
}

// isNull says whether v is absent or null.
func (v *value) isNull() bool { return len(v.text) == 0 || v.text[0] == 'n' }

// scan finds the known fields of the JSON object that is all of data. Other JSON
// values have none. The error is nil or a *BadRecord.
func (r *fields) scan(data []byte) *BadRecord {
	i := skipSpace(data, 0)
	if i < len(data) && data[i] == '{' {
		i = r.scanObject(data, i+1)
	} else {
		var v value
		i = scanValue(data, i, 0, &v)
	}
	if i >= 0 {
		if i = skipSpace(data, i); i == len(data) {
			return nil
		}
		i = ^i
	}
	return &BadRecord{ReasonJSON, "not one JSON value: trouble at byte " + strconv.Itoa(^i)}
}

// The scanners below walk over JSON text by the grammar of RFC 8259. They take
// the index at which to begin and return the one after what they passed, or the
// complement ^i of the index where the text is no JSON.

const maxDepth = 10_000 // of nesting, as encoding/json

func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && (data[i] == ' ' || data[i]-'\t' <= 1 || data[i] == '\r') {
		i++
	}
	return i
}

// scanObject passes the outermost object, from behind its brace, and notes its
// known fields.
func (r *fields) scanObject(data []byte, i int) int {
	if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
		return i + 1
	}
	for {
		end, escaped := scanString(data, i)
		if end < 0 {
			return end
		}
		name := data[i+1 : end-1]
		if escaped {
			var scratch [64]byte
			name = appendUnescaped(scratch[:0], name)
		}
		field := &r[fieldOf(name)]
		if i = skipSpace(data, end); i == len(data) || data[i] != ':' {
			return ^i
		}
		start := skipSpace(data, i+1)
		if i = scanValue(data, start, 1, field); i < 0 {
			return i
		}
		field.text = data[start:i:i]
		if i = skipSpace(data, i); i == len(data) {
			return ^i
		}
		switch data[i] {
		case ',':
			i = skipSpace(data, i+1)
		case '}':
			return i + 1
		default:
			return ^i
		}
	}
}

// scanValue passes one value within depth objects and arrays, and notes all but
// the text in v.
func scanValue(data []byte, i, depth int, v *value) int {
	if i == len(data) {
		return ^i
	}
	switch c := data[i]; c {
	case '"':
		i, v.escaped = scanString(data, i)
		return i
	case '{', '[':
		if depth == maxDepth {
			return ^i
		}
		return scanNested(data, i+1, c+2, depth+1) // } is { + 2, and ] is [ + 2
	case 't':
		return scanWord(data, i, "true")
	case 'f':
		return scanWord(data, i, "false")
	case 'n':
		return scanWord(data, i, "null")
	}
	return scanNumber(data, i, &v.number)
}

// scanNested passes an object or array that ends with the byte end, from behind
// its first byte.
func scanNested(data []byte, i int, end byte, depth int) int {
	var v value
	if i = skipSpace(data, i); i < len(data) && data[i] == end {
		return i + 1
	}
	for {
		if end == '}' {
			if i, _ = scanString(data, i); i < 0 {
				return i
			}
			if i = skipSpace(data, i); i == len(data) || data[i] != ':' {
				return ^i
			}
			i = skipSpace(data, i+1)
		}
		if i = scanValue(data, i, depth, &v); i < 0 {
			return i
		}
		if i = skipSpace(data, i); i == len(data) {
			return ^i
		}
		switch data[i] {
		case ',':
			i = skipSpace(data, i+1)
		case end:
			return i + 1
		default:
			return ^i
		}
	}
}

func scanWord(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return ^i
	}
	return i + len(word)
}

// scanString passes a string, whose escapes are valid then, and says whether it
// has any.
func scanString(data []byte, i int) (end int, escaped bool) {
	if i == len(data) || data[i] != '"' {
		return ^i, false
	}
	i++
	for {
		// Eight bytes at a time: the lowest high bit of special marks the first
		// byte that is a quote, a backslash or a control character.
		if i+8 <= len(data) {
			const ones, highs = 0x0101010101010101, 0x8080808080808080
			x := binary.LittleEndian.Uint64(data[i:])
			quote, slash := x^ones*'"', x^ones*'\\'
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) / 8
		} else {
			for i < len(data) && data[i] >= ' ' && data[i] != '"' && data[i] != '\\' {
				i++
			}
			if i == len(data) {
				return ^i, false
			}
		}
		switch data[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = scanEscape(data, i+1); i < 0 {
				return i, false
			}
		default:
			return ^i, false
		}
	}
}

// scanEscape passes an escape from behind its backslash.
func scanEscape(data []byte, i int) int {
	if i == len(data) {
		return ^i
	}
	switch data[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if _, ok := hex4(data[i+1:]); ok {
			return i + 5
		}
	}
	return ^i
}

// hex4 reads the four hexadecimal digits at the start of b.
func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n, ok := hex(b[:4])
	return rune(n), ok
}

// hex reads all of b, up to 16 hexadecimal digits.
func hex(b []byte) (n uint64, ok bool) {
	all := byte(0)
	for _, c := range b {
		digit := hexDigit[c]
		all |= digit
		n = n<<4 | uint64(digit)
	}
	return n, all <= 15
}

var hexDigit = func() (values [256]byte) {
	for c := range values {
		values[c] = 255
	}
	for i, c := range []byte("0123456789abcdef0123456789ABCDEF") {
		values[c] = byte(i % 16)
	}
	return values
}()

// appendUnescaped appends the content of a valid JSON string. An escaped half of
// a surrogate pair without the other becomes U+FFFD.
func appendUnescaped(dst, b []byte) []byte {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		c := b[i+1]
		b = b[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, _ := hex4(b)
			b = b[4:]
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
					low, _ := hex4(b[2:])
					pair = utf16.DecodeRune(r, low)
				}
				if r = pair; pair != utf8.RuneError {
					b = b[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
