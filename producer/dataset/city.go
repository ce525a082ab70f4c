package dataset

import (
	"sync"

	"github.com/tripgrid/tripgrid/trip"
)

// weekCurve returns the sum of the weights of all minutes before each minute of
// a week, which begins on Monday.
var weekCurve = sync.OnceValue(func() *[minutesPerWeek + 1]int64 {
	var sums [minutesPerWeek + 1]int64
	for m := range minutesPerWeek {
		day, hour := m/(24*60), m/60%24
		nextDay, nextHour := (day+(hour+1)/24)%7, (hour+1)%24
		// Straight lines from hour to hour.
		weight := int64(60-m%60)*hourly[dayKind(day)][hour] + int64(m%60)*hourly[dayKind(nextDay)][nextHour]
		sums[m+1] = sums[m] + weight
	}
	return &sums
})

// hourly are the relative numbers of drop-offs at each full hour.
var hourly = [...][24]int64{
	{30, 18, 11, 8, 9, 14, 35, 62, 78, 80, 76, 76, 80, 79, 82, 78, 68, 80, 100, 105, 98, 92, 80, 55},     // Monday to Thursday
	{38, 24, 15, 11, 11, 14, 34, 60, 76, 78, 75, 76, 80, 79, 82, 78, 68, 80, 100, 110, 105, 100, 98, 90}, // Friday
	{85, 72, 58, 44, 28, 14, 18, 26, 40, 56, 66, 74, 80, 80, 80, 80, 74, 82, 98, 108, 100, 96, 98, 96},   // Saturday
	{94, 82, 68, 52, 34, 16, 16, 22, 34, 50, 64, 72, 78, 78, 78, 76, 70, 72, 76, 72, 66, 60, 52, 42},     // Sunday
}

func dayKind(day int) int { return max(0, day-3) }

// speeds are metres per ten seconds in the streets at each hour.
var speeds = [24]int64{65, 70, 75, 80, 80, 75, 62, 50, 43, 42, 42, 41, 41, 41, 41, 42, 43, 41, 42, 46, 50, 53, 56, 60}

// place is where trips begin and end: around a point, in millionths of a degree.
type place struct {
	lat, lon, spread int64
	from, to         int64 // weights of pick-ups and drop-offs
}

var places = []place{
	{40_758_000, -73_985_500, 2500, 70, 60}, // Times Square
	{40_750_600, -73_993_500, 1800, 62, 52}, // Penn Station
	{40_752_700, -73_977_200, 1800, 60, 55}, // Grand Central
	{40_760_100, -73_979_000, 2200, 62, 58}, // Rockefeller Center
	{40_757_000, -73_990_300, 1500, 32, 24}, // Port Authority
	{40_749_700, -73_987_800, 2000, 36, 32}, // Herald Square
	{40_768_100, -73_981_900, 2200, 40, 36}, // Columbus Circle
	{40_772_500, -73_983_500, 2200, 30, 28}, // Lincoln Center
	{40_763_500, -73_970_500, 2600, 48, 46}, // East 59th Street
	{40_773_600, -73_956_600, 3500, 58, 58}, // Upper East Side
	{40_779_500, -73_955_500, 3500, 48, 48}, // East 86th Street
	{40_787_000, -73_975_400, 4000, 52, 52}, // Upper West Side
	{40_747_900, -73_975_700, 2500, 40, 38}, // Murray Hill
	{40_736_800, -73_984_500, 2500, 40, 38}, // Gramercy
	{40_735_900, -73_991_100, 2000, 48, 44}, // Union Square
	{40_741_100, -73_989_700, 2200, 42, 40}, // Flatiron
	{40_746_500, -74_001_400, 3000, 38, 36}, // Chelsea
	{40_740_800, -74_007_000, 1800, 30, 26}, // Meatpacking District
	{40_734_500, -74_003_600, 2500, 34, 32}, // West Village
	{40_727_300, -73_984_000, 3000, 44, 40}, // East Village
	{40_720_900, -73_987_300, 2500, 30, 28}, // Lower East Side
	{40_723_300, -74_002_000, 2500, 36, 34}, // SoHo
	{40_716_300, -74_008_600, 2500, 24, 26}, // Tribeca
	{40_707_500, -74_011_300, 3000, 30, 34}, // Financial District
	{40_811_600, -73_946_500, 8000, 12, 20}, // Harlem
	{40_714_300, -73_961_400, 5000, 12, 18}, // Williamsburg
	{40_692_500, -73_986_600, 6000, 10, 18}, // Downtown Brooklyn
	{40_671_000, -73_981_400, 8000, 6, 14},  // Park Slope
	{40_744_700, -73_948_500, 5000, 6, 11},  // Long Island City
	{40_764_400, -73_923_500, 7000, 6, 12},  // Astoria
	{40_755_700, -73_883_100, 9000, 2, 6},   // Jackson Heights
	{40_767_400, -73_833_000, 9000, 1, 4},   // Flushing
	{40_844_800, -73_894_800, 14_000, 2, 8}, // the Bronx
	{40_644_000, -73_782_600, 2600, 34, 24}, // JFK
	{40_772_800, -73_870_800, 1700, 36, 30}, // LaGuardia
}

const (
	placeJFK = 33
	placeLGA = 34
)

// outskirts lie outside of New York by either geofence.
var outskirts = []place{
	{40_689_500, -74_174_500, 4000, 5, 9},   // Newark airport
	{40_735_700, -74_172_400, 9000, 1, 3},   // Newark
	{41_034_000, -73_762_900, 15_000, 2, 4}, // White Plains
	{40_749_800, -73_600_000, 20_000, 2, 4}, // Nassau County
}

// chooser draws places by their weights.
type chooser struct {
	places []place
	sums   [2][]int64 // of pick-ups, of drop-offs
}

var (
	city   = newChooser(places)
	beyond = newChooser(outskirts)
)

func newChooser(places []place) *chooser {
	c := &chooser{places: places}
	from, to := int64(0), int64(0)
	for _, p := range places {
		from, to = from+p.from, to+p.to
		c.sums[0], c.sums[1] = append(c.sums[0], from), append(c.sums[1], to)
	}
	return c
}

// draw returns a place and a point around it, for a pick-up (0) or drop-off (1).
func (c *chooser) draw(end int, random *random) (index int, lat, lon int64) {
	sums := c.sums[end]
	weight := random.below(sums[len(sums)-1])
	for sums[index] <= weight {
		index++
	}
	p := &c.places[index]
	return index, p.lat + scatter(p.spread, random), p.lon + scatter(p.spread+p.spread/4, random)
}

// scatter draws from a bell curve around 0 with a standard deviation.
func scatter(deviation int64, random *random) int64 {
	x := random.next()
	sum := int64(x&0xffff + x>>16&0xffff + x>>32&0xffff + x>>48)
	return (sum - 2*0xffff) * deviation / 37_837
}

// degrees are as TLC's files have them from 2015 on: from a 32-bit float.
func degrees(millionths int64) float64 {
	return float64(float32(float64(millionths) / 1e6))
}

// The shares of TLC's known dirt, in millionths; the rest is as it should be.
const (
	shareZero     = 13_000                // no coordinates at all
	shareHalfZero = shareZero + 2_000     // none of one end
	shareBackward = shareHalfZero + 600   // drop-off before the pick-up
	shareDay      = shareBackward + 2_000 // 24 hours
	shareWild     = shareDay + 500        // somewhere on earth
	shareNothing  = shareWild + 300       // no duration
	shareOutside  = shareNothing + 11_000 // an end outside of New York
	shares        = int64(1_000_000)
)

// ride makes the trip that ends at dropoff, at that hour of the day, with whole
// minutes if its vendor reports these.
func ride(t *trip.Trip, dropoff int64, whole bool, hour int, random *random) {
	kind := random.below(shares)
	start, fromLat, fromLon := city.draw(0, random)
	end, toLat, toLon := city.draw(1, random)
	if kind >= shareNothing && kind < shareOutside {
		if kind%4 == 0 {
			start, fromLat, fromLon = beyond.draw(0, random)
		} else {
			end, toLat, toLon = beyond.draw(1, random)
		}
		start, end = -1-start, -1-end // no airports
	}
	metres := (abs(fromLat-toLat)*111 + abs(fromLon-toLon)*84) / 1000
	// Streets for five kilometres, then highways at three times their speed.
	streets := min(metres, 5000)
	took := 60 + (streets*10+(metres-streets)*10/3)/speeds[hour]
	took = took * (75 + random.below(61)) / 100
	switch {
	case kind >= shareHalfZero && kind < shareBackward:
		took = -1 - random.below(3600)
	case kind >= shareBackward && kind < shareDay:
		took = 86_400 - random.below(900)
	case kind >= shareWild && kind < shareNothing:
		took = 0
	}
	if whole {
		took = took / 60 * 60
	}
	t.Dropoff = dropoff
	t.Pickup = dropoff - took*second
	t.TotalCents = fare(metres, took, start == placeJFK || end == placeJFK, random)
	switch {
	case kind < shareZero:
		fromLat, fromLon, toLat, toLon = 0, 0, 0, 0
	case kind < shareHalfZero && kind%2 == 0:
		fromLat, fromLon = 0, 0
	case kind < shareHalfZero:
		toLat, toLon = 0, 0
	case kind >= shareDay && kind < shareWild && kind%2 == 0:
		fromLat, fromLon = fromLon, fromLat
	case kind >= shareDay && kind < shareWild:
		toLat, toLon = random.below(180_000_001)-90_000_000, random.below(360_000_001)-180_000_000
	}
	t.PickupLat, t.PickupLon = degrees(fromLat), degrees(fromLon)
	t.DropoffLat, t.DropoffLon = degrees(toLat), degrees(toLon)
}

// fare returns the total in cents: a base and a rate, flat to and from JFK, and
// more often than not a tip of a fifth.
func fare(metres, seconds int64, flat bool, random *random) int64 {
	cents := 330 + (metres*155/1000+max(0, min(seconds, 7200))*2/10)/50*50
	if flat {
		cents = 5200 + 554 + 80
	}
	if random.below(10) < 6 {
		cents += cents / 5
	}
	return cents
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}
