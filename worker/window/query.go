package window

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/trip"
)

// Query declares a windowed aggregation. A Query is data: New compiles it.
type Query struct {
	// Name goes into documents and their ids: lower-case letters, digits and
	// underscores.
	Name string
	// Key groups the trips. It needs a PickupCell, which puts all trips of a
	// group into one partition.
	Key []Field
	// Filter says which trips take part; the zero Filter takes all.
	Filter Filter
	// Window is the length of the tumbling windows, whole seconds. Windows
	// begin at every multiple of it since 1970-01-01T00:00:00Z.
	Window time.Duration
	// Aggregates are the results of a group, in the documents' order.
	Aggregates []Aggregate
	// MinCount is how many trips a group needs to be emitted; 0 means 1.
	MinCount uint64
}

// Field is one part of a key.
type Field struct {
	Of Source
	// Precision of a cell, 1 to 12.
	Precision int
}

// Source is what of a trip a key is made of.
type Source uint8

const (
	// PickupCell is the geohash cell of the pick-up.
	PickupCell Source = iota + 1
	// DropoffAirport is the airport of the drop-off, if any.
	DropoffAirport
	// DropoffCell is the geohash cell of the drop-off. No query can have it
	// yet: its groups span partitions (DESIGN.md, section 4).
	DropoffCell
)

func (s Source) String() string {
	switch s {
	case PickupCell:
		return "the pick-up cell"
	case DropoffAirport:
		return "the drop-off airport"
	case DropoffCell:
		return "the drop-off cell"
	}
	return fmt.Sprintf("source %d", s)
}

// Filter says which trips take part in a query.
type Filter struct {
	// Airport keeps only trips to an airport.
	Airport bool
	// Duration keeps only trips of such a duration; nil keeps all.
	Duration *DurationRange
}

// DurationRange is Above < duration <= UpTo.
type DurationRange struct{ Above, UpTo time.Duration }

// Aggregate is one number of a group.
type Aggregate struct {
	Name string // of the document's field
	Op   Op
	Of   Measure // Sum and Average only
}

// Op is how an aggregate is computed.
type Op uint8

const (
	Count Op = iota + 1
	Sum
	// Average is the sum divided by the count, as a float.
	Average
)

// Measure is what of a trip is aggregated.
type Measure uint8

const (
	// DurationMinutes are whole minutes of the exact duration, truncated toward
	// zero, trip by trip.
	DurationMinutes Measure = iota + 1
	// TotalCents is the fare with everything.
	TotalCents
)

// maxQueries bounds the queries of a job: a late trip's queries are a bit set.
const maxQueries = 64

// reserved are the fields that every document has.
var reserved = []string{"query", "cell", "airport_code", "window_start", "window_end", "timestamp", "location"}

// Validate says, by the query's name, what is wrong with it.
func (q Query) Validate() error {
	refuse := func(format string, a ...any) error {
		return fmt.Errorf("query %q: "+format, append([]any{q.Name}, a...)...)
	}
	if !identifier(q.Name) {
		return refuse("a name has 1 to 64 lower-case letters, digits and underscores")
	}
	if q.Name == sink.LateQuery || q.Name == sink.DeadQuery {
		return refuse("the name is taken by documents of late trips or dead letters")
	}
	if err := q.validateKey(); err != nil {
		return refuse("%w", err)
	}
	if q.Window <= 0 || q.Window%time.Second != 0 || q.Window > 366*24*time.Hour {
		return refuse("the window %s is not a whole number of seconds up to 366 days", q.Window)
	}
	if d := q.Filter.Duration; d != nil && d.UpTo <= d.Above {
		return refuse("no duration is above %s and up to %s", d.Above, d.UpTo)
	}
	if len(q.Aggregates) == 0 {
		return refuse("it has no aggregates")
	}
	for i, a := range q.Aggregates {
		same := func(b Aggregate) bool { return a.Name == b.Name }
		switch {
		case !identifier(a.Name) || slices.Contains(reserved, a.Name):
			return refuse("%q cannot name an aggregate", a.Name)
		case slices.IndexFunc(q.Aggregates, same) != i:
			return refuse("two aggregates are named %q", a.Name)
		case a.Op < Count || a.Op > Average:
			return refuse("aggregate %q has the unknown operation %d", a.Name, a.Op)
		case a.Op == Count && a.Of != 0:
			return refuse("aggregate %q counts trips and is of nothing else", a.Name)
		case a.Op != Count && a.Of != DurationMinutes && a.Of != TotalCents:
			return refuse("aggregate %q is of the unknown measure %d", a.Name, a.Of)
		}
	}
	return nil
}

func (q Query) validateKey() error {
	for i, f := range q.Key {
		switch {
		case f.Of != PickupCell && f.Of != DropoffAirport:
			return fmt.Errorf("a key with %s is not a function of the pick-up cell, "+
				"whose partition holds the group: not supported yet", f.Of)
		case f.Of == PickupCell && (f.Precision < 1 || f.Precision > trip.MaxPrecision):
			return fmt.Errorf("the key's cell has precision %d, not 1 to %d", f.Precision, trip.MaxPrecision)
		case f.Of == DropoffAirport && f.Precision != 0:
			return errors.New("an airport has no precision")
		case slices.ContainsFunc(q.Key[:i], func(g Field) bool { return g.Of == f.Of }):
			return fmt.Errorf("the key has %s twice", f.Of)
		}
	}
	if q.precision() == 0 {
		return errors.New("a key without the pick-up cell is not a function of it, " +
			"and its groups would span partitions: not supported yet")
	}
	return nil
}

func identifier(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// precision is that of the key's pick-up cell, 0 if there is none.
func (q Query) precision() int {
	for _, f := range q.Key {
		if f.Of == PickupCell {
			return f.Precision
		}
	}
	return 0
}

func (q Query) byAirport() bool {
	return slices.ContainsFunc(q.Key, func(f Field) bool { return f.Of == DropoffAirport })
}

func (q Query) minCount() uint64 { return max(q.MinCount, 1) }

// Hash identifies the definition: the hex SHA-256 of a text of all fields.
// State of another definition is refused.
func (q Query) Hash() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tripgrid query 1\nname %s\nwindow %d\nmin %d\n", q.Name, q.Window, q.minCount())
	for _, f := range q.Key {
		fmt.Fprintf(&b, "key %d %d\n", f.Of, f.Precision)
	}
	fmt.Fprintf(&b, "airport %t\n", q.Filter.Airport)
	if d := q.Filter.Duration; d != nil {
		fmt.Fprintf(&b, "duration %d %d\n", d.Above, d.UpTo)
	}
	for _, a := range q.Aggregates {
		fmt.Fprintf(&b, "aggregate %s %d %d\n", a.Name, a.Op, a.Of)
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}
