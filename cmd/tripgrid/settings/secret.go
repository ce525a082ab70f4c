package settings

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Secret is a setting that is never printed: its text is string(s), and every
// other way to write it hides it.
type Secret string

const hidden = "(secret)"

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString is String for %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String for JSON and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Decode reads a flag's value for kong, whose own error would show one that
// begins with a dash.
func (s *Secret) Decode(ctx *kong.DecodeContext) error {
	token := ctx.Scan.Pop()
	text, ok := token.Value.(string)
	if !ok || !token.IsValue() {
		return fmt.Errorf("missing value: write --%s=VALUE", ctx.Value.Name)
	}
	*s = Secret(text)
	return nil
}
