package window

import (
	"fmt"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

// Names of the queries of the reference architecture.
const (
	PickupCount  = "pickup_count"
	TripDuration = "trip_duration"
)

// DefaultWindow is the window of the reference architecture.
const DefaultWindow = 10 * time.Minute

// CellPrecision is the geohash precision of the reference's cells.
const CellPrecision = 6

// Queries returns the two queries of the reference architecture as the geofence
// profile "bbox" or "seed" has them: seed emits from two trips on and leaves no
// duration out, bbox emits every group and leaves out what TLC's clocks made up
// (durations <= 0 or > 3 h).
func Queries(profile string, window time.Duration) ([]Query, error) {
	minCount, durations := uint64(1), &DurationRange{Above: 0, UpTo: 3 * time.Hour}
	switch profile {
	case trip.GeofenceBBox:
	case trip.GeofenceSeed:
		minCount, durations = 2, nil
	default:
		return nil, fmt.Errorf("queries of profile %q: it is neither %s nor %s", profile, trip.GeofenceBBox, trip.GeofenceSeed)
	}
	queries := []Query{{
		Name:       PickupCount,
		Key:        []Field{{Of: PickupCell, Precision: CellPrecision}},
		Window:     window,
		Aggregates: []Aggregate{{Name: "pickup_count", Op: Count}},
		MinCount:   minCount,
	}, {
		Name:   TripDuration,
		Key:    []Field{{Of: PickupCell, Precision: CellPrecision}, {Of: DropoffAirport}},
		Filter: Filter{Airport: true, Duration: durations},
		Window: window,
		Aggregates: []Aggregate{
			{Name: "trip_count", Op: Count},
			{Name: "sum_trip_duration", Op: Sum, Of: DurationMinutes},
			{Name: "avg_trip_duration", Op: Average, Of: DurationMinutes},
		},
		MinCount: minCount,
	}}
	for _, q := range queries {
		if err := q.Validate(); err != nil {
			return nil, err
		}
	}
	return queries, nil
}
