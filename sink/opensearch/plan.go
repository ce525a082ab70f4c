package opensearch

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Action is what a [Step] does.
type Action string

const (
	Create Action = "create"
	Update Action = "update"
	Keep   Action = "keep" // it is as it should be
)

// Step is one thing that has to be as planned, and the request that makes it so.
type Step struct {
	Action       Action
	What, Name   string
	Why          string // of an update; may be empty
	Method, Path string
	Body         json.RawMessage
}

// Plan is what [Client.Setup] does, or would do.
type Plan struct {
	Server Server
	Steps  []Step
	// Notes are what the user should know: what the cluster lacks, what is left alone.
	Notes  []string
	DryRun bool
}

// Changes counts the steps that change something.
func (p Plan) Changes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Action != Keep {
			n++
		}
	}
	return n
}

// String lists the steps and notes, a line each.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", p.Server.Distribution, p.Server.Version)
	if p.Server.Cluster != "" {
		fmt.Fprintf(&b, ", cluster %s", p.Server.Cluster)
	}
	if p.DryRun {
		b.WriteString(": nothing is changed, this is what would be done")
	}
	b.WriteByte('\n')
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "  %-6s  %-18s  %s", s.Action, s.What, s.Name)
		if s.Why != "" {
			fmt.Fprintf(&b, " (%s)", s.Why)
		}
		b.WriteByte('\n')
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	return b.String()
}

// state is what of the cluster a plan depends on.
type state struct {
	server     Server
	serverless bool
	components map[string]installed
	templates  map[string]installed
	indices    map[string]mapping  // of the job
	aliases    map[string][]string // indices of each alias that is to be served
	taken      []string            // indices that have the name of such an alias
	ism        bool
	policy     *policyState // nil if there is none
}

// installed is a template that is there.
type installed struct {
	meta meta
	body object // as it was answered
}

type mapping struct {
	Dynamic    any               `json:"dynamic"`
	Properties map[string]object `json:"properties"`
}

type policyState struct {
	Seq    int64 `json:"_seq_no"`
	Term   int64 `json:"_primary_term"`
	Policy struct {
		Description string `json:"description"`
	} `json:"policy"`
}

// planner collects steps; it is pure.
type planner struct {
	o    Options
	st   state
	plan Plan
	errs []error
}

// plan compares what is with what should be. Its error lists what stands in the way.
func (o Options) plan(st state) (Plan, error) {
	p := &planner{o: o, st: st, plan: Plan{Server: st.server, DryRun: o.DryRun}}
	serves := p.serves()
	p.template("component template", "/_component_template/", o.componentName(), st.components, o.component(st.serverless))
	for _, q := range o.all() {
		p.template("index template", "/_index_template/", o.templateName(q.Name), st.templates, o.indexTemplate(q, serves, st.server))
	}
	p.existing()
	for _, index := range st.taken {
		p.fail("an index is named %s, as the alias would be, so that no index of the job could be made: delete it, or choose another prefix", index)
	}
	if serves != "" {
		p.otherTemplates(serves)
		p.alias(serves)
	}
	p.retention()
	for _, name := range sorted(st.templates) {
		m := st.templates[name].meta
		if m.ManagedBy == managedBy && m.Job == o.Job && name == o.templateName(m.Query) && !p.declared(m.Query) {
			p.note("index template %s is of query %s, which is not declared any more: it and its indices stay", name, m.Query)
		}
	}
	var err error
	for _, e := range p.errs {
		if err == nil {
			err = e
		} else {
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	return p.plan, err
}

func (p *planner) declared(query string) bool {
	return slices.ContainsFunc(p.o.all(), func(q Query) bool { return q.Name == query })
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (p *planner) note(format string, a ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, a...))
}

func (p *planner) fail(format string, a ...any) {
	p.errs = append(p.errs, fmt.Errorf("set up opensearch: "+format, a...))
}

func (p *planner) step(action Action, what, name, why, method, path string, body any) {
	b, _ := json.Marshal(body) // maps of plain values
	p.plan.Steps = append(p.plan.Steps, Step{action, what, name, why, method, path, b})
}

// serves is the name that the job's documents are read by, or empty if another
// job has it and keeps it.
func (p *planner) serves() string {
	name := p.o.serve()
	if p.o.TakeOver {
		return name
	}
	for _, t := range sorted(p.st.templates) {
		if m := p.st.templates[t].meta; m.ManagedBy == managedBy && m.Serves == name && m.Job != p.o.Job && p.st.ours(t, m, p.o.Prefix) {
			p.note("alias %s is job %s's: job %s is set up beside it, without an alias; take it over when its results are complete",
				AliasName(p.o.Prefix, name, ""), m.Job, p.o.Job)
			return ""
		}
	}
	return name
}

// ours tells whether a template of ours has that prefix: its name follows from it.
func (state) ours(name string, m meta, prefix string) bool {
	return name == Options{Prefix: prefix, Job: m.Job}.templateName(m.Query)
}

// template makes or renews one template.
func (p *planner) template(what, path, name string, there map[string]installed, want object) {
	old, ok := there[name]
	m := want["_meta"].(meta)
	path += url.PathEscape(name)
	switch {
	case !ok:
		p.step(Create, what, name, "", http.MethodPut, path, want)
	case old.meta.ManagedBy != managedBy:
		p.fail("there is a %s %s that is not tripgrid's: rename it, or choose another prefix", what, name)
	case old.meta.Version > setupVersion:
		p.fail("%s %s was made by a newer tripgrid (set-up %d, this one has %d): use that one", what, name, old.meta.Version, setupVersion)
	case old.meta == m:
		p.step(Keep, what, name, "", "", "", nil)
	default:
		p.step(Update, what, name, "its definition differs", http.MethodPut, path, want)
	}
}

// existing brings the job's indices up to the templates: new fields are added, a
// field of another type stands in the way.
func (p *planner) existing() {
	for _, name := range sorted(p.st.indices) {
		have := p.st.indices[name]
		want := properties(p.o.queryOf(name), p.st.server)
		want["query"] = object{"type": "keyword"}
		missing := object{}
		for _, field := range sorted(want) {
			w := want[field].(object)
			switch h, ok := have.Properties[field]; {
			case !ok:
				missing[field] = w
			case h["type"] != w["type"]:
				p.fail("index %s has field %q as %v and not as %v, so that its documents would be rejected: delete it and replay, or choose another prefix",
					name, field, orDefault[any](h["type"], "object"), w["type"])
			}
		}
		if strict := have.Dynamic == "strict"; !strict || len(missing) > 0 {
			why := "it lets in unknown fields"
			if strict {
				why = "it lacks " + strings.Join(sorted(missing), ", ")
			}
			p.step(Update, "mapping of index", name, why, http.MethodPut, "/"+url.PathEscape(name)+"/_mapping",
				object{"dynamic": "strict", "properties": missing})
		}
	}
}

// indexPart is what follows the query in an index's name.
var indexPart = regexp.MustCompile(`^(\d{4,}\.\d\d|all)$`)

// queryOf finds whose index it is; a Query without a name if it is not the job's.
func (o Options) queryOf(index string) Query {
	for _, q := range o.all() {
		if rest, ok := strings.CutPrefix(index, o.templateName(q.Name)+"-"); ok && indexPart.MatchString(rest) {
			return q
		}
	}
	return Query{}
}

// otherTemplates takes the alias from the templates of the job that had it.
func (p *planner) otherTemplates(serves string) {
	for _, name := range sorted(p.st.templates) {
		t := p.st.templates[name]
		if t.meta.ManagedBy != managedBy || t.meta.Serves != serves || t.meta.Job == p.o.Job || !p.st.ours(name, t.meta, p.o.Prefix) {
			continue
		}
		body := maps.Clone(t.body)
		if inner, ok := body["template"].(object); ok {
			inner = maps.Clone(inner)
			delete(inner, "aliases")
			body["template"] = inner
		}
		m := t.meta
		m.Serves, m.Definition = "", "" // that job's own set-up renews it
		body["_meta"] = m
		p.step(Update, "index template", name, "job "+p.o.Job+" takes its alias over", http.MethodPut, "/_index_template/"+url.PathEscape(name), body)
	}
}

// alias moves the aliases to the job's indices, all in one request.
func (p *planner) alias(serves string) {
	var actions []object
	wanted := map[string][]string{}
	for _, index := range sorted(p.st.indices) {
		for _, query := range []string{"", p.o.queryOf(index).Name} {
			a := AliasName(p.o.Prefix, serves, query)
			wanted[a] = append(wanted[a], index)
		}
	}
	for _, a := range sorted(p.st.aliases) {
		for _, index := range p.st.aliases[a] {
			if !slices.Contains(wanted[a], index) {
				if !p.o.TakeOver {
					p.note("alias %s also has index %s, which is not job %s's: it stays", a, index, p.o.Job)
					continue
				}
				actions = append(actions, object{"remove": object{"index": index, "alias": a}})
			}
		}
	}
	for _, a := range sorted(wanted) {
		for _, index := range wanted[a] {
			if !slices.Contains(p.st.aliases[a], index) {
				actions = append(actions, object{"add": object{"index": index, "alias": a}})
			}
		}
	}
	name := AliasName(p.o.Prefix, serves, "")
	if len(actions) == 0 {
		p.step(Keep, "aliases", name, "", "", "", nil)
		return
	}
	p.step(Update, "aliases", name, fmt.Sprintf("%d changes at once", len(actions)), http.MethodPost, "/_aliases", object{"actions": actions})
}

const ismPath = "/_plugins/_ism/"

// retention makes or renews the policy that deletes old indices.
func (p *planner) retention() {
	name := p.o.policyName()
	switch {
	case p.o.Retention == 0 && p.st.policy != nil:
		p.note("retention policy %s still deletes indices, though no retention is set: delete it if that is not wanted", name)
		return
	case p.o.Retention == 0:
		return
	case p.st.serverless:
		p.note("a serverless collection deletes by lifecycle policies of its own: set the retention there")
		return
	case !p.st.ism:
		p.note("this cluster has no index state management plugin: no index is ever deleted, delete old months yourself")
		return
	}
	want, path := p.o.policy(), ismPath+"policies/"+url.PathEscape(name)
	var months []string
	for _, index := range sorted(p.st.indices) {
		if !strings.HasSuffix(index, "-all") {
			months = append(months, index)
		}
	}
	description := want["policy"].(object)["description"]
	call := "add/"
	switch old := p.st.policy; {
	case old == nil:
		p.step(Create, "retention policy", name, "", http.MethodPut, path, want)
	case old.Policy.Description == description:
		p.step(Keep, "retention policy", name, "", "", "", nil)
		return
	case !strings.HasPrefix(old.Policy.Description, managedBy+" "):
		p.fail("there is a retention policy %s that is not tripgrid's: rename it, or choose another prefix", name)
		return
	default:
		path += fmt.Sprintf("?if_seq_no=%d&if_primary_term=%d", old.Seq, old.Term)
		p.step(Update, "retention policy", name, "its definition differs", http.MethodPut, path, want)
		call = "change_policy/"
	}
	if len(months) > 0 { // new indices find the policy by their names
		p.step(Update, "retention", fmt.Sprintf("%d indices", len(months)), "they are there already", http.MethodPost,
			ismPath+call+strings.Join(months, ","), object{"policy_id": name})
	}
}
