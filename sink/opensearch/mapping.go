package opensearch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/sink"
)

// FieldType is how a field of a document is indexed.
type FieldType string

const (
	Keyword  FieldType = "keyword"
	Long     FieldType = "long"
	Double   FieldType = "double"
	Date     FieldType = "date"
	Boolean  FieldType = "boolean"
	GeoPoint FieldType = "geo_point"
	// Text is kept and returned, and cannot be searched: it may be of any length.
	Text FieldType = "text"
)

// Field is one field of a query's documents.
type Field struct {
	Name string
	Type FieldType
}

// Query declares the documents of one query: the fields that it has besides
// those of every result, which are its aggregates. Counts and sums are Long,
// averages are Double.
type Query struct {
	Name   string
	Fields []Field
}

// Options say what [Client.Setup] prepares. Zero values mean the documented default.
type Options struct {
	// Prefix and Job are those of [SinkConfig].
	Prefix, Job string
	// Queries are the job's, as declared; late trips and dead letters are added.
	Queries []Query
	// Serve is the name that readers use, in the aliases `<prefix><Serve>` and
	// `<prefix><Serve>.<query>`; by default the job's.
	Serve string
	// TakeOver takes these aliases from the job that has them, in one step.
	// Without it a job whose aliases another one has is set up beside it.
	TakeOver bool
	// Shards of each index; 1. A month of a city in one query is under 1 GB.
	Shards int
	// Replicas of each shard; 0 lets OpenSearch keep one as soon as there are two nodes.
	Replicas int
	// Refresh is how soon a document can be found; 5 s.
	Refresh time.Duration
	// Retention deletes an index of results so long after its creation, where
	// the cluster has index state management; 0 keeps all. Late trips and dead
	// letters are kept.
	Retention time.Duration
	// DryRun plans and changes nothing.
	DryRun bool
}

// Validate reports the first setting that makes no sense.
func (o Options) Validate() error {
	if err := validateNames(o.Prefix, o.Job); err != nil {
		return err
	}
	if o.Serve != "" {
		if err := validateNames(o.Prefix, o.Serve); err != nil {
			return err
		}
	}
	if len(o.Queries) == 0 {
		return errors.New("set up opensearch: no query is declared")
	}
	for i, q := range o.Queries {
		same := func(b Query) bool { return q.Name == b.Name }
		switch {
		case q.Name == "" || !fitsIndex(q.Name):
			return fmt.Errorf("set up opensearch: query %q cannot name an index: use 1 to 64 lower-case letters, digits and _", q.Name)
		case q.Name == sink.LateQuery || q.Name == sink.DeadQuery:
			return fmt.Errorf("set up opensearch: query %q has the name of the index of late trips or dead letters", q.Name)
		case slices.IndexFunc(o.Queries, same) != i:
			return fmt.Errorf("set up opensearch: two queries are named %q", q.Name)
		}
		for _, f := range q.Fields {
			if _, known := fieldMapping(f.Type); !known || f.Name == "" || strings.ContainsAny(f.Name, ". \"") {
				return fmt.Errorf("set up opensearch: query %q: no field can be %q of type %q", q.Name, f.Name, f.Type)
			}
		}
	}
	switch {
	case o.Shards < 0, o.Replicas < 0:
		return errors.New("set up opensearch: the number of shards or replicas is negative")
	case o.Refresh < 0, o.Retention < 0:
		return errors.New("set up opensearch: a duration is negative")
	case o.Retention > 0 && o.Retention < time.Hour:
		return fmt.Errorf("set up opensearch: a retention of %s is too short: use an hour or more, 0 keeps all", o.Retention)
	}
	return nil
}

// resultFields are those of every result; docs/format/index.md.
var resultFields = []Field{
	{"cell", Keyword}, {"airport_code", Keyword}, {"window_start", Date}, {"window_end", Date}, {"timestamp", Date}, {"location", GeoPoint},
}

// recordFields are those of late trips and dead letters.
var recordFields = []Field{{"shard", Keyword}, {"position", Keyword}}

var lateQuery = Query{sink.LateQuery, []Field{
	{"event_time", Date}, {"watermark", Date}, {"late_ms", Long}, {"after_final", Boolean}, {"late_for", Keyword}, {"pickup_cell", Keyword},
	{"dropoff_cell", Keyword}, {"airport_code", Keyword}, {"duration_ms", Long}, {"total_cents", Long},
}}

var deadQuery = Query{sink.DeadQuery, []Field{
	{"reason", Keyword}, {"size", Long}, {"sha256", Keyword}, {"raw", Text}, {"raw_base64", Text},
	{"document_id", Keyword}, {"document_query", Keyword},
}}

type object = map[string]any

func fieldMapping(t FieldType) (object, bool) {
	switch t {
	case Keyword:
		// Longer ones are kept and not indexed: a term has 32,766 bytes at most.
		return object{"type": "keyword", "ignore_above": 8191}, true
	case Text:
		return object{"type": "text", "index": false}, true
	case Long, Double, Date, Boolean, GeoPoint:
		return object{"type": string(t)}, true
	}
	return nil, false
}

// fastDates is the one format of dates that OpenSearch has a parser of its own
// for, since 2.12; that of the default format takes twenty times as long. It has
// no effect beside another format, so that ranges of a field with it are given
// in RFC 3339: timestamp, by which people select, keeps the default.
const fastDates = "rfc3339_lenient"

// hasFastDates tells whether the version is 2.12 or later. A serverless
// collection has none.
func (s Server) hasFastDates() bool {
	var major, minor int
	_, err := fmt.Sscanf(s.Version, "%d.%d.", &major, &minor)
	return err == nil && (major > 2 || major == 2 && minor >= 12)
}

// properties are a query's fields. Field "query" comes from the component template.
func properties(q Query, on Server) object {
	p := object{}
	common := resultFields
	if q.Name == sink.LateQuery || q.Name == sink.DeadQuery {
		common = recordFields
	}
	for _, f := range slices.Concat(common, q.Fields) {
		p[f.Name], _ = fieldMapping(f.Type)
	}
	if on.hasFastDates() {
		for _, name := range []string{"window_start", "window_end"} {
			if m, ok := p[name].(object); ok {
				m["format"] = fastDates
			}
		}
	}
	return p
}

// setupVersion is raised with every change of what Setup makes, so that an older
// tripgrid does not undo a newer one's.
const setupVersion = 2

// meta marks what is ours. Definition is the digest of the rest of the template.
type meta struct {
	ManagedBy  string `json:"managed_by"`
	Version    int    `json:"setup_version"`
	Job        string `json:"job"`
	Query      string `json:"query,omitempty"`
	Serves     string `json:"serves,omitempty"`
	Definition string `json:"definition"`
}

const managedBy = "tripgrid"

// digest names a definition: maps are encoded in the order of their keys.
func digest(v any) string {
	b, _ := json.Marshal(v) // maps of plain values
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

func (o Options) componentName() string { return o.Prefix + o.Job + ".common" }

func (o Options) templateName(query string) string { return o.Prefix + o.Job + "-" + query }

func (o Options) policyName() string { return o.Prefix + o.Job + "-retention" }

func (o Options) serve() string {
	if o.Serve != "" {
		return o.Serve
	}
	return o.Job
}

func (o Options) all() []Query { return append(slices.Clone(o.Queries), lateQuery, deadQuery) }

// component is the template with what all indices of a job have.
func (o Options) component(serverless bool) object {
	template := object{"mappings": object{"dynamic": "strict", "properties": object{"query": object{"type": "keyword"}}}}
	if !serverless { // which decides these itself
		settings := object{
			"number_of_shards": max(o.Shards, 1), "refresh_interval": fmt.Sprintf("%dms", orDefault(o.Refresh, 5*time.Second).Milliseconds()),
		}
		if o.Replicas > 0 {
			settings["number_of_replicas"] = o.Replicas
		} else {
			settings["auto_expand_replicas"] = "0-1"
		}
		template["settings"] = object{"index": settings}
	}
	return o.sign(object{"template": template}, "", "")
}

// indexTemplate is a query's template. Of two that match an index the one with
// the longer pattern is right: job "a-b" has indices that "a-*" matches.
func (o Options) indexTemplate(q Query, serves string, on Server) object {
	pattern := o.templateName(q.Name) + "-*"
	template := object{"mappings": object{"properties": properties(q, on)}}
	if serves != "" {
		template["aliases"] = object{AliasName(o.Prefix, serves, ""): object{}, AliasName(o.Prefix, serves, q.Name): object{}}
	}
	return o.sign(object{
		"index_patterns": []string{pattern}, "composed_of": []string{o.componentName()}, "priority": 100 + len(pattern), "template": template,
	}, q.Name, serves)
}

func (o Options) sign(body object, query, serves string) object {
	m := meta{managedBy, setupVersion, o.Job, query, serves, digest(body)}
	body["version"], body["_meta"] = setupVersion, m
	return body
}

// policy deletes indices of results when they are old enough.
func (o Options) policy() object {
	var templates []object
	for _, q := range o.Queries {
		pattern := o.templateName(q.Name) + "-*"
		templates = append(templates, object{"index_patterns": []string{pattern}, "priority": 100 + len(pattern)})
	}
	body := object{
		"default_state": "kept",
		"states": []object{
			{"name": "kept", "actions": []object{}, "transitions": []object{
				{"state_name": "deleted", "conditions": object{"min_index_age": fmt.Sprintf("%dh", int64(o.Retention/time.Hour))}}}},
			{"name": "deleted", "actions": []object{{"delete": object{}}}, "transitions": []object{}},
		},
		"ism_template": templates,
	}
	body["description"] = fmt.Sprintf("%s %d %s: indices of results of job %s", managedBy, setupVersion, digest(body), o.Job)
	return object{"policy": body}
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
