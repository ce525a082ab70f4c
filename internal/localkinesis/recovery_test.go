package localkinesis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// testLog is a shardLog in a folder that can be opened again and again.
type testLog struct {
	*shardLog
	t     *testing.T
	opt   logOptions
	opens uint64
	clock int64
	lines *observer.ObservedLogs
	want  []string // what is stored, key=data
}

func newTestLog(t *testing.T, segmentBytes int64) *testLog {
	t.Helper()
	l := &testLog{t: t}
	l.opt = logOptions{dir: t.TempDir(), epoch: 1_700_000_000, shard: 3, segmentBytes: segmentBytes, indexBytes: 256,
		now: func() int64 { l.clock += 7; return l.clock }}
	s, err := createSegment(l.opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.file.Close()
	l.mustOpen()
	t.Cleanup(func() { _ = l.abandon() })
	return l
}

func (l *testLog) open() error {
	core, lines := observer.New(zap.InfoLevel)
	l.opens++
	log, err := openShardLog(l.opt, firstOrdinal(l.opens), zap.New(core))
	if err == nil {
		l.shardLog, l.lines = log, lines
	}
	return err
}

func (l *testLog) mustOpen() {
	l.t.Helper()
	if err := l.open(); err != nil {
		l.t.Fatal(err)
	}
}

// stageOne stages a frame of n records.
func (l *testLog) stageOne(n int) *commitGroup {
	l.t.Helper()
	var es []putEntry
	for i := range n {
		key, data := fmt.Sprint("key-", i), strings.Repeat("d", 10*i)+fmt.Sprint(len(l.want))
		l.want = append(l.want, key+"="+data)
		es = append(es, putEntry{key: []byte(key), data: []byte(data), next: int32(i + 1)})
	}
	es[n-1].next = -1
	_, _, g, err := l.stage(es, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	return g
}

func (l *testLog) append(n int) {
	l.t.Helper()
	if err := l.commit(l.stageOne(n)); err != nil {
		l.t.Fatal(err)
	}
}

// crash closes the files as a crash would leave them, if all that was written got to the disk.
func (l *testLog) crash() {
	l.t.Helper()
	if err := l.abandon(); err != nil {
		l.t.Fatal(err)
	}
}

// contents reads everything from an ordinal on.
func (l *testLog) contents(from ordinal) (all []string, ords []ordinal) {
	l.t.Helper()
	last := from
	end, err := l.read(from, func(r record) bool {
		if r.ord < last {
			l.t.Errorf("record %d follows %d", r.ord, last)
		}
		last = r.ord + 1
		all, ords = append(all, string(r.key)+"="+string(r.data)), append(ords, r.ord)
		return true
	})
	if err != nil || !end {
		l.t.Fatalf("read: %v, to the end: %v", err, end)
	}
	return all, ords
}

// holds wants the log to hold the first n of want.
func (l *testLog) holds(n int) {
	l.t.Helper()
	got, ords := l.contents(0)
	if strings.Join(got, "\n") != strings.Join(l.want[:n], "\n") {
		l.t.Fatalf("%d records %q, not %d", len(got), got, n)
	}
	if n > 0 && l.tip() != ords[n-1]+1 {
		l.t.Fatalf("the tip is %d, the last record %d", l.tip(), ords[n-1])
	}
}

func (l *testLog) path(number uint32) string { return segmentPath(l.opt.dir, l.opt.shard, number) }

func (l *testLog) size(number uint32) int64 {
	l.t.Helper()
	info, err := os.Stat(l.path(number))
	if err != nil {
		l.t.Fatal(err)
	}
	return info.Size()
}

// TestTornTail cuts the file at every byte of the last group. What was committed before is there, of the group the whole
// frames, and the log goes on.
func TestTornTail(t *testing.T) {
	l := newTestLog(t, 1<<20)
	l.append(3)
	l.append(2)
	safe := l.size(0)
	l.stageOne(2)
	middle := safe + int64(len(l.group.buf))
	l.append(4)
	l.crash()
	whole, err := os.ReadFile(l.path(0))
	if err != nil {
		t.Fatal(err)
	}
	stored := l.want
	for cut := safe; cut <= int64(len(whole)); cut++ {
		if err := os.WriteFile(l.path(0), whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		l.mustOpen()
		l.want = stored
		want := 5
		if cut >= middle {
			want = 7
		}
		if cut == int64(len(whole)) {
			want = 11
		}
		l.holds(want)
		clean := cut == safe || cut == middle || cut == int64(len(whole))
		if warned := l.lines.FilterMessageSnippet("torn tail").Len() == 1; warned == clean {
			t.Fatalf("cut at %d: %d lines in the log", cut, l.lines.Len())
		}
		_, before := l.contents(0)
		l.want = l.want[:want:want]
		l.append(1)
		l.holds(want + 1)
		if _, after := l.contents(0); after[want] <= before[want-1] || after[want] < firstOrdinal(l.opens) {
			t.Fatalf("cut at %d: ordinal %d after %d", cut, after[want], before[want-1])
		}
		l.crash()
		l.mustOpen() // what was repaired opens without a word
		l.holds(want + 1)
		if l.lines.Len() != 0 {
			t.Fatalf("cut at %d: opened again with %v", cut, l.lines.All())
		}
		l.crash()
	}
}

// TestTornGroup damages the first frame of a group whose second frame is whole, as a disk may leave it that writes pages
// in any order. It is a torn tail: nobody was told that either is stored.
func TestTornGroup(t *testing.T) {
	l := newTestLog(t, 1<<20)
	l.append(3)
	safe := l.size(0)
	l.stageOne(2)
	l.append(4)
	l.crash()
	damage(t, l.path(0), safe+frameHeaderSize+9, 0xff)
	l.mustOpen()
	l.holds(3)
	if l.lines.FilterMessageSnippet("torn tail").Len() != 1 {
		t.Errorf("log: %v", l.lines.All())
	}
}

// damage changes a byte.
func damage(t *testing.T, path string, at int64, bits byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bits
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// refuses wants the log to be refused for a file, at an offset if it is not negative.
func (l *testLog) refuses(file string, offset int64) {
	l.t.Helper()
	err := l.open()
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(file)) {
		l.t.Fatalf("opened with %v, not refused for %s", err, file)
	}
	if want := fmt.Sprintf("at offset %d ", offset); offset >= 0 && !strings.Contains(err.Error(), want) {
		l.t.Fatalf("%q does not say %q", err, want)
	}
}

// TestCorruptMiddle changes every byte that was durable once, one at a time. Each change is refused with file and offset
// of its frame, also in the last group once a mark follows it.
func TestCorruptMiddle(t *testing.T) {
	l := newTestLog(t, 1<<20)
	var starts []int64
	for n := range 4 {
		starts = append(starts, l.size(0))
		l.append(n + 1)
	}
	markAt := l.size(0)
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if l.size(0) != markAt+frameHeaderSize {
		t.Fatalf("no mark: %d bytes behind the last frame", l.size(0)-markAt)
	}
	whole, err := os.ReadFile(l.path(0))
	if err != nil {
		t.Fatal(err)
	}
	for at := range markAt {
		if 8 <= at && at < 12 {
			continue // the version: another refusal
		}
		if err := os.WriteFile(l.path(0), whole, 0o644); err != nil {
			t.Fatal(err)
		}
		damage(t, l.path(0), at, 0x55)
		var frame int64
		for _, s := range starts {
			if s <= at {
				frame = s
			}
		}
		l.refuses(l.path(0), frame)
		if after, err := os.ReadFile(l.path(0)); err != nil || len(after) != len(whole) {
			t.Fatalf("a refused file was changed: %d bytes, %v", len(after), err)
		}
	}
	if err := os.WriteFile(l.path(0), whole, 0o644); err != nil {
		t.Fatal(err)
	}
	l.mustOpen()
	l.holds(10)
}
