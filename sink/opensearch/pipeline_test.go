//go:build integration

package opensearch_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/sink"
	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
	"github.com/tripgrid/tripgrid/worker/window"
)

const shardName = stream.ShardID("shardId-000000000000")

// pipeline feeds trips to the window machine, as one partition of one shard.
type pipeline struct {
	machine *window.Machine
	rng     *rand.Rand
	after   stream.Position
	n       int
	docs    []sink.Document
}

func newPipeline(t testing.TB, job string) *pipeline {
	t.Helper()
	queries, err := window.Queries(trip.GeofenceBBox, window.DefaultWindow)
	if err != nil {
		t.Fatal(err)
	}
	m, err := window.New(window.Config{Job: job, Generation: 1, Nonce: 7, Partitions: 1, Queries: queries, Shards: []stream.ShardID{shardName}})
	if err != nil {
		t.Fatal(err)
	}
	return &pipeline{machine: m, rng: rand.New(rand.NewPCG(3, 4))}
}

func (p *pipeline) position() stream.Position {
	p.n++
	return stream.Position{Seq: fmt.Sprintf("49%054d", p.n)}
}

// trip makes one that ends at that time; one in five goes to an airport, from
// near a hotel, so that some groups have many trips and some have one.
func (p *pipeline) trip(at time.Time) stream.Row {
	cell := func() trip.Cell {
		return trip.CellOf(40.75+p.rng.NormFloat64()*0.03, -73.97+p.rng.NormFloat64()*0.03, trip.MaxPrecision)
	}
	r := stream.Row{
		Pos: p.position(), EventTime: at.UnixNano(), Duration: int64(math.Exp(p.rng.NormFloat64()*0.7+6.5)) * 1e9,
		Pickup: cell(), Dropoff: cell(), TotalCents: p.rng.Int64N(6000),
	}
	if p.rng.IntN(5) == 0 {
		r.Airport = trip.Airport(1 + p.rng.IntN(2))
		if p.rng.IntN(3) > 0 {
			r.Pickup = trip.CellOf(40.7645, -73.9744, trip.MaxPrecision)
		}
	}
	return r
}

// apply gives the machine one frame and keeps the documents that come out.
func (p *pipeline) apply(t testing.TB, rows []stream.Row, dead []stream.Dead, watermark int64) {
	t.Helper()
	f := stream.Frame{Header: stream.Header{Nonce: 7, Shard: shardName, Epoch: 1, Writer: 9, After: p.after, Watermark: watermark}, Rows: rows, Dead: dead}
	p.after = p.position()
	f.Upto = p.after
	if err := p.machine.Apply(p.machine.Next(), stream.Append(nil, &f)); err != nil {
		t.Fatal(err)
	}
	for step, ok := p.machine.Step(); ok; step, ok = p.machine.Step() {
		p.docs = append(p.docs, step.Documents...)
	}
}

func (p *pipeline) dead(reason string) stream.Dead {
	raw := fmt.Appendf(nil, `{"type":"trip",%q`, reason)
	return stream.Dead{Pos: p.position(), Reason: reason, Raw: raw, Size: uint32(len(raw)), SHA256: sha256.Sum256(raw)}
}

// known are trips whose results are easy to compute: what came in time, what
// came late, and the reasons of dead letters; and the documents of them.
type known struct {
	rows, late []stream.Row
	reasons    []string
	docs       []sink.Document
}

// knownTrips cover three days and the end of a month.
func knownTrips(t *testing.T, job string) known {
	p := newPipeline(t, job)
	begin := time.Date(2016, 3, 30, 6, 0, 0, 0, time.UTC)
	var k known
	at := begin
	for range 60 {
		var rows []stream.Row
		for range 100 {
			at = at.Add(time.Duration(p.rng.Int64N(int64(86 * time.Second))))
			rows = append(rows, p.trip(at))
		}
		p.apply(t, rows, nil, at.UnixNano())
		k.rows = append(k.rows, rows...)
	}
	var dead []stream.Dead
	for i, reason := range []string{"not JSON", "no pick-up", "not JSON", "the type is unknown", "not JSON", "no pick-up"} {
		d := p.dead(fmt.Sprint(reason))
		d.Raw = append(d.Raw, byte('0'+i))
		k.reasons, dead = append(k.reasons, reason), append(dead, d)
	}
	p.apply(t, nil, dead, at.UnixNano())
	for i := range 200 {
		k.late = append(k.late, p.trip(begin.Add(time.Duration(i)*time.Minute)))
	}
	p.apply(t, slices.Clone(k.late), nil, at.UnixNano())
	p.apply(t, nil, nil, trip.FinalWatermark)
	k.docs = p.docs
	return k
}

// toAirport tells whether query trip_duration counts a trip.
func toAirport(r stream.Row) bool {
	return r.Airport != trip.NoAirport && r.Duration > 0 && r.Duration <= int64(3*time.Hour)
}

func windowStart(r stream.Row) time.Time {
	return time.Unix(0, r.EventTime).UTC().Truncate(window.DefaultWindow)
}

// put writes documents through a Pending, as a worker does.
func put(t *testing.T, s sink.Sink, docs []sink.Document) {
	t.Helper()
	p, err := sink.NewPending(s, sink.PendingConfig{Rejected: func(_ uint32, d sink.Document, reason string) { t.Errorf("%s: %s", d.ID, reason) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	p.Add(0, docs)
	if err := p.Flush(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
}
