package localkinesis

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSegments rolls over many segments, and refuses those that are missing, cut, foreign or left over.
func TestSegments(t *testing.T) {
	l := newTestLog(t, 400)
	for n := range 40 {
		l.append(n%3 + 1)
	}
	l.crash()
	l.mustOpen()
	n := len(l.want)
	l.holds(n)
	if len(l.segments) < 5 || len(l.index) < 5 {
		t.Fatalf("%d segments, %d index entries", len(l.segments), len(l.index))
	}
	_, ords := l.contents(0)
	for i, ord := range ords {
		if got, _ := l.contents(ord); strings.Join(got, " ") != strings.Join(l.want[i:], " ") {
			t.Fatalf("from record %d: %d records, not %d", i, len(got), n-i)
		}
	}
	newest := uint32(len(l.segments) - 1)
	l.crash()

	backup := t.TempDir()
	if err := os.CopyFS(filepath.Join(backup, "copy"), os.DirFS(l.opt.dir)); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		t.Helper()
		if err := os.RemoveAll(l.opt.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(l.opt.dir, os.DirFS(filepath.Join(backup, "copy"))); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		do   func() error
		file string
	}{
		"first missing":      {func() error { return os.Remove(l.path(0)) }, ""},
		"middle missing":     {func() error { return os.Remove(l.path(2)) }, l.path(2)},
		"middle cut":         {func() error { return os.Truncate(l.path(2), l.size(2)-1) }, l.path(2)},
		"middle cut evenly":  {func() error { return os.Truncate(l.path(2), segmentHeaderSize) }, l.path(3)},
		"swapped":            {func() error { return os.Rename(l.path(1), l.path(2)) }, ""},
		"last header cut":    {func() error { return os.Truncate(l.path(newest), 10) }, l.path(newest)},
		"grown by a frame":   {func() error { return appendFile(l.path(1), l.path(2)) }, l.path(2)},
		"of another version": {func() error { damage(t, l.path(1), 8, 3); return nil }, l.path(1)},
	} {
		t.Run(name, func(t *testing.T) {
			restore()
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			err := l.open()
			if err == nil {
				t.Fatal("opened")
			}
			if c.file != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(c.file))) {
				t.Fatalf("refused with %v, not as corrupt for %s", err, c.file)
			}
		})
	}
	restore()
	l.mustOpen()
	l.holds(n)
}

// appendFile appends what follows the header of another segment.
func appendFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	return os.WriteFile(to, bytes.Join([][]byte{old, b[segmentHeaderSize:]}, nil), 0o644)
}

// TestCorruptRead: damage that comes while the log is open is found by the reader.
func TestCorruptRead(t *testing.T) {
	l := newTestLog(t, 1<<20)
	l.append(3)
	at := l.size(0)
	l.append(3)
	damage(t, l.path(0), at+frameHeaderSize+1, 1)
	_, err := l.read(0, func(record) bool { return true })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("at offset %d ", at)) {
		t.Errorf("read with %v", err)
	}
}

// TestAt looks up arrival times.
func TestAt(t *testing.T) {
	l := newTestLog(t, 400)
	if ord, err := l.at(0); err != nil || ord != l.tip() {
		t.Errorf("in an empty log: %d, %v", ord, err)
	}
	var arrivals []int64
	for range 40 {
		l.append(1)
		arrivals = append(arrivals, l.arrival)
	}
	_, ords := l.contents(0)
	for i, a := range arrivals {
		for _, at := range []int64{a - 6, a} {
			if got, err := l.at(at); err != nil || got != ords[i] {
				t.Errorf("at %d: %d, %v, not %d", at, got, err, ords[i])
			}
		}
	}
	if got, err := l.at(arrivals[39] + 1); err != nil || got != l.tip() {
		t.Errorf("after the last: %d, %v", got, err)
	}
}

// TestClockBack: arrivals and so sequence numbers stay in order when the clock goes back, also over an opening.
func TestClockBack(t *testing.T) {
	l := newTestLog(t, 1<<20)
	l.clock = 5_000_000
	l.append(1)
	l.clock = 1_000
	l.append(1)
	l.crash()
	l.clock = 2_000
	l.mustOpen()
	l.append(1)
	var last int64
	if _, err := l.read(0, func(r record) bool {
		if r.arrival < last {
			t.Errorf("arrival %d follows %d", r.arrival, last)
		}
		last = r.arrival
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// TestWriteFails: after a failed write nothing is acknowledged and nothing of it is read; the next opening goes on with
// what was acknowledged before.
func TestWriteFails(t *testing.T) {
	l := newTestLog(t, 1<<20)
	l.append(2)
	if err := l.segments[0].file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.commit(l.stageOne(2)); err == nil {
		t.Fatal("a write to a closed file is acknowledged")
	}
	if _, _, _, err := l.stage([]putEntry{{next: -1}}, 0); err == nil || !strings.Contains(err.Error(), "takes no more records") {
		t.Errorf("the next put: %v", err)
	}
	if l.tip() != l.lastOrd+1 || l.lastOrd != firstOrdinal(1)+1 {
		t.Errorf("the tip is %d", l.tip())
	}
	_ = l.abandon() // the file is closed already
	l.mustOpen()
	l.holds(2)
}

// TestGroupCommit: frames staged while nobody commits share one group, and one commit stores them all.
func TestGroupCommit(t *testing.T) {
	l := newTestLog(t, 1<<20)
	a, b := l.stageOne(2), l.stageOne(3)
	if a != b || len(a.frames) != 2 {
		t.Fatalf("two frames are in %d and %d", len(a.frames), len(b.frames))
	}
	if got, _ := l.contents(0); len(got) != 0 {
		t.Errorf("records are read before they are durable: %q", got)
	}
	if err := l.commit(b); err != nil {
		t.Fatal(err)
	}
	l.holds(5)
	end := l.size(0)
	if err := l.commit(a); err != nil || l.size(0) != end {
		t.Errorf("a group was written twice: %v", err)
	}
}
