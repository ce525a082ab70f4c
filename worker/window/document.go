package window

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// stepDocuments is about how many documents a Step carries: a final watermark
// may fire a month of windows.
const stepDocuments = 1024

// firing is the window that is being emitted: its pane has left the state.
type firing struct {
	op         *operator
	pane       *pane
	groups     []slot // the groups not yet emitted, sorted
	memory     []slot // of groups, for reuse
	start, end int64  // seconds
	idPrefix   string // job/query/start/
	fields     []byte // "window_start":...,"window_end":...,
	timestamp  []byte // "timestamp":...,
}

// fire emits the windows that end at or below the watermark, earliest first,
// until a Step is full or none is left.
func (m *Machine) fire() {
	f := &m.firing
	for len(m.docs) < stepDocuments {
		if f.op == nil && !m.nextWindow() {
			return
		}
		for len(f.groups) > 0 && len(m.docs) < stepDocuments {
			if f.groups[0].count >= f.op.query.minCount() {
				m.emitResult(f, &f.groups[0])
			}
			f.groups = f.groups[1:]
		}
		if len(f.groups) == 0 {
			m.panes.put(f.pane)
			f.op, f.pane = nil, nil
		}
	}
}

// nextWindow takes the earliest due pane out of the state; of several queries',
// the first query's.
func (m *Machine) nextWindow() bool {
	var due *operator
	for _, o := range m.operators {
		if len(o.panes) > 0 && o.panes[0].end <= m.watermark && (due == nil || o.panes[0].end < due.panes[0].end) {
			due = o
		}
	}
	if due == nil {
		return false
	}
	f := &m.firing
	f.op, f.pane = due, due.retire()
	f.memory = f.pane.groups.appendSorted(f.memory[:0])
	f.groups = f.memory
	f.start, f.end = f.pane.start/int64(time.Second), f.pane.end/int64(time.Second)
	f.idPrefix = m.cfg.Job + "/" + due.query.Name + "/" + strconv.FormatInt(f.start, 10) + "/"
	f.fields = append(appendTime(append(f.fields[:0], `"window_start":`...), f.pane.start, time.RFC3339), ',')
	f.fields = append(appendTime(append(f.fields, `"window_end":`...), f.pane.end, time.RFC3339), ',')
	f.timestamp = appendTime(append(f.timestamp[:0], `,"timestamp":`...), f.pane.end-int64(time.Millisecond), milliseconds)
	return true
}

const milliseconds = "2006-01-02T15:04:05.000Z07:00"

// emitResult emits one group of the window being fired. The fields come in the
// order of the batch oracle, then those for maps and time charts.
func (m *Machine) emitResult(f *firing, g *slot) {
	cell, airport := f.op.cellOf(g.key), airportOf(g.key).String()
	name := cell.String()
	id := f.idPrefix + name
	b := m.scratch[:0]
	b = append(append(append(b, `{"query":"`...), f.op.query.Name...), `","cell":"`...)
	b = append(append(b, name...), `",`...)
	if airport != "" {
		id += "/" + airport
		b = append(append(append(b, `"airport_code":"`...), airport...), `",`...)
	}
	b = append(b, f.fields...)
	for i, a := range f.op.query.Aggregates {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), a.Name...), `":`...)
		b = appendAggregate(b, a, g)
	}
	b = append(b, f.timestamp...)
	lat, lon := cell.Center()
	b = strconv.AppendFloat(append(b, `,"location":{"lat":`...), lat, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, `,"lon":`...), lon, 'f', -1, 64)
	b = append(b, '}', '}')
	m.emit(b, sink.Document{
		ID: id, Query: f.op.query.Name, WindowStart: f.start, WindowEnd: f.end, Cell: name, Airport: airport,
	})
}

func appendAggregate(b []byte, a Aggregate, g *slot) []byte {
	sum := g.minutes
	if a.Of == TotalCents {
		sum = g.cents
	}
	switch a.Op {
	case Count:
		return strconv.AppendUint(b, g.count, 10)
	case Sum:
		return strconv.AppendInt(b, sum, 10)
	}
	start := len(b)
	b = strconv.AppendFloat(b, float64(sum)/float64(g.count), 'f', -1, 64)
	for _, c := range b[start:] {
		if c == '.' {
			return b
		}
	}
	return append(b, ".0"...) // a float in every reader's eyes
}

// emitLate emits the document of a row that came after its windows had fired.
// queries is the bit set of the queries that it is late for.
func (m *Machine) emitLate(shard stream.ShardID, r *stream.Row, queries uint64) {
	b := m.begin(sink.LateQuery, shard, r.Pos)
	b = appendTime(append(b, `,"event_time":`...), r.EventTime, time.RFC3339Nano)
	if m.watermark == trip.FinalWatermark {
		b = append(b, `,"after_final":true`...)
	} else {
		b = appendTime(append(b, `,"watermark":`...), m.watermark, time.RFC3339Nano)
		b = strconv.AppendInt(append(b, `,"late_ms":`...), (m.watermark-r.EventTime)/int64(time.Millisecond), 10)
	}
	b = append(b, `,"late_for":[`...)
	for i, o := range m.operators {
		if queries&(1<<i) != 0 {
			b = append(append(append(b, '"'), o.query.Name...), `",`...)
		}
	}
	b[len(b)-1] = ']'
	b = append(r.Pickup.AppendText(append(b, `,"pickup_cell":"`...)), '"')
	b = append(r.Dropoff.AppendText(append(b, `,"dropoff_cell":"`...)), '"')
	if r.Airport != trip.NoAirport {
		b = append(append(append(b, `,"airport_code":"`...), r.Airport.String()...), '"')
	}
	b = strconv.AppendInt(append(b, `,"duration_ms":`...), r.Duration/int64(time.Millisecond), 10)
	b = strconv.AppendInt(append(b, `,"total_cents":`...), r.TotalCents, 10)
	m.emit(append(b, '}'), sink.Document{ID: m.recordID(sink.LateQuery, shard, r.Pos), Query: sink.LateQuery})
}

// emitDead emits the document of a record that is no valid event.
func (m *Machine) emitDead(shard stream.ShardID, d *stream.Dead) {
	b := m.begin(sink.DeadQuery, shard, d.Pos)
	b = appendString(append(b, `,"reason":`...), d.Reason)
	b = strconv.AppendUint(append(b, `,"size":`...), uint64(d.Size), 10)
	if d.Size > 0 {
		b = hex.AppendEncode(append(b, `,"sha256":"`...), d.SHA256[:])
		b = append(b, '"')
	}
	if utf8.Valid(d.Raw) {
		b = appendString(append(b, `,"raw":`...), string(d.Raw))
	} else {
		b = base64.StdEncoding.AppendEncode(append(b, `,"raw_base64":"`...), d.Raw)
		b = append(b, '"')
	}
	m.emit(append(b, '}'), sink.Document{ID: m.recordID(sink.DeadQuery, shard, d.Pos), Query: sink.DeadQuery})
}

// begin begins the body of a late trip's or dead letter's document.
func (m *Machine) begin(query string, shard stream.ShardID, pos stream.Position) []byte {
	b := append(append(append(m.scratch[:0], `{"query":"`...), query...), `","shard":`...)
	b = appendString(b, string(shard))
	return appendString(append(b, `,"position":`...), pos.String())
}

// recordID is the id of a late trip's or dead letter's document (R20).
func (m *Machine) recordID(query string, shard stream.ShardID, pos stream.Position) string {
	return m.cfg.Job + "/" + query + "/" + string(shard) + "/" + pos.String()
}

// emit adds a document whose body is b, grown from m.scratch. The body gets its
// own memory: who holds a document until the sink has it holds no other.
func (m *Machine) emit(b []byte, d sink.Document) {
	m.scratch = b
	d.Version = m.version()
	d.Body = bytes.Clone(b)
	m.docs = append(m.docs, d)
}

// appendTime appends a time in ns as a JSON string.
func appendTime(b []byte, ns int64, layout string) []byte {
	return append(time.Unix(0, ns).UTC().AppendFormat(append(b, '"'), layout), '"')
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	j, _ := json.Marshal(s) // no string fails
	return append(b, j...)
}
