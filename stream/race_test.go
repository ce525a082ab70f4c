package stream

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
)

// randomFaults stands between all writers of a log and the server: concurrent,
// seeded, with ghosts that come back at any later publish.
type randomFaults struct {
	send publishFunc
	l    *Log

	mu     sync.Mutex
	rand   *rand.Rand
	ghosts []func()
	count  map[fault]int
}

func (f *randomFaults) publish(ctx context.Context, subject string, data []byte, expected uint64) (uint64, error) {
	f.mu.Lock()
	kind := faultNone
	if f.rand.IntN(3) == 0 {
		kind = fault(1 + f.rand.IntN(3))
	}
	f.count[kind]++
	var ghost func()
	if n := len(f.ghosts); n > 0 && f.rand.IntN(4) == 0 {
		ghost = f.ghosts[f.rand.IntN(n)]
	}
	if kind == faultGhost || f.rand.IntN(8) == 0 { // every eighth message comes twice
		dup := append([]byte(nil), data...)
		f.ghosts = append(f.ghosts, func() { _, _ = f.send(context.Background(), subject, dup, expected) })
	}
	f.mu.Unlock()
	if ghost != nil {
		ghost()
	}
	switch kind {
	case faultLostAck:
		_, _ = f.send(ctx, subject, data, expected)
		return 0, context.DeadlineExceeded
	case faultLost, faultGhost:
		return 0, context.DeadlineExceeded
	}
	return f.send(ctx, subject, data, expected)
}

// run owns shard s on partition 0 until the subject has reached goal, or it is
// fenced for good; it crashes and takes over now and then.
func (f *randomFaults) run(t *testing.T, ctx context.Context, s ShardID, seed uint64, goal int) {
	r := rand.New(rand.NewPCG(seed, 7))
	nonce := seed << 32
	for ctx.Err() == nil {
		nonce++
		tail, err := f.l.Tail(ctx, 0, s)
		if err != nil {
			t.Error(err)
			return
		}
		w := f.l.Writer(0, s, Identity{tail.Header.Epoch + 1, nonce})
		if r.IntN(2) == 0 {
			w.Start(tail)
		}
		upto := number(tail.Header.Upto)
		for r.IntN(20) > 0 { // else it crashes
			if upto >= goal {
				return
			}
			next := min(goal, upto+1+r.IntN(7))
			data, h := frameOf(s, w.Identity(), upto, next, 0)
			try, cancel := context.WithCancel(ctx)
			if r.IntN(10) == 0 {
				cancel() // given up at once
			}
			res, err := w.Publish(try, data, h)
			cancel()
			switch {
			case errors.Is(err, ErrFenced), errors.Is(err, ErrSameEpoch):
				upto = number(res.Tail.Header.Upto)
				w = f.l.Writer(0, s, Identity{res.Tail.Header.Epoch + 1, nonce})
			case errors.Is(err, context.Canceled) && ctx.Err() == nil:
			case err != nil:
				t.Error(err)
				return
			default:
				upto = number(res.Tail.Header.Upto)
			}
		}
	}
}

func number(p Position) (n int) {
	for _, c := range p.Seq {
		n = 10*n + int(c-'0')
	}
	return max(0, n-1000)
}

// Two owners of one shard and two of another, all on one stream, at the same
// time: whatever they and the network do, each subject is gapless and free of
// duplicates, and complete.
func TestR2TwoWritersOnOneShardUnderFaults(t *testing.T) {
	l := newTestLog(t)
	f := &randomFaults{send: l.send, l: l, rand: rand.New(rand.NewPCG(1, 2)), count: map[fault]int{}}
	l.publish = f.publish
	const goal = 500
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i, s := range []ShardID{"a", "a", "b", "b"} {
		wg.Go(func() { f.run(t, ctx, s, uint64(i+1), goal) })
	}
	wg.Wait()
	for _, ghost := range f.ghosts {
		ghost()
	}
	if got := checkI1(t, l, 0); got["a"] != at(goal) || got["b"] != at(goal) {
		t.Errorf("read up to %v", got)
	}
	rows := map[ShardID]map[string]bool{"a": {}, "b": {}}
	st, err := l.State(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	epochs := map[Epoch]bool{}
	var g Frame
	for seq := uint64(2); seq <= st.Last; seq++ {
		data, _, err := l.Message(ctx, 0, seq)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(data, &g); err != nil {
			t.Fatal(err)
		}
		epochs[g.Epoch] = true
		for _, row := range g.Rows {
			if rows[g.Shard][row.Pos.Seq] {
				t.Fatalf("row %v of shard %s twice", row.Pos, g.Shard)
			}
			rows[g.Shard][row.Pos.Seq] = true
		}
	}
	if len(rows["a"]) != goal || len(rows["b"]) != goal {
		t.Errorf("%d and %d rows of %d", len(rows["a"]), len(rows["b"]), goal)
	}
	t.Logf("%d frames, %d epochs, faults %v, %d ghosts", st.Last-1, len(epochs), f.count, len(f.ghosts))
	if len(f.ghosts) < 10 || f.count[faultLostAck] < 10 {
		t.Error("the schedule has too few faults to mean anything")
	}
}
