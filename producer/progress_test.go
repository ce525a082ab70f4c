package producer

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shown is a replay from nothing to done.
func shown() []Stats {
	at := time.Date(2013, 1, 13, 8, 12, 0, 0, time.UTC)
	states := []Stats{
		{Total: 2_918_000},
		{Total: 2_918_000, Sent: 12_345, Rate: 6_172, Shards: 4, Watermark: at, Remaining: 8 * time.Minute},
		{Total: 2_918_000, Sent: 1_234_567, Rate: 26_031, Shards: 4, Watermark: at.Add(9 * time.Hour), Remaining: 65 * time.Second, Lag: 80 * time.Millisecond},
		{Total: 2_918_000, Sent: 1_434_567, Rate: 20_000, Shards: 4, Watermark: at.Add(10 * time.Hour), Remaining: 100 * time.Hour, Lag: 90 * time.Second, Throttled: 1_204, Failed: 3, Repeated: 1_207},
		{Total: 2_918_000, Sent: 2_918_000, Rate: 26_000, Shards: 4, Watermark: at.Add(24 * time.Hour), Throttled: 1_204, Failed: 3, Repeated: 1_207},
		{Total: 2_918_000, Sent: 2_918_000, Rate: 26_000, Shards: 4, Watermark: at.Add(24 * time.Hour), Throttled: 1_204, Failed: 3, Repeated: 1_207, Done: true},
	}
	for i := range states[:5] {
		states[i].Speedup = 1440
	}
	return states
}

func TestReportGolden(t *testing.T) {
	for _, tc := range []struct {
		file string
		tty  bool
	}{{"terminal.txt", true}, {"plain.txt", false}} {
		t.Run(tc.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				states := shown()
				Report(t.Context(), &out, tc.tty, time.Second, func() Stats {
					s := states[0]
					states = states[1:]
					return s
				})
				got := strings.NewReplacer("\r", "<cr>", "\x1b[K", "<clear>\n", "\x1b[K\n", "<clear><lf>\n").Replace(out.String())
				path := filepath.Join("testdata", tc.file)
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

func TestReportEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	Report(ctx, &out, false, time.Hour, func() Stats { cancel(); return Stats{Total: 1} })
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("an unchanged state is shown %d times: %q", n, out.String())
	}
}

func TestLineFits(t *testing.T) {
	worst := Stats{
		Total: 999_499_000, Sent: 998_888_888, Rate: 45_678, Watermark: time.Now(), Shards: 1,
		Lag: 47*time.Hour + 59*time.Minute, Throttled: 98_765,
	}
	if line := barLine(worst); utf8.RuneCountInString(line) > columns {
		t.Errorf("%d columns: %q", utf8.RuneCountInString(line), line)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 999.6: "1.00k", 1234: "1.23k", 9996: "10.0k", 99_960: "100k", 1e6: "1.00M", 2.5e9: "2.50G"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -123: "-123"} {
		if got := grouped(v); got != want {
			t.Errorf("grouped(%v) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[time.Duration]string{0: "0:00", 7 * time.Second: "0:07", time.Hour: "1:00:00", 50 * time.Hour: "2d 02h"} {
		if got := clock(v); got != want {
			t.Errorf("clock(%v) = %q, want %q", v, got, want)
		}
	}
}
