package trip

import (
	"bytes"
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

// fields holds the JSON text of each known field's last value, nil if absent:
// valid JSON without white space around it, a part of the scanned data. It
// has one more element, for unknown fields.
type fields [fieldCount + 1][]byte

// text returns the string in field f, unescaped into scratch if it has escapes;
// false if the value is absent or no string.
func (r *fields) text(f field, scratch []byte) ([]byte, bool) {
	value := r[f]
	if len(value) == 0 || value[0] != '"' {
		return nil, false
	}
	value = value[1 : len(value)-1]
	if bytes.IndexByte(value, '\\') >= 0 {
		return appendUnescaped(scratch, value), true
	}
	return value, true
}

// number returns the text of a number in field f; false for anything else.
func (r *fields) number(f field) ([]byte, bool) {
	value := r[f]
	if len(value) == 0 || value[0] != '-' && !isDigit(value[0]) {
		return nil, false
	}
	return value, true
}

// isNull says whether field f is absent or null.
func (r *fields) isNull(f field) bool { return len(r[f]) == 0 || r[f][0] == 'n' }

// scan finds the known fields of the JSON object that is all of data. Other JSON
// values have none. The error is nil or a *BadRecord.
func (r *fields) scan(data []byte) *BadRecord {
	s := scanner{data: data}
	s.space()
	ok := false
	if s.peek() == '{' {
		ok = s.object(r)
	} else {
		ok = s.value(0)
	}
	if ok {
		if s.space(); s.at == len(data) {
			return nil
		}
	}
	return &BadRecord{ReasonJSON, "not one JSON value: trouble at byte " + strconv.Itoa(s.at)}
}

// scanner walks over JSON text by the grammar of RFC 8259, byte by byte.
type scanner struct {
	data []byte
	at   int
}

const maxDepth = 10_000 // as encoding/json

// peek returns the byte at hand, 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// skip passes the byte c, if it is at hand.
func (s *scanner) skip(c byte) bool {
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// object passes the outermost object and notes its known fields in r.
func (s *scanner) object(r *fields) bool {
	s.at++
	s.space()
	if s.skip('}') {
		return true
	}
	for {
		start := s.at + 1
		if !s.string() {
			return false
		}
		name := s.data[start : s.at-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			var scratch [64]byte
			name = appendUnescaped(scratch[:0], name)
		}
		f := fieldOf(name)
		if s.space(); !s.skip(':') {
			return false
		}
		s.space()
		start = s.at
		if !s.value(1) {
			return false
		}
		r[f] = s.data[start:s.at:s.at]
		s.space()
		if s.skip(',') {
			s.space()
			continue
		}
		return s.skip('}')
	}
}

// value passes one value within depth objects and arrays.
func (s *scanner) value(depth int) bool {
	switch c := s.peek(); c {
	case '"':
		return s.string()
	case '{', '[':
		return depth < maxDepth && s.nested(c == '{', depth+1)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

// nested passes an object or an array whose content nobody needs.
func (s *scanner) nested(object bool, depth int) bool {
	end := byte(']')
	if object {
		end = '}'
	}
	s.at++
	s.space()
	if s.skip(end) {
		return true
	}
	for {
		if object {
			if !s.string() {
				return false
			}
			if s.space(); !s.skip(':') {
				return false
			}
			s.space()
		}
		if !s.value(depth) {
			return false
		}
		s.space()
		if s.skip(',') {
			s.space()
			continue
		}
		return s.skip(end)
	}
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.at < len(word) || string(s.data[s.at:s.at+len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.data) && isDigit(s.data[s.at]) {
		s.at++
	}
	return s.at > start
}

func (s *scanner) number() bool {
	s.skip('-')
	if !s.skip('0') && !s.digits() {
		return false
	}
	if s.skip('.') && !s.digits() {
		return false
	}
	if s.skip('e') || s.skip('E') {
		if !s.skip('+') {
			s.skip('-')
		}
		return s.digits()
	}
	return true
}

// string passes a string; its escapes are valid then.
func (s *scanner) string() bool {
	if !s.skip('"') {
		return false
	}
	data, i := s.data, s.at
	for i < len(data) {
		c := data[i]
		i++
		if plain[c] {
			continue
		}
		if c == '"' {
			s.at = i
			return true
		}
		if c != '\\' || i == len(data) {
			break
		}
		c = data[i]
		i++
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if _, ok := hex4(data[i:]); !ok {
				s.at = i
				return false
			}
			i += 4
		default:
			s.at = i
			return false
		}
	}
	s.at = i
	return false
}

// plain are the bytes that stand for themselves within a string.
var plain = func() (set [256]bool) {
	for c := 0x20; c < len(set); c++ {
		set[c] = c != '"' && c != '\\'
	}
	return set
}()

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	r := rune(0)
	for _, c := range b[:4] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

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
