package trip

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAppendTripIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Event{
			Kind: KindTrip,
			Trip: Trip{
				Pickup:     rapid.Int64Range(MinTime, MaxTime).Draw(t, "pickup"),
				Dropoff:    rapid.Int64Range(MinTime, MaxTime).Draw(t, "dropoff"),
				PickupLat:  rapid.Float64Range(-90, 90).Draw(t, "plat"),
				PickupLon:  rapid.Float64Range(-180, 180).Draw(t, "plon"),
				DropoffLat: float64(rapid.Float32Range(-90, 90).Draw(t, "dlat")),
				DropoffLon: float64(rapid.Float32Range(-180, 180).Draw(t, "dlon")),
				TotalCents: rapid.Int64Range(-maxCents, maxCents).Draw(t, "cents"),
			},
			ID: rapid.Uint64().Draw(t, "id"),
		}
		if rapid.Bool().Draw(t, "envelope") {
			want.Envelope = Envelope{
				Producer: rapid.Uint64Min(1).Draw(t, "producer"),
				Lane:     rapid.Uint16().Draw(t, "lane"),
				Seq:      rapid.Uint64().Draw(t, "seq"),
			}
		}
		text := AppendTrip(nil, &want.Trip, want.ID, want.Envelope)
		var got Event
		if err := Decode(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got != want {
			t.Fatalf("%s\ngot  %+v\nwant %+v", text, got, want)
		}
	})
}

func TestAppendTripText(t *testing.T) {
	row := Trip{
		Pickup:    time.Date(2016, 1, 4, 0, 0, 0, 0, time.UTC).UnixNano(),
		Dropoff:   time.Date(2016, 1, 4, 0, 10, 0, 500_000_000, time.UTC).UnixNano(),
		PickupLat: 40.75, PickupLon: -73.98, DropoffLat: 40.5, DropoffLon: -74, TotalCents: -1205,
	}
	want := `{"type":"trip","trip_id":7,"pickup_datetime":"2016-01-04T00:00:00Z",` +
		`"dropoff_datetime":"2016-01-04T00:10:00.5Z","pickup_lat":40.75,"pickup_lon":-73.98,` +
		`"dropoff_lat":40.5,"dropoff_lon":-74,"total_amount":-12.05,` +
		`"producer":"00000000000000ff","lane":3,"lane_seq":9}`
	if got := string(AppendTrip(nil, &row, 7, Envelope{255, 3, 9})); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAppendWatermark(t *testing.T) {
	at := time.Date(2016, 1, 4, 0, 0, 0, 0, time.UTC).UnixNano()
	for _, row := range []struct {
		w    int64
		text string
		back int64
	}{
		{at, `{"type":"watermark","watermark":"2016-01-04T00:00:00Z"}`, at},
		{at + 1_999_999, `{"type":"watermark","watermark":"2016-01-04T00:00:00.001Z"}`, at + 1_000_000},
		{-1, `{"type":"watermark","watermark":"1969-12-31T23:59:59.999Z"}`, -1_000_000},
		{-1 << 63, `{"type":"watermark","watermark":"1678-01-01T00:00:00Z"}`, MinTime},
		{FinalWatermark - 1, `{"type":"watermark","watermark":"2261-12-31T23:59:59.999Z"}`, MaxTime - 999_999},
		{FinalWatermark, `{"type":"watermark","watermark":"2261-12-31T23:59:59.999Z","final":true}`, FinalWatermark},
	} {
		text := AppendWatermark(nil, row.w)
		if string(text) != row.text {
			t.Errorf("%d:\ngot  %s\nwant %s", row.w, text, row.text)
		}
		var ev Event
		if err := Decode(text, &ev); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if want := (Event{Kind: KindWatermark, Watermark: row.back}); ev != want {
			t.Errorf("%s: got %+v, want %+v", text, ev, want)
		}
	}
}
