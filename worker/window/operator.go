package window

import (
	"cmp"
	"slices"
	"time"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// operator is a compiled query and its open panes. Every pane ends after the
// partition's watermark; the machine fires the others at once.
type operator struct {
	query     Query
	hash      string
	precision int
	byAirport bool
	minutes   bool // a measure is aggregated
	cents     bool
	airport   bool // the filter
	durations bool // the filter: above < d <= upto
	above     int64
	upto      int64
	length    int64 // of a pane, ns

	panes []*pane // open, sorted by start
	last  *pane   // that took the last trip, or nil

	filtered, late, open, retired uint64 // trips
}

func newOperator(q Query) *operator {
	o := &operator{
		query: q, hash: q.Hash(), precision: q.precision(), byAirport: q.byAirport(),
		airport: q.Filter.Airport, length: int64(q.Window),
	}
	if d := q.Filter.Duration; d != nil {
		o.durations, o.above, o.upto = true, int64(d.Above), int64(d.UpTo)
	}
	for _, a := range q.Aggregates {
		o.minutes = o.minutes || a.Of == DurationMinutes
		o.cents = o.cents || a.Of == TotalCents
	}
	return o
}

// A key is the 5*precision bits of the cell, and the airport in the lowest four
// bits: keys of a query are ordered by cell, then airport.
const airportBits = 4

func (o *operator) key(r *stream.Row) uint64 {
	k := r.Pickup.Bits() >> (5 * (trip.MaxPrecision - o.precision)) << airportBits
	if o.byAirport {
		k |= uint64(r.Airport)
	}
	return k
}

// cellOf is the cell of a key.
func (o *operator) cellOf(key uint64) trip.Cell {
	return trip.Cell(uint64(o.precision)<<60 | key>>airportBits)
}

func airportOf(key uint64) trip.Airport { return trip.Airport(key & (1<<airportBits - 1)) }

// apply adds rows to the panes. Rows whose windows have fired are counted late
// and get this query's bit in late, which has a word for each row; it tells
// whether there were any.
func (o *operator) apply(rows []stream.Row, watermark int64, panes *pool, late []uint64, bit uint64) bool {
	var filtered, lates uint64
	p := o.last
	for i := range rows {
		r := &rows[i]
		if o.airport && r.Airport == trip.NoAirport || o.durations && (r.Duration <= o.above || r.Duration > o.upto) {
			filtered++
			continue
		}
		if p == nil || r.EventTime < p.start || r.EventTime >= p.end {
			q := o.pane(r.EventTime, watermark, panes)
			if q == nil {
				lates++
				late[i] |= bit
				continue
			}
			p = q
		}
		p.trips++
		s := p.groups.at(o.key(r))
		s.count++
		if o.minutes {
			s.minutes += r.Duration / int64(time.Minute)
		}
		if o.cents {
			s.cents += r.TotalCents
		}
	}
	o.last = p
	o.filtered += filtered
	o.late += lates
	o.open += uint64(len(rows)) - filtered - lates
	return lates > 0
}

// pane returns the pane of an event time, nil if it has fired.
func (o *operator) pane(t, watermark int64, panes *pool) *pane {
	start := floorDiv(t, o.length) * o.length
	end := start + o.length
	if end <= watermark {
		return nil
	}
	i, found := slices.BinarySearchFunc(o.panes, start, func(p *pane, start int64) int { return cmp.Compare(p.start, start) })
	if !found {
		o.panes = slices.Insert(o.panes, i, panes.get(start, end))
	}
	return o.panes[i]
}

// floorDiv rounds down, also before 1970.
func floorDiv(a, b int64) int64 {
	q := a / b
	if q*b > a {
		q--
	}
	return q
}

// retire takes the oldest pane out of the state.
func (o *operator) retire() *pane {
	p := o.panes[0]
	o.panes = slices.Delete(o.panes, 0, 1)
	if o.last == p {
		o.last = nil
	}
	o.open -= p.trips
	o.retired += p.trips
	return p
}
