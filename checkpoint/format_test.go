package checkpoint_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
	"github.com/tripgrid/tripgrid/stream"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with, or writes, a golden file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s differs: a format that changes gets a new version and a new golden file\n got %q\nwant %q", name, got, want)
	}
}

func testManifest(tb testing.TB) *checkpoint.Manifest {
	tb.Helper()
	m := &checkpoint.Manifest{
		Format: 1, Job: "taxi", Generation: 1, Nonce: 1<<63 + 9, Base: 6, N: 7, Created: t0, Spec: testSpec(2), Vector: testVector(5, 2),
	}
	m.Vector[0].Position.Sub = 3
	m.Vector[1].Watermark = stream.MinWatermark
	m.Vector[1].Idle = true
	for p := range stream.Partition(2) {
		a := testAck(tb, nil, 1, 7, p, 5, 2)
		// Fixed, because another zstd release may pack a part otherwise.
		a.Part = checkpoint.PartRef{
			Name: fmt.Sprintf("taxi/1/7/%d/%s", p, strings.Repeat("ab", 16)), Size: 94, SHA256: strings.Repeat("ab", 32),
		}
		m.Partitions = append(m.Partitions, checkpoint.PartitionEntry{
			Partition: p, Part: a.Part, Anchors: a.Anchors, Resume: a.Resume, Ordinal: a.Ordinal, Pending: 2, Counters: a.Counters,
		})
	}
	return m
}

func testHead(tb testing.TB) checkpoint.Head {
	tb.Helper()
	_, ref, err := testManifest(tb).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return checkpoint.Head{
		Format: 1, Job: "taxi", Generation: 1, Nonce: 1<<63 + 9, N: 7, CommitNonce: "00000000000000c0-7",
		Manifests: []checkpoint.ManifestRef{ref}, Pins: []checkpoint.Pin{{Reason: "restore", Manifest: ref}},
	}
}

// The part's golden file is decoded only: another zstd release may pack the
// same body into other bytes.
func TestGoldenPart(t *testing.T) {
	body := []byte(strings.Repeat("the state of a partition, ", 20))
	if *update {
		golden(t, "part-v1.golden", checkpoint.EncodePart(body))
	}
	data, err := os.ReadFile(filepath.Join("testdata", "part-v1.golden"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := checkpoint.DecodePart("p", data)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("the golden part unpacks to %q, %v", got, err)
	}
}

func TestGoldenManifestAndHead(t *testing.T) {
	m := testManifest(t)
	data, ref, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifest-v1.golden.json", data)
	got, err := checkpoint.DecodeManifest(ref.Name, data)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Fatalf("a decoded manifest encodes to other bytes, %v", err)
	}
	h := testHead(t)
	if data, err = h.Encode(); err != nil {
		t.Fatal(err)
	}
	golden(t, "head-v1.golden.json", data)
	if _, err := checkpoint.DecodeHead("taxi", data); err != nil {
		t.Fatal(err)
	}
	golden(t, "genesis-v1.golden", checkpoint.Genesis(m))
	golden(t, "vector-v1.golden", m.Vector.AppendCanonical(nil))
}

// Every single flipped bit and every truncation is refused by name.
func TestCorruptionIsRefusedByName(t *testing.T) {
	manifest, _, err := testManifest(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	h := testHead(t)
	head, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		data   []byte
		decode func([]byte) error
	}{
		{"part X", checkpoint.EncodePart([]byte("state")), func(b []byte) error { _, err := checkpoint.DecodePart("X", b); return err }},
		{"manifest X", manifest, func(b []byte) error { _, err := checkpoint.DecodeManifest("X", b); return err }},
		{"head taxi/HEAD", head, func(b []byte) error { _, err := checkpoint.DecodeHead("taxi", b); return err }},
	} {
		refused := func(what string, at int, b []byte) {
			err := c.decode(b)
			if err == nil && what == "flip" && bytes.Equal(bytes.TrimSpace(b), bytes.TrimSpace(c.data)) {
				return // the newline at the end
			}
			if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.HasPrefix(err.Error(), c.name+" is corrupt") {
				t.Errorf("%s: %s at %d gives %v", c.name, what, at, err)
			}
		}
		for i := range len(c.data) - 1 {
			refused("truncation", i, c.data[:i])
		}
		for i := range c.data {
			b := bytes.Clone(c.data)
			b[i] ^= 1 << (i % 8)
			if c.name != "part X" && sameJSON(b, c.data) {
				continue // the case of a key, which JSON readers here ignore
			}
			refused("flip", i, b)
		}
		refused("addition", len(c.data), append(bytes.Clone(c.data), 'x'))
	}
}

// sameJSON tells whether a flip only changed the case of an envelope's key:
// Go's decoder takes it for the same key, and the content is the same.
func sameJSON(a, b []byte) bool {
	return bytes.EqualFold(a, b) && bytes.Equal(body(a), body(b))
}

func body(b []byte) json.RawMessage {
	var d struct{ Body json.RawMessage }
	_ = json.Unmarshal(b, &d) // the caller compares
	return d.Body
}

func TestUnknownVersionIsRefusedByName(t *testing.T) {
	part := checkpoint.EncodePart([]byte("state"))
	part[4] = 2
	_, err := checkpoint.DecodePart("taxi/1/2/3/x", part)
	if err == nil || err.Error() != "part taxi/1/2/3/x is corrupt or too new: it has version 2, this binary reads 1" {
		t.Errorf("%v", err)
	}
	_, err = checkpoint.DecodeManifest("taxi/1/2/manifest-x", []byte(`{"tripgrid":"manifest","format":2,"new":true}`))
	if err == nil || err.Error() != "manifest taxi/1/2/manifest-x is corrupt or too new: it has format 2, this binary reads 1" {
		t.Errorf("%v", err)
	}
	_, err = checkpoint.DecodeHead("taxi", []byte(`{"tripgrid":"manifest","format":1,"body":{},"sha256":""}`))
	if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), `it says it is a "manifest"`) {
		t.Errorf("%v", err)
	}
}

func genCut(t *rapid.T, id string) checkpoint.ShardCut {
	seq := rapid.StringMatching(`[1-9][0-9]{0,128}`)
	c := checkpoint.ShardCut{
		Shard: stream.ShardID(id), State: checkpoint.ShardState(rapid.IntRange(1, 3).Draw(t, "state")),
		Restart: rapid.OneOf(rapid.Just(""), seq).Draw(t, "restart"), Watermark: rapid.Int64().Draw(t, "watermark"),
		Idle: rapid.Bool().Draw(t, "idle"), Final: rapid.Bool().Draw(t, "final"),
		Read: rapid.Uint64().Draw(t, "read"), Watermarks: rapid.Uint64().Draw(t, "watermarks"),
	}
	if rapid.Bool().Draw(t, "begun") {
		c.Position = stream.Position{Seq: seq.Draw(t, "seq"), Sub: rapid.Uint32().Draw(t, "sub")}
	}
	for range rapid.IntRange(0, 3).Draw(t, "marks") {
		c.Marks = append(c.Marks, stream.Mark{Producer: rapid.Uint64().Draw(t, "producer"), Lane: rapid.Uint16().Draw(t, "lane"), Seq: rapid.Uint64().Draw(t, "mark")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "parents") {
		c.Parents = append(c.Parents, stream.ShardID(rapid.StringMatching(`[a-z0-9-]{1,9}`).Draw(t, "parent")))
	}
	return c
}

func genVector(t *rapid.T) checkpoint.Vector {
	var v checkpoint.Vector
	for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching(`shardId-[0-9]{3}`), 0, 4, rapid.ID[string]).Draw(t, "shards") {
		v = append(v, genCut(t, id))
	}
	v.Sort()
	return v
}

func TestVectorSurvivesJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genVector(t)
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var w checkpoint.Vector
		if err := json.Unmarshal(data, &w); err != nil {
			t.Fatal(err)
		}
		if !v.Equal(w) || v.Diff(w) != "" {
			t.Fatalf("it differs after JSON: %s", v.Diff(w))
		}
	})
}

// Equal is over every field: Diff, which looks at the fields one by one, and
// the canonical bytes never disagree.
func TestR5EqualAndDiffAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genVector(t)
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var w checkpoint.Vector
		if err := json.Unmarshal(data, &w); err != nil {
			t.Fatal(err)
		}
		if len(w) > 0 { // redraw, or swap, one field of one line
			i := rapid.IntRange(0, len(w)-1).Draw(t, "line")
			o := genCut(t, string(w[i].Shard))
			switch rapid.IntRange(0, 11).Draw(t, "field") {
			case 0:
				w[i].State = o.State
			case 1:
				w[i].Position = o.Position
			case 2:
				w[i].Restart = o.Restart
			case 3:
				w[i].Watermark = o.Watermark
			case 4:
				w[i].Idle = o.Idle
			case 5:
				w[i].Final = o.Final
			case 6:
				w[i].Read = o.Read
			case 7:
				w[i].Watermarks = o.Watermarks
			case 8:
				w[i].Marks = o.Marks
			case 9:
				w[i].Parents = o.Parents
			case 10:
				w = w[:i]
			case 11:
				w[i].Shard += "x"
			}
		}
		if v.Equal(w) != (v.Diff(w) == "") || v.Equal(w) != w.Equal(v) {
			t.Fatalf("Equal says %v, Diff %q", v.Equal(w), v.Diff(w))
		}
	})
}

func TestR8GenesisIsDerivedFromManifest0Alone(t *testing.T) {
	ctx := context.Background()
	store := storetest.NewMemory()
	_, created, err := checkpoint.CreateJob(ctx, store, testSpec(2), t0, 77)
	if err != nil {
		t.Fatal(err)
	}
	_, resumed, err := checkpoint.CreateJob(ctx, store, testSpec(2), t0.Add(1), 78)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(checkpoint.Genesis(created), checkpoint.Genesis(resumed)) {
		t.Fatal("creator and resumer write different genesis messages")
	}
	other, m := *created, *created
	m.Nonce++
	other.Spec.Window++
	if bytes.Equal(checkpoint.Genesis(created), checkpoint.Genesis(&m)) || bytes.Equal(checkpoint.Genesis(created), checkpoint.Genesis(&other)) {
		t.Fatal("different jobs have one genesis")
	}
}

func FuzzDecodePart(f *testing.F) {
	f.Add(checkpoint.EncodePart(nil))
	f.Add(checkpoint.EncodePart([]byte("state")))
	f.Add([]byte("TGPT"))
	f.Add(checkpoint.EncodePart([]byte("state"))[24:])
	f.Fuzz(func(t *testing.T, data []byte) {
		// As a zstd frame under a right checksum.
		frame := binary.LittleEndian.AppendUint64([]byte("TGPT\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00"), uint64(len(data)))
		frame = append(frame, data...)
		sum := sha256.Sum256(frame)
		if _, err := checkpoint.DecodePart("x", append(frame, sum[:]...)); err != nil && !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Fatalf("the error is %v", err)
		}
		body, err := checkpoint.DecodePart("x", data)
		if err != nil {
			if !errors.Is(err, checkpoint.ErrCorrupt) {
				t.Fatalf("the error is %v", err)
			}
			// The envelope of any body is read back.
			if got, err := checkpoint.DecodePart("x", checkpoint.EncodePart(data)); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("read back %q, %v", got, err)
			}
			return
		}
		if got, err := checkpoint.DecodePart("x", checkpoint.EncodePart(body)); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("read back %q, %v", got, err)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	data, _, err := testManifest(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	h := testHead(f)
	head, err := h.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, false)
	f.Add(head, false)
	f.Add([]byte(body(data)), true)
	f.Add([]byte(body(head)), true)
	f.Fuzz(func(t *testing.T, data []byte, wrap bool) {
		if wrap { // a body with the right checksum
			data = fmt.Appendf(nil, `{"tripgrid":"manifest","format":1,"body":%s,"sha256":"%s"}`, data, sumHex(data))
		}
		if m, err := checkpoint.DecodeManifest("x", data); err == nil {
			again, ref, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := checkpoint.DecodeManifest(ref.Name, again); err != nil {
				t.Fatal(err)
			}
			_ = checkpoint.Check(m)
			_ = checkpoint.PurgeBelow(m)
			_ = checkpoint.Genesis(m)
		} else if !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Fatalf("the error is %v", err)
		}
		if _, err := checkpoint.DecodeHead("taxi", data); err != nil && !errors.Is(err, checkpoint.ErrCorrupt) {
			t.Fatalf("the error is %v", err)
		}
	})
}
