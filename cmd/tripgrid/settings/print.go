package settings

import (
	"encoding/json"
	"fmt"
	"go/doc/comment"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Print writes the settings of the parsed command as a configuration file with
// the same effect, and where each came from. Secrets are left out.
func Print(w io.Writer, ctx *kong.Context, file *File) error {
	flags := map[*kong.Flag]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			flags[p.Flag] = true
		}
	}
	var b strings.Builder
	b.WriteString("# The settings in effect, and where each came from. Secrets are left out.\n")
	section := ""
	for _, s := range settingsOf(ctx.Flags()) {
		if s.section != section {
			section = s.section
			fmt.Fprintf(&b, "%s:\n", section)
		}
		origin := "default"
		if flags[s.Flag] {
			origin = "--" + s.Flag.Name
		} else if name, _, ok := fromEnvironment(s.Flag); ok {
			origin = name
		} else if e, ok := file.values[s.name()]; ok {
			origin = file.origin(e)
		}
		fmt.Fprintf(&b, "  %-50s # %s\n", s.line(s.Target), strings.Join(strings.Fields(origin), " "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// PrintDefaults writes a configuration file with every setting, its meaning and
// its default. Keys are commented out as #key, what is for people as # text.
func PrintDefaults(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Settings of tripgrid. Every key is here with its default: remove the # from those to change.\n")
	m := newModel()
	for _, g := range sections {
		fmt.Fprintf(&b, "\n# %s\n%s:\n", g.Title, g.Key)
		for _, s := range m.settings {
			if s.section != g.Key {
				continue
			}
			var p comment.Parser
			printer := comment.Printer{TextPrefix: "  # ", TextWidth: 96}
			b.WriteString("\n")
			b.Write(printer.Text(p.Parse(s.Help)))
			fmt.Fprintf(&b, "  #%s\n", strings.TrimPrefix(s.line(s.Target), "# "))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line is key: value, as a comment if the value is secret or nothing that can
// be written.
func (s setting) line(value reflect.Value) string {
	switch v := value.Interface().(type) {
	case Secret:
		return strings.TrimRight("# "+s.key+": "+v.String(), " ")
	case time.Time:
		if v.IsZero() {
			return "# " + s.key + ":"
		}
		return s.key + ": " + v.Format(time.RFC3339Nano)
	case []string:
		items := make([]string, len(v))
		for i, text := range v {
			if confidential(text) {
				return "# " + s.key + ": " + hidden
			}
			items[i] = scalarText(text)
		}
		return s.key + ": [" + strings.Join(items, ", ") + "]"
	case string:
		if confidential(v) {
			return "# " + s.key + ": " + hidden
		}
		return s.key + ": " + scalarText(v)
	case time.Duration:
		return s.key + ": " + durationText(v)
	case int64:
		if s.Tag.Type == "size" {
			return s.key + ": " + sizeText(v)
		}
	case float64:
		return s.key + ": " + strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprintf("%s: %v", s.key, value.Interface())
}

// confidential tells URLs that may hold a password or a signature.
func confidential(text string) bool {
	return strings.Contains(text, "://") && strings.Contains(text, "@") || strings.HasPrefix(text, "http") && strings.Contains(text, "?")
}

// scalarText writes a string so that YAML reads the same one. JSON's strings
// are YAML's too.
func scalarText(text string) string {
	if plain.MatchString(text) && !strings.HasSuffix(text, ":") && !strings.EqualFold(text, "null") {
		return text
	}
	quoted, _ := json.Marshal(text) // a string has no error
	return string(quoted)
}

var plain = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./:@+-]*$`)

// durationText is d without zeros at its end: 10m, not 10m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
