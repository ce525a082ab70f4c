package settings

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func written(t interface {
	TempDir() string
	Fatal(...any)
}, text string) string {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMistakes: each is one sentence with its line, and all are told at once.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown section", "kinesys:\n  stream: x\n", "c.yaml:1: kinesys is no section: did you mean kinesis?"},
		{"far from any section", "zoo:\n", "c.yaml:1: zoo is no section: there are job, aws, "},
		{"flag as section", "log:\nkinesis-stream: x\n", "c.yaml:2: kinesis-stream is no section: write stream under kinesis"},
		{"dotted", "kinesis.stream: x\n", "c.yaml:1: kinesis.stream is no section: write stream under kinesis"},
		{"unknown key", "kinesis:\n  # the stream\n  strem: x\n", "c.yaml:3: kinesis has no key strem: did you mean stream?"},
		{"underscores", "kinesis: {poll_every: 1s}\n", "c.yaml:1: kinesis has no key poll_every: did you mean poll-every?"},
		{"flag as key", "kinesis:\n  kinesis-stream: x\n", "c.yaml:2: kinesis has no key kinesis-stream: did you mean stream?"},
		{"another section's key", "kinesis:\n  region: x\n", "c.yaml:2: kinesis has no key region: did you mean aws.region?"},
		{"far from any key", "aws:\n  zoological-garden: x\n", "c.yaml:2: aws has no key zoological-garden: it has region"},
		{"section twice", "log:\n  level: info\nlog:\n  format: text\n", "c.yaml:3: log is there twice, first in line 1: put its keys together"},
		{"key twice", "log:\n  level: wrong\n  level: info\n", "c.yaml:2: log.level: \"wrong\" is not among its values: write debug, info, warn or error\nc.yaml:3: log.level is there twice, first in line 2: remove one"},
		{"key twice in flow", "log: {level: info, level: warn}\n", "c.yaml:1: log.level is there twice, first in line 1: remove one"},
		{"list", "job:\n  window: [10m]\n", "c.yaml:2: job.window wants one value, not a list"},
		{"scalar for a list", "nats:\n  url: nats://h:1\n", "c.yaml:2: nats.url wants a list: write its values in [ ], with commas between"},
		{"mapping", "job:\n  window:\n    minutes: 10\n", "c.yaml:2: job.window wants a value, not keys below it"},
		{"list of lists", "nats:\n  url:\n    - [a]\n", "c.yaml:3: nats.url wants a list of plain values"},
		{"no duration", "job:\n  window: 10 minutes\n", `c.yaml:2: job.window: "10 minutes" is no duration: write it like 10m or 1m30s`},
		{"duration without unit", "job:\n  window: 600\n", `c.yaml:2: job.window: "600" is no duration: write it like 10m or 1m30s`},
		{"no number", "job:\n  partitions: many\n", `c.yaml:2: job.partitions: "many" is no whole number, or too large`},
		{"no size", "nats:\n  max-bytes: big\n", `c.yaml:2: nats.max-bytes: "big" is no size: write it like 64MiB, or as a number of bytes`},
		{"no bool", "job:\n  lanes: maybe\n", `c.yaml:2: job.lanes: "maybe" is no boolean: write true or false`},
		{"no time", "producer:\n  seek: yesterday\n", `c.yaml:2: producer.seek: "yesterday" is no time: write it like 2016-01-01T06:00:00Z`},
		{"no float", "producer:\n  speedup: fast\n", `c.yaml:2: producer.speedup: "fast" is no number`},
		{"enum", "job:\n  profile: mars\n", `c.yaml:2: job.profile: "mars" is not among its values: write bbox or seed`},
		{"no value", "job:\n  name:\n", `c.yaml:2: job.name has no value: give it one, remove the line, or write "" for nothing`},
		{"section is a value", "job: taxi\n", "c.yaml:1: job is a section: write its keys indented below it, each as key: value"},
		{"no mapping at all", "- job\n", "c.yaml:1: a configuration begins with a section, such as kinesis: with its keys indented below"},
		{"two documents", "job:\n  name: a\n---\njob:\n  name: b\n", "c.yaml:4: a second document begins here: a configuration is one"},
		{"anchor", "job:\n  name: &n taxi\n", "c.yaml:2: job.name wants a plain value: anchors, aliases and tags are not understood"},
		{"alias", "job:\n  name: &n taxi\naws:\n  region: *n\n", "c.yaml:2: job.name wants a plain value: anchors, aliases and tags are not understood\nc.yaml:4: aws.region wants a plain value: anchors, aliases and tags are not understood"},
		{"tag", "job:\n  name: !!str taxi\n", "c.yaml:2: job.name wants a plain value: anchors, aliases and tags are not understood"},
		{"merge key", "job:\n  <<: {name: x}\n", "c.yaml:2: job has no key such as this one"},
		{"no space", "job:\n  name:taxi\n  window: 1m\n", "c.yaml:2: this is not YAML: "},
		{"quote", "job:\n  name: \"taxi\n", "c.yaml:2: this is not YAML: could not find end character of double-quoted text"},
		{"tab", "job:\n\tname: taxi\n", "c.yaml:2: this is not YAML: found character '\t' that cannot start any token"},
		{"too large", strings.Repeat("# nothing\n", 200_000), "is larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := written(t, c.text)
			_, err := Read(path)
			if err == nil {
				t.Fatal("it was not refused")
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", "")
			if !strings.Contains(got, c.want) || strings.Count(got, "\n") != strings.Count(c.want, "\n") {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "there is no configuration file") {
		t.Error(err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "read the configuration file") {
		t.Error(err)
	}
}

// TestNothing: a file may be empty or hold sections of comments alone.
func TestNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "job:\n", "job:\n  # name: taxi\nlog: ~\n", "\ufeffjob:\n"} {
		f, err := Read(written(t, text))
		if err != nil || len(f.values) != 0 {
			t.Errorf("%q: %v %v", text, f, err)
		}
	}
}

// TestValues: a value has the text that it has in the file, in every style.
func TestValues(t *testing.T) {
	f, err := Read(written(t, `
job: {name: 007, window: "90s", lanes: no}
nats:
  url:
    - nats://a:4222   # the first
    - 'nats://b:4222'
  password: |-
    two
    lines
producer:
  trips: 3_000_000
  speedup: 1.5e3
  seek: 2016-01-01T06:00:00Z
  data: []
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"job.name": "007", "job.window": "90s", "job.lanes": "no", "nats.password": "two\nlines", "producer.trips": "3_000_000",
		"producer.speedup": "1.5e3", "producer.seek": "2016-01-01T06:00:00Z",
	} {
		if got := f.values[name].value; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := f.values["nats.url"]; len(got.value.([]any)) != 2 || got.value.([]any)[1] != "nats://b:4222" || got.line != 4 {
		t.Errorf("nats.url: %v", got)
	}
	if got := f.values["producer.data"].value.([]any); len(got) != 0 {
		t.Errorf("producer.data: %v", got)
	}
}

// TestScalars: what is printed is read as the same text.
func TestScalars(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.String(),
			rapid.StringMatching(`[a-z0-9~!@#&*|>%:{}\[\], "'\\\n\t-]{0,12}`),
			rapid.SampledFrom([]string{"null", "Null", "~", "true", "1e3", "-", "---", "...", "a: b", "a #b", ": ", "a:", "%TAG", "\u0085", "\u2028", "\ufeff", "\x00"}),
		).Draw(t, "text")
		content := "producer:\n  zones: " + scalarText(text) + " # a comment\n  data: [" + scalarText(text) + ", x]\n"
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Read(path)
		if err != nil {
			t.Fatalf("%v\n%s", err, content)
		}
		if got := f.values["producer.zones"].value; got != text {
			t.Fatalf("%q became %q by\n%s", text, got, content)
		}
		if got := f.values["producer.data"].value.([]any); len(got) != 2 || got[0] != text {
			t.Fatalf("%q became %q by\n%s", text, got, content)
		}
	})
}

func TestSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<53-1).Draw(t, "n") << rapid.IntRange(0, 10).Draw(t, "shift")
		s := newModel().byName["nats.max-bytes"]
		got, err := s.decode(sizeText(n))
		if err != nil || got.Int() != n {
			t.Fatalf("%d is written %s and read %v, %v", n, sizeText(n), got, err)
		}
	})
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "10m": 10 * time.Minute, "1h": time.Hour, "1h0m1s": time.Hour + time.Second, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "20s": 20 * time.Second,
	} {
		if got := durationText(want); got != text {
			t.Errorf("%v is written %s, want %s", want, got, text)
		}
	}
}

// FuzzRead: whatever the file, a mistake is one line with its place.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "job:\n  name: x\n", "job: [a, {b: c}]\n", "? a\n: b\n", "a: &a [*a]\n", "%YAML 1.2\n---\n", "nats: {password: \"x\n", "- - -\n", "job: !!map {}\n", "job:\n  name: |2+\n   x"} {
		f.Add([]byte(seed))
	}
	place := regexp.MustCompile(`^c\.yaml:[0-9]+: [^\n]{1,400}$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reader{file: &File{Path: "c.yaml", values: map[string]entry{}}, model: newModel()}
		r.document(data)
		for _, p := range r.sorted() {
			if !place.MatchString(p.Error()) {
				t.Fatalf("%q", p.Error())
			}
		}
	})
}
