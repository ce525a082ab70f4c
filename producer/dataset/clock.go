package dataset

import (
	"fmt"
	"math"
	"time"

	"github.com/tripgrid/tripgrid/trip"
)

// clock reads times that say no zone as those of a place. Nil stands for UTC. It
// remembers the last stretch between two changes of the clocks there, so it is
// for one goroutine alone.
type clock struct {
	place *time.Location
	// Wall times, in seconds, from from on and before to have this offset.
	from, to, offset int64
	text             []byte
}

// newClock returns the clock of an IANA time zone, nil for UTC and for "".
func newClock(name string) (*clock, error) {
	if name == "" || name == "UTC" {
		return nil, nil
	}
	place, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("dataset: the time zone %.60q is unknown here: give a name such as America/New_York", name)
	}
	return &clock{place: place}, nil
}

// parse reads a time as trip.ParseTime does. One that says its zone is of that.
func (c *clock) parse(text []byte) (int64, bool) {
	if c == nil {
		return trip.ParseTime(text)
	}
	c.text = append(append(c.text[:0], trip.TrimSpace(text)...), 'Z')
	// With two zones it is malformed, so it has none.
	if wall, ok := trip.ParseTime(c.text); ok {
		return c.instant(wall)
	}
	return trip.ParseTime(text)
}

// instant turns what clocks on the wall show, as nanoseconds since 1970 shown
// there, into the instant. It is false outside of trip.MinTime to trip.MaxTime.
//
// A time that the clocks show twice is the first of the two. A time that they
// skip counts on from before the change: half past two, where two becomes three,
// is half past three. In both cases the offset is the one before the change.
func (c *clock) instant(wall int64) (int64, bool) {
	if c == nil {
		return wall, trip.MinTime <= wall && wall <= trip.MaxTime
	}
	const second = int64(time.Second)
	seconds := wall / second
	if wall%second < 0 {
		seconds--
	}
	if seconds < c.from || seconds >= c.to {
		c.find(seconds)
	}
	if wall < trip.MinTime || wall > trip.MaxTime {
		return 0, false // and the subtraction cannot overflow
	}
	ns := wall - c.offset*second
	return ns, trip.MinTime <= ns && ns <= trip.MaxTime
}

// find sets the stretch that a wall time belongs to.
func (c *clock) find(wall int64) {
	const more = 26 * 3600 // than any place is from UTC
	at := time.Unix(wall-more, 0).In(c.place)
	for {
		start, end := at.ZoneBounds()
		if !end.IsZero() && !end.After(at) {
			// Beyond the changes that it has tables of, package time ends stretches
			// at the year too, and for some hours says of an instant that its end
			// has been. No clocks change then.
			at = at.Add(15 * time.Minute)
			continue
		}
		offset := offsetAt(at)
		c.from, c.to, c.offset = math.MinInt64, math.MaxInt64, offset
		if !start.IsZero() {
			c.from = start.Unix() + max(offsetAt(start.Add(-1)), offset)
		}
		if end.IsZero() {
			return
		}
		if c.to = end.Unix() + max(offset, offsetAt(end)); wall < c.to {
			return
		}
		at = end
	}
}

// offsetAt returns seconds east of UTC.
func offsetAt(t time.Time) int64 {
	_, offset := t.Zone()
	return int64(offset)
}
