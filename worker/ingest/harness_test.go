package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testNonce      = 0xfeed
	testPartitions = 4
	shard          = stream.ShardID("shardId-000000000000")
)

// bench is a log of one job and the records of one shard.
type bench struct {
	t   *testing.T
	log *stream.Log

	mu       sync.Mutex
	manifest *checkpoint.Manifest
	asked    []stream.BarrierID
	barrier  stream.BarrierID

	purged [testPartitions][]stream.Frame // what the log held before it was purged
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchOf(t, 0)
}

// newBenchOf makes a bench whose partitions hold maxBytes each.
func newBenchOf(t *testing.T, maxBytes int64) *bench {
	t.Helper()
	srv, err := natsd.Start(natsd.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	nc, err := srv.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	log, err := stream.OpenLog(t.Context(), js, stream.Spec{
		Job: "test", Generation: 1, Partitions: testPartitions, Nonce: testNonce, Genesis: []byte("genesis"), MaxBytes: maxBytes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, log: log, manifest: &checkpoint.Manifest{Job: "test", Generation: 1, Nonce: testNonce}}
}

// Announced and RequestBarrier make a bench the Board.
func (b *bench) Announced(context.Context) (checkpoint.Barrier, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return checkpoint.Barrier{N: b.barrier}, nil
}

func (b *bench) RequestBarrier(_ context.Context, above stream.BarrierID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, above)
	return nil
}

// announce announces barrier n to workers.
func (b *bench) announce(n stream.BarrierID, to ...*Worker) {
	b.mu.Lock()
	b.barrier = max(b.barrier, n)
	b.mu.Unlock()
	for _, w := range to {
		w.Announce(n)
	}
}

func (b *bench) worker() *Worker {
	b.t.Helper()
	w, err := New(Config{
		Lanes: 256,
		Log:   b.log, Nonce: testNonce, Partitions: testPartitions, CellPrecision: 6, Geofence: "bbox", Board: b,
		Manifest: func(context.Context) (*checkpoint.Manifest, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.manifest, nil
		},
		FrameRows: 16, FrameRate: 1e6,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

func (b *bench) open(w *Worker, lease stream.Epoch) (source.Handler, stream.Position) {
	b.t.Helper()
	h, pos, err := w.Open(b.t.Context(), shard, lease, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(h.Close)
	return h, pos
}

// tripRecord is a trip's JSON from Manhattan to near JFK.
func tripRecord(rng *rand.Rand, lane uint16, seq uint64, at int64) []byte {
	tr := trip.Trip{
		Pickup: at - int64(20*time.Minute), Dropoff: at,
		PickupLat: 40.70 + rng.Float64()/10, PickupLon: -74.0 + rng.Float64()/10,
		DropoffLat: 40.64, DropoffLon: -73.78, TotalCents: 4200,
	}
	if rng.IntN(10) == 0 {
		tr.PickupLat, tr.PickupLon = 0, 0
	}
	return trip.AppendTrip(nil, &tr, seq, trip.Envelope{Producer: 7, Lane: lane, Seq: seq})
}

// records makes a shard's records: trips of four lanes, repeats, garbage,
// watermarks, some of them in aggregates; the final watermark last.
func records(seed uint64, n int) []source.Record {
	rng := rand.New(rand.NewPCG(seed, 1))
	base := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	next := [4]uint64{}
	var out []source.Record
	for seq := 0; len(out) < n; seq++ {
		of := 1
		if rng.IntN(4) == 0 {
			of = 1 + rng.IntN(6)
		}
		for sub := range of {
			at := base + int64(len(out))*int64(time.Second)
			lane := uint16(rng.IntN(4))
			var data []byte
			switch k := rng.IntN(20); {
			case k == 0:
				data = []byte(`{"type":"trip","pickup_lat":"x"`)
			case k == 1:
				data = trip.AppendWatermark(nil, at-int64(time.Minute))
			case k == 2 && next[lane] > 0:
				data = tripRecord(rng, lane, rng.Uint64N(next[lane]), at)
			default:
				data = tripRecord(rng, lane, next[lane], at)
				next[lane]++
			}
			out = append(out, source.Record{
				Pos:  stream.Position{Seq: fmt.Sprintf("4955%052d", seq*17), Sub: uint32(sub)},
				Last: sub == of-1, Data: data,
			})
		}
	}
	out = append(out, source.Record{
		Pos: stream.Position{Seq: fmt.Sprintf("4956%052d", 0)}, Last: true, Data: trip.AppendWatermark(nil, trip.FinalWatermark),
	})
	return out
}

// frames reads a partition's log to its end, what was purged included.
func (b *bench) frames(p stream.Partition) []stream.Frame {
	b.t.Helper()
	st, err := b.log.State(b.t.Context(), p)
	if err != nil {
		b.t.Fatal(err)
	}
	out := slices.Clone(b.purged[p])
	for seq := max(2, st.First); seq <= st.Last; seq++ {
		data, _, err := b.log.Message(b.t.Context(), p, seq)
		if err != nil {
			b.t.Fatal(err)
		}
		var f stream.Frame
		if err := stream.Decode(data, &f); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// check attacks I1 and R21: on every partition the frames follow one another
// without gap or repeat, and together they hold what a plain loop over the
// records says, no more and no less.
func (b *bench) check(recs []source.Record) {
	b.t.Helper()
	type tally struct{ read, watermarks, rows, outside, repeated, dead uint64 }
	var want, got tally
	wantRows := map[stream.Position]bool{}
	seen := map[uint16]uint64{}
	for i := range recs {
		want.read++
		var ev trip.Event
		switch err := trip.Decode(recs[i].Data, &ev); {
		case err != nil:
			want.dead++
		case ev.Kind == trip.KindWatermark:
			want.watermarks++
		case ev.Envelope.Seq < seen[ev.Envelope.Lane]:
			want.repeated++
		default:
			seen[ev.Envelope.Lane] = ev.Envelope.Seq + 1
			if ev.Trip.PickupLat == 0 {
				want.outside++
			} else {
				want.rows++
				wantRows[recs[i].Pos] = true
			}
		}
	}
	last := recs[len(recs)-1].Pos
	for p := range stream.Partition(testPartitions) {
		var upto stream.Position
		w := stream.MinWatermark
		var epoch stream.Epoch
		for i, f := range b.frames(p) {
			switch {
			case f.After != upto:
				b.t.Fatalf("I1: partition %s frame %d begins after %s, the one before ended at %s", p, i, f.After, upto)
			case f.Upto.Compare(f.After) < 0:
				b.t.Fatalf("partition %s frame %d goes back from %s to %s", p, i, f.After, f.Upto)
			case f.Watermark < w:
				b.t.Fatalf("R4: partition %s frame %d moves W back", p, i)
			case f.Epoch < epoch:
				b.t.Fatalf("R1: partition %s frame %d has epoch %d after %d", p, i, f.Epoch, epoch)
			}
			pos := f.After
			for _, r := range f.Rows {
				if r.Pos.Compare(pos) <= 0 || r.Pos.Compare(f.Upto) > 0 {
					b.t.Fatalf("partition %s frame %d: row %s is not within (%s, %s]", p, i, r.Pos, pos, f.Upto)
				}
				if !wantRows[r.Pos] {
					b.t.Fatalf("partition %s: row %s is a repeat or none of the trips", p, r.Pos)
				}
				delete(wantRows, r.Pos)
				pos = r.Pos
			}
			if f.Cut != nil {
				checkCut(b.t, recs, &f)
			}
			upto, w, epoch = f.Upto, f.Watermark, f.Epoch
			got.rows += uint64(len(f.Rows))
			got.dead += uint64(len(f.Dead))
			got.outside += f.Outside
			got.repeated += f.Repeated
		}
		if upto != last || w != trip.FinalWatermark {
			b.t.Fatalf("partition %s ends at %s with watermark %d, not at %s with the final one", p, upto, w, last)
		}
	}
	got.read, got.watermarks = want.read, want.watermarks
	if got != want {
		b.t.Fatalf("the log holds %+v, the records %+v", got, want)
	}
	if len(wantRows) > 0 {
		b.t.Fatalf("%d trips are not in the log", len(wantRows))
	}
}

// checkCut compares a barrier's cut with a plain loop over the prefix (R4, R5,
// R14): another owner goes on from it.
func checkCut(t *testing.T, recs []source.Record, f *stream.Frame) {
	t.Helper()
	want := stream.Cut{}
	w := stream.MinWatermark
	marks := [4]int64{-1, -1, -1, -1}
	for i := range recs {
		if recs[i].Pos.Compare(f.Upto) > 0 {
			break
		}
		want.Read++
		if recs[i].Last {
			want.Restart = recs[i].Pos.Seq
		}
		var ev trip.Event
		switch err := trip.Decode(recs[i].Data, &ev); {
		case err != nil:
		case ev.Kind == trip.KindWatermark:
			want.Watermarks++
			w = max(w, ev.Watermark)
		default:
			marks[ev.Envelope.Lane] = max(marks[ev.Envelope.Lane], int64(ev.Envelope.Seq))
		}
	}
	for lane, seq := range marks {
		if seq >= 0 {
			want.Marks = append(want.Marks, stream.Mark{Producer: 7, Lane: uint16(lane), Seq: uint64(seq)})
		}
	}
	got := f.Cut
	if got.Read != want.Read || got.Watermarks != want.Watermarks || got.Restart != want.Restart || !slices.Equal(got.Marks, want.Marks) || f.Watermark != w {
		t.Fatalf("the cut at %s is %+v with W %d, the prefix has %+v and %d", f.Upto, *got, f.Watermark, want, w)
	}
}

// feed hands records over in chunks as the KCL would: whole sequences each,
// those above from alone.
func feed(ctx context.Context, h source.Handler, recs []source.Record, from stream.Position, rng *rand.Rand) error {
	for i := 0; i < len(recs); {
		j := min(len(recs), i+1+rng.IntN(60))
		for j < len(recs) && !recs[j-1].Last {
			j++
		}
		chunk := slices.DeleteFunc(slices.Clone(recs[i:j]), func(r source.Record) bool { return r.Pos.Compare(from) <= 0 })
		if err := h.Records(ctx, chunk, 0); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// settled waits until every partition's last frame is at pos with the final W.
func (b *bench) settled(pos stream.Position) {
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
			var h stream.Header
			if _, err := stream.DecodeHeader(msg.Data, &h); err != nil {
				b.t.Fatal(err)
			}
			if h.Upto == pos && h.Watermark == trip.FinalWatermark {
				break
			}
		}
		reader.Close()
	}
}

// landed waits until every partition has a frame.
func (b *bench) landed() {
	b.t.Helper()
	for p := range stream.Partition(testPartitions) {
		reader, err := b.log.Reader(b.t.Context(), p, 2)
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := reader.Next(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		reader.Close()
	}
}
