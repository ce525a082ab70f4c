package window_test

import (
	"fmt"
	"time"

	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/window"
)

// A third query beside the reference's two: the fares of long rides by hour and
// coarse pick-up cell.
func Example() {
	queries, err := window.Queries(trip.GeofenceBBox, 10*time.Minute)
	if err != nil {
		panic(err)
	}
	queries = append(queries, window.Query{
		Name:   "long_rides",
		Key:    []window.Field{{Of: window.PickupCell, Precision: 5}},
		Filter: window.Filter{Duration: &window.DurationRange{Above: time.Hour, UpTo: 3 * time.Hour}},
		Window: time.Hour,
		Aggregates: []window.Aggregate{
			{Name: "rides", Op: window.Count},
			{Name: "avg_cents", Op: window.Average, Of: window.TotalCents},
		},
	})
	for _, q := range queries {
		fmt.Println(q.Name, q.Validate(), q.Hash()[:12])
	}
	fmt.Println("partitioned at precision", window.Precision(queries))
	// Output:
	// pickup_count <nil> 10eb9531f160
	// trip_duration <nil> 941fed2d8a58
	// long_rides <nil> 6c4790f33f15
	// partitioned at precision 5
}
