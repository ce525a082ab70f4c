package localkinesis

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// naive reads a PutRecords or PutRecord body with encoding/json. AWS's names count exactly, which structs of encoding/json
// do not offer, so it reads maps.
func naive(body []byte, one bool) (entries []putEntry, name *string, dryRun, ok bool) {
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || top == nil {
		return nil, nil, false, false
	}
	ok = true
	read := func(m map[string]json.RawMessage, k string, into any) (present bool) {
		raw, there := m[k]
		if there && json.Unmarshal(raw, into) != nil {
			ok = false
		}
		return there && string(raw) != "null"
	}
	text := func(m map[string]json.RawMessage, k string) ([]byte, bool) {
		var s string
		present := read(m, k, &s)
		return []byte(s), present
	}
	entry := func(m map[string]json.RawMessage) {
		var e putEntry
		e.hasData = read(m, "Data", &e.data)
		e.key, e.hasKey = text(m, "PartitionKey")
		e.explicit, e.hasExpl = text(m, "ExplicitHashKey")
		entries = append(entries, e)
	}
	read(top, "StreamName", &name)
	var arn, ordering *string
	read(top, "StreamARN", &arn)
	read(top, "DryRun", &dryRun)
	if one {
		read(top, "SequenceNumberForOrdering", &ordering)
		entry(top)
		return entries, name, dryRun, ok
	}
	var records []json.RawMessage
	read(top, "Records", &records)
	for _, raw := range records {
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil || m == nil {
			ok = false
		}
		entry(m)
	}
	return entries, name, dryRun, ok
}

func compareWithNaive(t *testing.T, body []byte, one bool) {
	var r putRequest
	err := r.parse(body, one)
	want, name, dryRun, ok := naive(body, one)
	if err != nil {
		// What the scanner refuses though encoding/json does not: other encodings, and too much.
		if ok && utf8.Valid(body) && len(want) <= maxPutRecords && !hasDuplicates(body) && bytes.Count(body, []byte{'['})+bytes.Count(body, []byte{'{'}) < maxDepth {
			t.Fatalf("%q is refused: %v", body, err)
		}
		return
	}
	if !ok {
		// The scanner reads the last of equal names; the map never sees the type of those before. The other way round is
		// an error.
		t.Fatalf("%q is accepted, encoding/json refuses it", body)
	}
	if len(r.entries) != len(want) || r.dryRun != dryRun || (r.name == nil) != (name == nil) || name != nil && *r.name != *name {
		t.Fatalf("%q: %d entries, name %v, dry run %v; not %d, %v, %v", body, len(r.entries), r.name, r.dryRun, len(want), name, dryRun)
	}
	for i, w := range want {
		g := r.entries[i]
		if g.hasData != w.hasData || g.hasKey != w.hasKey || g.hasExpl != w.hasExpl ||
			!bytes.Equal(g.data, w.data) || !bytes.Equal(g.key, w.key) || !bytes.Equal(g.explicit, w.explicit) {
			t.Fatalf("%q: entry %d is %q %q %q, not %q %q %q", body, i, g.data, g.key, g.explicit, w.data, w.key, w.explicit)
		}
	}
}

// hasDuplicates tells whether an object might have a name twice, the first with a value of the wrong type.
func hasDuplicates(body []byte) bool {
	for _, n := range []string{"Data", "PartitionKey", "ExplicitHashKey", "StreamName", "StreamARN", "DryRun", "Records", "SequenceNumberForOrdering", `\u`} {
		if bytes.Count(body, []byte(n)) > 1 {
			return true
		}
	}
	return false
}

var scannerSeeds = []string{
	`{"Records":[{"Data":"YWJj","PartitionKey":"k"},{"Data":"","PartitionKey":"\u0441","ExplicitHashKey":"12"}],"StreamName":"s"}`,
	`{"Data":"YWJj","PartitionKey":"k","StreamARN":"arn","SequenceNumberForOrdering":"49"}`,
	` { "Records" : [ ] , "StreamName" : null , "DryRun" : true } `,
	`{"Records":null}`, `{}`, `[]`, `null`, ``, `{"Records":[{}]}`, `{"Records":[null]}`, `{"Records":{}}`,
	`{"x":{"y":[1,-2.5e+7,0.1,true,false,null,"z"]},"StreamName":"a"}`,
	`{"x":01}`, `{"x":1.}`, `{"x":-}`, `{"x":1e}`, `{"x":tru}`, `{"x":[1,]}`, `{"x":1,}`, `{"x" 1}`,
	`{"PartitionKey":"a\"b\\c\/d\b\f\n\r\t"}`, `{"PartitionKey":"\ud83d\ude95"}`, `{"PartitionKey":"\ud83d"}`, `{"PartitionKey":"\ud83dx\u0041"}`,
	`{"PartitionKey":"\ud83d\ud83d\ude95"}`, `{"PartitionKey":"\x"}`, `{"PartitionKey":"\u12"}`, "{\"PartitionKey\":\"\x01\"}", "{\"PartitionKey\":\"\xff\"}",
	`{"Data":"YW=="}`, `{"Data":"YWJj\n"}`, `{"Data":"YW\/j"}`, "{\"Data\":\"YW\nJj\"}", `{"Data":"YQ="}`, `{"Data":"Y"}`, `{"Data":"===="}`, `{"Data":5}`,
	`{"D\u0061ta":"YWJj"}`, `{"StreamName":"a","StreamName":"b"}`, `{"streamname":"a"}`, `{"StreamName":"a"}x`, `{"StreamName":"a`,
}

func TestScanner(t *testing.T) {
	for _, s := range scannerSeeds {
		compareWithNaive(t, []byte(s), true)
		compareWithNaive(t, []byte(s), false)
	}
	compareWithNaive(t, putBody("s", 500, 200), false)
	var r putRequest
	if err := r.parse(putBody("s", 501, 10), false); err == nil {
		t.Error("501 records are accepted")
	}
	if err := r.parse(bytes.Repeat([]byte(`{"x":`), 1_000_000), false); err == nil {
		t.Error("a deep body is accepted")
	}
}

// FuzzPutRequest compares the scanner with encoding/json.
func FuzzPutRequest(f *testing.F) {
	for _, s := range scannerSeeds {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(compareWithNaive)
}

// FuzzFrame reads arbitrary bytes as a payload and as a frame: no panic, and no record beyond its bounds.
func FuzzFrame(f *testing.F) {
	frame := appendRecord(make([]byte, frameHeaderSize), []byte("key"), []byte("data"))
	frameHeader{kind: recordsFrame, count: 1, first: 1, arrival: 2}.encode(frame)
	f.Add(frame)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= frameHeaderSize {
			_, _ = decodeFrameHeader(b, 0)
			_ = checkFrame(b)
			durableProof(b, 0)
		}
		_, _ = decodeSegmentHeader(b)
		for rest := b; ; {
			key, data, next, ok := nextRecord(rest)
			if !ok {
				return
			}
			if len(key)+len(data)+len(next)+recordOverhead != len(rest) {
				t.Fatal("a record has bytes of another")
			}
			rest = next
		}
	})
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "key", `a"b\c/`, "\x00\x01\x1f\x7f", "ключ ☃ 🚕", "\t\r\n", "\u2028"} {
		var back string
		if b := appendString(nil, s); json.Unmarshal(b, &back) != nil || back != s {
			t.Errorf("%q is written as %s", s, b)
		}
	}
}
