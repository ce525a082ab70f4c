package opensearch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tripgrid/tripgrid/sink"
)

// Setup prepares the cluster for a job: a component template, an index template
// with a strict mapping for each query, aliases, a retention policy. Indices that
// are there already get new fields and aliases. What is as it should be is left
// alone, so Setup may be run at every start; templates are compared by the digest
// that stands in them. The plan is what was done, or with DryRun what would be.
// If something stands in the way (a template that is not ours, one of a newer
// tripgrid, an index with a field of another type) nothing is changed. An error
// of a request ends it; what was done before stays, and the next run goes on.
func (c *Client) Setup(ctx context.Context, o Options) (Plan, error) {
	if err := o.Validate(); err != nil {
		return Plan{}, err
	}
	st, err := c.look(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	plan, err := o.plan(st)
	if err != nil || o.DryRun {
		return plan, err
	}
	for _, s := range plan.Steps {
		if s.Action == Keep {
			continue
		}
		if _, err := c.call(ctx, fmt.Sprintf("%s %s %s", s.Action, s.What, s.Name), s.Method, s.Path, s.Body, nil); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// look reads what of the cluster a plan depends on.
func (c *Client) look(ctx context.Context, o Options) (state, error) {
	st := state{serverless: c.serverless(), components: map[string]installed{}, templates: map[string]installed{},
		indices: map[string]mapping{}, aliases: map[string][]string{}}
	var err error
	if st.server, err = c.Ping(ctx); err != nil {
		return st, err
	}
	if err := c.lookTemplates(ctx, o, &st); err != nil {
		return st, err
	}
	var patterns []string
	for _, q := range o.all() {
		patterns = append(patterns, o.templateName(q.Name)+"-*")
	}
	var mappings map[string]struct {
		Mappings mapping `json:"mappings"`
	}
	if _, err := c.call(ctx, "read the mappings", http.MethodGet, "/"+strings.Join(patterns, ",")+"/_mapping", nil, &mappings); err != nil {
		return st, err
	}
	for name, m := range mappings {
		if o.queryOf(name).Name != "" {
			st.indices[name] = m.Mappings
		}
	}
	var aliased map[string]struct {
		Aliases map[string]object `json:"aliases"`
	}
	served := AliasName(o.Prefix, o.serve(), "")
	if _, err := c.call(ctx, "read the aliases", http.MethodGet, "/_alias/"+served+","+served+".*", nil, &aliased); err != nil {
		return st, err
	}
	for _, index := range sorted(aliased) {
		for a := range aliased[index].Aliases {
			st.aliases[a] = append(st.aliases[a], index)
		}
	}
	if !st.serverless {
		var resolved struct {
			Indices []struct {
				Name string `json:"name"`
			} `json:"indices"`
		}
		if _, err := c.call(ctx, "look for an index of the alias's name", http.MethodGet, "/_resolve/index/"+served, nil, &resolved); err != nil {
			return st, err
		}
		for _, index := range resolved.Indices {
			st.taken = append(st.taken, index.Name)
		}
	}
	return st, c.lookPolicy(ctx, o, &st)
}

func (c *Client) lookTemplates(ctx context.Context, o Options, st *state) error {
	type signed struct {
		Meta meta `json:"_meta"`
	}
	read := func(raw json.RawMessage) (installed, error) {
		var in installed
		var s signed
		if json.Unmarshal(raw, &s) == nil { // another's _meta may have any shape
			in.meta = s.Meta
		}
		return in, json.Unmarshal(raw, &in.body)
	}
	var components struct {
		All []struct {
			Name string          `json:"name"`
			Body json.RawMessage `json:"component_template"`
		} `json:"component_templates"`
	}
	_, err := c.call(ctx, "read the component template", http.MethodGet, "/_component_template/"+url.PathEscape(o.componentName()), nil, &components)
	if err != nil {
		return err
	}
	for _, t := range components.All {
		if st.components[t.Name], err = read(t.Body); err != nil {
			return fmt.Errorf("read component template %s: %w", t.Name, err)
		}
	}
	var templates struct {
		All []struct {
			Name string          `json:"name"`
			Body json.RawMessage `json:"index_template"`
		} `json:"index_templates"`
	}
	if _, err := c.call(ctx, "read the index templates", http.MethodGet, "/_index_template/"+url.PathEscape(o.Prefix)+"*", nil, &templates); err != nil {
		return err
	}
	for _, t := range templates.All {
		if st.templates[t.Name], err = read(t.Body); err != nil {
			return fmt.Errorf("read index template %s: %w", t.Name, err)
		}
	}
	return nil
}

// lookPolicy finds out whether the cluster deletes by policies, and the job's.
func (c *Client) lookPolicy(ctx context.Context, o Options, st *state) error {
	if st.serverless {
		return nil
	}
	a, err := c.do(ctx, http.MethodGet, ismPath+"policies/"+url.PathEscape(o.policyName()), nil, nil)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusNotFound:
		st.ism = true
		return nil
	case bytes.Contains(a.body, []byte("no handler found")):
		return nil
	case a.status == http.StatusForbidden && o.Retention == 0:
		return nil
	case !a.ok():
		return c.explain("read the retention policy", a)
	}
	st.ism, st.policy = true, &policyState{}
	if err := json.Unmarshal(a.body, st.policy); err != nil {
		return fmt.Errorf("read retention policy %s: %w", o.policyName(), err)
	}
	return nil
}

// Check reports that a job has not been set up, or not for these queries: without
// its templates OpenSearch would guess the fields' types. What else Options say
// (shards, replicas, aliases, retention) is the set-up's alone.
func (c *Client) Check(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	st := state{components: map[string]installed{}, templates: map[string]installed{}}
	var err error
	if st.server, err = c.Ping(ctx); err != nil {
		return err
	}
	if err := c.lookTemplates(ctx, o, &st); err != nil {
		return err
	}
	if lack := o.lack(st); lack != "" {
		return fmt.Errorf("opensearch at %s is not set up for job %s, %s: run tripgrid setup", c.where(), o.Job, lack)
	}
	return nil
}

// lack is what documents of the job's queries need and the templates do not have.
func (o Options) lack(st state) string {
	stale := func(t installed) bool { return t.meta.ManagedBy != managedBy || t.meta.Version != setupVersion }
	if t, ok := st.components[o.componentName()]; !ok || stale(t) {
		return fmt.Sprintf("component template %s is absent or another version's", o.componentName())
	}
	for _, q := range o.all() {
		t, ok := st.templates[o.templateName(q.Name)]
		if !ok || stale(t) {
			return fmt.Sprintf("index template %s is absent or another version's", o.templateName(q.Name))
		}
		var body struct {
			Template struct {
				Mappings mapping `json:"mappings"`
			} `json:"template"`
		}
		raw, err := json.Marshal(t.body)
		if err == nil {
			err = json.Unmarshal(raw, &body)
		}
		if err != nil {
			return fmt.Sprintf("index template %s cannot be read", o.templateName(q.Name))
		}
		want := properties(q, st.server)
		for _, field := range sorted(want) {
			if w := want[field].(object); body.Template.Mappings.Properties[field]["type"] != w["type"] {
				return fmt.Sprintf("index template %s has no field %s of type %v", o.templateName(q.Name), field, w["type"])
			}
		}
	}
	return ""
}

// DeadLetter is the document that takes the place of d, which the store rejected
// for that reason: give it to [sink.Pending] in its Rejected callback. Its id
// follows from d's, its version is d's, and d's body is in the field raw.
func DeadLetter(job string, d sink.Document, reason string) sink.Document {
	id := job + "/" + sink.DeadQuery + "/document/" + d.ID
	if len(id) > maxID {
		id = job + "/" + sink.DeadQuery + "/document/" + digest(d.ID)
	}
	body, _ := json.Marshal(struct { // strings are always encoded
		Query  string `json:"query"`
		Reason string `json:"reason"`
		ID     string `json:"document_id"`
		Of     string `json:"document_query"`
		Size   int    `json:"size"`
		Raw    string `json:"raw"`
	}{sink.DeadQuery, reason, d.ID, d.Query, len(d.Body), string(d.Body)})
	return sink.Document{ID: id, Version: d.Version, Query: sink.DeadQuery, Body: body}
}
