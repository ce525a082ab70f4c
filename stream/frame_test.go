package stream

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/trip"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sequenceNumber is a sequence number as Kinesis makes them: 186 bits, of
// which the index stands above bit 76 and the second below it.
func sequenceNumber(index, second int64) string {
	n := new(big.Int).Lsh(big.NewInt(2), 184)
	n.Or(n, new(big.Int).Lsh(big.NewInt(0x650000000), 144))
	n.Or(n, new(big.Int).Lsh(big.NewInt(index), 76))
	n.Or(n, new(big.Int).Lsh(big.NewInt(second), 36))
	n.Or(n, big.NewInt(0x22))
	return n.String()
}

// testFrame is a frame as New York makes them: rows of records of perRecord
// trips of which one of 16 is this partition's.
func testFrame(seed uint64, rows, perRecord int) *Frame {
	r := rand.New(rand.NewPCG(seed, 1))
	const second = int64(1370000000)
	pos := func(i int) Position {
		read := i * 16
		return Position{sequenceNumber(49<<32+int64(read/perRecord), second+int64(i/100)), uint32(read % perRecord)}
	}
	f := &Frame{Header: Header{
		Nonce: 0x1234567890abcdef, Shard: "shardId-000000000003", Epoch: 7, Writer: 0xfedcba0987654321,
		After: pos(0), Upto: pos(rows), Watermark: second * 1e9, Barrier: 12, Outside: 3, Repeated: 1,
	}}
	for i := range rows {
		lat, lon := 40.64+r.Float64()*0.2, -74.02+r.Float64()*0.25
		row := Row{
			Pos:        pos(i + 1),
			EventTime:  (second + int64(i/20)) * 1e9,
			Duration:   (120 + r.Int64N(1800)) * 1e9,
			Pickup:     trip.CellOf(lat, lon, 12),
			Dropoff:    trip.CellOf(lat+r.NormFloat64()*0.02, lon+r.NormFloat64()*0.02, 12),
			TotalCents: 400 + r.Int64N(4000),
		}
		if r.IntN(20) == 0 {
			row.Airport = trip.JFK
		}
		f.Rows = append(f.Rows, row)
	}
	f.Upto = f.Rows[rows-1].Pos
	return f
}

// plain makes frames comparable: no slab, no difference of nil and empty.
func plain(f *Frame) Frame {
	g := *f
	g.slab = slab{}
	if len(g.Rows) == 0 {
		g.Rows = nil
	}
	if len(g.Dead) == 0 {
		g.Dead = nil
	}
	return g
}

func equalFrames(t testing.TB, got, want *Frame) {
	t.Helper()
	if g, w := plain(got), plain(want); !reflect.DeepEqual(g, w) {
		t.Fatalf("frames differ:\n got %+v\nwant %+v", g, w)
	}
}

func TestFrameRoundTrip(t *testing.T) {
	var g Frame // reused, so that what is left of the frame before must go
	for _, perRecord := range []int{1, 100} {
		for rows := 1; rows < 600; rows += 1 + rows/3 {
			f := testFrame(uint64(rows), rows, perRecord)
			if rows%2 == 0 {
				f.Dead = []Dead{{Pos: f.Upto, Reason: "no JSON", Raw: []byte("{"), Size: 1}}
			}
			data := Append(nil, f)
			if err := Decode(data, &g); err != nil {
				t.Fatal(err)
			}
			equalFrames(t, &g, f)
			var h Header
			sum, err := DecodeHeader(data, &h)
			if err != nil || sum != f.Checksum || sum != Checksum(data) || !reflect.DeepEqual(h, f.Header) {
				t.Fatalf("header %+v, %x, %v", h, sum, err)
			}
		}
	}
}

func TestAppendKeepsWhatStandsBefore(t *testing.T) {
	f := testFrame(1, 64, 100)
	alone := Append(nil, f)
	after := Append([]byte("before"), f)
	if !bytes.Equal(after, append([]byte("before"), alone...)) {
		t.Fatal("the encoding depends on what stands before it")
	}
}

func TestDecodedStringsSurviveTheBufferAndTheNextDecode(t *testing.T) {
	a, b := testFrame(1, 100, 1), testFrame(2, 100, 1)
	b.Shard, b.Upto.Seq = "other", "99"
	data := Append(nil, a)
	var f Frame
	if err := Decode(data, &f); err != nil {
		t.Fatal(err)
	}
	kept, rows := f.Header, append([]Row(nil), f.Rows...)
	clear(data)
	if err := Decode(Append(data[:0], b), &f); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(kept, a.Header) || !reflect.DeepEqual(rows, a.Rows) {
		t.Fatal("a decoded string changed")
	}
}

func genPosition(t *rapid.T, label string) Position {
	return Position{
		rapid.OneOf(rapid.StringMatching(`[1-9][0-9]{0,128}`), rapid.Just(""), rapid.String()).Draw(t, label),
		rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, label+" sub"),
	}
}

func genFrame(t *rapid.T) *Frame {
	f := &Frame{Header: Header{
		Nonce: rapid.Uint64().Draw(t, "nonce"), Shard: ShardID(rapid.String().Draw(t, "shard")),
		Epoch: Epoch(rapid.Uint64().Draw(t, "epoch")), Writer: rapid.Uint64().Draw(t, "writer"),
		After: genPosition(t, "after"), Upto: genPosition(t, "upto"),
		Watermark: rapid.Int64().Draw(t, "watermark"), Flags: Flags(rapid.IntRange(0, 31).Draw(t, "flags")),
		Barrier: BarrierID(rapid.Uint64().Draw(t, "barrier")),
		Outside: rapid.Uint64().Draw(t, "outside"), Repeated: rapid.Uint64().Draw(t, "repeated"),
	}}
	if rapid.Bool().Draw(t, "cut") {
		f.Cut = &Cut{Restart: rapid.String().Draw(t, "restart"), Read: rapid.Uint64().Draw(t, "read"),
			Watermarks: rapid.Uint64().Draw(t, "watermarks")}
		for range rapid.IntRange(0, 9).Draw(t, "marks") {
			f.Cut.Marks = append(f.Cut.Marks, Mark{rapid.Uint64Range(0, 3).Draw(t, "producer"),
				rapid.Uint16().Draw(t, "lane"), rapid.Uint64().Draw(t, "seq")})
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "children") {
		c := Child{Shard: ShardID(rapid.String().Draw(t, "child"))}
		for range rapid.IntRange(0, 2).Draw(t, "parents") {
			c.Parents = append(c.Parents, ShardID(rapid.String().Draw(t, "parent")))
		}
		f.Children = append(f.Children, c)
	}
	scale := rapid.SampledFrom([]int64{1, 1e3, 1e6, 1e9}).Draw(t, "unit")
	ns := rapid.Custom(func(t *rapid.T) int64 {
		return rapid.Int64Range(math.MinInt64/scale, math.MaxInt64/scale).Draw(t, "ns") * scale
	})
	pos := genPosition(t, "first")
	for range rapid.IntRange(0, 40).Draw(t, "rows") {
		if rapid.Bool().Draw(t, "next record") {
			pos = genPosition(t, "position")
		}
		f.Rows = append(f.Rows, Row{
			Pos: pos, EventTime: ns.Draw(t, "time"), Duration: ns.Draw(t, "duration"),
			Pickup:  trip.Cell(rapid.Uint64().Draw(t, "pickup") >> rapid.SampledFrom([]int{0, 3, 18, 64}).Draw(t, "shift")),
			Dropoff: trip.Cell(rapid.Uint64().Draw(t, "dropoff") & 0xffff0000),
			Airport: trip.Airport(rapid.Uint8().Draw(t, "airport")), TotalCents: rapid.Int64().Draw(t, "cents"),
		})
		pos.Sub++
	}
	for range rapid.IntRange(0, 2).Draw(t, "dead") {
		d := Dead{Pos: genPosition(t, "dead at"), Reason: rapid.String().Draw(t, "reason"), Size: rapid.Uint32().Draw(t, "size")}
		d.Raw = rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "raw")
		f.Dead = append(f.Dead, d)
	}
	return f
}

func TestFrameRoundTripProperty(t *testing.T) {
	var g Frame
	rapid.Check(t, func(rt *rapid.T) {
		f := genFrame(rt)
		data := Append(nil, f)
		if err := Decode(data, &g); err != nil {
			rt.Fatal(err)
		}
		if a, b := plain(&g), plain(f); !reflect.DeepEqual(a, b) {
			rt.Fatalf("got %+v\nwant %+v", a, b)
		}
	})
}

func TestDecodeRefusesEveryDamage(t *testing.T) {
	f := testFrame(1, 20, 10)
	f.Dead = []Dead{{Pos: f.Upto, Reason: "no JSON", Raw: []byte("{")}}
	data := Append(nil, f)
	var g Frame
	for n := range data {
		if err := Decode(data[:n], &g); !isCorrupt(err) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for i := range data {
		for _, bit := range []byte{1, 0x80} {
			data[i] ^= bit
			if err := Decode(data, &g); !isCorrupt(err) {
				t.Fatalf("bit %x of byte %d flipped: %v", bit, i, err)
			}
			data[i] ^= bit
		}
	}
	for name, want := range map[string]string{
		"version": "format version 9, this build reads 1",
		"large":   "at most 524288 are allowed",
		"genesis": "magic",
	} {
		bad := map[string][]byte{
			"version": append([]byte("\x0dTGF\x09"), data[5:]...),
			"large":   make([]byte, MaxFrameBytes+1),
			"genesis": []byte(`{"job":"taxi","generation":1}`),
		}[name]
		if err := Decode(bad, &g); !isCorrupt(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func goldenFrames() map[string]*Frame {
	rows := testFrame(42, 12, 64)
	barrier := testFrame(43, 2, 1)
	barrier.Flags, barrier.Cut = FlagBarrier, &Cut{
		Restart: barrier.Upto.Seq, Read: 1000, Watermarks: 8,
		Marks: []Mark{{77, 0, 124}, {77, 1, 125}, {77, 255, 124}, {99, 3, 1 << 40}},
	}
	end := &Frame{Header: barrier.Header}
	end.Flags, end.After = FlagEnd|FlagWatermarkOnly, barrier.Upto
	end.Children = []Child{
		{Shard: "shardId-000000000004", Parents: []ShardID{end.Shard}},
		{Shard: "shardId-000000000005", Parents: []ShardID{end.Shard, "shardId-000000000002"}},
	}
	final := &Frame{Header: Header{Nonce: 1, Shard: "shardId-000000000000", Epoch: 1, Writer: 2,
		Upto: Position{Seq: "7"}, Watermark: trip.FinalWatermark, Flags: FlagFinal | FlagWatermarkOnly}}
	idle := &Frame{Header: final.Header}
	idle.Watermark, idle.Flags = MinWatermark, FlagIdle|FlagWatermarkOnly
	dead := &Frame{Header: final.Header, Dead: []Dead{
		{Pos: Position{"7", 0}, Reason: "no JSON", Raw: []byte("{\x00"), Size: 2, SHA256: [32]byte{1, 31: 2}},
		{Pos: Position{"7", 3}, Reason: "drop-off before pick-up"},
	}}
	dead.Flags, dead.Watermark = 0, 0
	return map[string]*Frame{"rows": rows, "barrier": barrier, "end": end, "final": final,
		"idle": idle, "dead": dead, "empty": {}}
}

func TestGoldenVersion1(t *testing.T) {
	for name, f := range goldenFrames() {
		path := filepath.Join("testdata", fmt.Sprintf("frame-v1-%s.hex", name))
		data := Append(nil, f)
		if *update {
			if err := os.WriteFile(path, []byte(hex.Dump(data)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if hex.Dump(data) != string(want) {
			t.Errorf("%s: encoded otherwise than in %s", name, path)
		}
		var g Frame
		if err := Decode(parseDump(t, string(want)), &g); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		equalFrames(t, &g, f)
	}
}

func parseDump(t testing.TB, dump string) []byte {
	var data []byte
	for line := range strings.Lines(dump) {
		if len(line) > 60 {
			b, err := hex.DecodeString(strings.ReplaceAll(line[10:58], " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			data = append(data, b...)
		}
	}
	return data
}
