package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testNonce = 0xabcdef

// testServer starts a server that does not fsync: these tests crash nothing.
func testServer(t testing.TB, cfg natsd.Config) jetstream.JetStream {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := natsd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := s.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func testSpec() Spec {
	return Spec{Job: "taxi", Generation: 1, Partitions: 2, Nonce: testNonce, Genesis: []byte("genesis")}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func openTestLog(t testing.TB, js jetstream.JetStream, spec Spec) *Log {
	t.Helper()
	l, err := OpenLog(testContext(t), js, spec)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newTestLog(t testing.TB) *Log {
	return openTestLog(t, testServer(t, natsd.Config{SyncInterval: time.Minute}), testSpec())
}

func at(n int) Position {
	if n == 0 {
		return Position{}
	}
	return Position{Seq: fmt.Sprintf("%d", 1000+n)}
}

// frameOf is a frame over (after, upto] with a row each, and its header.
func frameOf(s ShardID, id Identity, after, upto int, flags Flags) ([]byte, *Header) {
	f := &Frame{Header: Header{Nonce: testNonce, Shard: s, Epoch: id.Epoch, Writer: id.Writer,
		After: at(after), Upto: at(upto), Flags: flags}}
	for i := after + 1; i <= upto; i++ {
		f.Rows = append(f.Rows, Row{Pos: at(i), EventTime: int64(i)})
	}
	return Append(nil, f), &f.Header
}

// mustPublish publishes a frame that must land.
func mustPublish(t testing.TB, w *Writer, after, upto int, flags Flags) Tail {
	t.Helper()
	data, h := frameOf(w.shard, w.id, after, upto, flags)
	r, err := w.Publish(testContext(t), data, h)
	if err != nil || !r.Landed() {
		t.Fatalf("publish (%d, %d]: %+v, %v", after, upto, r, err)
	}
	return r.Tail
}

// checkI1 reads a partition and checks per subject that positions follow each
// other; it returns the upto of each shard.
func checkI1(t testing.TB, l *Log, p Partition) map[ShardID]Position {
	t.Helper()
	ctx := testContext(t)
	st, err := l.State(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	upto := map[ShardID]Position{}
	if st.Last < 2 {
		return upto
	}
	r, err := l.Reader(ctx, p, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var f Frame
	for seq := uint64(2); seq <= st.Last; seq++ {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(m.Data, &f); err != nil {
			t.Fatal(err)
		}
		gotP, s, ok := l.ShardOf(m.Subject)
		if m.Seq != seq || !ok || gotP != p || s != f.Shard {
			t.Fatalf("sequence %d on %s, want %d of shard %s", m.Seq, m.Subject, seq, f.Shard)
		}
		if f.After != upto[s] {
			t.Fatalf("I1: shard %s, sequence %d begins after %v, the frame before ends at %v", s, seq, f.After, upto[s])
		}
		for i, row := range f.Rows {
			if i > 0 && row.Pos.Compare(f.Rows[i-1].Pos) <= 0 || row.Pos.Compare(f.After) <= 0 || row.Pos.Compare(f.Upto) > 0 {
				t.Fatalf("I1: position %v in (%v, %v]", row.Pos, f.After, f.Upto)
			}
		}
		upto[s] = f.Upto
	}
	return upto
}

func TestR8GenesisLoserCompares(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	ctx := testContext(t)
	// Many starters at once, one genesis.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := OpenLog(ctx, js, testSpec()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l := openTestLog(t, js, testSpec())
	for p := range Partition(2) {
		st, err := l.State(ctx, p)
		if err != nil || st.First != 1 || st.Last != 1 || st.Nonce != testNonce {
			t.Errorf("partition %d: %+v, %v", p, st, err)
		}
	}
	other := testSpec()
	other.Genesis = []byte("another")
	if _, err := OpenLog(ctx, js, other); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "taxi-1-") {
		t.Errorf("another genesis: %v", err)
	}
	other = testSpec()
	other.Nonce++
	if _, err := OpenLog(ctx, js, other); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "taxi-1-") {
		t.Errorf("another nonce: %v", err)
	}
	// A purge removes the genesis; the nonce in the metadata still tells.
	mustPublish(t, l.Writer(0, "a", Identity{1, 1}), 0, 1, 0)
	if err := l.Purge(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	openTestLog(t, js, testSpec())
	if _, err := OpenLog(ctx, js, other); !errors.Is(err, ErrBroken) {
		t.Errorf("another nonce, purged: %v", err)
	}
}

func TestOpenLogRefusesUnsafeStreams(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	ctx := testContext(t)
	l := openTestLog(t, js, testSpec())
	cfg := l.parts[1].stream.CachedInfo().Config
	cfg.AllowDirect = true
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(ctx, js, testSpec()); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "taxi-1-1") {
		t.Errorf("direct gets: %v", err)
	}
	if err := l.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(ctx); err != nil {
		t.Errorf("deleted again: %v", err)
	}
	if _, err := l.State(ctx, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("state of a deleted log: %v", err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "taxi-1-0", Subjects: []string{"taxi.1.0.*"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLog(ctx, js, testSpec()); !errors.Is(err, ErrBroken) {
		t.Errorf("foreign stream: %v", err)
	}
}

func TestOpenLogRaisesTheLimit(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	for _, c := range []struct{ ask, want int64 }{{1 << 20, 1 << 20}, {1 << 21, 1 << 21}, {1 << 20, 1 << 21}} {
		spec := testSpec()
		spec.MaxBytes = c.ask
		l := openTestLog(t, js, spec)
		info, err := l.parts[0].stream.Info(testContext(t))
		if err != nil || info.Config.MaxBytes != c.want {
			t.Errorf("asked for %d: %d, %v", c.ask, info.Config.MaxBytes, err)
		}
	}
}

func TestR12PurgeKeepsBarrier(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	id := Identity{1, 1}
	w := l.Writer(0, "a", id)
	mustPublish(t, w, 0, 3, 0)
	barrier := mustPublish(t, w, 3, 5, FlagBarrier)
	if err := l.Purge(ctx, 0, barrier.Seq); err != nil {
		t.Fatal(err)
	}
	st, err := l.State(ctx, 0)
	if err != nil || st.First != barrier.Seq || st.Last != barrier.Seq {
		t.Fatalf("%+v, %v", st, err)
	}
	tail, err := l.Tail(ctx, 0, "a")
	if err != nil || tail.Seq != barrier.Seq || tail.Header.Upto != at(5) || tail.Checksum != barrier.Checksum {
		t.Fatalf("the progress a new owner needs is gone: %+v, %v", tail, err)
	}
	if err := l.Purge(ctx, 0, barrier.Seq+1); !errors.Is(err, ErrRegressed) {
		t.Errorf("purge beyond the end: %v", err)
	}
	mustPublish(t, l.Writer(0, "a", id), 5, 6, 0)

	// A writer that finds nothing is told so, and asks HEAD.
	if tail, err := l.Tail(ctx, 1, "a"); err != nil || tail.Seq != 0 {
		t.Errorf("tail of nothing: %+v, %v", tail, err)
	}
}

func TestR16Message(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	tail := mustPublish(t, l.Writer(1, "a", Identity{1, 1}), 0, 3, FlagBarrier)
	data, subject, err := l.Message(ctx, 1, tail.Seq)
	if err != nil || subject != "taxi.1.1.a" || Checksum(data) != tail.Checksum {
		t.Errorf("%s, %v", subject, err)
	}
	if _, _, err := l.Message(ctx, 1, tail.Seq+1); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "sequence 3 of taxi-1-1") {
		t.Errorf("beyond the end: %v", err)
	}
}

func TestValidation(t *testing.T) {
	l := newTestLog(t)
	ctx := testContext(t)
	for _, s := range []ShardID{"", "a.b", "*", ">", "a b", genesisToken, ShardID(strings.Repeat("a", 129))} {
		if _, err := l.Tail(ctx, 0, s); err == nil {
			t.Errorf("shard %q taken", s)
		}
	}
	if _, err := l.Tail(ctx, 2, "a"); err == nil {
		t.Error("partition 2 of 2 taken")
	}
	for name, change := range map[string]func(*Spec){
		"job": func(s *Spec) { s.Job = "a.b" }, "generation": func(s *Spec) { s.Generation = 0 },
		"partitions": func(s *Spec) { s.Partitions = 0 }, "genesis": func(s *Spec) { s.Genesis = nil },
		"bytes": func(s *Spec) { s.MaxBytes = -1 },
	} {
		spec := testSpec()
		change(&spec)
		if _, err := OpenLog(ctx, l.js, spec); err == nil {
			t.Errorf("%s taken", name)
		}
	}
	for subject, want := range map[string]bool{"taxi.1.1.a": true, "taxi.1.1._genesis": false, "taxi.1.2.a": false, "taxi.2.0.a": false, "x": false} {
		if _, _, ok := l.ShardOf(subject); ok != want {
			t.Errorf("%s: %v", subject, ok)
		}
	}
}

// TestFilesAreShort is house rule 8.
func TestFilesAreShort(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, _ := os.ReadFile(e.Name())
		if n := slices.Collect(strings.Lines(string(data))); strings.HasSuffix(e.Name(), ".go") && len(n) > 400 {
			t.Errorf("%s has %d lines", e.Name(), len(n))
		}
	}
}
