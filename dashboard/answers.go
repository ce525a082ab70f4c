package dashboard

import (
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/mmcloughlin/geohash"
)

// CellsAnswer is the answer of /api/cells: the windows from Start to End, added
// up. Without any window yet, Start and
// End are 0 and there are no cells.
type CellsAnswer struct {
	Start int64     `json:"start"` // seconds since 1970
	End   int64     `json:"end"`
	Total int64     `json:"total"` // of all cells
	Cells []CellBox `json:"cells"`
}

// CellBox is a cell with its edges, in degrees.
type CellBox struct {
	Geohash string  `json:"cell"`
	South   float64 `json:"south"`
	West    float64 `json:"west"`
	North   float64 `json:"north"`
	East    float64 `json:"east"`
	Count   int64   `json:"count"`
}

// AirportsAnswer is the answer of /api/airports: the part of the asked span that
// has windows, and both 0 if none of it has.
type AirportsAnswer struct {
	From   int64          `json:"from"` // seconds since 1970, of window starts
	To     int64          `json:"to"`   // exclusive
	Points []AirportPoint `json:"points"`
}

// AirportPoint is one airport in one window: the average over all trips that
// ended there, wherever they began.
type AirportPoint struct {
	Start   int64   `json:"start"`
	End     int64   `json:"end"`
	Airport string  `json:"airport"`
	Average float64 `json:"avg_trip_duration"` // minutes: the sum over all cells divided by TripCount
	Trips   int64   `json:"trip_count"`
}

func (s *server) state(ctx context.Context, _ *http.Request) (any, error) {
	v, err := s.source.State(ctx)
	return v.presentable(), err
}

func (s *server) cells(ctx context.Context, r *http.Request) (any, error) {
	w, err := s.source.Windows(ctx)
	if err != nil {
		return nil, err
	}
	start := w.Last
	if r.URL.Query().Get("window") != "latest" {
		if start, err = seconds(r, "window", w.Last); err != nil {
			return nil, err
		}
	}
	answer := CellsAnswer{Cells: []CellBox{}}
	span, err := seconds(r, "span", w.Size)
	if err != nil {
		return nil, err
	}
	if span < 0 || span > maxCellSpan {
		return nil, badRequest{fmt.Errorf("span=%d is not between 0 and %d seconds", span, maxCellSpan)}
	}
	if w.Size == 0 {
		return answer, nil
	}
	answer.End = start + w.Size
	answer.Start = min(start, answer.End-span)
	cells, err := s.source.Cells(ctx, answer.Start, start+1)
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		if geohash.Validate(c.Geohash) != nil || c.Geohash == "" {
			continue // no place on a map
		}
		box := geohash.BoundingBox(c.Geohash)
		answer.Cells = append(answer.Cells, CellBox{Geohash: c.Geohash, Count: c.Count,
			South: round6(box.MinLat), West: round6(box.MinLng), North: round6(box.MaxLat), East: round6(box.MaxLng)})
		answer.Total += c.Count
	}
	return answer, nil
}

// round6 keeps a tenth of a metre.
func round6(v float64) float64 { return math.Round(v*1e6) / 1e6 }

func (s *server) windows(ctx context.Context, r *http.Request) (any, error) {
	from, err := seconds(r, "from", math.MinInt64)
	if err != nil {
		return nil, err
	}
	w, err := s.source.Windows(ctx)
	if err != nil {
		return nil, err
	}
	w.Starts = []int64{}
	if w.Size != 0 {
		if w.Starts, err = s.source.Starts(ctx, from, maxWindows); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (s *server) airports(ctx context.Context, r *http.Request) (any, error) {
	from, err := seconds(r, "from", math.MinInt64)
	if err != nil {
		return nil, err
	}
	to, err := seconds(r, "to", math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if from > to {
		return nil, badRequest{fmt.Errorf("from=%d is after to=%d", from, to)}
	}
	answer := AirportsAnswer{Points: []AirportPoint{}}
	starts, err := s.source.Starts(ctx, from, maxWindows)
	if err != nil || len(starts) == 0 {
		return answer, err
	}
	answer.From, answer.To = max(from, starts[0]), min(to, starts[len(starts)-1]+1)
	if answer.From >= answer.To {
		return AirportsAnswer{Points: answer.Points}, nil
	}
	sums, err := s.source.Airports(ctx, answer.From, answer.To)
	if err != nil {
		return nil, err
	}
	for _, v := range sums {
		if v.Trips > 0 {
			answer.Points = append(answer.Points, AirportPoint{Start: v.Start, End: v.End, Airport: v.Airport,
				Average: math.Round(float64(v.Minutes)/float64(v.Trips)*1000) / 1000, Trips: v.Trips})
		}
	}
	return answer, nil
}
