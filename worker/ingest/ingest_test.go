package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
)

func TestOneOwner(t *testing.T) {
	b := newBench(t)
	recs := records(1, 3000)
	h, _ := b.open(b.worker(), 1)
	if err := feed(t.Context(), h, recs, stream.Position{}, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
}

// TestR2TwoOwnersOnOneShard lets several workers believe that they own the
// shard, all reading all of it at their own pace, with barriers in between and
// owners that come late. Whoever is fenced stops; the log is as if there had
// been one.
func TestR2TwoOwnersOnOneShard(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBench(t)
			recs := records(seed, 1500)
			var wg sync.WaitGroup
			var fenced, finished int
			var mu sync.Mutex
			workers := []*Worker{b.worker(), b.worker(), b.worker()}
			for i, w := range workers {
				h, from := b.open(w, stream.Epoch(1+i%2)) // two share an epoch: a recreated lease table
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				wg.Go(func() {
					err := feed(t.Context(), h, recs, from, rng)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						finished++
					case errors.Is(err, stream.ErrFenced) || errors.Is(err, stream.ErrSameEpoch):
						fenced++
					default:
						t.Error(err)
					}
				})
				b.announce(stream.BarrierID(1+i), workers...)
			}
			wg.Wait()
			// Whatever became of them, one more owner completes the log.
			h, from := b.open(b.worker(), 1)
			b.announce(50, workers...)
			if err := feed(t.Context(), h, recs, from, rand.New(rand.NewPCG(seed, 9))); err != nil {
				t.Fatal(err)
			}
			b.settled(recs[len(recs)-1].Pos)
			b.check(recs)
			t.Logf("%d owners finished, %d were fenced", finished, fenced)
		})
	}
}

// TestR1RecreatedLeaseTable opens the shard under an epoch that is lower than
// what the log has seen: the new owner must not be fenced for ever.
func TestR1RecreatedLeaseTable(t *testing.T) {
	b := newBench(t)
	recs := records(3, 400)
	first, _ := b.open(b.worker(), 9)
	if err := feed(t.Context(), first, recs[:200], stream.Position{}, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	b.landed()
	first.Close()
	second, _ := b.open(b.worker(), 1)
	if e := second.(*Shard).epoch; e <= 9 {
		t.Fatalf("epoch %d does not pass 9", e)
	}
	if err := feed(t.Context(), second, recs, stream.Position{}, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
}

// TestR6BarrierIsOnePosition announces barriers while records flow: each that
// is written stands at one position on all partitions; one announced before
// the shard was opened is never written.
func TestR6BarrierIsOnePosition(t *testing.T) {
	b := newBench(t)
	w := b.worker()
	b.announce(4, w)
	recs := records(5, 4000)
	h, _ := b.open(w, 1)
	if want := []stream.BarrierID{4}; !slices.Equal(b.asked, want) {
		t.Fatalf("opening asked for barriers above %v, want %v", b.asked, want)
	}
	b.announce(4, w)
	var wg sync.WaitGroup
	rng := rand.New(rand.NewPCG(5, 5))
	for n := stream.BarrierID(5); n < 25; n++ {
		at := int(n-5) * 200
		if err := feed(t.Context(), h, recs[at:at+200], stream.Position{}, rng); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { b.announce(n, w) })
	}
	wg.Wait()
	if err := feed(t.Context(), h, recs[4000:], stream.Position{}, rng); err != nil {
		t.Fatal(err)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
	at := map[stream.BarrierID]map[stream.Position]int{}
	for p := range stream.Partition(testPartitions) {
		for _, f := range b.frames(p) {
			if f.Flags&stream.FlagBarrier != 0 {
				if at[f.Barrier] == nil {
					at[f.Barrier] = map[stream.Position]int{}
				}
				at[f.Barrier][f.Upto]++
			}
		}
	}
	if at[4] != nil {
		t.Error("barrier 4 was announced before the shard was opened, and written")
	}
	if len(at) == 0 {
		t.Error("no barrier was written")
	}
	for n, positions := range at {
		if len(positions) != 1 {
			t.Errorf("barrier %s stands at %d positions", n, len(positions))
		}
		for pos, partitions := range positions {
			if partitions != testPartitions {
				t.Errorf("barrier %s at %s is on %d partitions of %d", n, pos, partitions, testPartitions)
			}
		}
	}
}

// TestR6NewOwnerCatchesUpFirst: partitions may be ahead of a new owner that
// reads again from the checkpoint; its barrier waits until it is past them.
func TestR6NewOwnerCatchesUpFirst(t *testing.T) {
	b := newBench(t)
	recs := records(6, 600)
	first, _ := b.open(b.worker(), 1)
	if err := feed(t.Context(), first, recs[:400], stream.Position{}, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	b.landed()
	first.Close()
	ahead := stream.Position{}
	for p := range stream.Partition(testPartitions) {
		tail, err := b.log.Tail(t.Context(), p, shard)
		if err != nil {
			t.Fatal(err)
		}
		if tail.Header.Upto.Compare(ahead) > 0 {
			ahead = tail.Header.Upto
		}
	}
	w := b.worker()
	second, from := b.open(w, 1)
	b.announce(1, w)
	if err := feed(t.Context(), second, recs, from, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	b.settled(recs[len(recs)-1].Pos)
	b.check(recs)
	for p := range stream.Partition(testPartitions) {
		for _, f := range b.frames(p) {
			if f.Flags&stream.FlagBarrier != 0 && f.Upto.Compare(ahead) < 0 {
				t.Fatalf("barrier %s at %s is behind the log at %s", f.Barrier, f.Upto, ahead)
			}
		}
	}
}

// TestR12VanishedSubject: a checkpoint has progress of the shard, the log has
// no frame of it. That is refused, never begun anew.
func TestR12VanishedSubject(t *testing.T) {
	b := newBench(t)
	b.manifest.N = 3
	b.manifest.Vector = checkpoint.Vector{{Shard: shard, State: checkpoint.Open, Position: stream.Position{Seq: "49550"}, Restart: "49550", Read: 10}}
	_, _, err := b.worker().Open(t.Context(), shard, 1, nil)
	if !errors.Is(err, stream.ErrBroken) {
		t.Fatalf("opened over a vanished subject: %v", err)
	}
}

// TestR5NewOwnerStartsFromManifest starts a second owner from a checkpoint in
// mid-stream, with its marks and counts: cuts go on as if nothing had happened.
func TestR5NewOwnerStartsFromManifest(t *testing.T) {
	b := newBench(t)
	w := b.worker()
	recs := records(8, 1200)
	first, _ := b.open(w, 1)
	rng := rand.New(rand.NewPCG(8, 8))
	if err := feed(t.Context(), first, recs[:500], stream.Position{}, rng); err != nil {
		t.Fatal(err)
	}
	b.announce(1, w)
	if err := feed(t.Context(), first, recs[500:700], stream.Position{}, rng); err != nil {
		t.Fatal(err)
	}
	cut := b.awaitBarrier(1)
	first.Close()
	b.mu.Lock()
	b.manifest = &checkpoint.Manifest{Job: "test", Generation: 1, Nonce: testNonce, N: 1, Vector: checkpoint.Vector{{
		Shard: shard, State: checkpoint.Open, Position: cut.Upto, Restart: cut.Cut.Restart, Watermark: cut.Watermark,
		Read: cut.Cut.Read, Watermarks: cut.Cut.Watermarks, Marks: cut.Cut.Marks,
	}}}
	b.mu.Unlock()
	w2 := b.worker()
	restart, ended, known, err := w2.Progress(t.Context(), shard)
	if err != nil || ended || !known || restart != cut.Cut.Restart {
		t.Fatalf("progress is %q, ended %v, known %v, %v", restart, ended, known, err)
	}
	second, from := b.open(w2, 2)
	if from != cut.Upto {
		t.Fatalf("opened at %s, the checkpoint is at %s", from, cut.Upto)
	}
	resumed := recs[slices.IndexFunc(recs, func(r source.Record) bool { return r.Pos.Seq > restart }):]
	if err := feed(t.Context(), second, resumed, from, rng); err != nil {
		t.Fatal(err)
	}
	b.announce(2, w2)
	b.settled(recs[len(recs)-1].Pos)
	b.awaitBarrier(2)
	b.check(recs)
}

// awaitBarrier waits until barrier n is on every partition, and returns its
// frame on partition 0.
func (b *bench) awaitBarrier(n stream.BarrierID) (frame stream.Frame) {
	b.t.Helper()
	for p := range stream.Partition(testPartitions) {
		reader, err := b.log.Reader(b.t.Context(), p, 2)
		if err != nil {
			b.t.Fatal(err)
		}
		for {
			msg, err := reader.Next(b.t.Context())
			if err != nil {
				b.t.Fatal(err)
			}
			var f stream.Frame
			if err := stream.Decode(msg.Data, &f); err != nil {
				b.t.Fatal(err)
			}
			if f.Flags&stream.FlagBarrier != 0 && f.Barrier == n {
				if p == 0 {
					frame = f
				}
				break
			}
		}
		reader.Close()
	}
	return frame
}

// TestProducersBeyondTheBound: the seventeenth producer of a shard becomes dead
// letters that say so.
func TestProducersBeyondTheBound(t *testing.T) {
	p := newPrefix(256)
	fence, err := trip.GeofenceByName("bbox")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(MaxProducers + 1) {
		tr := trip.Trip{Dropoff: int64(rng.IntN(1e9)), PickupLat: 40.7, PickupLon: -74, DropoffLat: 40.7, DropoffLon: -74}
		rec := source.Record{
			Pos: stream.Position{Seq: fmt.Sprint(100 + i)}, Last: true,
			Data: trip.AppendTrip(nil, &tr, 1, trip.Envelope{Producer: 1 + i, Lane: 3}),
		}
		var ev trip.Event
		v, reason, _ := p.add(fence, &rec, &ev)
		if over := i == MaxProducers; over != (v == dead) || over != (reason == "producers") {
			t.Fatalf("producer %d: verdict %d, reason %q", i+1, v, reason)
		}
	}
	if len(p.cut().Marks) != MaxProducers {
		t.Fatalf("%d marks", len(p.cut().Marks))
	}
}

// TestLanesBeyondTheJobs: a lane that the job's producers do not have becomes a
// dead letter, and a job without lanes takes every record.
func TestLanesBeyondTheJobs(t *testing.T) {
	fence, err := trip.GeofenceByName("bbox")
	if err != nil {
		t.Fatal(err)
	}
	tr := trip.Trip{PickupLat: 40.7, PickupLon: -74, DropoffLat: 40.7, DropoffLon: -74}
	for _, c := range []struct {
		lanes, lane int
		want        []verdict // of the same trip, twice
	}{{256, 255, []verdict{travels, repeated}}, {256, 256, []verdict{dead, dead}}, {0, 256, []verdict{travels, travels}}} {
		p := newPrefix(c.lanes)
		var got []verdict
		for i := range c.want {
			rec := source.Record{
				Pos: stream.Position{Seq: fmt.Sprint(100 + i)}, Last: true,
				Data: trip.AppendTrip(nil, &tr, 1, trip.Envelope{Producer: 1, Lane: uint16(c.lane)}),
			}
			var ev trip.Event
			v, _, _ := p.add(fence, &rec, &ev)
			got = append(got, v)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("lane %d of %d: verdicts %v, want %v", c.lane, c.lanes, got, c.want)
		}
	}
}

// BenchmarkRecords reads records into segments and frames, without a log.
func BenchmarkRecords(b *testing.B) {
	fence, err := trip.GeofenceByName("bbox")
	if err != nil {
		b.Fatal(err)
	}
	recs := records(1, 4096)
	p := newPrefix(256)
	s := &Shard{w: &Worker{fence: fence, precision: 6, cfg: Config{FrameRows: 768}}, id: shard, prefix: p}
	for range 16 {
		s.outlets = append(s.outlets, &outlet{open: new(segment), wake: make(chan struct{}, 1)})
	}
	var ev trip.Event
	var f stream.Frame
	var buf []byte
	var seq uint64
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rec := recs[i%len(recs)]
		if i%len(recs) == 0 { // the same trips again, as new ones
			clear(s.prefix.lanes)
			seq++
		}
		rec.Pos.Seq = recs[i%len(recs)].Pos.Seq
		o := s.read(&rec, &ev)
		if o != nil && o.open.full(768) {
			o.open.fill(&f)
			buf = stream.Append(buf[:0], &f)
			o.open.reset()
		}
	}
	_ = binary.Size(buf)
}
