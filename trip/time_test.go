package trip

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseTime(t *testing.T) {
	const base = "2016-03-01T00:07:55Z"
	for text, want := range map[string]string{
		"2016-03-01 00:07:55":                           base,
		"2016-03-01T00:07:55":                           base,
		"2016-03-01t00:07:55z":                          base,
		"2016-03-01 00:07:55 Z":                         base,
		"  2016-03-01 00:07:55\t":                       base,
		"\u00a02016-03-01 00:07:55\u2003":               base,
		"\x1c2016-03-01 00:07:55\x1f":                   base,
		"2016-03-01T00:07:55+00:00":                     base,
		"2016-02-29T19:07:55-05":                        base,
		"2016-02-29T19:07:55-0500":                      base,
		"2016-03-01T05:37:55 +05:30":                    base,
		"2016-03-01T00:07":                              "2016-03-01T00:07:00Z",
		"2016-03-01T00:07Z":                             "2016-03-01T00:07:00Z",
		"2016-03-01T00:07:55.5":                         "2016-03-01T00:07:55.5Z",
		"2016-03-01T00:07:55,123456789999":              "2016-03-01T00:07:55.123456789Z",
		"2016-03-01T00:07:55.000000000000000001Z":       base,
		"1678-01-01 00:00:00":                           "1678-01-01T00:00:00Z",
		"2261-12-31 23:59:59.999999999":                 "2261-12-31T23:59:59.999999999Z",
		"2262-01-01T00:30+01":                           "2261-12-31T23:30:00Z",
		"2000-02-29 00:00":                              "2000-02-29T00:00:00Z",
		"1969-12-31 23:59:59.25":                        "1969-12-31T23:59:59.25Z",
		"2016-03-01T00:07:55" + strings.Repeat(" ", 99): base,

		"": "", " ": "", "2016-03-01": "", "2016-03-01 ": "", "2016-03-01T": "", "2016-03-01 00": "",
		"2016-03-01  00:07:55": "", "2016-03-01_00:07:55": "", "2016-3-01 00:07:55": "",
		"2016-03-01 24:00:00": "", "2016-03-01 00:60:00": "", "2016-03-01 00:07:60": "",
		"2016-00-01 00:00": "", "2016-13-01 00:00": "", "2016-02-30 00:00": "", "2016-04-31 00:00": "",
		"1900-02-29 00:00": "", "2015-02-29 00:00": "", "0000-01-01 00:00": "",
		"2016-03-01 00:07:55.": "", "2016-03-01 00:07:5": "", "2016-03-01 00:07:": "",
		"2016-03-01 00:07:55+24:00": "", "2016-03-01 00:07:55+05:60": "", "2016-03-01 00:07:55+5": "",
		"2016-03-01 00:07:55+05:3": "", "2016-03-01 00:07:55+053": "", "2016-03-01 00:07:55  Z": "",
		"2016-03-01 00:07:55ZZ": "", "2016-03-01 00:07:55 UTC": "", "2016-03-01 00:07:55Z5": "",
		"+016-03-01 00:07:55": "", "2016-03-01 00:07.5": "", "２016-03-01 00:07": "",
		"1677-12-31 23:59:59": "", "2262-01-01 00:00:00": "", "2261-12-31T23:59-00:01": "",
		"1678-01-01T00:30+01": "", "1500-01-01 00:00": "", "9999-12-31 00:00": "",
	} {
		ns, ok := ParseTime([]byte(text))
		if got := string(AppendTime(nil, ns)); ok != (want != "") || ok && got != want {
			t.Errorf("ParseTime(%q) = %s, %v; want %q", text, got, ok, want)
		}
	}
}

func TestTimeBounds(t *testing.T) {
	if got := time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(); got != MinTime {
		t.Errorf("MinTime is %d, want %d", MinTime, got)
	}
	if got := time.Date(2262, 1, 1, 0, 0, 0, -1, time.UTC).UnixNano(); got != MaxTime {
		t.Errorf("MaxTime is %d, want %d", MaxTime, got)
	}
}

// The calendar agrees with package time's on every day, and round trips.
func TestCalendar(t *testing.T) {
	for ns := MinTime; ns <= MaxTime-nanosPerDay; ns += nanosPerDay {
		text := AppendTime(nil, ns)
		if want := Time(ns).Format(time.RFC3339Nano); string(text) != want {
			t.Fatalf("AppendTime(%d) = %s, want %s", ns, text, want)
		}
		if back, ok := ParseTime(text); !ok || back != ns {
			t.Fatalf("ParseTime(%s) = %d, %v", text, back, ok)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(MinTime, MaxTime).Draw(t, "ns")
		text := AppendTime(nil, ns)
		if want := Time(ns).Format(time.RFC3339Nano); string(text) != want {
			t.Fatalf("AppendTime(%d) = %s, want %s", ns, text, want)
		}
		if back, ok := ParseTime(text); !ok || back != ns {
			t.Fatalf("ParseTime(%s) = %d, %v", text, back, ok)
		}
	})
}
