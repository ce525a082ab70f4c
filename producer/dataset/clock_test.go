package dataset

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

// The hours that New York has twice, or not at all.
func TestClockNewYork(t *testing.T) {
	clock, err := newClock("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	for wall, want := range map[string]string{
		"2025-11-02 00:59:59":       "2025-11-02T04:59:59Z",
		"2025-11-02 01:00:00":       "2025-11-02T05:00:00Z", // the first of two
		"2025-11-02 01:30:00":       "2025-11-02T05:30:00Z",
		"2025-11-02 01:59:59.999":   "2025-11-02T05:59:59.999Z",
		"2025-11-02 02:00:00":       "2025-11-02T07:00:00Z",
		"2025-03-09 01:59:59":       "2025-03-09T06:59:59Z",
		"2025-03-09 02:00:00":       "2025-03-09T07:00:00Z", // as three o'clock
		"2025-03-09 02:30":          "2025-03-09T07:30:00Z",
		"2025-03-09 02:59:59":       "2025-03-09T07:59:59Z",
		"2025-03-09 03:00:00":       "2025-03-09T07:00:00Z",
		" 2025-07-01T12:00:00 ":     "2025-07-01T16:00:00Z",
		"2025-07-01T12:00:00Z":      "2025-07-01T12:00:00Z", // they say their zone
		"2025-07-01 12:00:00 +0200": "2025-07-01T10:00:00Z",
		"1969-12-31 18:59:59.5":     "1969-12-31T23:59:59.5Z",
		"2261-12-31 12:00:00":       "2261-12-31T17:00:00Z",
	} {
		got, ok := clock.parse([]byte(wall))
		if !ok || got != at(want) {
			t.Errorf("%q is %v, %v; want %s", wall, trip.Time(got), ok, want)
		}
	}
	for _, wall := range []string{"", "x", "2025-07-01", "2025-07-01 12:00:00 EDT", "2025-07-01 12:00:00ZZ", "2262-01-01 00:00:00", "9999-01-01 00:00:00"} {
		if got, ok := clock.parse([]byte(wall)); ok {
			t.Errorf("%q is %v", wall, trip.Time(got))
		}
	}
	for _, wall := range []int64{trip.MinTime - 1, trip.MaxTime, trip.MaxTime + 1, -1 << 63, 1<<63 - 1} {
		if got, ok := clock.instant(wall); ok {
			t.Errorf("%d is %v", wall, got)
		}
	}
}

// In any place: the first instant at which the clocks show it, and where they
// never do, by the offset before.
func TestClockAsNaively(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"America/New_York", "Europe/London", "Australia/Lord_Howe", "Pacific/Apia",
			"Asia/Kolkata", "Africa/Casablanca", "America/St_Johns"}).Draw(t, "place")
		clock, err := newClock(name)
		if err != nil {
			t.Fatal(err)
		}
		// Around a change of the clocks, mostly.
		from := rapid.Int64Range(-9_200_000_000, 9_200_000_000).Draw(t, "from")
		if _, end := time.Unix(from, 0).In(clock.place).ZoneBounds(); !end.IsZero() {
			from = end.Unix()
		}
		for range 20 {
			seconds := from + rapid.Int64Range(-100_000, 100_000).Draw(t, "seconds")
			first, offset, shown := int64(1)<<62, int64(0), false
			for hours := int64(-26); hours <= 26; hours++ {
				o := offsetAt(time.Unix(seconds+hours*3600, 0).In(clock.place))
				instant := seconds - o
				shows := instant+offsetAt(time.Unix(instant, 0).In(clock.place)) == seconds
				if shows && !shown || shows == shown && instant < first {
					first, shown = instant, shows
					offset = offsetAt(time.Unix(instant, 0).In(clock.place))
				}
			}
			if want := (seconds - offset) * 1e9; true {
				if got, ok := clock.instant(seconds * 1e9); !ok || got != want {
					t.Fatalf("%s: %d shown is %d, %v; want %d", name, seconds, got, ok, want)
				}
			}
		}
	})
}

// The ends of all years, where package time's stretches end for no reason.
func TestClockEndOfYear(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"America/New_York", "Europe/London", "Australia/Lord_Howe", "America/St_Johns"} {
		clock, err := newClock(name)
		if err != nil {
			t.Fatal(err)
		}
		for year := 1970; year < 2261; year++ {
			middle := time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
			for _, seconds := range []int64{-100_000, -36_000, -1, 0, 1, 36_000, 93_600, 93_601, 100_000} {
				// No clocks change there, so that package time's answer is the only one.
				shown := time.Unix(middle+seconds, 0).UTC()
				want := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(), 0, clock.place)
				if got, ok := clock.instant(shown.UnixNano()); !ok || got != want.UnixNano() {
					t.Fatalf("%s: %v is %v, %v; want %v", name, shown, trip.Time(got), ok, want.UTC())
				}
			}
		}
	}
}

func TestOpenTimezone(t *testing.T) {
	content := debs2015 + jsonLine
	f, err := Open(t.Context(), []string{write(t, "trips", content)}, Options{Timezone: "America/New_York"})
	if err != nil {
		t.Fatal(err)
	}
	shifted := oneTrip
	shifted.Pickup += 4 * int64(time.Hour)
	shifted.Dropoff += 4 * int64(time.Hour)
	if got := all(t, f); got[0] != oneTrip || got[1] != shifted {
		t.Errorf("got %+v", got)
	}
	// Parquet's timestamps that are instants say their zone too.
	type row struct {
		Pickup  int64 `parquet:"pickup_datetime,timestamp(microsecond)"`
		Dropoff int64 `parquet:"dropoff_datetime,timestamp(microsecond:local)"`
		From    int64 `parquet:"PULocationID"`
		To      int64 `parquet:"DOLocationID"`
	}
	path := write(t, "trips", parquetFile(t, []row{{oneTrip.Pickup / 1000, oneTrip.Dropoff / 1000, 1, 2}}))
	if f, err = Open(t.Context(), []string{path}, Options{Timezone: "America/New_York"}); err != nil {
		t.Fatal(err)
	}
	if got := all(t, f)[0]; got.Pickup != oneTrip.Pickup || got.Dropoff != shifted.Dropoff {
		t.Errorf("Parquet: got %+v", got)
	}
	for _, name := range []string{"Local", "America/Nowhere", "../etc/passwd"} {
		if err := (Options{Timezone: name}).Validate(); err == nil {
			t.Errorf("the time zone %q", name)
		}
	}
}
