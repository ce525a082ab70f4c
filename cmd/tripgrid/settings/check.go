package settings

import (
	"errors"
	"fmt"
	"reflect"
)

// Summary is what Check found.
type Summary struct {
	FromFile, FromEnvironment int     // settings that are set there and in effect
	Missing                   []error // what a worker needs and nothing sets
}

// Check reads the file at path, none if it is empty, and the environment as a
// worker would. Its error is all Problems of both.
func Check(path string) (Summary, error) {
	file, problems := read(path)
	var sum Summary
	m := newModel() // with the defaults
	origins := map[string]string{}
	for _, s := range m.settings {
		var value any
		if e, ok := file.values[s.name()]; ok {
			value, origins[s.name()] = e.value, file.origin(e)
			sum.FromFile++
		}
		if name, text, ok := fromEnvironment(s.Flag); ok {
			if origins[s.name()] != "" {
				sum.FromFile--
			}
			value, origins[s.name()] = text, name
			sum.FromEnvironment++
		}
		if origins[s.name()] == "" {
			continue
		}
		target, err := s.decode(value)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", origins[s.name()], err))
			continue
		}
		s.Target.Set(target)
	}
	for _, err := range m.all.validate() {
		var i Invalid
		if errors.As(err, &i) && origins[i.Setting] != "" {
			err = fmt.Errorf("%s: %w", origins[i.Setting], err)
		}
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return Summary{}, problems
	}
	if _, err := m.all.Snapshots.Target(); err != nil {
		sum.Missing = append(sum.Missing, err)
	}
	if _, err := m.all.Results.Target(); err != nil {
		sum.Missing = append(sum.Missing, err)
	}
	return sum, nil
}

// validate calls every section's Validate, as kong does for those of a command.
func (a *All) validate() Problems {
	var out Problems
	sections := reflect.ValueOf(a).Elem()
	for i := range sections.NumField() {
		section, ok := sections.Field(i).Interface().(interface{ Validate() error })
		if !ok {
			continue
		}
		var problems Problems
		if errors.As(section.Validate(), &problems) {
			out = append(out, problems...)
		}
	}
	return out
}

func (f *File) origin(e entry) string { return fmt.Sprintf("%s:%d", f.Path, e.line) }
