package sink

import (
	"bytes"
	"encoding/json"
	"errors"
)

// field is one member of a JSON object, as it stands there.
type field struct{ key, value []byte }

func (f field) number() bool {
	c := f.value[0]
	return c == '-' || c >= '0' && c <= '9'
}

// leads reports that an export's line has this field already, from the columns.
func (f field) leads() bool {
	switch string(f.key) {
	case `"query"`, `"cell"`, `"airport_code"`, `"window_start"`, `"window_end"`:
		return true
	}
	return false
}

// isObject reports whether b is one JSON object and nothing else.
func isObject(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

// splitObject cuts the JSON object b into its members. It keeps what is inside
// them byte for byte, so that a number is exported as it was computed.
func splitObject(b []byte) ([]field, error) {
	if !isObject(b) {
		return nil, errors.New("the body is not one JSON object")
	}
	// From here on the syntax is known to be right: only strings and depth matter.
	var fields []field
	i := bytes.IndexByte(b, '{') + 1
	for {
		i = skip(b, i, " \t\r\n,")
		if b[i] == '}' {
			return fields, nil
		}
		end := valueEnd(b, i)
		f := field{key: b[i:end]}
		i = skip(b, end, " \t\r\n:")
		end = valueEnd(b, i)
		f.value = b[i:end]
		fields, i = append(fields, f), end
	}
}

func skip(b []byte, i int, set string) int {
	for bytes.IndexByte([]byte(set), b[i]) >= 0 {
		i++
	}
	return i
}

// valueEnd returns where the value that begins at i ends.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; ; i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			q, err := json.Marshal(s)
			if err != nil { // cannot be: every string has a JSON form
				return append(b, `""`...)
			}
			return append(b, q...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
