package settings

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/s3store"
)

// Invalid is a setting whose value cannot work.
type Invalid struct {
	Setting string // section.key
	Reason  string // "must be ..., not ..."
}

func (i Invalid) Error() string {
	return fmt.Sprintf("%s (--%s) %s", i.Setting, flagNames()[i.Setting], i.Reason)
}

// flagNames are the flags of all settings, by setting.name.
var flagNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for _, s := range newModel().settings {
		names[s.name()] = s.Flag.Name
	}
	return names
})

// checks collects what is wrong with a section.
type checks struct {
	section  string
	problems Problems
}

func (c *checks) refuse(wrong bool, key, reason string, args ...any) {
	if wrong {
		c.problems = append(c.problems, Invalid{c.section + "." + key, fmt.Sprintf(reason, args...)})
	}
}

func (c *checks) err() error {
	if len(c.problems) == 0 {
		return nil
	}
	return c.problems
}

// Validate is called by kong, as those of the other sections are.
func (j Job) Validate() error {
	c := checks{section: "job"}
	c.refuse(checkpoint.CheckJob(j.Name) != nil, "name", "must be 1 to 64 letters, digits, _ and -, not %q", j.Name)
	c.refuse(j.Window < time.Second || j.Window%time.Second != 0, "window", "must be whole seconds, at least 1s, not %v", j.Window)
	c.refuse(j.Partitions < 1 || j.Partitions > 1024, "partitions", "must be 1 to 1024, not %d", j.Partitions)
	return c.err()
}

// Validate of the AWS section.
func (a AWS) Validate() error {
	c := checks{section: "aws"}
	c.refuse(!region.MatchString(a.Region), "region", "must be a region such as eu-central-1, not %q", a.Region)
	return c.err()
}

var region = regexp.MustCompile(`^([a-z0-9-]*)$`)

// Validate of the Kinesis section.
func (k Kinesis) Validate() error {
	c := checks{section: "kinesis"}
	c.refuse(!streamName.MatchString(k.Stream), "stream", "must be 1 to 128 letters, digits, _, - and dots, not %q", k.Stream)
	c.endpoint("endpoint", k.Endpoint)
	_, err := k.SpecStart()
	c.refuse(err != nil, "start", "must be trim-horizon, latest, or a time such as 2016-01-01T06:00:00Z, not %q", k.Start)
	c.refuse(k.PollEvery < 0, "poll-every", "must be 0s or more, not %v", k.PollEvery)
	c.refuse(k.MaxRecords < 1 || k.MaxRecords > 10_000, "max-records", "must be 1 to 10000, not %d", k.MaxRecords)
	return c.err()
}

var streamName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,128}$`)

// SpecStart is Start as checkpoint.Spec has it: checkpoint.TrimHorizon,
// "latest", or an RFC 3339 time.
func (k Kinesis) SpecStart() (string, error) {
	switch k.Start {
	case "trim-horizon":
		return checkpoint.TrimHorizon, nil
	case "latest":
		return k.Start, nil
	}
	at, err := time.Parse(time.RFC3339, k.Start)
	return at.UTC().Format(time.RFC3339Nano), err
}

// Validate of the leases' section.
func (l Leases) Validate() error {
	c := checks{section: "leases"}
	c.refuse(l.Store == "dynamodb" && !tableName.MatchString(l.Table), "table", "must be 3 to 255 letters, digits, _, - and dots, not %q", l.Table)
	c.endpoint("endpoint", l.Endpoint)
	c.refuse(l.Failover < time.Second, "failover", "must be at least 1s, not %v: a worker must have the time to renew its leases", l.Failover)
	return c.err()
}

var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

// Validate of the NATS section.
func (n NATS) Validate() error {
	c := checks{section: "nats"}
	c.refuse(len(n.URL) == 0, "url", "must name a server, such as nats://host:4222")
	for _, text := range n.URL {
		u, err := url.Parse(text)
		c.refuse(err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme),
			"url", "must be servers such as nats://host:4222 or tls://host:4222, not %q", withoutUser(text))
		c.refuse(err == nil && u.User != nil, "url", "must not hold a user or password: there are nats.user, nats.password and nats.token")
	}
	c.refuse(strings.ContainsAny(n.Prefix, " \t\r\n*>"), "prefix", "must have no spaces, * or >, not %q", n.Prefix)
	ways := 0
	for _, way := range []string{n.Creds, n.NKey, n.User, string(n.Token)} {
		if way != "" {
			ways++
		}
	}
	c.refuse(ways > 1, "creds", "must stand alone: set one of nats.creds, nats.nkey, nats.user and nats.token")
	c.refuse(n.User == "" && n.Password != "", "password", "wants a user: set nats.user too")
	c.refuse(n.Cert == "" && n.Key != "", "key", "wants its certificate: set nats.cert too")
	c.refuse(n.Cert != "" && n.Key == "", "cert", "wants its key: set nats.key too")
	c.refuse(n.Replicas < 1 || n.Replicas > 5, "replicas", "must be 1 to 5, not %d", n.Replicas)
	c.refuse(n.MaxBytes < 1<<20, "max-bytes", "must be at least 1MiB, not %s", sizeText(n.MaxBytes))
	return c.err()
}

// Validate of the snapshots' section. A URL that is not set is left to Target.
func (s Snapshots) Validate() error {
	c := checks{section: "snapshots"}
	if s.URL != "" {
		if _, err := s.Target(); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	c.endpoint("endpoint", s.Endpoint)
	c.refuse(s.KMSKey != "" && s.SSE != "aws:kms", "kms-key", "is for aws:kms: set snapshots.sse to it")
	return c.err()
}

// SnapshotTarget is a folder, or else an S3 bucket and the prefix in it.
type SnapshotTarget struct {
	Folder         string
	Bucket, Prefix string
}

// Target says where snapshots are. Its error is an Invalid.
func (s Snapshots) Target() (SnapshotTarget, error) {
	refused := func(reason string, args ...any) (SnapshotTarget, error) {
		return SnapshotTarget{}, Invalid{"snapshots.url", fmt.Sprintf(reason, args...)}
	}
	scheme, rest, isURL := strings.Cut(s.URL, "://")
	switch {
	case s.URL == "":
		return refused("is not set: name an S3 prefix such as s3://bucket/prefix, or a folder that all workers see")
	case !isURL:
		return SnapshotTarget{Folder: s.URL}, nil
	case scheme != "s3":
		return refused("must be s3://BUCKET/PREFIX or a folder, not %q", withoutUser(s.URL))
	}
	bucket, prefix, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if err := (s3store.Config{Bucket: bucket, Prefix: prefix}).Validate(); err != nil {
		return refused("is %q: %v", s.URL, err)
	}
	return SnapshotTarget{Bucket: bucket, Prefix: prefix}, nil
}

// Validate of the checkpoints' section.
func (k Checkpoint) Validate() error {
	c := checks{section: "checkpoint"}
	c.refuse(k.Interval < 100*time.Millisecond, "interval", "must be at least 100ms, not %v", k.Interval)
	c.refuse(k.Timeout < 0, "timeout", "must be 0s or more, not %v", k.Timeout)
	c.refuse(k.Retain < 1, "retain", "must be 1 or more, not %d", k.Retain)
	return c.err()
}

// Validate of the results' section. A URL that is not set is left to Target.
func (r Results) Validate() error {
	c := checks{section: "results"}
	if r.URL != "" {
		if _, err := r.Target(); err != nil {
			c.problems = append(c.problems, err)
		}
	}
	c.refuse(!indexPrefix.MatchString(r.Prefix), "prefix", "must be lower-case letters, digits, -, _ and dots, the first a letter or digit, not %q", r.Prefix)
	c.refuse(r.User == "" && r.Password != "", "password", "wants a user: set results.user too")
	c.refuse(r.User != "" && r.SigV4 != "", "sigv4", "and results.user are two ways to authenticate: set one")
	c.refuse(r.Timeout <= 0, "timeout", "must be more than 0s, not %v", r.Timeout)
	c.refuse(r.BatchDocs < 1, "batch-docs", "must be 1 or more, not %d", r.BatchDocs)
	c.refuse(r.BatchBytes < 64<<10 || r.BatchBytes > 1<<30, "batch-bytes", "must be 64KiB to 1GiB, not %s", sizeText(r.BatchBytes))
	c.refuse(r.Concurrency < 1 || r.Concurrency > 64, "concurrency", "must be 1 to 64, not %d", r.Concurrency)
	c.refuse(r.PendingBytes < 1<<20, "pending-bytes", "must be at least 1MiB, not %s", sizeText(r.PendingBytes))
	return c.err()
}

var indexPrefix = regexp.MustCompile(`^([a-z0-9][a-z0-9._-]*)?$`)

// ResultTarget is a SQLite file, or else the addresses of OpenSearch.
type ResultTarget struct {
	File      string
	Addresses []string
}

// Target says where results go. Its error is an Invalid.
func (r Results) Target() (ResultTarget, error) {
	refused := func(reason string, args ...any) (ResultTarget, error) {
		return ResultTarget{}, Invalid{"results.url", fmt.Sprintf(reason, args...)}
	}
	switch {
	case r.URL == "":
		return refused("is not set: name an OpenSearch endpoint such as https://host:9200, or a SQLite file")
	case !strings.Contains(r.URL, "://"):
		return ResultTarget{File: r.URL}, nil
	}
	addresses := strings.Split(r.URL, ",")
	for _, a := range addresses {
		if reason := notHTTP(a); reason != "" {
			return refused("%s", reason)
		}
	}
	return ResultTarget{Addresses: addresses}, nil
}

// Validate of the indices' section.
func (i Indices) Validate() error {
	c := checks{section: "indices"}
	c.refuse(i.Serve != strings.ToLower(i.Serve), "serve", "must be lower-case, not %q", i.Serve)
	c.refuse(i.Shards < 1 || i.Shards > 1024, "shards", "must be 1 to 1024, not %d", i.Shards)
	c.refuse(i.Replicas < 0 || i.Replicas > 100, "replicas", "must be 0 to 100, not %d", i.Replicas)
	c.refuse(i.Refresh < 0, "refresh", "must be 0s or more, not %v", i.Refresh)
	c.refuse(i.Retention < 0, "retention", "must be 0s or more, not %v", i.Retention)
	c.endpoint("dashboards", i.Dashboards)
	return c.err()
}

// Validate of the producer's section.
func (p Producer) Validate() error {
	c := checks{section: "producer"}
	_, err := time.LoadLocation(p.Timezone)
	c.refuse(err != nil, "timezone", "must be a time zone such as America/New_York, not %q", p.Timezone)
	c.refuse(p.Trips < 1, "trips", "must be 1 or more, not %d", p.Trips)
	c.refuse(!(p.Speedup >= 0) || math.IsInf(p.Speedup, 0), "speedup", "must be 0 or more, not %g", p.Speedup)
	c.endpoint("s3-endpoint", p.S3Endpoint)
	c.refuse(p.Dir == "", "dir", "must name a folder")
	return c.err()
}

func (c *checks) endpoint(key, address string) {
	if address == "" {
		return
	}
	reason := notHTTP(address)
	c.refuse(reason != "", key, "%s", reason)
}

// notHTTP says what keeps address from being that of an HTTP server.
func notHTTP(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Sprintf("must be an address such as https://host:9200, not %q", withoutUser(address))
	case u.User != nil:
		return "must not hold a user or password: they are settings of their own, or the AWS chain's"
	}
	return ""
}

// withoutUser hides what may be a password in a URL, even in one that is wrong.
func withoutUser(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	scheme, _, ok := strings.Cut(address[:at], "://")
	if !ok {
		return "..." + address[at:]
	}
	return scheme + "://..." + address[at:]
}
