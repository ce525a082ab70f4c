package ingest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// TestR13BarrierPassesWaitingData fills the log until data waits at the soft
// limit, on every partition. The barrier must get past it, at one position:
// only the checkpoint that it belongs to makes room again.
func TestR13BarrierPassesWaitingData(t *testing.T) {
	// The reserve, a tenth, holds what each subject has in hand when the log fills
	// (four segments of 32 rows, 5 kB) and six barriers, but not six times that.
	const maxBytes = 128 << 10
	b := newBenchOf(t, maxBytes)
	w := b.worker()
	w.cfg.FrameRows = 32
	recs := records(11, 50_000)
	h, _ := b.open(w, 1)
	fed := make(chan error, 1)
	go func() { fed <- feed(t.Context(), h, recs, stream.Position{}, rand.New(rand.NewPCG(1, 1))) }()
	full, n := 0, stream.BarrierID(0)
	for ; ; full++ {
		b.awaitFull(maxBytes, fed)
		if len(fed) > 0 {
			break
		}
		for range 6 { // all but the last time out: the reserve must last
			n++
			b.announce(n, w)
			b.awaitBarrierTail(n)
		}
		b.purgeBelowBarrier(n)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	n++
	b.announce(n, w) // the rest
	b.awaitBarrierTail(n)
	b.check(recs)
	if full < 2 {
		t.Fatalf("the log was full %d times only", full)
	}
}

// awaitFull waits until data waits on some partition, or all is fed.
func (b *bench) awaitFull(maxBytes uint64, fed <-chan error) {
	b.t.Helper()
	for len(fed) == 0 {
		for p := range stream.Partition(testPartitions) {
			st, err := b.log.State(b.t.Context(), p)
			if err != nil {
				b.t.Fatal(err)
			}
			if st.Bytes >= maxBytes/10*9 {
				return
			}
		}
	}
}

// awaitBarrierTail waits until every partition's last barrier is n.
func (b *bench) awaitBarrierTail(n stream.BarrierID) {
	b.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for p := range stream.Partition(testPartitions) {
		for {
			tail, err := b.log.Tail(b.t.Context(), p, shard)
			if err != nil {
				b.t.Fatal(err)
			}
			if tail.Header.Barrier >= n {
				break
			}
			if time.Now().After(limit) {
				b.t.Fatalf("R13: barrier %s does not reach partition %s, whose log is full", n, p)
			}
		}
	}
}

// purgeBelowBarrier keeps the frames up to barrier n here and purges what the
// coordinator would.
func (b *bench) purgeBelowBarrier(n stream.BarrierID) {
	b.t.Helper()
	at := map[stream.Position]bool{}
	for p := range stream.Partition(testPartitions) {
		st, err := b.log.State(b.t.Context(), p)
		if err != nil {
			b.t.Fatal(err)
		}
		for seq := max(2, st.First); ; seq++ {
			data, _, err := b.log.Message(b.t.Context(), p, seq)
			if err != nil {
				b.t.Fatal(err)
			}
			var f stream.Frame
			if err := stream.Decode(data, &f); err != nil {
				b.t.Fatal(err)
			}
			if f.Flags&stream.FlagBarrier != 0 && f.Barrier == n {
				at[f.Upto] = true
				if err := b.log.Purge(b.t.Context(), p, seq); err != nil {
					b.t.Fatal(err)
				}
				break
			}
			b.purged[p] = append(b.purged[p], f)
		}
	}
	if len(at) != 1 {
		b.t.Fatalf("R6: barrier %s stands at %d positions", n, len(at))
	}
}

// TestDeadLettersFitAFrame: however short the records that cannot be decoded
// are, and however many are merged at a full log, their frame stays below the
// cap, or they would stop the shard for ever (R20).
func TestDeadLettersFitAFrame(t *testing.T) {
	for _, size := range []int{0, 1, 1000, stream.MaxDeadRaw} {
		var o outlet
		pos := 0
		for range 3 {
			seg := new(segment)
			for !seg.full(768) {
				pos++
				seg.addDead(stream.Dead{
					Pos: stream.Position{Seq: fmt.Sprintf("4955%052d", pos*1_000_003)}, Reason: "json: bad",
					Raw: make([]byte, size), SHA256: sha256.Sum256(nil),
				})
			}
			seg.upto = seg.dead[len(seg.dead)-1].Pos
			o.queue = append(o.queue, seg)
		}
		o.queue[2].barrier, o.queue[2].cut = 1, &stream.Cut{}
		o.room = make(chan struct{}, 1)
		all := o.pop()
		o.absorb(all, 768)
		var f stream.Frame
		all.fill(&f)
		if n := len(stream.Append(nil, &f)); n > stream.MaxFrameBytes {
			t.Errorf("%d dead letters of %d bytes make a frame of %d bytes, at most %d are allowed", len(all.dead), size, n, stream.MaxFrameBytes)
		}
		if all.barrier != 1 || len(o.queue) != 0 {
			t.Errorf("barrier %s, %d segments left", all.barrier, len(o.queue))
		}
	}
}

// TestR4BarrierOnASubjectNeverGoesBack: a segment with barrier 5 meets a log in
// which another owner wrote barrier 7 meanwhile. Barrier 5 is abandoned, its
// trips are not, and the header goes on to say 7.
func TestR4BarrierOnASubjectNeverGoesBack(t *testing.T) {
	b := newBench(t)
	recs := records(12, 600)
	late, early := b.worker(), b.worker()
	old, _ := b.open(early, 1)
	h, _ := b.open(late, 2) // has read the tails: nothing there
	if err := feed(t.Context(), old, recs[:100], stream.Position{}, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	early.Announce(7)
	b.awaitBarrierTail(7)
	s := h.(*Shard)
	s.mu.Lock() // nothing is published before barrier 5 is cut
	var ev trip.Event
	for i := range recs[:300] {
		s.read(&recs[i], &ev)
	}
	s.want = 5
	s.cutBarrier()
	s.mu.Unlock()
	if err := feed(t.Context(), h, recs, stream.Position{}, rand.New(rand.NewPCG(1, 3))); err != nil {
		t.Fatal(err)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
	for p := range stream.Partition(testPartitions) {
		var barrier stream.BarrierID
		for i, f := range b.frames(p) {
			if f.Barrier < barrier {
				t.Fatalf("partition %s frame %d says that the subject's barrier is %s, it is %s", p, i, f.Barrier, barrier)
			}
			barrier = f.Barrier
		}
	}
}

// TestR16TailBehindTheCheckpoint: the log has frames of the shard, but fewer
// than the checkpoint has seen: it lost its tail. A new owner would leave a
// hole between them.
func TestR16TailBehindTheCheckpoint(t *testing.T) {
	b := newBench(t)
	recs := records(13, 200)
	h, _ := b.open(b.worker(), 1)
	if err := feed(t.Context(), h, recs[:100], stream.Position{}, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	b.landed()
	h.Close()
	ahead := recs[150].Pos
	b.mu.Lock()
	b.manifest.N = 3
	b.manifest.Vector = checkpoint.Vector{{Shard: shard, State: checkpoint.Open, Position: ahead, Restart: ahead.Seq, Read: 151}}
	b.mu.Unlock()
	if _, _, err := b.worker().Open(t.Context(), shard, 2, nil); !errors.Is(err, stream.ErrBroken) {
		t.Fatalf("opened over a log that ends before the checkpoint: %v", err)
	}
}

// TestR13HoldEndsWithTheFullLog: a hold that outlived its reason ends with the
// next data, however long the linger is and however often barriers come. It
// once let one record through for each barrier.
func TestR13HoldEndsWithTheFullLog(t *testing.T) {
	b := newBench(t)
	w := b.worker()
	w.cfg.FrameRate = 0.01 // a linger of minutes
	recs := records(9, 2000)
	h, _ := b.open(w, 1)
	s := h.(*Shard)
	s.mu.Lock()
	for _, o := range s.outlets {
		o.held = true
	}
	s.mu.Unlock()
	done := make(chan struct{})
	announced := make(chan stream.BarrierID, 1)
	go func() {
		for n := stream.BarrierID(1); ; n++ {
			select {
			case <-done:
				announced <- n
				return
			case <-time.After(5 * time.Millisecond):
				b.announce(n, w)
			}
		}
	}()
	err := feed(t.Context(), h, recs, stream.Position{}, rand.New(rand.NewPCG(9, 9)))
	close(done)
	if err != nil {
		t.Fatal(err)
	}
	if n := <-announced; n > 500 {
		t.Fatalf("%d records took %d barriers to pass", len(recs), n)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
}
