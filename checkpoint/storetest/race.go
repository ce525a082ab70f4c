package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// race runs fn(i) on n goroutines that start together.
func race(n int, fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wg.Wait()
}

const racers = 16

func sixteenRacers(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	old := ""
	for round := range 5 {
		errs, versions := make([]error, racers), make([]string, racers)
		race(racers, func(i int) {
			versions[i], errs[i] = []checkpoint.Store{a, b}[i%2].SwapHead(ctx, "taxi", old, fmt.Appendf(nil, "%d by %d", round, i))
		})
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: racers %d and %d both won", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, checkpoint.ErrConflict):
				t.Fatalf("round %d: racer %d: %v", round, i, err)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		data, version, err := b.ReadHead(ctx, "taxi")
		must(t, err)
		if string(data) != fmt.Sprintf("%d by %d", round, winner) || version != versions[winner] {
			t.Fatalf("round %d: HEAD is %q, racer %d won", round, data, winner)
		}
		old = version
	}
}

// noSwapIsLost lets racers add their name to HEAD until all have succeeded.
func noSwapIsLost(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	errs := make([]error, racers)
	race(racers, func(i int) {
		s := []checkpoint.Store{a, b}[i%2]
		for {
			data, version, err := s.ReadHead(ctx, "taxi")
			if err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
				errs[i] = err
				return
			}
			_, err = s.SwapHead(ctx, "taxi", version, fmt.Appendf(data, "%d,", i))
			if err == nil || !errors.Is(err, checkpoint.ErrConflict) {
				errs[i] = err
				return
			}
		}
	})
	must(t, errors.Join(errs...))
	data, _, err := a.ReadHead(ctx, "taxi")
	must(t, err)
	for i := range racers {
		if strings.Count(","+string(data), fmt.Sprintf(",%d,", i)) != 1 {
			t.Fatalf("racer %d is not exactly once in HEAD: %s", i, data)
		}
	}
}

// lostAnswer sends a swap again whose answer was lost: it conflicts with
// itself, and HEAD's content says so.
func lostAnswer(t *testing.T, a, _ checkpoint.Store) {
	ctx := context.Background()
	f := NewFaulty(a)
	f.On(SwapHead, 1, LoseAnswer)
	_, err := f.SwapHead(ctx, "taxi", "", []byte("mine"))
	wantErr(t, err, checkpoint.ErrUncertain)
	_, err = f.SwapHead(ctx, "taxi", "", []byte("mine"))
	wantErr(t, err, checkpoint.ErrConflict)
	data, _, err := f.ReadHead(ctx, "taxi")
	must(t, err)
	if string(data) != "mine" {
		t.Fatalf("HEAD is %q", data)
	}
	f.On(Put, 1, LoseAnswer)
	wantErr(t, f.Put(ctx, "taxi/1/1/p", []byte("mine")), checkpoint.ErrUncertain)
	must(t, f.Put(ctx, "taxi/1/1/p", []byte("mine")))
}

// allOrNothing reads a HEAD and an object while they are written.
func allOrNothing(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	const size, rounds = 1 << 20, 10
	whole := func(what string, data []byte, err error) {
		switch {
		case errors.Is(err, checkpoint.ErrNotFound):
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case len(data) != size || bytes.Count(data, data[:1]) != size:
			t.Errorf("%s: a reader saw %d bytes, not all of one write", what, len(data))
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			data, _, err := b.ReadHead(ctx, "taxi")
			whole("HEAD", data, err)
			data, err = b.Get(ctx, "taxi/1/1/p")
			whole("the object", data, err)
		}
	})
	version := ""
	for i := range rounds {
		data := bytes.Repeat([]byte{byte('a' + i)}, size)
		v, err := a.SwapHead(ctx, "taxi", version, data)
		if err != nil {
			t.Error(err)
			break
		}
		version = v
		if err := errors.Join(a.Put(ctx, "taxi/1/1/p", data), a.Delete(ctx, "taxi/1/1/p")); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

func racersPut(t *testing.T, a, b checkpoint.Store) {
	ctx := context.Background()
	errs := make([]error, racers)
	race(racers, func(i int) {
		errs[i] = []checkpoint.Store{a, b}[i%2].Put(ctx, "taxi/1/1/p", []byte("same"))
	})
	must(t, errors.Join(errs...))
	race(racers, func(i int) {
		errs[i] = []checkpoint.Store{a, b}[i%2].Put(ctx, "taxi/1/1/q", fmt.Appendf(nil, "by %d", i))
	})
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, checkpoint.ErrConflict) {
			t.Fatal(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d racers put different bytes under one name", won)
	}
}
