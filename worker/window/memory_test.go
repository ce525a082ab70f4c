package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

// benchLog is what a partition of 16 gets of some hours of New York: eight
// shards, frames of 256 trips in the order of their drop-offs, hot cells, 4% of
// the trips to an airport, 56-digit sequence numbers, aggregate trips to a record.
func benchLog(frames, rows, aggregate int) (cfg Config, log [][]byte) {
	const shards, partitions = 8, 16
	queries, _ := Queries(trip.GeofenceBBox, 10*time.Minute)
	cfg = Config{Job: "taxi", Generation: 1, Nonce: testNonce, Partitions: partitions, Queries: queries}
	rng := rand.New(rand.NewPCG(1, 2))
	var cells []trip.Cell
	for len(cells) < 4096 {
		c := trip.CellOf(40.75+rng.NormFloat64()*0.04, -73.97+rng.NormFloat64()*0.04, trip.MaxPrecision)
		if PartitionOf(c.Prefix(CellPrecision), partitions) == 0 {
			cells = append(cells, c)
		}
	}
	var last [shards]stream.Position
	sequence, now := 0, day.UnixNano()
	for s := range shards {
		cfg.Shards = append(cfg.Shards, stream.ShardID(fmt.Sprintf("shardId-%012d", s)))
	}
	for i := range frames {
		s := i % shards
		f := stream.Frame{Header: stream.Header{Nonce: testNonce, Shard: cfg.Shards[s], Epoch: 1, Writer: 9, After: last[s]}}
		at := now
		for row := range rows {
			if row%aggregate == 0 {
				sequence++
			}
			at += rng.Int64N(int64(time.Second))
			r := stream.Row{
				Pos:       stream.Position{Seq: fmt.Sprintf("49%044d%010d", s, sequence), Sub: uint32(row % aggregate)},
				EventTime: at / 1e9 * 1e9, Duration: int64(math.Exp(rng.NormFloat64()*0.7+6.5)) * 1e9,
				Pickup: cells[rng.IntN(len(cells))], Dropoff: cells[rng.IntN(len(cells))], TotalCents: rng.Int64N(6000),
			}
			if rng.IntN(100) < 4 {
				r.Airport = trip.Airport(1 + rng.IntN(2))
			}
			f.Rows = append(f.Rows, r)
		}
		last[s] = f.Rows[rows-1].Pos
		f.Upto, f.Watermark = last[s], now
		if s == shards-1 {
			now = at
		}
		log = append(log, stream.Append(nil, &f))
	}
	return cfg, log
}

// TestFlatMemory: applying rows allocates nothing, and windows that retired
// leave nothing behind but a bounded pool.
func TestFlatMemory(t *testing.T) {
	cfg, log := benchLog(2048, 64, 8)
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var most, least int
	for i, data := range log {
		if err := m.Apply(FirstMessage+uint64(i), data); err != nil {
			t.Fatal(err)
		}
		for _, ok := m.Step(); ok; _, ok = m.Step() {
		}
		st := m.Status()
		most, least = max(most, st.OpenPanes), st.OpenPanes
	}
	if most > 40 || least == 0 || len(m.panes.free) == 0 || len(m.panes.free) > maxFreePanes {
		t.Errorf("at most %d open panes, %d at the end, %d free", most, least, len(m.panes.free))
	}
	var f stream.Frame
	if err := stream.Decode(log[len(log)-1], &f); err != nil {
		t.Fatal(err)
	}
	o, late := m.operators[0], make([]uint64, len(f.Rows))
	if n := testing.AllocsPerRun(100, func() { o.apply(f.Rows, m.watermark, &m.panes, late, 1) }); n != 0 {
		t.Errorf("%v allocations to apply %d rows", n, len(f.Rows))
	}
}
