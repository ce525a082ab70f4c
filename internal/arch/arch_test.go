// Package arch_test holds the project's structure to what ARCHITECTURE.md says.
package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tripgrid/tripgrid/"

// allowed lists, for each top-level folder, the top-level folders of ours that
// its packages may import, or single packages. cmd/ is where concrete types meet.
var allowed = map[string][]string{
	"trip":       {},
	"cluster":    {"internal/amazon"},
	"sink":       {},
	"stream":     {"trip"},
	"checkpoint": {"stream", "trip", "internal/amazon"},
	"producer":   {"trip", "internal/amazon"},
	"dashboard":  {"sink"},
	"worker":     {"trip", "stream", "checkpoint", "cluster", "sink", "internal/amazon"},
	"internal":   {},
	"cmd":        {"trip", "stream", "checkpoint", "cluster", "sink", "producer", "dashboard", "worker", "internal"},
}

func TestImportDirections(t *testing.T) {
	for _, p := range packages(t) {
		top, _, _ := strings.Cut(p.dir, "/")
		may, known := allowed[top]
		if !known {
			t.Errorf("%s: no rule for the folder %s: add it here and to ARCHITECTURE.md", p.dir, top)
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.Imports {
				name, err := strconv.Unquote(imp.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				rest, ours := strings.CutPrefix(name, module)
				if !ours {
					continue
				}
				target, _, _ := strings.Cut(rest, "/")
				if target == top && (top != "internal" || sameTree(p.dir, rest)) {
					continue
				}
				if !slices.Contains(may, target) && !slices.Contains(may, rest) {
					t.Errorf("%s imports %s: %s may import %v alone", p.dir, rest, top, may)
				}
			}
		}
	}
}

// sameTree tells whether two internal packages are parts of one: internal/a
// and internal/a/b.
func sameTree(a, b string) bool {
	return strings.Split(a, "/")[1] == strings.Split(b, "/")[1]
}

func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		var doc string
		for _, f := range p.files {
			if f.Doc != nil {
				doc += f.Doc.Text()
			}
		}
		if len(doc) < 40 {
			t.Errorf("%s has no package doc", p.dir)
		}
	}
}

// TestNoGrabBags keeps out the names that say nothing.
func TestNoGrabBags(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains([]string{"util", "utils", "common", "types", "interfaces", "helpers"}, path.Base(p.dir)) {
			t.Errorf("%s: name the package after what it does", p.dir)
		}
	}
}

type pkg struct {
	dir   string // slash-separated, from the module's root
	files []*ast.File
}

// packages parses every non-test file of the module.
func packages(t *testing.T) []pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	byDir := map[string][]*ast.File{}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(rel)
		byDir[dir] = append(byDir[dir], f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var out []pkg
	for dir, files := range byDir {
		out = append(out, pkg{dir, files})
	}
	slices.SortFunc(out, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return out
}
