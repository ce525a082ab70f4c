package opensearch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tripgrid/tripgrid/sink"
)

// Dashboard says what the dashboard of a job shows, besides its late trips and
// dead letters. [SavedObjects] makes it.
type Dashboard struct {
	Maps  []Map
	Lines []Lines
	// From and To are the time range that it opens with, as OpenSearch Dashboards
	// writes them; by default from now-20y to now+1y, because a replay may be of
	// any time.
	From, To string
}

// Map shades the geohash cells of a query's results by the sum of a field.
type Map struct {
	Title      string // "<Sum> by area"
	Query, Sum string
	// Precision of the cells; 6.
	Precision int
}

// Lines draw a field's average over time, a line for each airport. The averages
// of groups are weighted by a field that counts what is in a group: without it a
// cell with one trip would weigh as much as one with a hundred.
type Lines struct {
	Title                  string // "<Average> by airport"
	Query, Average, Weight string
}

// validate reports the first panel that the job's documents have no fields for.
func (d Dashboard) validate(o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if len(d.Maps)+len(d.Lines) == 0 {
		return errors.New("dashboard: it shows no query: name a map or lines")
	}
	check := func(query, field string, fit ...FieldType) error {
		i := slices.IndexFunc(o.Queries, func(q Query) bool { return q.Name == query })
		if i < 0 {
			return fmt.Errorf("dashboard: query %q is not one of the job's", query)
		}
		for _, f := range o.Queries[i].Fields {
			if f.Name == field && slices.Contains(fit, f.Type) {
				return nil
			}
		}
		return fmt.Errorf("dashboard: query %q has no field %q of type %v", query, field, fit)
	}
	for _, m := range d.Maps {
		if m.Precision < 0 || m.Precision > 7 { // a setting of Dashboards caps it at 7
			return fmt.Errorf("dashboard: a map of query %q cannot have cells of precision %d: use 1 to 7", m.Query, m.Precision)
		}
		if err := check(m.Query, m.Sum, Long, Double); err != nil {
			return err
		}
	}
	for _, l := range d.Lines {
		if err := errors.Join(check(l.Query, l.Average, Long, Double), check(l.Query, l.Weight, Long)); err != nil {
			return err
		}
	}
	return nil
}

// SavedObjects makes the ndjson that OpenSearch Dashboards imports: an index
// pattern for each alias of the job, visualisations, searches, and one dashboard
// with all of them. Ids follow from the aliases, so an import again replaces what
// the last one made. [ImportDashboards] sends it, or "Import" in the
// page of saved objects.
func SavedObjects(o Options, d Dashboard) ([]byte, error) {
	if err := d.validate(o); err != nil {
		return nil, err
	}
	p := &page{o: o}
	for _, q := range o.all() {
		p.indexPattern(q.Name)
	}
	const width, high, low = 24, 22, 14
	for _, m := range d.Maps {
		p.add("visualization", "map-"+m.Query+"-"+m.Sum, width, high, p.visualisation(m.Query, orDefault(m.Title, m.Sum+" by area"), "tile_map", m.params(), m.aggs()))
	}
	for _, l := range d.Lines {
		title := "Trip duration to the airports"
		p.add("visualization", "lines-"+l.Query+"-"+l.Average, width, high,
			p.visualisation("", title, "vega", object{"spec": text(l.spec(p.alias(l.Query)))}, nil))
	}
	p.add("visualization", "late-by-query", width, low, p.visualisation(sink.LateQuery, "Late trips by query", "table", tableParams, []object{
		metric("1", "count", "", "Late trips"), metric("3", "max", "late_ms", "Latest by, ms"), terms("2", "late_for", "Query"),
	}))
	p.add("visualization", "dead-by-reason", width, low, p.visualisation(sink.DeadQuery, "Dead letters by reason", "table", tableParams, []object{
		metric("1", "count", "", "Dead letters"), terms("2", "reason", "Reason"),
	}))
	p.add("search", "late-trips", 2*width, low, p.search(sink.LateQuery, "Late trips", [][]string{{timeFields[sink.LateQuery], "desc"}},
		"late_ms", "late_for", "watermark", "pickup_cell", "dropoff_cell", "airport_code", "duration_ms", "total_cents", "shard", "position"))
	p.add("search", "dead-letters", 2*width, low, p.search(sink.DeadQuery, "Dead letters", [][]string{},
		"reason", "document_id", "shard", "position", "size", "raw"))
	p.dashboard(d)
	return p.out.Bytes(), nil
}

// timeFields are those by which the picker of the time range selects documents.
// Dead letters have no time.
var timeFields = map[string]string{sink.LateQuery: "event_time", sink.DeadQuery: ""}

func timeField(query string) string {
	if f, ok := timeFields[query]; ok {
		return f
	}
	return "timestamp"
}

// page collects saved objects, and lays panels out in rows of 48 columns.
type page struct {
	o          Options
	out        bytes.Buffer
	panels     []object
	references []object
	x, y, tall int
}

// The states of the objects' formats that are written here. OpenSearch
// Dashboards 1, 2 and 3 have the same ones, from before they left Kibana.
var migrations = map[string]string{"index-pattern": "7.6.0", "visualization": "7.10.0", "search": "7.9.3", "dashboard": "7.9.3"}

func (p *page) alias(query string) string { return AliasName(p.o.Prefix, p.o.serve(), query) }

func (p *page) id(name string) string { return "tripgrid-" + p.alias(name) }

// object writes one line.
func (p *page) object(kind, id string, attributes object, references []object) {
	p.out.WriteString(text(object{
		"type": kind, "id": id, "attributes": attributes, "references": append([]object{}, references...),
		"migrationVersion": object{kind: migrations[kind]},
	}))
	p.out.WriteByte('\n')
}

// text is the JSON of plain values; some of it goes into JSON as a string.
func text(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // maps of plain values
	return string(bytes.TrimSpace(b.Bytes()))
}

// indexPattern leaves the fields out: Dashboards reads them from the mapping
// when the pattern is used for the first time.
func (p *page) indexPattern(query string) {
	a := object{"title": p.alias(query)}
	if f := timeField(query); f != "" {
		a["timeFieldName"] = f
	}
	p.object("index-pattern", p.id(query), a, nil)
}

const indexRef = "kibanaSavedObjectMeta.searchSourceJSON.index"

// source is the part of an object that says what it searches; of nothing if
// query is empty.
func (p *page) source(query string) (meta object, references []object) {
	s := object{"query": object{"query": "", "language": "kuery"}, "filter": []object{}}
	if query != "" {
		s["indexRefName"] = indexRef
		references = []object{{"name": indexRef, "type": "index-pattern", "id": p.id(query)}}
	}
	return object{"searchSourceJSON": text(s)}, references
}

type content struct {
	attributes object
	references []object
}

func (p *page) visualisation(query, title, kind string, params object, aggs []object) content {
	title = p.alias("") + ": " + title
	source, references := p.source(query)
	return content{object{
		"title": title, "description": "", "version": 1, "uiStateJSON": "{}", "kibanaSavedObjectMeta": source,
		"visState": text(object{"title": title, "type": kind, "params": params, "aggs": append([]object{}, aggs...)}),
	}, references}
}

func (p *page) search(query, title string, sort [][]string, columns ...string) content {
	source, references := p.source(query)
	return content{object{
		"title": p.alias("") + ": " + title, "description": "", "version": 1, "hits": 0, "columns": columns, "sort": sort,
		"kibanaSavedObjectMeta": source,
	}, references}
}

// add writes an object and puts it on the dashboard, beside the last one if
// there is room.
func (p *page) add(kind, name string, w, h int, c content) {
	p.object(kind, p.id(name), c.attributes, c.references)
	if p.x+w > 48 {
		p.x, p.y, p.tall = 0, p.y+p.tall, 0
	}
	i, ref := fmt.Sprint(len(p.panels)+1), fmt.Sprintf("panel_%d", len(p.panels))
	p.panels = append(p.panels, object{
		"panelIndex": i, "panelRefName": ref, "embeddableConfig": object{}, "version": migrations["dashboard"],
		"gridData": object{"x": p.x, "y": p.y, "w": w, "h": h, "i": i},
	})
	p.references = append(p.references, object{"name": ref, "type": kind, "id": p.id(name)})
	p.x, p.tall = p.x+w, max(p.tall, h)
}

func (p *page) dashboard(d Dashboard) {
	source, _ := p.source("")
	p.object("dashboard", p.id(""), object{
		"title": "tripgrid " + p.alias(""), "description": "Pick-ups, trips to the airports, late trips and dead letters", "hits": 0, "version": 1,
		"panelsJSON": text(p.panels), "optionsJSON": text(object{"hidePanelTitles": false, "useMargins": true}),
		"timeRestore": true, "timeFrom": orDefault(d.From, "now-20y"), "timeTo": orDefault(d.To, "now+1y"),
		"refreshInterval": object{"pause": false, "value": 30_000}, "kibanaSavedObjectMeta": source,
	}, p.references)
}
