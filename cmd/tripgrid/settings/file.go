package settings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile is more than any configuration needs: a wrong file is refused early.
const maxFile = 1 << 20

// File is a configuration file that was found to be in order. It is a kong
// resolver of the settings that neither a flag nor the environment sets.
type File struct {
	Path   string
	values map[string]entry // by setting.name
}

// entry is the text of a value, or a list of texts, and where it stands.
type entry struct {
	value any // string or []any of strings
	line  int
}

// Problems are everything that is wrong with a configuration, one sentence each.
type Problems []error

func (p Problems) Error() string { return errors.Join(p...).Error() }

// Read reads the file at path, none if path is empty. An error names the file
// and line of each mistake and shows no value of a secret.
func Read(path string) (*File, error) {
	f, problems := read(path)
	if len(problems) > 0 {
		return nil, problems
	}
	return f, nil
}

// read returns what is in order together with what is not.
func read(path string) (*File, Problems) {
	f := &File{Path: path, values: map[string]entry{}}
	if path == "" {
		return f, nil
	}
	data, err := load(path)
	if err != nil {
		return f, Problems{err}
	}
	r := reader{file: f, model: newModel()}
	r.document(data)
	return f, r.sorted()
}

func load(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration file %s: name another with --config or %s", path, FileVariable)
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the configuration file: %w", err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("the configuration file %s is larger than 1 MiB: name a YAML file of settings", path)
	}
	return data, nil
}

// Validate is for kong: the file was checked when it was read.
func (f *File) Validate(*kong.Application) error { return nil }

// Resolve gives kong the file's value of a flag. kong prefers what a resolver
// says to the environment, so what is set there is left alone.
func (f *File) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !isSetting(flag) {
		return nil, nil
	}
	if _, _, ok := fromEnvironment(flag); ok {
		return nil, nil
	}
	e, ok := f.values[settingOf(flag).name()]
	if !ok {
		return nil, nil
	}
	return e.value, nil
}

// reader turns YAML into entries. Values keep the text that they have in the
// file, so a setting reads it as it reads a flag: 010 and yes mean the same.
type reader struct {
	file     *File
	model    *model
	problems []problem
}

type problem struct {
	line int
	err  error
}

func (r *reader) problem(line int, format string, args ...any) {
	r.problems = append(r.problems, problem{line, fmt.Errorf("%s:%d: "+format, append([]any{r.file.Path, line}, args...)...)})
}

func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var out Problems
	for _, p := range r.problems {
		out = append(out, p.err)
	}
	return out
}

func (r *reader) document(data []byte) {
	file, err := parser.ParseBytes(bytes.TrimPrefix(data, []byte("\ufeff")), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.malformed(err)
		return
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType && d.Body.Type() != ast.NullType {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) == 0 {
		return
	}
	if len(bodies) > 1 {
		r.problem(line(bodies[1]), "a second document begins here: a configuration is one")
	}
	lines := map[string]int{}
	ok := r.entries(bodies[0], func(key string, at int, value ast.Node) {
		if !isSection(key) {
			r.problem(at, "%s is no section%s", shown(key), r.suggestSection(key))
			return
		}
		if first, again := lines[key]; again {
			r.problem(at, "%s is there twice, first in line %d: put its keys together", key, first)
		} else {
			lines[key] = at
		}
		r.section(key, value)
	})
	if !ok {
		r.problem(line(bodies[0]), "a configuration begins with a section, such as kinesis: with its keys indented below")
	}
}

func (r *reader) section(section string, node ast.Node) {
	if node.Type() == ast.NullType {
		return
	}
	lines := map[string]int{}
	ok := r.entries(node, func(key string, at int, value ast.Node) {
		s, known := r.model.byName[section+"."+key]
		first, again := lines[key]
		switch {
		case !known:
			r.problem(at, "%s has no key %s%s", section, shown(key), r.suggestKey(section, key))
		case again:
			r.problem(at, "%s is there twice, first in line %d: remove one", s.name(), first)
		default:
			lines[key] = at
			r.value(s, at, value)
		}
	})
	if !ok {
		r.problem(line(node), "%s is a section: write its keys indented below it, each as key: value", section)
	}
}

// value keeps the value of s if it is one.
func (r *reader) value(s setting, at int, node ast.Node) {
	e := entry{line: at}
	switch n := node.(type) {
	case *ast.NullNode:
		r.problem(at, `%s has no value: give it one, remove the line, or write "" for nothing`, s.name())
		return
	case *ast.MappingNode, *ast.MappingValueNode:
		r.problem(at, "%s wants a value, not keys below it", s.name())
		return
	case *ast.SequenceNode:
		list := []any{}
		for _, item := range n.Values {
			text, ok := scalar(item)
			if !ok {
				r.problem(line(item), "%s wants a list of plain values", s.name())
				return
			}
			list = append(list, text)
		}
		e.value = list
	default:
		text, ok := scalar(node)
		if !ok {
			r.problem(at, "%s wants a plain value: anchors, aliases and tags are not understood", s.name())
			return
		}
		if s.IsSlice() {
			r.problem(at, "%s wants a list: write its values in [ ], with commas between", s.name())
			return
		}
		e.value = text
	}
	if _, err := s.decode(e.value); err != nil {
		r.problem(at, "%w", err)
		return
	}
	r.file.values[s.name()] = e
}

// entries calls each for the keys of a mapping; false if it is none.
func (r *reader) entries(node ast.Node, each func(key string, line int, value ast.Node)) bool {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		return false
	}
	for _, e := range entries {
		each(e.Key.GetToken().Value, line(e.Key), e.Value)
	}
	return true
}

// scalar is the text of a plain value.
func scalar(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// malformed reports what the parser cannot read. Its messages may quote the
// file, and its long ones do: a secret may be there, so the quotes go.
func (r *reader) malformed(err error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		r.problem(1, "this is not YAML")
		return
	}
	at := 1
	if t := e.GetToken(); t != nil && t.Position != nil {
		at = t.Position.Line
	}
	message, _, _ := strings.Cut(e.GetMessage(), "\n")
	r.problem(at, "this is not YAML: %s", quoted.ReplaceAllString(message, "..."))
}

var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"?`)

// shown is an unknown key as an error names it. What cannot be a key may be a
// value that slipped, even a secret.
func shown(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return "such as this one (is there a space after the colon?)"
}

var plainKey = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,40}$`)
