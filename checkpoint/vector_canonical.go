package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tripgrid/tripgrid/stream"
)

// vectorFormat is the first canonical byte: equality of vectors is equality of
// canonical bytes, so a change of the encoding must not pass for agreement.
const vectorFormat = 1

func (s ShardState) String() string {
	switch s {
	case Open:
		return "open"
	case Ended:
		return "ended"
	case Dormant:
		return "dormant"
	}
	return "state " + strconv.Itoa(int(s))
}

// Sort brings v into the order that AppendCanonical expects: shards by id, and
// in each shard marks by (producer, lane) and parents by id.
func (v Vector) Sort() {
	slices.SortFunc(v, func(a, b ShardCut) int { return cmp.Compare(a.Shard, b.Shard) })
	for i := range v {
		slices.SortFunc(v[i].Marks, compareMarks)
		slices.Sort(v[i].Parents)
	}
}

func compareMarks(a, b stream.Mark) int {
	return cmp.Or(cmp.Compare(a.Producer, b.Producer), cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Seq, b.Seq))
}

// Find returns the line of a shard.
func (v Vector) Find(id stream.ShardID) (ShardCut, bool) {
	for _, c := range v {
		if c.Shard == id {
			return c, true
		}
	}
	return ShardCut{}, false
}

// AppendCanonical appends v's canonical bytes: every field, lengths first, in
// v's order. Two partitions agree on a cut exactly if these bytes are equal (R5).
func (v Vector) AppendCanonical(b []byte) []byte {
	b = append(b, vectorFormat)
	b = binary.AppendUvarint(b, uint64(len(v)))
	for i := range v {
		b = v[i].appendCanonical(b)
	}
	return b
}

func (c *ShardCut) appendCanonical(b []byte) []byte {
	b = appendString(b, string(c.Shard))
	b = append(b, byte(c.State))
	b = appendString(b, c.Position.Seq)
	b = binary.AppendUvarint(b, uint64(c.Position.Sub))
	b = appendString(b, c.Restart)
	b = binary.AppendVarint(b, c.Watermark)
	b = append(b, bit(c.Idle)|bit(c.Final)<<1)
	b = binary.AppendUvarint(b, c.Read)
	b = binary.AppendUvarint(b, c.Watermarks)
	b = binary.AppendUvarint(b, uint64(len(c.Marks)))
	for _, m := range c.Marks {
		b = binary.AppendUvarint(b, m.Producer)
		b = binary.AppendUvarint(b, uint64(m.Lane))
		b = binary.AppendUvarint(b, m.Seq)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Parents)))
	for _, p := range c.Parents {
		b = appendString(b, string(p))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// Equal tells whether v and w have the same canonical bytes.
func (v Vector) Equal(w Vector) bool {
	return bytes.Equal(v.AppendCanonical(nil), w.AppendCanonical(nil))
}

// Diff names the first difference between v ("here") and w ("there") in one
// phrase for logs; it is empty exactly if v.Equal(w).
func (v Vector) Diff(w Vector) string {
	for i := range min(len(v), len(w)) {
		if v[i].Shard != w[i].Shard {
			return fmt.Sprintf("line %d is shard %s here, %s there", i, v[i].Shard, w[i].Shard)
		}
		if d := v[i].diff(&w[i]); d != "" {
			return fmt.Sprintf("shard %s: %s", v[i].Shard, d)
		}
	}
	switch {
	case len(v) > len(w):
		return fmt.Sprintf("shard %s is missing there", v[len(w)].Shard)
	case len(v) < len(w):
		return fmt.Sprintf("shard %s is missing here", w[len(v)].Shard)
	}
	return ""
}

func (c *ShardCut) diff(d *ShardCut) string {
	say := func(what string, a, b any) string { return fmt.Sprintf("%s %v here, %v there", what, a, b) }
	switch {
	case c.State != d.State:
		return say("state", c.State, d.State)
	case c.Position != d.Position:
		return say("position", c.Position, d.Position)
	case c.Restart != d.Restart:
		return say("restart", strconv.Quote(c.Restart), strconv.Quote(d.Restart))
	case c.Watermark != d.Watermark:
		return say("watermark", c.Watermark, d.Watermark)
	case c.Idle != d.Idle:
		return say("idle", c.Idle, d.Idle)
	case c.Final != d.Final:
		return say("final", c.Final, d.Final)
	case c.Read != d.Read:
		return say("read", c.Read, d.Read)
	case c.Watermarks != d.Watermarks:
		return say("watermark events", c.Watermarks, d.Watermarks)
	case !slices.Equal(c.Parents, d.Parents):
		return say("parents", c.Parents, d.Parents)
	}
	for i := range min(len(c.Marks), len(d.Marks)) {
		if c.Marks[i] != d.Marks[i] {
			return say("lane mark", formatMark(c.Marks[i]), formatMark(d.Marks[i]))
		}
	}
	if len(c.Marks) != len(d.Marks) {
		return say("number of lane marks", len(c.Marks), len(d.Marks))
	}
	return ""
}

// shardCutJSON is a cut's line in acks and manifests. Positions and marks are
// text: sequence numbers and producer ids do not fit a JSON number.
type shardCutJSON struct {
	Shard      stream.ShardID   `json:"shard"`
	State      string           `json:"state"`
	Position   string           `json:"position"`
	Restart    string           `json:"restart,omitempty"`
	Watermark  int64            `json:"watermark,string"`
	Idle       bool             `json:"idle,omitempty"`
	Final      bool             `json:"final,omitempty"`
	Read       uint64           `json:"read"`
	Watermarks uint64           `json:"watermarks"`
	Marks      []string         `json:"marks,omitempty"`
	Parents    []stream.ShardID `json:"parents,omitempty"`
}

// MarshalJSON writes the line as docs/format/manifest.md has it.
func (c ShardCut) MarshalJSON() ([]byte, error) {
	j := shardCutJSON{
		Shard: c.Shard, State: c.State.String(), Position: c.Position.String(), Restart: c.Restart,
		Watermark: c.Watermark, Idle: c.Idle, Final: c.Final,
		Read: c.Read, Watermarks: c.Watermarks, Parents: c.Parents,
	}
	for _, m := range c.Marks {
		j.Marks = append(j.Marks, formatMark(m))
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes and refuses everything else.
func (c *ShardCut) UnmarshalJSON(b []byte) error {
	var j shardCutJSON
	if err := decodeStrict(b, &j); err != nil {
		return err
	}
	*c = ShardCut{
		Shard: j.Shard, Restart: j.Restart, Watermark: j.Watermark, Idle: j.Idle, Final: j.Final,
		Read: j.Read, Watermarks: j.Watermarks, Parents: j.Parents,
	}
	for s := Open; s <= Dormant; s++ {
		if s.String() == j.State {
			c.State = s
		}
	}
	if c.State == 0 {
		return fmt.Errorf("shard %s has the unknown state %q", j.Shard, j.State)
	}
	var err error
	if c.Position, err = parsePosition(j.Position); err != nil {
		return fmt.Errorf("shard %s: %w", j.Shard, err)
	}
	for _, s := range j.Marks {
		m, err := parseMark(s)
		if err != nil {
			return fmt.Errorf("shard %s: %w", j.Shard, err)
		}
		c.Marks = append(c.Marks, m)
	}
	return nil
}

// parsePosition reads stream.Position's String.
func parsePosition(s string) (stream.Position, error) {
	if s == "-" {
		return stream.Position{}, nil
	}
	seq, sub, has := strings.Cut(s, "/")
	if !digits(seq) || has && !digits(sub) {
		return stream.Position{}, fmt.Errorf("%q is no position", s)
	}
	p := stream.Position{Seq: seq}
	if has {
		n, err := strconv.ParseUint(sub, 10, 32)
		if err != nil {
			return stream.Position{}, fmt.Errorf("%q is no position", s)
		}
		p.Sub = uint32(n)
	}
	return p, nil
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// formatMark writes producer (16 hex digits), lane and sequence.
func formatMark(m stream.Mark) string {
	return fmt.Sprintf("%016x/%d/%d", m.Producer, m.Lane, m.Seq)
}

func parseMark(s string) (stream.Mark, error) {
	f := strings.Split(s, "/")
	if len(f) != 3 || len(f[0]) != 16 {
		return stream.Mark{}, fmt.Errorf("%q is no lane mark", s)
	}
	producer, err1 := strconv.ParseUint(f[0], 16, 64)
	lane, err2 := strconv.ParseUint(f[1], 10, 16)
	seq, err3 := strconv.ParseUint(f[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return stream.Mark{}, fmt.Errorf("%q is no lane mark", s)
	}
	return stream.Mark{Producer: producer, Lane: uint16(lane), Seq: seq}, nil
}
