package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tripgrid/tripgrid/cmd/tripgrid/settings"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tripgrid.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// everySetting is the model of all settings.
func everySetting(t *testing.T) []*kong.Flag {
	t.Helper()
	k, err := kong.New(&settings.All{}, settings.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(k.Model.Flags, func(f *kong.Flag) bool { return f.Group == nil })
}

// TestConfigPrecedence: flags, then the environment, then the file, then defaults.
func TestConfigPrecedence(t *testing.T) {
	path := configFile(t, "job:\n  name: file\n  window: 1m\n  partitions: 8\nnats:\n  url: ['nats://a:1', 'nats://b:2']\nproducer:\n  zones: a,b\n")
	t.Setenv("TRIPGRID_WINDOW", "2m")
	t.Setenv("TRIPGRID_PARTITIONS", "16")
	t.Setenv("TRIPGRID_DATA", "a.csv,b.csv")
	stdout, _ := mustRun(t, "config", "print", "--config", path, "--partitions", "32", "--no-lanes", "--nats-max-bytes", "3MiB")
	for _, want := range []string{
		"name: file # " + path + ":2",
		"window: 2m # TRIPGRID_WINDOW",
		"partitions: 32 # --partitions",
		"lanes: false # --lanes",
		"profile: bbox # default",
		"url: [nats://a:1, nats://b:2] # " + path + ":6",
		`zones: "a,b" # ` + path + ":8",
		"max-bytes: 3MiB # --nats-max-bytes",
		"data: [a.csv, b.csv] # TRIPGRID_DATA",
	} {
		if !strings.Contains(squeezed(stdout), want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	// The variable names the file as the flag does, and the flag wins.
	t.Setenv("TRIPGRID_CONFIG", path)
	if stdout, _ := mustRun(t, "config", "print"); !strings.Contains(squeezed(stdout), "name: file #") {
		t.Errorf("TRIPGRID_CONFIG is not read:\n%s", stdout)
	}
	other := configFile(t, "job:\n  name: other\n")
	if stdout, _ := mustRun(t, "config", "print", "--config", other); !strings.Contains(squeezed(stdout), "name: other #") {
		t.Errorf("--config does not win:\n%s", stdout)
	}
}

var spaces = regexp.MustCompile(` +`)

func squeezed(text string) string { return spaces.ReplaceAllString(text, " ") }

// TestConfigOfCommands: every command with settings takes the file, under the
// names that the file knows; the others do not look at it.
func TestConfigOfCommands(t *testing.T) {
	known := map[string]string{} // section by flag
	for _, f := range everySetting(t) {
		known[f.Name] = f.Group.Key
	}
	k, err := kong.New(&cli{}, settings.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, section := range known {
		sections[section] = true
	}
	var have []string
	for _, n := range k.Model.Leaves(false) {
		for _, f := range n.Flags {
			if f.Group == nil || !sections[f.Group.Key] {
				continue
			}
			if known[f.Name] != f.Group.Key {
				t.Errorf("%s --%s is no setting of section %s: is a prefix wrong?", n.Path(), f.Name, f.Group.Key)
			}
			if !slices.Contains(have, n.Path()) {
				have = append(have, n.Path())
			}
		}
	}
	for _, want := range []string{"produce", "worker", "setup", "config print"} {
		if !slices.Contains(have, want) {
			t.Errorf("%s has no settings", want)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	for _, command := range have {
		code, _, stderr := program(t, append(strings.Fields(command), "--config", absent)...)
		if code != 2 || !strings.Contains(stderr, "there is no configuration file "+absent) {
			t.Errorf("%s: exit status %d\n%s", command, code, stderr)
		}
	}
	t.Setenv("TRIPGRID_CONFIG", absent)
	t.Setenv("TRIPGRID_WINDOW", "nonsense")
	t.Setenv("TRIPGRID_DIR", "nonsense")
	mustRun(t, "version")
	if code, _, stderr := program(t, "demo", "--shards", "0"); code != 2 || !strings.Contains(stderr, "--shards must be") {
		t.Errorf("demo: exit status %d\n%s", code, stderr)
	}
}

// TestConfigCheck tells everything that is wrong, and where.
func TestConfigCheck(t *testing.T) {
	stdout, _ := mustRun(t, "config", "check")
	if want := "ok: no file, 0 from the environment\n"; !strings.HasPrefix(stdout, want) {
		t.Errorf("got %s, want %s", stdout, want)
	}
	path := configFile(t, "job:\n  name: x\n  window: 1m\nsnapshots:\n  url: s3://bucket/prefix\nresults:\n  url: results.db\n")
	t.Setenv("TRIPGRID_WINDOW", "2m")
	stdout, _ = mustRun(t, "config", "check", "--config", path)
	if want := "ok: 3 settings from " + path + ", 1 from the environment\n"; stdout != want {
		t.Errorf("got %s, want %s", stdout, want)
	}

	path = configFile(t, "job:\n  widow: 1m\n  partitions: 0\nkinesis:\n  poll-every: 10 minutes\n")
	t.Setenv("TRIPGRID_WINDOW", "1.5s")
	t.Setenv("TRIPGRID_NATS_REPLICAS", "three")
	t.Setenv("TRIPGRID_PROFILE", "mars")
	code, _, stderr := program(t, "config", "check", "--config", path)
	want := "tripgrid: " + strings.ReplaceAll(`F:2: job has no key widow: did you mean window?
F:5: kinesis.poll-every: "10 minutes" is no duration: write it like 10m or 1m30s
TRIPGRID_PROFILE: job.profile: "mars" is not among its values: write bbox or seed
TRIPGRID_NATS_REPLICAS: nats.replicas: "three" is no whole number, or too large
TRIPGRID_WINDOW: job.window (--window) must be whole seconds, at least 1s, not 1.5s
F:3: job.partitions (--partitions) must be 1 to 1024, not 0
`, "F:", path+":")
	if code != 1 || stderr != want {
		t.Errorf("exit status %d\n%swant\n%s", code, stderr, want)
	}
}

// TestConfigRefused: what makes no sense names the flag and the file's key, for
// flags and in the file, which is checked wherever the command is.
func TestConfigRefused(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"job.name", "a.b", "job.name (--job) must be 1 to 64 letters"},
		{"job.window", "1500ms", "job.window (--window) must be whole seconds, at least 1s, not 1.5s"},
		{"job.window", "0s", "job.window (--window) must be whole seconds"},
		{"job.partitions", "1025", "job.partitions (--partitions) must be 1 to 1024, not 1025"},
		{"aws.region", "Frankfurt", "aws.region (--aws-region) must be a region such as"},
		{"kinesis.stream", "a/b", "kinesis.stream (--kinesis-stream) must be"},
		{"kinesis.endpoint", "localhost:4567", "kinesis.endpoint (--kinesis-endpoint) must be an address such as"},
		{"kinesis.endpoint", "http://u:Zq7xJ4vT@h:1", "kinesis.endpoint (--kinesis-endpoint) must not hold a user or password"},
		{"kinesis.start", "now", "kinesis.start (--kinesis-start) must be trim-horizon, latest, or a time"},
		{"kinesis.poll-every", "-1s", "kinesis.poll-every (--kinesis-poll-every) must be 0s or more, not -1s"},
		{"kinesis.max-records", "10001", "kinesis.max-records (--kinesis-max-records) must be 1 to 10000"},
		{"leases.table", "ab", "leases.table (--leases-table) must be 3 to 255"},
		{"leases.endpoint", "dynamo", "leases.endpoint (--leases-endpoint) must be an address"},
		{"leases.failover", "999ms", "leases.failover (--leases-failover) must be at least 1s, not 999ms"},
		{"nats.url", "127.0.0.1:4222", "nats.url (--nats-url) must be servers such as nats://host:4222"},
		{"nats.url", "nats://u:Zq7xJ4vT@h:4222", "nats.url (--nats-url) must not hold a user or password"},
		{"nats.url", "http://u:Zq7xJ4vT@h:4222", `not "http://...@h:4222"`},
		{"nats.prefix", "a b", "nats.prefix (--nats-prefix) must have no spaces"},
		{"nats.cert", "c.pem", "nats.cert (--nats-cert) wants its key"},
		{"nats.key", "k.pem", "nats.key (--nats-key) wants its certificate"},
		{"nats.password", "Zq7xJ4vT", "nats.password (--nats-password) wants a user"},
		{"nats.replicas", "6", "nats.replicas (--nats-replicas) must be 1 to 5, not 6"},
		{"nats.max-bytes", "1KiB", "nats.max-bytes (--nats-max-bytes) must be at least 1MiB, not 1KiB"},
		{"snapshots.url", "gs://bucket", "snapshots.url (--snapshots-url) must be s3://BUCKET/PREFIX or a folder"},
		{"snapshots.url", "s3://", "the S3 bucket is missing"},
		{"snapshots.url", "s3://b/a//c", "is no S3 prefix"},
		{"snapshots.endpoint", "x", "snapshots.endpoint (--snapshots-endpoint) must be an address"},
		{"snapshots.kms-key", "k", "snapshots.kms-key (--snapshots-kms-key) is for aws:kms"},
		{"checkpoint.interval", "10ms", "checkpoint.interval (--checkpoint-interval) must be at least 100ms"},
		{"checkpoint.timeout", "-1s", "checkpoint.timeout (--checkpoint-timeout) must be 0s or more"},
		{"checkpoint.retain", "0", "checkpoint.retain (--checkpoint-retain) must be 1 or more"},
		{"results.url", "ftp://x", "results.url (--results-url) must be an address such as https://host:9200"},
		{"results.url", "https://u:Zq7xJ4vT@h:9200", "results.url (--results-url) must not hold a user or password"},
		{"results.url", "https://u:Zq7xJ4vT@h:%zz", "results.url (--results-url) must be an address such as"},
		{"results.prefix", "Upper", "results.prefix (--results-prefix) must be lower-case letters"},
		{"results.password", "Zq7xJ4vT", "results.password (--results-password) wants a user"},
		{"results.timeout", "0s", "results.timeout (--results-timeout) must be more than 0s"},
		{"results.batch-docs", "0", "results.batch-docs (--results-batch-docs) must be 1 or more"},
		{"results.batch-bytes", "1KiB", "results.batch-bytes (--results-batch-bytes) must be 64KiB to 1GiB, not 1KiB"},
		{"results.concurrency", "65", "results.concurrency (--results-concurrency) must be 1 to 64"},
		{"results.pending-bytes", "1", "results.pending-bytes (--results-pending-bytes) must be at least 1MiB, not 1"},
		{"producer.timezone", "Mars/Olympus", "producer.timezone (--timezone) must be a time zone"},
		{"producer.trips", "0", "producer.trips (--trips) must be 1 or more"},
		{"producer.speedup", "NaN", "producer.speedup (--speedup) must be 0 or more"},
		{"producer.dir", "", "producer.dir (--dir) must name a folder"},
	} {
		section, key, _ := strings.Cut(c.key, ".")
		value := fmt.Sprintf("%q", c.value)
		if c.key == "nats.url" {
			value = "[" + value + "]"
		}
		path := configFile(t, fmt.Sprintf("%s:\n  %s: %s\n", section, key, value))
		code, stdout, stderr := program(t, "config", "check", "--config", path)
		if code != 1 || !strings.Contains(stderr, path+":2: ") || !strings.Contains(stderr, c.want) || strings.Contains(stdout+stderr, secret) {
			t.Errorf("check of %s: %q: exit status %d, want %q\n%s", c.key, c.value, code, c.want, stderr)
		}
		var flag string
		for _, f := range everySetting(t) {
			if f.Group.Key == section && (f.Name == key || f.Name == section+"-"+key || f.Tag.Get("key") == key) {
				flag = f.Name
			}
		}
		code, stdout, stderr = program(t, "config", "print", "--"+flag+"="+c.value)
		if code != 2 || !strings.Contains(stderr, c.want) || strings.Contains(stdout+stderr, secret) {
			t.Errorf("--%s=%s: exit status %d, want %q\n%s", flag, c.value, code, c.want, stderr)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"worker", "--nats-user", "u", "--nats-creds", "f"}, "nats.creds (--nats-creds) must stand alone: set one of"},
		{[]string{"worker", "--results-user", "u", "--results-sigv4", "es"}, "results.sigv4 (--results-sigv4) and results.user are two ways to authenticate: set one"},
		{[]string{"produce", "--speedup", "-1"}, "--speedup"},
		{[]string{"worker", "--snapshots-sse", "rot13"}, "--snapshots-sse"},
		{[]string{"worker", "--nats-token", "-Zq7xJ4vT"}, "--nats-token: missing value: write --nats-token=VALUE"},
	} {
		code, stdout, stderr := program(t, c.args...)
		if code != 2 || !strings.Contains(stderr, c.want) || strings.Contains(stdout+stderr, secret) {
			t.Errorf("%v: exit status %d, want %q\n%s", c.args, code, c.want, stderr)
		}
	}
}

// secret is looked for in everything that the program says.
const secret = "Zq7xJ4vT"

// TestConfigHidesSecrets puts every secret everywhere, right and wrong.
func TestConfigHidesSecrets(t *testing.T) {
	secrets := 0
	for _, f := range everySetting(t) {
		if f.Target.Type() != reflect.TypeFor[settings.Secret]() {
			continue
		}
		secrets++
		section, key := f.Group.Key, strings.TrimPrefix(f.Name, f.Group.Key+"-")
		quiet := func(args ...string) {
			t.Helper()
			code, stdout, stderr := program(t, args...)
			if stdout+stderr == "" {
				t.Errorf("%v: says nothing", args)
			}
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("%v: exit status %d, shows the secret\n%s%s", args, code, stdout, stderr)
			}
		}
		// Commands that end before they begin: the window is none.
		refused := func(args ...string) {
			t.Helper()
			quiet(append([]string{"worker", "--window", "1.5s"}, args...)...)
		}
		for _, form := range []string{
			"KEY: S", "KEY: 'S'", "KEY: \"S\"", "KEY: [S]", "KEY: {S: 1}", "KEY: {a: S}", "KEY:\n    S: 1", "KEY:\n    - S", "KEY: S: S", "KEY: |S", "KEY: |\n    S",
			"KEY: >-S\n", "KEY: \"S", "KEY: 'S", "KEY: @S", "KEY: `S", "KEY: *S", "KEY: &S", "KEY: &S a", "KEY: !S a", "KEY: !!S a", "KEY: %S", "KEY: [S", "KEY: {S", "KEY: S]", "KEY:S",
			"KEY:S\n  user: u", "KEY S: 1", "KEY: S\n  KEY: S", "KEY: S\n   S", "KEY: S\n\tS", "KEY:\tS", "KEY: \"\\S\"", "KEY: \"\\xS\"", "KEY: S #S", "KEY: ? S", "? S\n  : S", "KEY: S\nS", "KEY: \x00S", "KEY: <<S", "<<: S",
			"KEY: 'a'S", "KEY: \"a\"S", "KEY: - S", "KEY: a\n--- S", "KEY: a\n%S x",
		} {
			text := section + ":\n  " + strings.ReplaceAll(strings.ReplaceAll(form, "KEY", key), "S", secret) + "\n"
			path := configFile(t, text)
			quiet("config", "check", "--config", path)
			quiet("config", "print", "--"+section+"-user=u", "--config", path)
		}
		for _, value := range []string{secret, "-" + secret, "--" + secret, secret + "\n" + secret, "\"" + secret, "a," + secret, "\xff" + secret} {
			t.Run("environment", func(t *testing.T) {
				t.Setenv(f.Envs[0], value)
				quiet("config", "check")
				quiet("config", "print")
				quiet("config", "print", "--"+section+"-user=u")
				refused()
			})
			for _, args := range [][]string{{"--" + f.Name, value}, {"--" + f.Name + "=" + value}, {"--" + section + "-user=u", "--" + f.Name + "=" + value}} {
				quiet(append([]string{"config", "print"}, args...)...)
				refused(args...)
			}
			quiet("worker", "--"+f.Name+"x="+value) // a name that is none
		}
		s := settings.Secret(secret)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
			if text := fmt.Sprintf(verb, struct{ S settings.Secret }{s}) + fmt.Sprintf(verb, s); strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%s shows %s", verb, text)
			}
		}
	}
	if secrets < 3 {
		t.Errorf("%d settings are secrets, want the passwords and the token", secrets)
	}
	// A URL of trips may hold a password or a signature: it is used, not shown.
	for _, url := range []string{"https://user:" + secret + "@host/a.csv", "https://host/a.csv?X-Amz-Signature=" + secret} {
		stdout, _ := mustRun(t, "config", "print", "--data", "a.csv", "--data", url)
		if strings.Contains(stdout, secret) || !strings.Contains(squeezed(stdout), "# data: (secret) # --data") {
			t.Errorf("config print shows %s in\n%s", url, stdout)
		}
	}
}

// TestConfigPrintIsAFile: what is printed, but for secrets, has the same effect.
func TestConfigPrintIsAFile(t *testing.T) {
	values := map[string]string{
		"profile": "seed", "leases-store": "nats", "snapshots-sse": "aws:kms", "results-sigv4": "aoss", "log-level": "debug", "log-format": "json",
		"kinesis-start": "2016-01-01T06:00:00Z", "nats-url": "nats://a:1,tls://b:2", "snapshots-url": "s3://b/p", "results-url": "https://a:1,https://b:2",
		"kinesis-endpoint": "http://h:1", "leases-endpoint": "http://h:2", "snapshots-endpoint": "http://h:3", "s3-endpoint": "http://h:4", "dashboards": "http://h:5", "results-user": "",
		"nats-creds": "", "nats-nkey": "", "nats-user": "null", "timezone": "America/New_York", "results-password": "", "nats-token": "",
		"data": "a b.csv,'#c.csv,s3://b/*", "seek": "2016-03-01T00:00:00.5Z", "speedup": "0.001", "seed": "18446744073709551615",
		"nats-max-bytes": "1234567", "results-batch-bytes": "1MiB", "results-pending-bytes": "10000000000000", "nats-replicas": "3",
		"window": "1h0m1s", "zones": "ümlaut: #1.csv", "dir": `C:\trips`, "results-concurrency": "7",
	}
	args := []string{"config", "print"}
	for _, f := range everySetting(t) {
		value, ok := values[f.Name]
		switch {
		case ok && value == "":
			continue
		case ok:
		case f.Target.Kind() == reflect.Bool && f.Default == "true":
			args = append(args, "--no-"+f.Name)
			continue
		case f.Target.Kind() == reflect.Bool:
			args = append(args, "--"+f.Name)
			continue
		case f.Target.Kind() == reflect.Int64 && strings.HasSuffix(f.Default, "s"):
			value = "77s"
		case f.Target.Kind() == reflect.String:
			value = "other"
		default:
			value = "77"
		}
		args = append(args, "--"+f.Name+"="+value)
	}
	first, _ := mustRun(t, args...)
	path := configFile(t, first)
	second, _ := mustRun(t, "config", "print", "--config", path)
	if got, want := uncommented(second), uncommented(first); got != want {
		t.Errorf("printed\n%s\nread and printed again\n%s", want, got)
	}
	if n := strings.Count(second, "# "+path); n < len(everySetting(t))-8 {
		t.Errorf("only %d settings came from the file:\n%s", n, second)
	}
	if code, stdout, stderr := program(t, "config", "check", "--config", path); code != 0 {
		t.Errorf("config check of what was printed: %s%s", stdout, stderr)
	}
}

// uncommented is a file without the comments at the ends of lines.
func uncommented(text string) string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			at := strings.LastIndex(line, " # ")
			if at < 0 {
				at = len(line)
			}
			out = append(out, strings.TrimRight(line[:at], " "))
		}
	}
	return strings.Join(out, "\n")
}

// TestConfigDocs: every YAML in the documentation is a configuration, and the
// file of defaults is one too when its keys are uncommented.
func TestConfigDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) == 0 {
		t.Error("the documentation has no example")
	}
	for _, b := range blocks {
		mustRun(t, "config", "check", "--config", configFile(t, b[1]))
	}
	stdout, _ := mustRun(t, "config", "print", "--defaults")
	mustRun(t, "config", "check", "--config", configFile(t, stdout))
	keys := regexp.MustCompile(`(?m)^  #([a-z].+: .+)$`)
	path := configFile(t, keys.ReplaceAllString(stdout, "  $1"))
	checked, _ := mustRun(t, "config", "check", "--config", path)
	if want := fmt.Sprintf("ok: %d settings from", len(everySetting(t))-4); !strings.HasPrefix(checked, want) { // secrets and the one without a zero value
		t.Errorf("got %s, want %s", checked, want)
	}
	printed, _ := mustRun(t, "config", "print", "--config", path)
	defaults, _ := mustRun(t, "config", "print")
	if uncommented(printed) != uncommented(defaults) {
		t.Errorf("the file of defaults has\n%s\nand the defaults are\n%s", printed, defaults)
	}
}

// TestConfigHelp: fifty flags in the width of a terminal.
func TestConfigHelp(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	stdout, _ := mustRun(t, "worker", "--help")
	for _, want := range []string{
		"\nkinesis: the stream of trips\n", "\nnats: the partition log\n", "--config=FILE", "in the environment TRIPGRID_KINESIS_STREAM",
		"--[no-]lanes", "--nats-url=URL,...", "Default: taxi.", "--nats-max-bytes=1GiB",
	} {
		if !strings.Contains(squeezed(strings.ReplaceAll(stdout, "\n                                  ", " ")), want) && !strings.Contains(stdout, want) {
			t.Errorf("%q is not in the help\n%s", want, stdout)
		}
	}
	if n := strings.Count(stdout, "TRIPGRID_"); n > 2 {
		t.Errorf("%d variables are in the help: they follow from the flags", n)
	}
	for _, line := range strings.Split(stdout, "\n") {
		if len(line) > 102 {
			t.Errorf("too long: %s", line)
		}
	}
}
