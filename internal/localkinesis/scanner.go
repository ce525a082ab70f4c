package localkinesis

import (
	"bytes"
	"encoding/base64"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON where encoding/json is too slow: the bodies of PutRecord and PutRecords. It accepts what
// encoding/json accepts, but for strings that are not UTF-8 and nesting beyond maxDepth, which it refuses.
//
// Its strings are slices of the body, or of the arena where they had to be decoded. Decoding never lengthens, so an arena
// of the body's size does not grow.
type scanner struct {
	b     []byte
	i     int
	arena []byte
}

const maxDepth = 100

func (s *scanner) fail(what string) error {
	return malformed("The request body is no JSON for this call: %s at byte %d; send what the API reference shows.", what, s.i)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if s.peek() != c {
		return s.fail("expected '" + string(rune(c)) + "'")
	}
	s.i++
	return nil
}

// end wants nothing but white space to follow.
func (s *scanner) end() error {
	if s.peek(); s.i < len(s.b) {
		return s.fail("expected the end")
	}
	return nil
}

// list walks what stands between open and close, calling item for each element or member.
func (s *scanner) list(open, closing byte, item func() error) error {
	if err := s.expect(open); err != nil {
		return err
	}
	if s.peek() == closing {
		s.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case closing:
			s.i++
			return nil
		default:
			return s.fail("expected ',' or '" + string(rune(closing)) + "'")
		}
	}
}

// object walks an object. member reads the value of a name, which is valid until it returns.
func (s *scanner) object(member func(name []byte) error) error {
	return s.list('{', '}', func() error {
		name, err := s.text()
		if err == nil {
			err = s.expect(':')
		}
		if err != nil {
			return err
		}
		return member(name)
	})
}

// null consumes a null, if there is one.
func (s *scanner) null() bool {
	if s.peek() == 'n' && bytes.HasPrefix(s.b[s.i:], []byte("null")) {
		s.i += 4
		return true
	}
	return false
}

// boolean reads true or false.
func (s *scanner) boolean() (bool, error) {
	switch s.peek(); {
	case bytes.HasPrefix(s.b[s.i:], []byte("true")):
		s.i += 4
		return true, nil
	case bytes.HasPrefix(s.b[s.i:], []byte("false")):
		s.i += 5
		return false, nil
	}
	return false, s.fail("expected true or false")
}

// text reads a string.
func (s *scanner) text() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start := s.i
	var seen byte
	for ; s.i < len(s.b); s.i++ {
		c := s.b[s.i]
		switch {
		case c == '"':
			t := s.b[start:s.i]
			if seen >= utf8.RuneSelf && !utf8.Valid(t) {
				return nil, s.fail("a string is not UTF-8")
			}
			s.i++
			return t, nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, s.fail("a control character in a string")
		}
		seen |= c
	}
	return nil, s.fail("a string has no end")
}

// escaped reads a string that has a backslash at i.
func (s *scanner) escaped(start int) ([]byte, error) {
	from := len(s.arena)
	s.arena = append(s.arena, s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			if t := s.arena[from:]; utf8.Valid(t) {
				return t, nil
			}
			return nil, s.fail("a string is not UTF-8")
		case c < ' ':
			return nil, s.fail("a control character in a string")
		case c != '\\':
			s.arena = append(s.arena, c)
		case !s.escape():
			return nil, s.fail("an unknown escape in a string")
		}
	}
	return nil, s.fail("a string has no end")
}

// escape decodes what follows a backslash.
func (s *scanner) escape() bool {
	if s.i >= len(s.b) {
		return false
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/':
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
		r, ok := s.hex()
		if !ok {
			return false
		}
		if utf16.IsSurrogate(r) {
			// The second half, or, as in encoding/json, a replacement for a half that stands alone.
			at := s.i
			if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
				s.i += 2
				low, ok := s.hex()
				if !ok {
					return false
				}
				r = utf16.DecodeRune(r, low)
			} else {
				r = utf8.RuneError
			}
			if r == utf8.RuneError {
				s.i = at
			}
		}
		s.arena = utf8.AppendRune(s.arena, r)
		return true
	default:
		return false
	}
	s.arena = append(s.arena, c)
	return true
}

// hex reads four hexadecimal digits.
func (s *scanner) hex() (rune, bool) {
	if len(s.b)-s.i < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.i : s.i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	s.i += 4
	return r, true
}

// blob reads a string of base64 and decodes it.
func (s *scanner) blob() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.fail("expected a string of base64")
	}
	from := len(s.arena)
	if n := bytes.IndexByte(s.b[s.i+1:], '"'); n >= 0 {
		// The usual case in one step. The decoder skips line ends, which JSON does not allow in a string: then the
		// length is not what it should be.
		text := s.b[s.i+1:][:n]
		arena, err := base64.StdEncoding.AppendDecode(s.arena, text)
		if err == nil && len(text)%4 == 0 && len(arena)-from == decodedLen(text) {
			s.arena = arena
			s.i += n + 2
			return arena[from:], nil
		}
	}
	text, err := s.text()
	if err != nil {
		return nil, err
	}
	from = len(s.arena)
	if s.arena, err = base64.StdEncoding.AppendDecode(s.arena, text); err != nil {
		return nil, s.fail("a value before here is no base64")
	}
	return s.arena[from:], nil
}

// decodedLen is how many bytes base64 of nothing but its alphabet decodes to.
func decodedLen(text []byte) int {
	n := len(text) / 4 * 3
	for i := len(text) - 1; i >= 0 && text[i] == '='; i-- {
		n--
	}
	return n
}

// skip reads a value that nobody asked for.
func (s *scanner) skip(depth int) error {
	if depth > maxDepth {
		return s.fail("nested too deeply")
	}
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) error { return s.skip(depth + 1) })
	case c == '[':
		return s.list('[', ']', func() error { return s.skip(depth + 1) })
	case c == '"':
		_, err := s.text()
		return err
	case c == 't' || c == 'f':
		_, err := s.boolean()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case s.null():
		return nil
	}
	return s.fail("expected a value")
}

// number skips a number.
func (s *scanner) number() error {
	digits := func() bool {
		from := s.i
		for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > from
	}
	at := func(chars string) bool {
		if s.i < len(s.b) && bytes.IndexByte([]byte(chars), s.b[s.i]) >= 0 {
			s.i++
			return true
		}
		return false
	}
	at("-")
	if ok := at("0") || digits(); !ok {
		return s.fail("a number without digits")
	}
	if at(".") && !digits() {
		return s.fail("a number without digits behind its point")
	}
	if at("eE") {
		if at("+-"); !digits() {
			return s.fail("a number without digits in its exponent")
		}
	}
	return nil
}
