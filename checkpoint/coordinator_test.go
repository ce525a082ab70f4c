package checkpoint_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
)

func TestCheckpointsFollowTheInterval(t *testing.T) {
	s := begin(t, 2, nil)
	s.nothing()
	s.tick(interval - 1)
	s.nothing()
	s.tick(1)
	if b := s.landed(); b != (checkpoint.Barrier{N: 1, Base: 0, Nonce: own}) {
		t.Fatalf("announced %+v", b)
	}
	s.tick(interval / 2)
	s.complete(1, nil)
	take[checkpoint.Sweep](s)
	s.nothing()
	if got := s.c.Next().Sub(s.now); got != interval/2 {
		t.Fatalf("the next one begins in %v, want half an interval", got)
	}
	s.step(checkpoint.Wanted{})
	if b := s.landed(); b.N != 2 || b.Base != 1 {
		t.Fatalf("announced %+v", b)
	}
}

func TestR5OnePartitionDiffers(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 0, 5, nil)
	s.ack(1, 0, 6, nil) // a second owner of partition 0: the first ack counts
	s.ack(1, 1, 5, func(a *checkpoint.Ack) { a.Vector[1].Marks[0].Seq++ })
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	c := report[checkpoint.Cancelled](s)
	const want = "the partitions do not agree on the cut: partitions 0 against 1: shard shard-1: lane mark 8000000000000005/3/5 here, 8000000000000005/3/6 there"
	if c.Reason != want {
		t.Fatalf("the reason is %s", c.Reason)
	}
	if b := s.landed(); b.N != 2 || b.Base != 0 {
		t.Fatalf("announced %+v", b)
	}
	// A second dispute in a row waits a little, lest they chase each other.
	s.ack(2, 0, 5, nil)
	s.ack(2, 1, 6, nil)
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	report[checkpoint.Cancelled](s)
	s.nothing()
	s.tick(interval)
	if b := s.landed(); b.N != 3 {
		t.Fatalf("announced %+v", b)
	}
}

func TestR5LateAcksDoNotCount(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 0, 5, nil)
	report[checkpoint.Acked](s)
	s.step(checkpoint.Asked{Above: 1})
	report[checkpoint.Cancelled](s)
	s.landed()
	s.ack(1, 1, 5, nil)
	s.ack(9, 1, 5, nil)
	s.ack(2, 7, 5, nil)
	s.nothing()
}

func TestR6TimeoutAnnouncesTheNext(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	s.landed()
	s.ack(1, 1, 5, nil)
	report[checkpoint.Acked](s)
	for i, timeout := range []time.Duration{3, 6, 12, 24, 24} {
		s.tick(timeout*interval - 1)
		s.nothing()
		s.tick(1)
		c := report[checkpoint.Cancelled](s)
		if c.N != stream.BarrierID(i+1) || i == 0 && c.Reason != "it timed out after 30s, no ack came from partition 0" {
			t.Fatalf("cancelled %+v", c)
		}
		if b := s.landed(); b.N != stream.BarrierID(i+2) || b.Base != 0 {
			t.Fatalf("announced %+v", b)
		}
	}
	s.complete(6, nil)
	take[checkpoint.Sweep](s)
	s.tick(interval)
	s.landed()
	s.tick(3 * interval) // a completed one ends the patience
	report[checkpoint.Cancelled](s)
}

func TestR6BarrierIsAboveHeadBoardAndLog(t *testing.T) {
	for _, c := range []struct {
		head, board, floor, want stream.BarrierID
	}{{0, 0, 0, 1}, {7, 0, 0, 8}, {7, 9, 0, 10}, {7, 9, 12, 13}} {
		s := begin(t, 2, func(cfg *checkpoint.Config, st *checkpoint.Start) {
			cfg.Floor = c.floor
			st.Head.N, st.Head.Manifests[0].N, st.Manifests[0].N = c.head, c.head, c.head
			if c.board > 0 {
				st.Announced = checkpoint.Barrier{N: c.board, Base: c.head, Nonce: 1}
			}
		})
		if c.head > 0 {
			take[checkpoint.Complete](s) // the board may not know it yet
			take[checkpoint.Sweep](s)
		}
		if c.board == 0 {
			s.step(checkpoint.Wanted{})
		}
		a := take[checkpoint.Announce](s)
		if a.Barrier.N != c.want || a.Barrier.Base != c.head || a.Prev.N != c.board {
			t.Errorf("%+v: announced %+v", c, a)
		}
	}
}

func TestR6LostAnnouncementIsResolved(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	a := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 1, Err: errors.New("timeout")})
	report[checkpoint.Failed](s)
	s.ack(1, 0, 5, nil) // it landed after all
	s.ack(1, 1, 5, nil)
	report[checkpoint.Acked](s)
	report[checkpoint.Acked](s)
	s.nothing() // nothing is committed on a guess
	s.tick(interval)
	if again := take[checkpoint.Announce](s); again != a {
		t.Fatalf("announced %+v, then %+v", a, again)
	}
	s.step(checkpoint.Announced{N: 1, There: a.Barrier})
	take[checkpoint.Commit](s)
}

func TestR6OwnLateAnnouncementIsNoRival(t *testing.T) {
	s := begin(t, 2, nil)
	s.step(checkpoint.Wanted{})
	first := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 1, Err: errors.New("timeout")})
	report[checkpoint.Failed](s)
	s.step(checkpoint.Asked{Above: 1})
	report[checkpoint.Cancelled](s)
	second := take[checkpoint.Announce](s)
	s.step(checkpoint.Announced{N: 2, There: first.Barrier}) // the first landed late
	third := take[checkpoint.Announce](s)
	if third.Barrier != second.Barrier || third.Prev != first.Barrier {
		t.Fatalf("announced %+v", third)
	}
	s.step(checkpoint.Announced{N: 2, There: checkpoint.Barrier{N: 3, Nonce: 0xbad}})
	if stop := take[checkpoint.Stop](s); !errors.Is(stop.Err, checkpoint.ErrSuperseded) {
		t.Fatal(stop.Err)
	}
	s.tick(time.Hour)
	s.nothing()
}
