package producer

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Report shows a replay's progress on w until stats says that it is done or ctx
// ends, and then shows the last state once more. On a terminal (tty) that is one
// line of at most 79 columns, drawn over itself; elsewhere it is a line of plain
// text for every interval. An interval of 0 means 200 ms on a terminal and 5 s
// elsewhere. Errors of w are ignored: the replay does not depend on its display.
func Report(ctx context.Context, w io.Writer, tty bool, interval time.Duration, stats func() Stats) {
	if interval <= 0 {
		interval = 5 * time.Second
		if tty {
			interval = 200 * time.Millisecond
		}
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := ""
	for {
		ended := ctx.Err() != nil
		s := stats()
		ended = ended || s.Done
		line := statsLine(s) + "\n"
		if tty {
			// Clearing after the text and not before it keeps it from flickering.
			line = "\r" + barLine(s) + "\x1b[K"
			if ended {
				line += "\n"
			}
		}
		if line != last {
			_, _ = io.WriteString(w, line)
			last = line
		}
		if ended {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// late is the lag from which a replay counts as behind its schedule: below it
// are the linger and the way to Kinesis and back.
const late = time.Second

// columns is what the terminal's line keeps to.
const columns = 79

// barLine is the terminal's line:
//
//	42% ━━━━━━━━╸─────────── 1.24M/2.92M  26.0k/s  2013-01-13 08:12  0:12 left
func barLine(s Stats) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%3d%% ", percent(s))
	b.WriteString(bar(s, 20))
	fmt.Fprintf(&b, " %s/%s  %s/s", short(float64(s.Sent)), short(float64(s.Total)), short(s.Rate))
	if !s.Watermark.IsZero() {
		b.WriteString("  " + s.Watermark.UTC().Format("2006-01-02 15:04"))
	}
	switch {
	case s.Done:
		b.WriteString("  done")
	case s.Lag >= late:
		b.WriteString("  " + clock(s.Lag) + " late")
	case s.Remaining > 0:
		b.WriteString("  " + clock(s.Remaining) + " left")
	case s.Sent == s.Total && s.Shards > 0:
		b.WriteString("  closing")
	}
	line := b.String()
	if slow := "  " + short(float64(s.Throttled)) + " throttled"; s.Throttled > 0 && utf8.RuneCountInString(line+slow) <= columns {
		line += slow
	}
	return line
}

// statsLine is the plain line.
func statsLine(s Stats) string {
	var b strings.Builder
	fmt.Fprintf(&b, "sent %s of %s trips (%d%%), %s trips/s", grouped(s.Sent), grouped(s.Total), percent(s), grouped(int64(s.Rate)))
	switch {
	case s.Lag >= late:
		fmt.Fprintf(&b, ", %s behind schedule", clock(s.Lag))
	case s.Speedup > 0:
		b.WriteString(", on schedule")
	}
	fmt.Fprintf(&b, ", %s throttled, %s failed, %s repeated", grouped(s.Throttled), grouped(s.Failed), grouped(s.Repeated))
	if s.Watermark.IsZero() {
		b.WriteString(", no watermark yet")
	} else {
		b.WriteString(", watermark " + s.Watermark.UTC().Format(time.RFC3339))
	}
	switch {
	case s.Done:
		b.WriteString(", done")
	case s.Remaining > 0:
		b.WriteString(", " + clock(s.Remaining) + " left")
	}
	return b.String()
}

// percent is rounded down, so that 100 means all.
func percent(s Stats) int64 {
	if s.Total == 0 {
		return 100
	}
	return int64(float64(s.Sent) / float64(s.Total) * 100)
}

// bar draws how much is sent, in half columns.
func bar(s Stats, width int) string {
	halves := 2 * width
	if s.Total > 0 {
		halves = int(float64(halves) * float64(s.Sent) / float64(s.Total))
	}
	full := halves / 2
	out := strings.Repeat("━", full)
	if halves%2 == 1 {
		out += "╸"
		full++
	}
	return out + strings.Repeat("─", width-full)
}

// short writes a count in at most five characters: 999, 1.23k, 45.6k, 789k, 1.23M.
func short(v float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if v < 999.5 {
			break
		}
		v, unit = v/1000, u
	}
	digits := 0
	if unit != "" && v < 99.95 {
		digits = 1
		if v < 9.995 {
			digits = 2
		}
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + unit
}

// grouped writes a count with commas.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock writes a duration as 0:07, 12:34, 3:04:05 or 2d 03h.
func clock(d time.Duration) string {
	s := int64((d + time.Second/2) / time.Second)
	switch {
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%dd %02dh", s/86400, s/3600%24)
}
