package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// setting is a flag that is a setting, by the key that it has in the file.
type setting struct {
	section, key string
	*kong.Flag
}

func isSetting(f *kong.Flag) bool { return f.Group != nil && isSection(f.Group.Key) }

func isSection(name string) bool {
	return slices.ContainsFunc(sections, func(g kong.Group) bool { return g.Key == name })
}

func settingOf(f *kong.Flag) setting {
	s := setting{section: f.Group.Key, Flag: f}
	if s.key = f.Tag.Get("key"); s.key == "" {
		s.key = strings.TrimPrefix(f.Name, s.section+"-")
	}
	return s
}

// settingsOf are the flags that are settings, in order.
func settingsOf(flags []*kong.Flag) []setting {
	var out []setting
	for _, f := range flags {
		if isSetting(f) {
			out = append(out, settingOf(f))
		}
	}
	return out
}

// name is how the setting is called in errors.
func (s setting) name() string { return s.section + "." + s.key }

// decode reads a value of the file or the environment, which is a string or a
// []any of strings.
func (s setting) decode(value any) (reflect.Value, error) {
	target := reflect.New(s.Target.Type()).Elem()
	if _, list := value.([]any); list && !s.IsSlice() {
		return target, fmt.Errorf("%s wants one value, not a list", s.name())
	}
	text, _ := value.(string)
	if err := s.Parse(kong.Scan().PushTyped(value, kong.FlagValueToken), target); err != nil {
		return target, fmt.Errorf("%s: %.60q is no %s", s.name(), text, s.wants())
	}
	if s.Enum != "" && !slices.Contains(s.EnumSlice(), target.String()) {
		return target, fmt.Errorf("%s: %.60q is not among its values: write %s", s.name(), text, choice(s.EnumSlice()))
	}
	return target, nil
}

// wants names the setting's type by an example.
func (s setting) wants() string {
	if s.Tag.Type == "size" {
		return "size: write it like 64MiB, or as a number of bytes"
	}
	switch s.Target.Interface().(type) {
	case time.Duration:
		return "duration: write it like 10m or 1m30s"
	case time.Time:
		return "time: write it like 2016-01-01T06:00:00Z"
	case bool:
		return "boolean: write true or false"
	case float64:
		return "number"
	}
	return "whole number, or too large"
}

func choice(values []string) string {
	var out []string
	for _, v := range values {
		if v != "" {
			out = append(out, v)
		}
	}
	if last := len(out) - 1; last > 0 {
		return strings.Join(out[:last], ", ") + " or " + out[last]
	}
	return strings.Join(out, "")
}

// model is All as kong sees it, with its defaults.
type model struct {
	all      All
	settings []setting
	byName   map[string]setting
}

func newModel() *model {
	m := &model{byName: map[string]setting{}}
	k, err := kong.New(&m.all, Options()...)
	if err != nil {
		panic(err) // the tags above are wrong
	}
	m.settings = settingsOf(k.Model.Flags)
	for _, s := range m.settings {
		m.byName[s.name()] = s
		if s.HasDefault {
			value, err := s.decode(s.Default)
			if err != nil {
				panic(err)
			}
			s.Target.Set(value)
		}
	}
	return m
}
