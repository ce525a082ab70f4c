package trip

import (
	"errors"
	"strings"
	"testing"
)

const (
	someTrip = `{"type":"trip","trip_id":12345678,"pickup_datetime":"2016-01-04T00:00:00Z",` +
		`"dropoff_datetime":"2016-01-04T00:11:52Z","pickup_lat":40.75492858886719,"pickup_lon":-73.98402404785156,` +
		`"dropoff_lat":40.64453125,"dropoff_lon":-73.78265380859375,"total_amount":52.8,` +
		`"producer":"0123456789abcdef","lane":17,"lane_seq":48225}`
	// As the reference's replay writes it, with fields that nobody reads.
	wideTrip = `{"vendor_id": 2, "pickup_datetime": "2016-01-04T00:00:00.000Z", "dropoff_datetime": "2016-01-04T00:11:52.000Z",` +
		` "passenger_count": 1, "trip_distance": 1.74, "pickup_latitude": 40.7549, "pickup_longitude": -73.9840,` +
		` "rate_code": "1", "store_and_fwd_flag": "N", "dropoff_latitude": "40.7740", "dropoff_longitude": "-73.8726",` +
		` "payment_type": 2, "fare_amount": 9, "extra": 0.5, "mta_tax": 0.5, "tip_amount": 0, "tolls_amount": 0,` +
		` "improvement_surcharge": 0.3, "total_amount": 10.3, "tags": {"a": [1, 2, {"b": null}]}, "trip_id": 7, "type": "trip"}`
)

func decodeOK(t *testing.T, text string) Event {
	t.Helper()
	var ev Event
	if err := Decode([]byte(text), &ev); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return ev
}

func TestDecodeTrip(t *testing.T) {
	ev := decodeOK(t, someTrip)
	want := Event{
		Kind: KindTrip,
		Trip: Trip{
			Pickup: 1451865600e9, Dropoff: 1451866312e9,
			PickupLat: 40.75492858886719, PickupLon: -73.98402404785156,
			DropoffLat: 40.64453125, DropoffLon: -73.78265380859375, TotalCents: 5280,
		},
		ID:       12345678,
		Envelope: Envelope{0x0123456789abcdef, 17, 48225},
	}
	if ev != want {
		t.Errorf("got  %+v\nwant %+v", ev, want)
	}
	ev = decodeOK(t, wideTrip)
	want = Event{
		Kind: KindTrip,
		Trip: Trip{
			Pickup: 1451865600e9, Dropoff: 1451866312e9,
			PickupLat: 40.7549, PickupLon: -73.9840, DropoffLat: 40.7740, DropoffLon: -73.8726, TotalCents: 1030,
		},
		ID: 7,
	}
	if ev != want {
		t.Errorf("got  %+v\nwant %+v", ev, want)
	}
}

// edit replaces a part of someTrip, which has to be there.
func edit(t *testing.T, old, replacement string) string {
	t.Helper()
	if !strings.Contains(someTrip, old) {
		t.Fatalf("%q is not in the trip", old)
	}
	return strings.Replace(someTrip, old, replacement, 1)
}

func TestDecodeReasons(t *testing.T) {
	const lat = `"pickup_lat":40.75492858886719`
	for _, row := range []struct {
		name, text string
		reason     Reason
	}{
		{"nothing", "", ReasonJSON},
		{"blank", " ", ReasonJSON},
		{"no JSON", "trip", ReasonJSON},
		{"cut", someTrip[:len(someTrip)-1], ReasonJSON},
		{"trailing", someTrip + "x", ReasonJSON},
		{"two", someTrip + someTrip, ReasonJSON},
		{"trailing comma", edit(t, "}", ",}"), ReasonJSON},
		{"NaN", edit(t, "52.8", "NaN"), ReasonJSON},
		{"leading zero", edit(t, "52.8", "052.8"), ReasonJSON},
		{"bare point", edit(t, "52.8", "52."), ReasonJSON},
		{"plus", edit(t, "52.8", "+52.8"), ReasonJSON},
		{"bad escape", edit(t, `"lane"`, `"\x"`), ReasonJSON},
		{"control byte", edit(t, `"lane"`, "\"\n\""), ReasonJSON},
		{"too deep", edit(t, "52.8", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), ReasonJSON},
		{"an array", "[" + someTrip + "]", ReasonType},
		{"a string", `"trip"`, ReasonType},
		{"null", "null", ReasonType},
		{"empty object", "{}", ReasonType},
		{"no type", edit(t, `"type":"trip"`, `"kind":"trip"`), ReasonType},
		{"other type", edit(t, `"type":"trip"`, `"type":"ride"`), ReasonType},
		{"null type", edit(t, `"type":"trip"`, `"type":null`), ReasonType},
		{"type in capitals", edit(t, `"type":"trip"`, `"type":"Trip"`), ReasonType},
		{"no pickup", edit(t, `pickup_datetime`, `x`), ReasonPickupTime},
		{"number as time", edit(t, `"2016-01-04T00:00:00Z"`, `1451865600`), ReasonPickupTime},
		{"year 1500", edit(t, `"2016-01-04T00:00:00Z"`, `"1500-01-04T00:00:00Z"`), ReasonPickupTime},
		{"bad dropoff", edit(t, `00:11:52`, `00:11:60`), ReasonDropoffTime},
		{"both times bad", edit(t, `2016-01-04T00:00:00Z","dropoff_datetime`, `","x`), ReasonPickupTime},
		{"absent coordinate", edit(t, lat, `"x":1`), ReasonCoordinate},
		{"null coordinate", edit(t, lat, `"pickup_lat":null`), ReasonCoordinate},
		{"true coordinate", edit(t, lat, `"pickup_lat":true`), ReasonCoordinate},
		{"empty coordinate", edit(t, lat, `"pickup_lat":""`), ReasonCoordinate},
		{"false before a good alias", edit(t, lat, `"pickup_lat":false,"pickup_latitude":1`), ReasonCoordinate},
		{"string NaN", edit(t, lat, `"pickup_lat":"NaN"`), ReasonCoordinate},
		{"underscore", edit(t, lat, `"pickup_lat":"4_0"`), ReasonCoordinate},
		{"hexadecimal", edit(t, lat, `"pickup_lat":"0x10"`), ReasonCoordinate},
		{"too great", edit(t, lat, `"pickup_lat":1e999`), ReasonCoordinate},
		{"range and no number", edit(t, lat, `"pickup_lat":91,"dropoff_lon":null`), ReasonRange},
		{"latitude", edit(t, lat, `"pickup_lat":90.00000000000001`), ReasonRange},
		{"swapped", edit(t, "-73.78265380859375", "-180.5"), ReasonRange},
		{"watermark without time", `{"type":"watermark"}`, ReasonWatermark},
		{"watermark of Java", `{"type":"watermark","watermark":"+292278994-08-17T07:12:55.807Z"}`, ReasonWatermark},
	} {
		ev := Event{ID: 1}
		err := Decode([]byte(row.text), &ev)
		var bad *BadRecord
		if !errors.As(err, &bad) || bad.Reason != row.reason || bad.Detail == "" {
			t.Errorf("%s: %v, want reason %s", row.name, err, row.reason)
		}
		if ev != (Event{ID: 1}) {
			t.Errorf("%s: a bad record changed the event", row.name)
		}
		if _, reason := naiveDecode([]byte(row.text)); reason != row.reason {
			t.Errorf("%s: the naive decoder says %q, want %s", row.name, reason, row.reason)
		}
	}
}

func TestDecodeSpellings(t *testing.T) {
	want := decodeOK(t, someTrip)
	const lat = `"pickup_lat":40.75492858886719`
	for _, text := range []string{
		"\t\r\n " + strings.ReplaceAll(someTrip, ",", " ,\n ") + " \n",
		strings.ReplaceAll(someTrip, `":`, "\" :\t"),
		edit(t, lat, `"pickup_latitude":40.75492858886719`),
		edit(t, lat, `"pickup_lat":null,"pickup_latitude":40.75492858886719`),
		edit(t, lat, lat+`,"pickup_latitude":1`),
		edit(t, lat, lat+`,"pickup_latitude":"no number"`),
		edit(t, lat, `"pickup_lat":1,`+lat),
		edit(t, lat, `"pickup_lat":"no number",`+lat),
		edit(t, lat, `"pickup_lat":" 40.75492858886719\t"`),
		edit(t, lat, `"pickup_lat":"+4.075492858886719e1"`),
		edit(t, lat, `"pickup_lat":4075492858886719e-14`),
		edit(t, lat, `"p\u0069ckup_lat":40.75492858886719`),
		edit(t, lat, lat+`,"Pickup_lat":1,"PICKUP_LAT":2`),
		edit(t, lat, lat+`,"":"\ud800 \"\\\/\b\f\n\r\t","x":[[],{},[{"type":"watermark"}]]`),
		edit(t, lat, lat+",\"\xff\xfe\":\"\xc0\""),
		edit(t, "52.8", strings.Repeat("[", 9_999)+strings.Repeat("]", 9_999)+`,"total_amount":52.8`),
		edit(t, "52.8", "52.795"), edit(t, "52.8", "5280e-2"), edit(t, "52.8", "52.80499999999999999999999"),
		edit(t, `"trip"`, `"watermark","type":"tr\u0069p"`),
		edit(t, "2016-01-04T00:11:52Z", "2016-01-04 00:11:52"),
		edit(t, "2016-01-04T00:11:52Z", "2016-01-04T01:11:52.000+01:00"),
		edit(t, "12345678", `"12345678"`),
		edit(t, "0123456789abcdef", "0123456789ABCDEF"),
	} {
		if got := decodeOK(t, text); got != want {
			t.Errorf("%.300s:\ngot  %+v\nwant %+v", text, got, want)
		}
	}
}

// What is no part of validity counts as none and never makes a trip bad.
func TestDecodeForgives(t *testing.T) {
	for _, text := range []string{
		edit(t, "12345678", "-1"), edit(t, "12345678", "1.5"), edit(t, "12345678", "18446744073709551616"),
		edit(t, "12345678", "null"), edit(t, "12345678", `"x"`), edit(t, "12345678", "{}"),
	} {
		if got := decodeOK(t, text); got.ID != 0 {
			t.Errorf("%s: id %d", text, got.ID)
		}
	}
	for _, text := range []string{
		edit(t, `"lane":17`, `"lane":65536`), edit(t, `"lane":17`, `"lane":-1`), edit(t, `"lane":17`, `"x":1`),
		edit(t, "48225", "null"), edit(t, "0123456789abcdef", "0000000000000000"),
		edit(t, "0123456789abcdef", "acme"), edit(t, "0123456789abcdef", "+123456789abcdef"),
		edit(t, `"0123456789abcdef"`, "1"),
	} {
		if got := decodeOK(t, text); got.Envelope != (Envelope{}) {
			t.Errorf("%s: envelope %+v", text, got.Envelope)
		}
	}
	for text, want := range map[string]int64{
		"null": 0, `"52.8"`: 0, "true": 0, "[]": 0, "1e300": 0, "-1e300": 0, "1e-300": 0, "0e999999999999": 0,
		"0.005": 1, "-0.005": -1, "0.00499": 0, "1.005": 101, "-2.675": -268, "0.5e1": 500, "12345678901234": 0,
		"1e13": 1e15, "9999999999999.99": 999999999999999, "10000000000000.01": 0,
	} {
		if got := decodeOK(t, edit(t, "52.8", text)); got.Trip.TotalCents != want {
			t.Errorf("total_amount %s is %d cents, want %d", text, got.Trip.TotalCents, want)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	for _, text := range []string{
		someTrip, wideTrip, `{"type":"watermark","watermark":"2016-01-04T00:00:00.001Z"}`,
		edit(t, "2016-01-04T", `2016-01-04\u0054`),
	} {
		data := []byte(text)
		var ev Event
		if n := testing.AllocsPerRun(100, func() { _ = Decode(data, &ev) }); n != 0 {
			t.Errorf("%.60s: %v allocations", text, n)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(someTrip))
	f.Add([]byte(wideTrip))
	f.Add([]byte(`{"type":"watermark","watermark":"2016-01-04T00:00:00.001Z","final":true}`))
	f.Add([]byte(` {"type":"tr\u0069p","pickup_datetime":" 2016-01-04 00:00","dropoff_datetime":"2261-12-31t23:59:59,9z",` +
		`"pickup_lat":null,"pickup_latitude":" +.5e1 ","pickup_lon":-180,"dropoff_lat":"90","dropoff_lon":0e0,` +
		`"total_amount":-1.005,"x":[{"\ud83d\ude00":[]},-0.1E-9,true,false,null]} `))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got Event
		err := Decode(data, &got)
		want, reason := naiveDecode(data)
		var bad *BadRecord
		switch {
		case err == nil && reason != "":
			t.Fatalf("Decode took %q, which is bad: %s", data, reason)
		case err != nil && !errors.As(err, &bad):
			t.Fatalf("Decode(%q): %T, which is no *BadRecord", data, err)
		case err != nil && bad.Reason != reason:
			t.Fatalf("Decode(%q): %v, want reason %q", data, err, reason)
		case got != want:
			t.Fatalf("Decode(%q)\ngot  %+v\nwant %+v", data, got, want)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	f.Add("2016-03-01T00:07:55.123456789+05:30")
	f.Add(" 2016-02-29 00:07 z\u3000")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := ParseTime([]byte(text))
		want, wantOK := naiveParseTime(text)
		if ok != wantOK || got != want {
			t.Fatalf("ParseTime(%q) = %d, %v; want %d, %v", text, got, ok, want, wantOK)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, row := range []struct{ name, text string }{
		{"ours", someTrip}, {"wide", wideTrip},
		{"watermark", `{"type":"watermark","watermark":"2016-01-04T00:00:00.001Z"}`},
	} {
		b.Run(row.name, func(b *testing.B) {
			data := []byte(row.text)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			var ev Event
			for b.Loop() {
				if err := Decode(data, &ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendTrip(b *testing.B) {
	var ev Event
	if err := Decode([]byte(someTrip), &ev); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = AppendTrip(buf[:0], &ev.Trip, ev.ID, ev.Envelope)
	}
}
