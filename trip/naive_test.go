package trip

import (
	"bytes"
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// naiveDecode is Decode written a second time, for clarity alone: encoding/json
// into a map, regular expressions, package time and rational numbers. It gives
// the event, or the reason why there is none.
func naiveDecode(data []byte) (ev Event, reason Reason) {
	if !json.Valid(data) {
		return Event{}, ReasonJSON
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return Event{}, ReasonType
	}
	switch kind, _ := naiveString(object["type"]); kind {
	case "trip":
		return naiveTrip(object)
	case "watermark":
		if string(object["final"]) == "true" {
			return Event{Kind: KindWatermark, Watermark: FinalWatermark}, ""
		}
		w, ok := naiveTimeField(object["watermark"])
		if !ok {
			return Event{}, ReasonWatermark
		}
		return Event{Kind: KindWatermark, Watermark: w}, ""
	}
	return Event{}, ReasonType
}

func naiveTrip(object map[string]json.RawMessage) (ev Event, reason Reason) {
	ev.Kind = KindTrip
	var ok bool
	if ev.Trip.Pickup, ok = naiveTimeField(object["pickup_datetime"]); !ok {
		return Event{}, ReasonPickupTime
	}
	if ev.Trip.Dropoff, ok = naiveTimeField(object["dropoff_datetime"]); !ok {
		return Event{}, ReasonDropoffTime
	}
	limits := []float64{90, 180, 90, 180}
	into := []*float64{&ev.Trip.PickupLat, &ev.Trip.PickupLon, &ev.Trip.DropoffLat, &ev.Trip.DropoffLon}
	for i, names := range [][2]string{{"pickup_lat", "pickup_latitude"}, {"pickup_lon", "pickup_longitude"},
		{"dropoff_lat", "dropoff_latitude"}, {"dropoff_lon", "dropoff_longitude"}} {
		value := object[names[0]]
		if value == nil || string(value) == "null" {
			value = object[names[1]]
		}
		text, isString := naiveString(value)
		if !isString {
			text = string(value)
		}
		if !naiveNumber.MatchString(text) {
			return Event{}, ReasonCoordinate
		}
		f, err := strconv.ParseFloat(strings.Trim(text, " \t\n\v\f\r"), 64)
		if err != nil {
			return Event{}, ReasonCoordinate
		}
		*into[i] = f
	}
	for i, limit := range limits {
		if *into[i] > limit || *into[i] < -limit {
			return Event{}, ReasonRange
		}
	}
	ev.ID, _ = naiveUnsigned(object["trip_id"])
	ev.Trip.TotalCents = naiveCents(string(object["total_amount"]))
	producer, _ := naiveString(object["producer"])
	id, err := strconv.ParseUint(producer, 16, 64)
	lane, okLane := naiveUnsigned(object["lane"])
	seq, okSeq := naiveUnsigned(object["lane_seq"])
	if len(producer) == 16 && err == nil && id != 0 && okLane && lane < 1<<16 && okSeq {
		ev.Envelope = Envelope{id, uint16(lane), seq}
	}
	return ev, ""
}

func naiveString(value json.RawMessage) (s string, ok bool) {
	if !bytes.HasPrefix(value, []byte(`"`)) {
		return "", false
	}
	return s, json.Unmarshal(value, &s) == nil
}

func naiveUnsigned(value json.RawMessage) (uint64, bool) {
	text, ok := naiveString(value)
	if !ok {
		text = string(value)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}

var (
	naiveTime   = regexp.MustCompile(`(?i)^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)? ?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?$`)
	naiveNumber = regexp.MustCompile(`^\s*\v*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[\s\v]*$`)
)

func naiveTimeField(value json.RawMessage) (int64, bool) {
	text, ok := naiveString(value)
	if !ok {
		return 0, false
	}
	return naiveParseTime(text)
}

func naiveParseTime(text string) (int64, bool) {
	text = strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
	m := naiveTime.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	second, fraction, sign, hours, minutes := m[3], m[4], m[5], m[6], m[7]
	if second == "" {
		second = "00"
	}
	at, err := time.Parse("2006-01-02 15:04:05", m[1]+" "+m[2]+":"+second)
	if err != nil {
		return 0, false
	}
	h, _ := strconv.Atoi(hours)
	m60, _ := strconv.Atoi(minutes)
	if h > 23 || m60 > 59 {
		return 0, false
	}
	east := time.Duration(h)*time.Hour + time.Duration(m60)*time.Minute
	if sign == "-" {
		east = -east
	}
	nanos, _ := strconv.Atoi((fraction + "000000000")[:9])
	at = at.Add(-east).Add(time.Duration(nanos))
	if at.Year() < 1678 || at.Year() > 2261 {
		return 0, false
	}
	return at.UnixNano(), true
}

func naiveCents(text string) int64 {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return 0
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	digits := strings.Trim(mantissa, "-.0")
	exp, err := strconv.Atoi(exponent)
	if exponent != "" && err != nil || exp > 5000 || exp < -5000 {
		if digits == "" || exp < 0 || strings.HasPrefix(exponent, "-") {
			return 0
		}
		return 0 // beyond any bound
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		panic("valid JSON number is not a rational number: " + text)
	}
	r.Mul(r, big.NewRat(100, 1))
	negative := r.Sign() < 0
	r.Abs(r).Add(r, big.NewRat(1, 2))
	cents := new(big.Int).Div(r.Num(), r.Denom())
	if !cents.IsInt64() || cents.Int64() > 1_000_000_000_000_000 {
		return 0
	}
	if negative {
		return -cents.Int64()
	}
	return cents.Int64()
}
