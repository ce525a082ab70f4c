package dashboard

import (
	"context"

	"github.com/tripgrid/tripgrid/sink"
)

// Source is what the dashboard shows. Its methods are called from several
// goroutines, about once a second for each page that is open.
type Source interface {
	// State reports the state of the run now.
	State(ctx context.Context) (State, error)
	// Windows reports the span of the windows that have pick-ups; Starts is
	// left empty.
	Windows(ctx context.Context) (Windows, error)
	// Starts returns the starts of the windows at from or later that have
	// pick-ups, in order; if there are more than limit, the newest.
	Starts(ctx context.Context, from int64, limit int) ([]int64, error)
	// Cells returns the pick-ups by cell, added up over the windows that begin
	// at from or later and before to.
	Cells(ctx context.Context, from, to int64) ([]Cell, error)
	// Airports returns the sums of the windows that begin at from or later and
	// before to, by window and airport.
	Airports(ctx context.Context, from, to int64) ([]AirportSum, error)
}

// NewSource is a Source of the results in db and of what state reports.
func NewSource(db *sink.SQLite, state func(context.Context) (State, error)) Source {
	return results{db: db, state: state}
}

type results struct {
	db    *sink.SQLite
	state func(context.Context) (State, error)
}

const (
	pickups      = "pickup_count" // the query of the map
	pickupsField = "pickup_count" // and the field of its documents
)

func (r results) State(ctx context.Context) (State, error) { return r.state(ctx) }

func (r results) Windows(ctx context.Context) (Windows, error) {
	first, last, ok, err := r.db.Windows(ctx, pickups)
	if err != nil || !ok {
		return Windows{}, err
	}
	size := first.End - first.Start
	return Windows{First: first.Start, Last: last.Start, Size: size, Step: size}, nil
}

func (r results) Starts(ctx context.Context, from int64, limit int) ([]int64, error) {
	return r.db.Starts(ctx, pickups, from, limit)
}

func (r results) Cells(ctx context.Context, from, to int64) ([]Cell, error) {
	values, err := r.db.Cells(ctx, pickups, pickupsField, from, to)
	if err != nil {
		return nil, err
	}
	cells := make([]Cell, len(values))
	for i, v := range values {
		cells[i] = Cell{Geohash: v.Cell, Count: v.Value}
	}
	return cells, nil
}

func (r results) Airports(ctx context.Context, from, to int64) ([]AirportSum, error) {
	values, err := r.db.Airports(ctx, from, to)
	if err != nil {
		return nil, err
	}
	sums := make([]AirportSum, len(values))
	for i, v := range values {
		sums[i] = AirportSum{Start: v.Window.Start, End: v.Window.End, Airport: v.Airport, Trips: v.Trips, Minutes: v.Minutes}
	}
	return sums, nil
}
