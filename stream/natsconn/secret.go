package natsconn

import (
	"fmt"
	"os"
	"strings"
)

// Secret is a secret's text, or the file that holds it; the file is read each
// time that it is needed. No printing of it shows the text.
type Secret struct {
	Value string
	File  string
}

// IsZero tells that no secret is given.
func (s Secret) IsZero() bool { return s == Secret{} }

// String says where the secret is from.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Value != "":
		return "hidden"
	}
	return ""
}

// GoString is String: %#v shows nothing either.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String: no JSON or YAML shows it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// read returns the text without the line end that editors add.
func (s Secret) read() (string, error) {
	if s.File == "" {
		return s.Value, nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("the file %s is empty", s.File)
	}
	return text, nil
}

func (s Secret) validate(what string) error {
	if s.Value != "" && s.File != "" {
		return fmt.Errorf("nats: %s is given both as text and as the file %s: give one", what, s.File)
	}
	if _, err := s.read(); err != nil {
		return fmt.Errorf("nats: read %s: %w: correct the path or its permissions", what, err)
	}
	return nil
}
