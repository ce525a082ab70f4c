package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// mistake is a command line that cannot work.
type mistake struct {
	name string
	args []string
	code int      // 1 if it is 0
	want []string // what happened, to what, what to do
}

// TestMistakes makes mistakes, and wants one sentence for each that says what
// happened, to what, and what to do.
func TestMistakes(t *testing.T) {
	w := newWorld(t)
	var list []mistake
	for _, group := range []struct {
		name string
		list []mistake
	}{
		{"kinesis", kinesisMistakes(t, w)}, {"dynamodb", dynamoDBMistakes(t, w)}, {"nats", natsMistakes(t, w)}, {"s3", s3Mistakes(t, w)},
		{"opensearch", openSearchMistakes(t, w)}, {"dashboards", dashboardsMistakes(t, w)}, {"trips", tripsMistakes(t, w)},
		{"folders", folderMistakes(t, w)}, {"jobs", jobMistakes(t, w)}, {"usage", usageMistakes(t, w)},
	} {
		for _, m := range group.list {
			m.name = group.name + "/" + m.name
			list = append(list, m)
		}
	}
	// Those that wait for an answer first, beside the others.
	waits := func(m mistake) bool { return strings.HasSuffix(m.name, "silent") }
	list = append(slices.DeleteFunc(slices.Clone(list), func(m mistake) bool { return !waits(m) }), slices.DeleteFunc(list, waits)...)
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, m := range list {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			t.Run(m.name, m.make)
		})
	}
	all.Wait()
}

// atOnce is how many mistakes are made at a time: the slow ones wait for an
// answer that does not come.
const atOnce = 24

func (m mistake) make(t *testing.T) {
	// What does not end by itself is told to.
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	began := time.Now()
	var errs hearing
	code := run(ctx, m.args, streams{io.Discard, &errs})
	took := time.Since(began)
	said, err := sentence(errs.String())
	t.Logf("(%.1fs) %s", took.Seconds(), said)
	if want := max(m.code, 1); code != want {
		t.Errorf("exit status %d, want %d\n%s", code, want, errs.String())
	}
	if err != nil {
		t.Errorf("%v\n%s", err, errs.String())
	}
	for _, want := range m.want {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in it", want)
		}
	}
}

// patient is how long a command may take to see that it cannot work.
const patient = 30 * time.Second

var (
	logLine      = regexp.MustCompile(`^(\d\d:\d\d:\d\d\.\d{3}  (DEBUG|INFO|WARN|ERROR)  |(WARN|ERROR)\t)`)
	progressLine = regexp.MustCompile(`^sent [\d,]+ of [\d,]+ trips `)
	// machinery is what belongs to the program, not to its user.
	machinery = regexp.MustCompile(`operation error|https response error|api error|[Rr]equest ?ID|exceeded maximum number of attempts|` +
		`\*?\b(types|smithy|http|errors|net|fs|kinesis|dynamodb|s3)\.[A-Z]|goroutine|panic|%!|0x[0-9a-f]{6}|<html|<!DOCTYPE|nil pointer|` +
		`context deadline exceeded|context canceled|(^|[ (])(json|xml|yaml): [a-z]+ |invalid character|unexpected EOF|strconv\.`)
	// advice is a verb that tells to do something.
	advice = regexp.MustCompile(`\b(must be|did you mean|is no|is not YAML|add|ask|fetch|move|check|set|give|create|grant|allow|start|run|choose|name|make|wait|raise|correct|write|use|stop|extend|` +
		`renew|enable|turn|put|let|take|change|connect|remove|begin|look|try|restore)\b`)
)

// sentence is what a failed command says to people, without what it logged, and
// what is wrong with it.
func sentence(stderr string) (string, error) {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimSuffix(line, "\n")
		if !logLine.MatchString(line) && !progressLine.MatchString(line) && line != "Try 'tripgrid --help'." {
			lines = append(lines, line)
		}
	}
	said := strings.Join(lines, "\n")
	text, named := strings.CutPrefix(said, "tripgrid: ")
	switch {
	case len(lines) != 1:
		return said, fmt.Errorf("%d lines", len(lines))
	case !named:
		return said, fmt.Errorf("the program does not say its name")
	case len(text) > 420:
		return said, fmt.Errorf("%d characters", len(text))
	case machinery.MatchString(text):
		return said, fmt.Errorf("it shows machinery: %q", machinery.FindString(text))
	case !advice.MatchString(text):
		return said, fmt.Errorf("it does not say what to do")
	}
	return said, nil
}

// connections are the ways in which an address can be wrong, of something that
// speaks HTTP.
func (w *world) connections(t *testing.T, args func(url string) []string) []mistake {
	t.Helper()
	return []mistake{
		{"refused", args("http://" + w.refused), 1, []string{w.refused, "check"}},
		{"unknown-host", args("http://" + w.unknown), 1, []string{"nowhere.invalid", "check"}},
		{"silent", args("http://" + w.silent), 1, []string{"answer", "check"}},
		{"web-page", args(w.page), 1, nil},
		{"web-404", args(w.missing), 1, nil},
		{"http-to-tls", args(strings.Replace(w.tls, "https:", "http:", 1)), 1, []string{"https://"}},
		{"tls-to-http", args(strings.Replace(w.page, "http:", "https:", 1)), 1, []string{"TLS", "http://"}},
		{"unknown-authority", args(w.stranger), 1, []string{"certificate", "authority", "CA"}},
		{"wrong-name", args(w.misnamed), 1, []string{"certificate", "elsewhere.example"}},
	}
}

// badCredentials are how AWS refuses those of a client, in services of JSON.
var badCredentials = []refusal{
	{http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid."},
	{http.StatusBadRequest, "ExpiredTokenException", "The security token included in the request is expired"},
	{http.StatusBadRequest, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."},
}

func denied(action, resource string) refusal {
	return refusal{http.StatusBadRequest, "AccessDeniedException", fmt.Sprintf("User: arn:aws:iam::123456789012:user/somebody is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", action, resource, action)}
}

func kinesisMistakes(t *testing.T, w *world) []mistake {
	var all []mistake
	arn := "arn:aws:kinesis:" + home + ":123456789012:stream/trips"
	for _, command := range []struct {
		name    string
		args    func(dir string) []string
		actions []string
	}{
		{"worker", w.worker, []string{"DescribeStreamSummary", "ListShards"}},
		{"produce", w.produce, []string{"ListShards", "PutRecords"}},
	} {
		at := func(url string) []string { return with(command.args(w.folder()), "--kinesis-endpoint="+url) }
		add := func(m mistake) {
			m.name = command.name + "/" + m.name
			all = append(all, m)
		}
		for _, m := range w.connections(t, at) {
			m.want = append(m.want, "Kinesis")
			add(m)
		}
		for _, r := range badCredentials {
			add(mistake{r.code, at(jsonService(t, "", map[string]refusal{"*": r})), 1, []string{"credentials", "trips", "check"}})
		}
		for _, action := range command.actions {
			add(mistake{"denied-" + action, at(jsonService(t, w.kinesis, map[string]refusal{action: denied("kinesis:"+action, arn)})), 1,
				[]string{"kinesis:" + action, "trips"}})
		}
		for _, action := range []string{"DescribeStreamSummary", "ListShards"} {
			slow := refusal{http.StatusBadRequest, "LimitExceededException", "Rate exceeded for stream trips under account 123456789012."}
			add(mistake{"throttled-" + action, at(jsonService(t, w.kinesis, map[string]refusal{action: slow})), 1, []string{"trips", "throttled", "fewer applications"}})
		}
		add(mistake{"deleting", at(streamThatIs(t, "DELETING")), 1, []string{"stream trips is being deleted", "wait"}})
		add(mistake{"no-stream", with(command.args(w.folder()), "--kinesis-stream=absent"), 1, []string{"absent", "does not exist", "create", "region"}})
	}
	return all
}

func dynamoDBMistakes(t *testing.T, w *world) []mistake {
	at := func(url string) []string {
		return with(w.worker(w.folder()), "--leases-store=dynamodb", "--leases-endpoint="+url)
	}
	all := w.connections(t, at)
	for i := range all {
		all[i].want = append(all[i].want, table)
	}
	for _, r := range badCredentials {
		all = append(all, mistake{r.code, at(jsonService(t, "", map[string]refusal{"*": r})), 1, []string{"credentials", table, "check"}})
	}
	arn := "arn:aws:dynamodb:" + home + ":123456789012:table/" + table
	absent := refusal{http.StatusBadRequest, "ResourceNotFoundException", "Requested resource not found: Table: " + table + " not found"}
	return append(all,
		mistake{"denied-DescribeTable", at(jsonService(t, "", map[string]refusal{"*": denied("dynamodb:DescribeTable", arn)})), 1,
			[]string{"dynamodb:DescribeTable", table, "grant"}},
		mistake{"denied-CreateTable", at(jsonService(t, "", map[string]refusal{"DescribeTable": absent, "*": denied("dynamodb:CreateTable", arn)})), 1,
			[]string{"dynamodb:CreateTable", table, "grant"}},
		mistake{"no-table", append(at(jsonService(t, "", map[string]refusal{"*": absent})), "--no-leases-create"), 1,
			[]string{table, home, "does not exist", "create"}},
		mistake{"throttled", at(jsonService(t, "", map[string]refusal{"*": {http.StatusBadRequest, "ThrottlingException", "Rate of requests exceeds the allowed throughput."}})), 1,
			[]string{table, "throttled"}},
		mistake{"other-keys", at(tableThatIs(t, "ACTIVE", "id")), 1, []string{table, "partition key is id", "another table"}},
		mistake{"deleting", at(tableThatIs(t, "DELETING", "scope")), 1, []string{table, "DELETING", "wait"}},
	)
}

func natsMistakes(t *testing.T, w *world) []mistake {
	at := func(url string, more ...string) []string {
		return with(w.worker(w.folder()), append(more, "--nats-url="+url)...)
	}
	authority := newAuthority(t, "Another")
	certificate := authority.certificate(t, "elsewhere.example")
	ca := filepath.Join(w.dir, "nats.pem")
	write(t, ca, authority.pem)
	secure := natsServer(t, func(o *server.Options) { o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}} })
	stranger := natsServer(t, func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*authority.certificate(t, "127.0.0.1")}}
	})
	private := natsServer(t, func(o *server.Options) { o.Username, o.Password = "somebody", "secret" })
	bare := natsServer(t, func(o *server.Options) { o.JetStream = false })
	small := natsServer(t, func(o *server.Options) { o.MaxPayload = 1 << 10 })
	narrow := natsServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "somebody", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"$JS.API.INFO"}}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}}}
	})
	host := func(url string) string { return strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "nats://") }
	return []mistake{
		{"refused", at("nats://" + w.refused), 1, []string{"nats://" + w.refused, "nothing listens", "start the server"}},
		{"unknown-host", at("nats://" + w.unknown), 1, []string{"nowhere.invalid", "not known", "correct the address"}},
		{"silent", at("nats://" + w.silent), 1, []string{"nats://" + w.silent, "no answer", "check the address"}},
		{"web-page", at("nats://" + host(w.page)), 1, []string{"nats://" + host(w.page), "check the address"}},
		{"unknown-authority", at(stranger), 1, []string{stranger, "authority", "not trusted", "CA file"}},
		{"wrong-name", at(secure, "--nats-ca="+ca), 1, []string{secure, "certificate is not for 127.0.0.1", "server name"}},
		{"no-tls", at("tls://" + host(w.nats)), 1, []string{host(w.nats), "no TLS", "turn TLS off"}},
		{"no-ca-file", at(secure, "--nats-ca="+filepath.Join(w.dir, "absent.pem")), 1, []string{"absent.pem"}},
		{"ca-no-pem", at(secure, "--nats-ca="+picture(t)), 1, []string{"trips.png", "PEM"}},
		{"no-creds-file", at(w.nats, "--nats-creds="+filepath.Join(w.dir, "absent.creds")), 1, []string{"absent.creds"}},
		{"no-nkey-file", at(w.nats, "--nats-nkey="+filepath.Join(w.dir, "absent.nk")), 1, []string{"absent.nk"}},
		{"no-login", at(private), 1, []string{private, "wants a login", "give"}},
		{"wrong-password", at(private, "--nats-user=somebody", "--nats-password=guess"), 1, []string{private, "user somebody", "correct"}},
		{"no-jetstream", at(bare), 1, []string{bare, "JetStream", "enable"}},
		{"no-such-domain", at(w.nats, "--nats-domain=elsewhere"), 1, []string{"elsewhere", "domain", "correct"}},
		{"small-payload", at(small), 1, []string{host(small), "max_payload", "raise"}},
		{"denied", at(narrow, "--nats-user=somebody", "--nats-password=secret"), 1, []string{"$JS.API.STREAM", "extend its permissions"}},
		{"too-few-servers", at(w.nats, "--nats-replicas=3"), 1, []string{"replicas"}},
	}
}

func s3Mistakes(t *testing.T, w *world) []mistake {
	var all []mistake
	for _, command := range []struct {
		name string
		args func(dir string) []string
	}{{"worker", w.worker}, {"checkpoint", w.checkpoints}} {
		at := func(url string) []string {
			return with(command.args(w.folder()), "--snapshots-url=s3://snapshots/a", "--snapshots-endpoint="+url)
		}
		add := func(m mistake) {
			m.name = command.name + "/" + m.name
			all = append(all, m)
		}
		for _, m := range w.connections(t, at) {
			m.want = append(m.want, "s3://snapshots/")
			add(m)
		}
		for _, m := range []struct {
			method string
			refusal
			want []string
		}{
			{"", refusal{http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."}, []string{"credentials", "check"}},
			{"", refusal{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method."}, []string{"credentials", "check"}},
			{"", refusal{http.StatusBadRequest, "ExpiredToken", "The provided token has expired."}, []string{"expired", "renew"}},
			{"", refusal{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}, []string{"no bucket snapshots", "create"}},
			{"", refusal{http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."}, []string{"region us-west-2", "set"}},
			{"", refusal{http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'eu-central-1' is wrong; expecting 'us-west-2'"}, []string{"region us-west-2", "set"}},
			{"LIST", refusal{http.StatusForbidden, "AccessDenied", "User: arn:aws:iam::123456789012:user/somebody is not authorized to perform: s3:ListBucket on resource: \"arn:aws:s3:::snapshots\" because no identity-based policy allows the s3:ListBucket action"}, []string{"s3:ListBucket", "snapshots", "allow"}},
			{http.MethodPut, refusal{http.StatusForbidden, "AccessDenied", "Access Denied"}, []string{"s3:PutObject", "snapshots", "allow"}},
			{http.MethodGet, refusal{http.StatusForbidden, "AccessDenied", "Access Denied"}, []string{"s3:GetObject", "snapshots", "allow"}},
		} {
			add(mistake{m.code + m.method, at(bucketRefusing(t, m.method, m.refusal)), 1, append(m.want, "s3://snapshots/")})
		}
	}
	return all
}

func openSearchMistakes(t *testing.T, w *world) []mistake {
	var all []mistake
	for _, command := range []struct {
		name string
		args func(dir string) []string
	}{{"worker", w.worker}, {"setup", w.setup}} {
		at := func(url string, more ...string) []string {
			return with(command.args(w.folder()), append(more, "--results-url="+url, "--results-timeout=3s")...)
		}
		add := func(m mistake) {
			m.name = command.name + "/" + m.name
			all = append(all, m)
		}
		for _, m := range w.connections(t, func(url string) []string { return at(url) }) {
			add(m)
		}
		add(mistake{"no-login", at(searchRefusing(t, http.StatusUnauthorized, "Unauthorized")), 1, []string{"user", "password", "check"}})
		add(mistake{"denied", at(searchRefusing(t, http.StatusForbidden, `{"error":{"root_cause":[{"type":"security_exception","reason":"no permissions for [cluster:monitor/main] and User [name=somebody, backend_roles=[], requestedTenant=null]"}],"type":"security_exception","reason":"no permissions for [cluster:monitor/main] and User [name=somebody, backend_roles=[], requestedTenant=null]"},"status":403}`)), 1,
			[]string{"cluster:monitor/main", "grant"}})
		add(mistake{"signature", at(searchRefusing(t, http.StatusForbidden, `{"message":"The security token included in the request is invalid."}`), "--results-sigv4=es"), 1, []string{"signature", "region", home, "check"}})
		add(mistake{"no-ca-file", at(w.stranger, "--results-ca="+filepath.Join(w.dir, "absent.pem")), 1, []string{"absent.pem", "CA"}})
		add(mistake{"ca-no-pem", at(w.stranger, "--results-ca="+picture(t)), 1, []string{"trips.png", "CA", "PEM"}})
	}
	return append(all,
		mistake{"worker/older-set-up", with(w.worker(w.folder()), "--results-url="+openSearchSetUp(t, 0)), 1, []string{"not set up for job job", "run tripgrid setup"}},
		mistake{"worker/newer-set-up", with(w.worker(w.folder()), "--results-url="+openSearchSetUp(t, 1000)), 1, []string{"another version's", "run tripgrid setup"}},
		mistake{"setup/newer-set-up", with(w.setup(w.folder()), "--results-url="+openSearchSetUp(t, 1000)), 1, []string{"newer tripgrid", "use that one"}},
		mistake{"worker/not-set-up", with(w.worker(w.folder()), "--results-url="+w.opensearch), 1, []string{"not set up for job ", "run tripgrid setup"}},
		mistake{"setup/file", with(w.setup(w.folder()), "--results-url=results.db"), 1, []string{"results.db", "--results-url", "give"}},
		mistake{"setup/nothing", with(w.setup(w.folder()), "--results-url="), 1, []string{"--results-url", "name"}},
	)
}

func dashboardsMistakes(t *testing.T, w *world) []mistake {
	at := func(url string) []string {
		return with(w.setup(w.folder()), "--dashboards="+url, "--results-timeout=3s")
	}
	return append(w.connections(t, at),
		mistake{"no-login", at(searchRefusing(t, http.StatusUnauthorized, `{"statusCode":401,"error":"Unauthorized","message":"Authentication required"}`)), 1, []string{"user", "password", "check"}},
		mistake{"denied", at(searchRefusing(t, http.StatusForbidden, `{"statusCode":403,"error":"Forbidden","message":"no permissions"}`)), 1, []string{"check"}},
	)
}

func tripsMistakes(t *testing.T, w *world) []mistake {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		write(t, path, []byte(text))
		return path
	}
	var all []mistake
	for _, command := range []struct {
		name string
		args func(dir string) []string
	}{{"produce", w.produce}, {"demo", w.demo}} {
		of := func(name, data string, want ...string) {
			all = append(all, mistake{command.name + "/" + name, with(command.args(w.folder()), "--data="+data), 1, want})
		}
		of("picture", picture(t), "trips.png", "no valid trip", "give")
		of("empty", file("empty.csv", ""), "empty.csv", "no valid trip", "give")
		of("prose", file("notes.txt", "Dear diary,\ntoday I took a taxi.\n"), "notes.txt", "no valid trip", "give")
		of("parquet", file("cut.parquet", "PAR1\x15\x04\x15\x80PAR"), "cut.parquet", "Parquet")
		of("gzip", file("cut.csv.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b"), "cut.csv.gz")
		of("absent", filepath.Join(w.dir, "absent.csv"), "absent.csv", "check the path")
		of("no-match", filepath.Join(w.dir, "*.csv"), "*.csv", "no file", "check the path")
		of("bad-pattern", filepath.Join(w.dir, "[.csv"), "[.csv", "pattern")
		of("folder", w.dir, w.dir, "folder", "name the files")
		of("scheme", "ftp://host/trips.csv", "ftp://", "give")
		of("web-404", w.missing+"/trips.csv", w.missing+"/trips.csv", "404", "check the address")
		of("web-page", w.page+"/trips.csv", "trips.csv", "no valid trip", "give")
		of("refused", "http://"+w.refused+"/trips.csv", w.refused, "check the address")
		of("unknown-host", "http://"+w.unknown+"/trips.csv", "nowhere.invalid", "check the address")
		of("silent", "http://"+w.silent+"/trips.csv", w.silent, "silent", "check the network")
		of("tls-to-http", strings.Replace(w.page, "http:", "https:", 1)+"/trips.csv", "TLS", "http://")
		of("unknown-authority", w.stranger+"/trips.csv", w.stranger, "certificate", "authority")
		of("wrong-name", w.misnamed+"/trips.csv", w.misnamed, "elsewhere.example", "check the address")
	}
	s3 := func(name, endpoint string, want ...string) {
		all = append(all, mistake{"produce/s3-" + name, with(w.produce(w.folder()), "--data=s3://trips/2016/", "--s3-endpoint="+endpoint), 1, want})
	}
	s3("empty", bucketRefusing(t, "NONE", refusal{}), "s3://trips/2016/", "check")
	s3("no-bucket", bucketRefusing(t, "", refusal{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}), "no bucket trips", "correct its name")
	s3("denied", bucketRefusing(t, "", refusal{http.StatusForbidden, "AccessDenied", "Access Denied"}), "s3:ListBucket", "arn:aws:s3:::trips", "allow")
	s3("region", bucketRefusing(t, "", refusal{http.StatusMovedPermanently, "PermanentRedirect", "The bucket you are attempting to access must be addressed using the specified endpoint."}), "region us-west-2", "set")
	s3("key", bucketRefusing(t, "", refusal{http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."}), "credentials", "check")
	s3("refused", "http://"+w.refused, w.refused, "check")
	s3("unknown-host", "http://"+w.unknown, "nowhere.invalid", "check")
	s3("silent", "http://"+w.silent, "s3://trips/2016/", "silent", "check")
	s3("web-404", w.missing, "s3://trips/2016/", "check")
	s3("unknown-authority", w.stranger, "authority", "AWS_CA_BUNDLE")
	return append(all,
		mistake{"produce/no-zones", with(w.produce(w.folder()), "--data="+picture(t), "--zones="+filepath.Join(w.dir, "absent.csv")), 1, []string{"absent.csv"}},
		mistake{"produce/bad-zones", with(w.produce(w.folder()), "--data="+picture(t), "--zones="+picture(t)), 1, []string{"trips.png", "locationid"}},
	)
}

func folderMistakes(t *testing.T, w *world) []mistake {
	inTheWay := filepath.Join(w.dir, "file")
	write(t, inTheWay, nil)
	held := folder(w.folder())
	unlock, err := held.lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { port.Close() })
	taken := port.Addr().String()
	foreign := filepath.Join(w.dir, "foreign.db")
	write(t, foreign, []byte("this is no data base, whatever its name says: it is longer than a header is, and that header is not there at all"))
	below := filepath.Join(inTheWay, "below")
	worker := func(setting string) []string { return with(w.worker(w.folder()), setting) }
	return []mistake{
		{"worker/snapshots-in-the-way", worker("--snapshots-url=" + below), 1, []string{below, "checkpoint folder"}},
		{"worker/results-no-folder", worker("--results-url=" + filepath.Join(w.dir, "absent", "results.db")), 1, []string{"results.db", "folder"}},
		{"worker/results-folder", worker("--results-url=" + w.dir), 1, []string{w.dir}},
		{"worker/results-foreign", worker("--results-url=" + foreign), 1, []string{"foreign.db"}},
		{"checkpoint/nothing", w.checkpoints(w.folder()), 1, []string{"no job", "--job"}},
		{"checkpoint/in-the-way", with(w.checkpoints(w.folder()), "--snapshots-url="+below), 1, []string{below}},
		{"checkpoint/no-folder", []string{"checkpoint", "ls", "--dir", filepath.Join(w.dir, "absent")}, 1, []string{"absent", "no folder", "name"}},
		{"produce/in-the-way", with(w.produce(w.folder()), "--dir="+below), 1, []string{below}},
		{"produce/in-use", with(w.produce(w.folder()), "--dir="+string(held)), 1, []string{string(held), "in use", "stop", "--dir"}},
		{"demo/in-the-way", with(w.demo(w.folder()), "--dir="+below), 1, []string{below}},
		{"demo/in-use", with(w.demo(w.folder()), "--dir="+string(held)), 1, []string{string(held), "in use", "stop", "--dir"}},
		{"demo/port-taken", with(w.demo(w.folder()), "--addr="+taken), 1, []string{taken, "in use", "--addr"}},
		{"demo/no-port", with(w.demo(w.folder()), "--addr=127.0.0.1"), 1, []string{"127.0.0.1", "--addr"}},
		{"demo/export-no-folder", with(w.demo(w.folder()), "--export="+filepath.Join(w.dir, "absent", "out.jsonl")), 1, []string{"out.jsonl", "make it"}},
		{"local/in-use", with(w.local(w.folder()), "--dir="+string(held)), 1, []string{string(held), "in use", "stop", "--dir"}},
		{"local/kinesis-port-taken", with(w.local(w.folder()), "--kinesis-addr="+taken), 1, []string{taken, "in use", "--kinesis-addr"}},
		{"local/nats-port-taken", with(w.local(w.folder()), "--nats-addr="+taken), 1, []string{taken, "in use", "--nats-addr"}},
		{"local/in-the-way", with(w.local(w.folder()), "--dir="+below), 1, []string{below}},
		{"export/no-folder", []string{"export", "--dir", filepath.Join(w.dir, "absent"), "--out", "-"}, 1, []string{"absent", "no folder", "name"}},
		{"export/no-run", []string{"export", "--dir", w.dir, "--out", "-"}, 1, []string{w.dir, "no run", "start"}},
		{"setup/objects-no-folder", with(w.setup(w.folder()), "--objects="+filepath.Join(w.dir, "absent", "d.ndjson")), 1, []string{"d.ndjson"}},
	}
}

// jobMistakes begins a job, and then does not go on with it as it was begun.
func jobMistakes(t *testing.T, w *world) []mistake {
	begun := w.folder()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := &hearing{heard: func(line string) {
		if strings.Contains(line, "worker starts") {
			cancel()
		}
	}}
	if code := run(ctx, w.worker(begun), streams{io.Discard, started}); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	worker := func(settings ...string) []string { return with(w.worker(begun), settings...) }
	after := func(args func(dir string) []string, settings ...string) []string {
		dir := w.folder()
		mustRun(t, args(dir)...)
		return with(args(dir), settings...)
	}
	return []mistake{
		{"window", worker("--window=1h"), 1, []string{"cannot resume job " + filepath.Base(begun), "window", "--job"}},
		{"partitions", worker("--partitions=2"), 1, []string{"cannot resume job", "partitions", "--job"}},
		{"stream", worker("--kinesis-stream=others"), 1, []string{"cannot resume job", "others", "--job"}},
		{"profile", worker("--profile=seed"), 1, []string{"cannot resume job", "seed", "--job"}},
		{"lanes", worker("--no-lanes"), 1, []string{"cannot resume job", "lanes", "--job"}},
		{"produce/other-trips", after(w.produce, "--trips=50"), 1, []string{"producer.json", "belongs to data ", "another --dir"}},
		{"produce/other-stream", after(w.produce, "--kinesis-stream=others"), 1, []string{"producer.json", "stream", "another --dir"}},
		{"demo/other-trips", after(w.demo, "--trips=50"), 1, []string{"cannot resume the run in ", "data", "another --dir"}},
		{"demo/other-shards", after(w.demo, "--shards=2"), 1, []string{"cannot resume the run in ", "--shards", "another --dir"}},
		{"other-snapshots", worker("--snapshots-url=" + w.folder()), 1, []string{"other snapshots", "job name"}},
	}
}

// usageMistakes are refused before anything is opened.
func usageMistakes(t *testing.T, w *world) []mistake {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "tripgrid.yaml")
		write(t, path, []byte(text))
		return path
	}
	folder := w.folder()
	worker := func(text string) []string { return append(w.worker(folder), "--config="+file(text)) }
	all := []mistake{
		{"worker/yaml", worker("job:\n  name: [\n"), 2, []string{"tripgrid.yaml:2", "]"}},
		{"worker/unknown-key", worker("kinesis:\n  streem: trips\n"), 2, []string{"tripgrid.yaml:2", "streem"}},
		{"worker/type", worker("job:\n  partitions: many\n"), 2, []string{"tripgrid.yaml:2", "partitions"}},
		{"worker/no-file", append(w.worker(folder), "--config="+filepath.Join(w.dir, "absent.yaml")), 2, []string{"absent.yaml"}},
		{"worker/value", with(w.worker(folder), "--leases-failover=1ms"), 2, []string{"--leases-failover", "at least 1s"}},
		{"worker/role", with(w.worker(folder), "--role=reader"), 2, []string{"--role", "reader"}},
		{"worker/endpoint", with(w.worker(folder), "--kinesis-endpoint=localhost:4567"), 2, []string{"--kinesis-endpoint", "localhost:4567", "must be"}},
		{"produce/timezone", with(w.produce(folder), "--timezone=New York"), 2, []string{"--timezone", "New York", "America/New_York"}},
		{"config/unknown-key", []string{"config", "check", "--config=" + file("kinesis:\n  streem: trips\n")}, 1, []string{"tripgrid.yaml:2", "streem"}},
		{"config/yaml", []string{"config", "check", "--config=" + file("job: {")}, 1, []string{"tripgrid.yaml"}},
		{"config/no-file", []string{"config", "check", "--config=" + filepath.Join(w.dir, "absent.yaml")}, 1, []string{"absent.yaml"}},
		{"command", []string{"wroker"}, 2, []string{"wroker", "worker"}},
	}
	t.Cleanup(func() {
		if _, err := os.Stat(folder); err == nil {
			t.Error("something was opened before the command line was understood")
		}
	})
	return all
}
