package settings

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the documentation anew")

const (
	beginTables = "<!-- The tables are written by: go test ./cmd/tripgrid/settings -run TestDocs -update -->\n"
	endTables   = "<!-- End of the tables. -->\n"
)

// TestDocs: the documentation is what the program knows.
func TestDocs(t *testing.T) {
	const page = "../../../docs/configuration.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), beginTables)
	_, tail, ok2 := strings.Cut(rest, endTables)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the tables", page)
	}
	upToDate(t, page, []byte(head+beginTables+tables()+endTables+tail))

	var defaults bytes.Buffer
	if err := PrintDefaults(&defaults); err != nil {
		t.Fatal(err)
	}
	upToDate(t, "../../../docs/tripgrid.yaml", defaults.Bytes())
}

func upToDate(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not up to date (%v): run this test with -update", path, err)
	}
}

func tables() string {
	var b strings.Builder
	m := newModel()
	for _, g := range sections {
		name, title, _ := strings.Cut(g.Title, ": ")
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", name, strings.ToUpper(title[:1])+title[1:])
		b.WriteString("| key | flag | environment | default | meaning |\n|---|---|---|---|---|\n")
		for _, s := range m.settings {
			if s.section != g.Key {
				continue
			}
			standard := ""
			if s.Default != "" {
				standard = "`" + s.Default + "`"
			}
			flag := "--" + s.Flag.Name
			if s.Tag.Negatable != "" {
				flag = "--[no-]" + s.Flag.Name
			}
			fmt.Fprintf(&b, "| `%s` | `%s` | `%s` | %s | %s |\n", s.key, flag, s.Envs[0], standard, strings.ReplaceAll(s.Help, "|", `\|`))
		}
	}
	return b.String() + "\n"
}
