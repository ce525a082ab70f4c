package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sort"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

// generatorVersion changes whenever the same options give other trips.
const generatorVersion = "tripgrid generator 1\n"

// Defaults of GeneratorOptions: a Monday, and what yellow taxis drive.
const (
	DefaultPerDay = 430_000
	maxPerDay     = 1_000_000_000
)

// DefaultStart is the default of GeneratorOptions.Start.
var DefaultStart = time.Date(2016, 1, 4, 0, 0, 0, 0, time.UTC)

// GeneratorOptions say which trips Generate makes. The zero value is one day.
type GeneratorOptions struct {
	// Seed chooses the trips; every seed has the same shape.
	Seed uint64
	// Trips is how many there are; 0: as many as Duration has.
	Trips int64
	// Duration is how long drop-offs go on, in whole minutes; 0: 24 hours. It
	// must be 0 if Trips is given.
	Duration time.Duration
	// Start is the minute of the first drop-offs; zero: DefaultStart. The daily
	// and weekly curves follow the clock of UTC.
	Start time.Time
	// PerDay is the mean number of trips a day over a week; 0: DefaultPerDay.
	PerDay int64
}

// Validate refuses negative and contradictory options, and trips beyond the
// years that a trip's times can have.
func (o GeneratorOptions) Validate() error {
	_, err := newGenerated(o)
	return err
}

// Generate makes a Dataset of trips with New York's shape: hot cells in Manhattan,
// a daily and a weekly curve, both airports in both directions, half of all
// drop-offs on whole minutes, coordinates from 32-bit floats, and TLC's known
// dirt. It takes no memory for its trips. It panics if opt is not valid.
func Generate(opt GeneratorOptions) Dataset {
	g, err := newGenerated(opt)
	if err != nil {
		panic(err)
	}
	return g
}

// generated is the Dataset of Generate. Trips have a second index, their ordinal,
// which counts from the first week of 1970 on, so that trips of one minute are
// the same whatever the start is. The trips of minute m (which counts from Monday,
// 1969-12-29, on) have the ordinals from boundary(m) to boundary(m+1) - 1.
type generated struct {
	seed     uint64
	week     int64                     // trips in a week
	curve    [minutesPerWeek + 1]int64 // trips in a week before each of its minutes
	start    int64                     // ordinal of trip 0
	identity Identity
}

const (
	minutesPerWeek = 7 * 24 * 60
	toMonday       = 3 * 24 * 60 // 1970 began on a Thursday
	second         = int64(time.Second)
)

func newGenerated(o GeneratorOptions) (*generated, error) {
	if o.PerDay == 0 {
		o.PerDay = DefaultPerDay
	}
	if o.Start.IsZero() {
		o.Start = DefaultStart
	}
	if o.Trips == 0 && o.Duration == 0 {
		o.Duration = 24 * time.Hour
	}
	const years = "1680 to 2260"
	switch {
	case o.Trips < 0 || o.Duration < 0:
		return nil, errors.New("generate trips: a negative number of trips or a negative duration: give one above 0")
	case o.Trips > 0 && o.Duration > 0:
		return nil, errors.New("generate trips: both a number of trips and a duration are given: leave one of them out")
	case o.PerDay < 0 || o.PerDay > maxPerDay:
		return nil, fmt.Errorf("generate trips: %d trips a day: give 1 to %d", o.PerDay, maxPerDay)
	case o.Start.Year() < 1680 || o.Start.Year() > 2260:
		return nil, fmt.Errorf("generate trips: the start is in the year %d: give one from %s", o.Start.Year(), years)
	}
	g := &generated{seed: o.Seed, week: 7 * o.PerDay}
	for minute, weight := range weekCurve() {
		g.curve[minute] = g.week * weight / weekCurve()[minutesPerWeek]
	}
	first := floorDiv(o.Start.Unix(), 60) + toMonday
	g.start = g.boundary(first)
	trips := o.Trips
	if trips == 0 {
		trips = g.boundary(first+int64((o.Duration+time.Minute-1)/time.Minute)) - g.start
	}
	if trips == 0 {
		return nil, fmt.Errorf("generate trips: %v with %d trips a day has no trip: give more", o.Duration, o.PerDay)
	}
	lastMinute := time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC).Unix()/60 + toMonday
	if trips > g.boundary(lastMinute)-g.start {
		return nil, fmt.Errorf("generate trips: %d trips go beyond the years %s: give fewer", trips, years)
	}
	start := (first - toMonday) * 60
	text := []byte(generatorVersion)
	for _, n := range []uint64{o.Seed, uint64(start), uint64(o.PerDay), uint64(trips)} {
		text = binary.LittleEndian.AppendUint64(text, n)
	}
	g.identity = Identity{
		Name: fmt.Sprintf("generated trips, seed %d, from %s, %d a day", o.Seed,
			time.Unix(start, 0).UTC().Format("2006-01-02T15:04Z"), o.PerDay),
		Digest: sha256.Sum256(text),
		Trips:  trips,
	}
	return g, nil
}

// boundary is the ordinal of the first trip of a minute: the curve's, moved by a
// random part of at most a quarter of the trips in the minutes beside it.
func (g *generated) boundary(minute int64) int64 {
	before, at, after := g.smooth(minute-1), g.smooth(minute), g.smooth(minute+1)
	most := min(at-before, after-at) / 4
	if most == 0 {
		return at
	}
	random := newRandom(g.seed^0x6d696e757465, minute)
	return at - most + random.below(2*most+1)
}

func (g *generated) smooth(minute int64) int64 {
	week := floorDiv(minute, minutesPerWeek)
	return week*g.week + g.curve[minute-week*minutesPerWeek]
}

// minuteOf returns the minute of the trip with an ordinal.
func (g *generated) minuteOf(ordinal int64) int64 {
	week := floorDiv(ordinal, g.week)
	rest := ordinal - week*g.week
	minute := week*minutesPerWeek + int64(sort.Search(minutesPerWeek, func(i int) bool { return g.curve[i+1] > rest }))
	for g.boundary(minute) > ordinal {
		minute--
	}
	for g.boundary(minute+1) <= ordinal {
		minute++
	}
	return minute
}

// minute is the frame of the trips of one minute.
type minute struct {
	at            int64 // nanoseconds since 1970
	first, behind int64 // ordinals
	whole         int64 // trips of the vendor who reports whole minutes; they are first
	hour          int   // of the day
}

func (g *generated) frame(number int64) minute {
	random := newRandom(g.seed^0x7768, number)
	m := minute{
		at:     (number - toMonday) * 60 * second,
		first:  g.boundary(number),
		behind: g.boundary(number + 1),
		hour:   int(number-floorDiv(number, 24*60)*24*60) / 60,
	}
	m.whole = (m.behind - m.first + random.below(2)) / 2
	return m
}

// dropoff draws the drop-off of the trip with an ordinal: its minute's trips are
// spread over the seconds, each in a slot of its own, so that they are sorted.
func (m *minute) dropoff(ordinal int64, random *random) (ns int64, whole bool) {
	k := ordinal - m.first
	slot := random.below(60)
	if k < m.whole {
		return m.at, true
	}
	return m.at + ((k-m.whole)*60+slot)/(m.behind-m.first-m.whole)*second, false
}

// Read implements Dataset.
func (g *generated) Read(from int64, buf []trip.Trip) (int, error) {
	n, err := extent(from, g.identity.Trips, len(buf))
	if n == 0 {
		return 0, err
	}
	number := g.minuteOf(g.start + from)
	m := g.frame(number)
	for i := range buf[:n] {
		ordinal := g.start + from + int64(i)
		if ordinal >= m.behind {
			number = g.minuteOf(ordinal) // most often the next one
			m = g.frame(number)
		}
		random := newRandom(g.seed, ordinal)
		dropoff, whole := m.dropoff(ordinal, &random)
		ride(&buf[i], dropoff, whole, m.hour, &random)
	}
	return n, nil
}

// SearchTime implements Dataset.
func (g *generated) SearchTime(t int64) int64 {
	number := floorDiv(t, 60*second) + toMonday
	lo, hi := g.minuteOf(g.start), g.minuteOf(g.start+g.identity.Trips-1)
	switch {
	case number < lo:
		return 0
	case number > hi:
		return g.identity.Trips
	}
	m := g.frame(number)
	found := m.first + int64(sort.Search(int(m.behind-m.first), func(i int) bool {
		ordinal := m.first + int64(i)
		random := newRandom(g.seed, ordinal)
		dropoff, _ := m.dropoff(ordinal, &random)
		return dropoff >= t
	}))
	return min(max(found-g.start, 0), g.identity.Trips)
}

// Len implements Dataset.
func (g *generated) Len() int64 { return g.identity.Trips }

// Identity implements Dataset. Its digest is over the options.
func (g *generated) Identity() Identity { return g.identity }

// Close does nothing.
func (g *generated) Close() error { return nil }

// random is a SplitMix64 sequence.
type random uint64

func newRandom(seed uint64, index int64) random {
	return random(mix(seed ^ mix(uint64(index)+0x9e3779b97f4a7c15)))
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return mix(uint64(*r))
}

// below returns a number from 0 to n - 1.
func (r *random) below(n int64) int64 {
	high, _ := bits.Mul64(r.next(), uint64(n))
	return int64(high)
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
