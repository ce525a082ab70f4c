package dataset

import (
	"strings"

	"github.com/tripgrid/tripgrid/trip"
)

// kinds are what a file was found to have: a set.
type kinds uint8

const (
	kindCoordinates kinds = 1 << iota // CSV under a header
	kindZones
	kindPartial // without all columns that are needed
	kindDEBS
	kindRides
	kindJSON
	kindParquet // and one of the first three
)

// String says it for people.
func (k kinds) String() string {
	table := "CSV"
	if k&kindParquet != 0 {
		table = "Parquet"
	}
	var all []string
	for _, one := range []struct {
		kind kinds
		name string
	}{
		{kindCoordinates, table + " with coordinates"}, {kindZones, table + " with zone ids"},
		{kindPartial, table + " that lacks columns"}, {kindDEBS, "CSV of DEBS 2015"},
		{kindRides, "ride events"}, {kindJSON, "JSON lines"},
	} {
		if k&one.kind != 0 {
			all = append(all, one.name)
		}
	}
	if all == nil {
		return "unknown"
	}
	return strings.Join(all, " and ")
}

// kind is what rows under a header are.
func (l *layout) kind() kinds {
	if l.debs {
		return kindDEBS
	}
	for _, i := range l.needed() {
		if i < 0 {
			return kindPartial
		}
	}
	if l.zones {
		return kindZones
	}
	return kindCoordinates
}

// bounds are the least and the greatest times of trips.
type bounds struct{ firstPickup, lastPickup, firstDropoff, lastDropoff int64 }

// nothing covers no trip.
var nothing = bounds{trip.FinalWatermark, -1 << 63, trip.FinalWatermark, -1 << 63}

func (b *bounds) add(t *trip.Trip) {
	b.firstPickup, b.lastPickup = min(b.firstPickup, t.Pickup), max(b.lastPickup, t.Pickup)
	b.firstDropoff, b.lastDropoff = min(b.firstDropoff, t.Dropoff), max(b.lastDropoff, t.Dropoff)
}

func (b *bounds) span() Span {
	if b.lastPickup < b.firstPickup {
		return Span{}
	}
	return Span{trip.Time(b.firstPickup), trip.Time(b.lastPickup), trip.Time(b.firstDropoff), trip.Time(b.lastDropoff)}
}
