package window

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/stream"
	"github.com/tripgrid/tripgrid/trip"
)

var update = flag.Bool("update", false, "rewrite the expected output of testdata/*.txt and the golden files")

// TestScripts runs testdata/*.txt. A script is blocks of commands, "----" and
// what the machine then did; lines with # are comments. The commands:
//
//	new shards=a,b [limit=BYTES] [window=10m] [profile=bbox]
//	frame shard=a after=0 upto=3 w=10:05 [trips=TRIP,...] [dead=POS:REASON]
//	      [barrier=N] [end] [children=c:a+b] [final] [idle] [outside=N]
//	      [repeated=N] [seq=N] [nonce=N] [quiet]
//	restore cut=N
//	status
//
// Positions are small numbers, times are of 2016-01-01. A TRIP is
// TIME@CELL[>AIRPORT][/DURATION][*N]; the cells A, B, C are dr5ru7, dr5ru6 and
// dr5rsn; its position is after + its index + 1. restore takes the snapshot of
// a barrier, replays the log from there, and compares every document, version
// and later snapshot with those of the first run (I2, I6).
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			s := &script{t: t}
			for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				commands, _, _ := strings.Cut(block, "\n----")
				got := s.block(commands)
				fmt.Fprintf(&out, "%s\n", commands)
				if got != "" || strings.Contains(block, "----") || s.ran {
					fmt.Fprintf(&out, "----\n%s", got)
				}
				fmt.Fprintln(&out)
			}
			got := strings.TrimSpace(out.String()) + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("%s: the machine did otherwise (go test -update to accept):\n%s", file, got)
			}
		})
	}
}

type script struct {
	t     *testing.T
	ran   bool // the block has commands
	cfg   Config
	m     *Machine
	log   map[uint64][]byte
	docs  map[string]string // "id version" to body
	parts map[stream.BarrierID][]byte
	prev  Status
	out   strings.Builder
}

func (s *script) block(commands string) string {
	s.out.Reset()
	s.ran = false
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.ran = true
		verb, rest, _ := strings.Cut(line, " ")
		a := arguments{s.t, make(map[string]string)}
		for f := range strings.FieldsSeq(rest) {
			k, v, _ := strings.Cut(f, "=")
			a.m[k] = v
		}
		switch verb {
		case "new":
			s.new(a)
		case "frame":
			s.apply(a)
		case "restore":
			s.restore(stream.BarrierID(a.number("cut", 0)))
		case "status":
			s.status()
		default:
			s.t.Fatalf("%q is no command", line)
		}
	}
	return s.out.String()
}

type arguments struct {
	t *testing.T
	m map[string]string
}

func (a arguments) has(k string) bool { _, ok := a.m[k]; return ok }

func (a arguments) number(k string, or uint64) uint64 {
	if !a.has(k) {
		return or
	}
	n, err := strconv.ParseUint(a.m[k], 0, 64)
	if err != nil {
		a.t.Fatalf("%s: %v", k, err)
	}
	return n
}

const testNonce = 0xfeed

func (s *script) new(a arguments) {
	window := 10 * time.Minute
	if a.has("window") {
		window, _ = time.ParseDuration(a.m["window"])
	}
	profile := trip.GeofenceBBox
	if a.has("profile") {
		profile = a.m["profile"]
	}
	queries, err := Queries(profile, window)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cfg = Config{Job: "taxi", Generation: 1, Nonce: testNonce, Partitions: 1, Queries: queries, QueueLimit: int(a.number("limit", 0))}
	for id := range strings.SplitSeq(a.m["shards"], ",") {
		s.cfg.Shards = append(s.cfg.Shards, stream.ShardID(id))
	}
	if s.m, err = New(s.cfg); err != nil {
		s.t.Fatal(err)
	}
	s.log, s.docs, s.parts = make(map[uint64][]byte), make(map[string]string), make(map[stream.BarrierID][]byte)
	s.prev = s.m.Status()
}

func position(n uint64) stream.Position {
	if n == 0 {
		return stream.Position{}
	}
	return stream.Position{Seq: strconv.FormatUint(n, 10)}
}

var day = time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)

func (a arguments) clock(s string) int64 {
	switch s {
	case "", "min":
		return stream.MinWatermark
	case "final":
		return trip.FinalWatermark
	case "end": // of what int64 holds
		return trip.FinalWatermark - 1
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil {
			return day.Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second).UnixNano()
		}
	}
	a.t.Fatalf("%q is no time", s)
	return 0
}

var scriptCells = map[string]string{"A": "dr5ru7kkkkkk", "B": "dr5ru6kkkkkk", "C": "dr5rsnkkkkkk"}

func (a arguments) frame() *stream.Frame {
	f := &stream.Frame{Header: stream.Header{
		Nonce: a.number("nonce", testNonce), Shard: stream.ShardID(a.m["shard"]), Epoch: 1, Writer: 1,
		After: position(a.number("after", 0)), Upto: position(a.number("upto", 0)), Watermark: a.clock(a.m["w"]),
		Barrier: stream.BarrierID(a.number("barrier", 0)), Outside: a.number("outside", 0), Repeated: a.number("repeated", 0),
	}}
	for name, flag := range map[string]stream.Flags{"barrier": stream.FlagBarrier, "end": stream.FlagEnd, "final": stream.FlagFinal, "idle": stream.FlagIdle} {
		if a.has(name) {
			f.Flags |= flag
		}
	}
	if f.Flags&(stream.FlagBarrier|stream.FlagEnd) != 0 {
		f.Cut = &stream.Cut{Restart: f.Upto.Seq, Read: a.number("upto", 0)}
	}
	if a.has("children") {
		for c := range strings.SplitSeq(a.m["children"], ",") {
			id, parents, _ := strings.Cut(c, ":")
			child := stream.Child{Shard: stream.ShardID(id)}
			for p := range strings.SplitSeq(parents, "+") {
				child.Parents = append(child.Parents, stream.ShardID(p))
			}
			f.Children = append(f.Children, child)
		}
	}
	next := a.number("after", 0)
	for spec := range strings.SplitSeq(a.m["trips"], ",") {
		for range a.trip(f, spec, next) {
			next++
		}
	}
	if a.has("dead") {
		pos, reason, _ := strings.Cut(a.m["dead"], ":")
		n, _ := strconv.ParseUint(pos, 10, 64)
		f.Dead = append(f.Dead, stream.Dead{Pos: position(n), Reason: reason, Raw: []byte("{\xff}"), Size: 3})
	}
	return f
}

// trip adds the trips of a spec and returns how many.
func (a arguments) trip(f *stream.Frame, spec string, next uint64) (n int) {
	if spec == "" {
		return 0
	}
	n = 1
	if s, times, ok := strings.Cut(spec, "*"); ok {
		spec = s
		n, _ = strconv.Atoi(times)
	}
	r := stream.Row{Duration: int64(10 * time.Minute)}
	if s, d, ok := strings.Cut(spec, "/"); ok {
		duration, err := time.ParseDuration(d)
		if err != nil {
			a.t.Fatal(err)
		}
		spec, r.Duration = s, int64(duration)
	}
	var err error
	if s, airport, ok := strings.Cut(spec, ">"); ok {
		spec = s
		if r.Airport, err = trip.ParseAirport(airport); err != nil {
			a.t.Fatal(err)
		}
	}
	at, cell, _ := strings.Cut(spec, "@")
	r.EventTime = a.clock(at)
	if r.Pickup, err = trip.ParseCell(scriptCells[cell]); err != nil {
		a.t.Fatal(err)
	}
	r.Dropoff = r.Pickup
	for i := range n {
		r.Pos = position(next + uint64(i) + 1)
		f.Rows = append(f.Rows, r)
	}
	return n
}
