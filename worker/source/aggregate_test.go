package source

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/tripgrid/tripgrid/stream"
)

// seal makes an aggregate of a protobuf message.
func seal(body []byte) []byte {
	sum := md5.Sum(body)
	return append(append(bytes.Clone(aggregateMagic), body...), sum[:]...)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

func userBytes(key uint64, data []byte) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), key)
	return appendBytes(b, 3, data)
}

// aggregate is what the KPL sends for some user records.
func aggregate(users ...string) []byte {
	body := appendBytes(nil, 1, []byte("key"))
	for _, u := range users {
		body = appendBytes(body, 3, userBytes(0, []byte(u)))
	}
	return seal(body)
}

// malformed are aggregates that carry the magic and are none.
func malformed() map[string][]byte {
	good := appendBytes(nil, 1, []byte("key"))
	broken := aggregate("a", "b")
	broken[len(broken)-1] ^= 1
	return map[string][]byte{
		"wrong checksum":        broken,
		"magic alone":           bytes.Clone(aggregateMagic),
		"magic and checksum":    seal(nil),
		"no protobuf":           seal([]byte{0xff, 0xff, 0xff}),
		"key out of range":      seal(appendBytes(good, 3, userBytes(1, []byte("x")))),
		"huge key":              seal(appendBytes(good, 3, userBytes(1<<63, []byte("x")))),
		"no key table":          seal(appendBytes(nil, 3, userBytes(0, []byte("x")))),
		"no key":                seal(appendBytes(good, 3, appendBytes(nil, 3, []byte("x")))),
		"no data":               seal(appendBytes(good, 3, []byte{0x08, 0})),
		"length beyond the end": seal(append(good, 0x1a, 0x7f, 1)),
		"no records":            seal(good),
		"bad second record":     seal(appendBytes(appendBytes(good, 3, userBytes(0, []byte("x"))), 3, userBytes(9, []byte("y")))),
		"field number 0":        seal(append(good, 0x02, 0)),
	}
}

func TestExpand(t *testing.T) {
	users, ok := expand(aggregate("a", "", "ccc"))
	if !ok || len(users) != 3 || string(users[0]) != "a" || string(users[1]) != "" || string(users[2]) != "ccc" {
		t.Errorf("got %q, %v", users, ok)
	}
	for name, data := range malformed() {
		if users, ok := expand(data); ok {
			t.Errorf("%s: expanded to %q", name, users)
		}
	}
	for _, plain := range []string{"", "x", `{"a":1}`, "\xf3\x89\x9a"} {
		if _, ok := expand([]byte(plain)); ok {
			t.Errorf("%q was taken for an aggregate", plain)
		}
	}
}

// library is what awslabs' de-aggregator says of one record: its user records,
// or that it failed, also by a panic.
func library(data []byte) (users [][]byte, failed bool) {
	defer func() {
		if recover() != nil {
			users, failed = nil, true
		}
	}()
	out, err := deaggregator.DeaggregateRecords([]types.Record{{Data: data, SequenceNumber: aws.String("1")}})
	for _, r := range out {
		users = append(users, r.Data)
	}
	return users, err != nil
}

func agree(data []byte) error {
	want, failed := library(data)
	users, ok := expand(data)
	if !ok {
		users = [][]byte{data} // raw
	}
	switch {
	case failed && ok:
		return fmt.Errorf("the library fails on %x, we read %q", data, users)
	case failed, len(want) == 0: // an aggregate of nothing is raw here, so that it is seen
		return nil
	case len(want) != len(users):
		return fmt.Errorf("%x: got %q, the library has %q", data, users, want)
	}
	for i := range want {
		if !bytes.Equal(want[i], users[i]) {
			return fmt.Errorf("%x: record %d is %q, the library has %q", data, i, users[i], want[i])
		}
	}
	return nil
}

// FuzzExpand never panics and agrees with awslabs' de-aggregator wherever that
// one has an answer. The fuzzed bytes are tried as they are and as the body of
// an aggregate with a right checksum.
func FuzzExpand(f *testing.F) {
	f.Add(aggregate("one", "two"))
	for _, data := range malformed() {
		f.Add(data)
		if len(data) > len(aggregateMagic)+md5.Size {
			f.Add(data[len(aggregateMagic) : len(data)-md5.Size])
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, seal(data)} {
			if err := agree(d); err != nil {
				t.Error(err)
			}
		}
	})
}

// Every well-formed aggregate, fields in any order, unknown ones among them, is
// expanded as the library does.
func TestExpandAgreesWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.IntRange(1, 4).Draw(t, "keys")
		var fields [][]byte
		for range keys {
			fields = append(fields, appendBytes(nil, 1, []byte(rapid.String().Draw(t, "key"))))
		}
		for range rapid.IntRange(1, 8).Draw(t, "records") {
			u := userBytes(rapid.Uint64Range(0, uint64(keys-1)).Draw(t, "index"), rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "data"))
			if rapid.Bool().Draw(t, "tagged") {
				u = appendBytes(u, 4, appendBytes(nil, 1, []byte("tag")))
			}
			if rapid.Bool().Draw(t, "hashed") {
				u = protowire.AppendVarint(protowire.AppendTag(u, 2, protowire.VarintType), 0)
			}
			fields = append(fields, appendBytes(nil, 3, u))
		}
		for range rapid.IntRange(0, 2).Draw(t, "unknown") {
			fields = append(fields, protowire.AppendFixed64(protowire.AppendTag(nil, 9, protowire.Fixed64Type), 7))
		}
		var body []byte
		for _, f := range rapid.Permutation(fields).Draw(t, "order") {
			body = append(body, f...)
		}
		data := seal(body)
		if _, ok := expand(data); !ok {
			t.Fatalf("%x was not expanded", data)
		}
		if err := agree(data); err != nil {
			t.Fatal(err)
		}
	})
}

// A skip position inside an aggregate leaves out what is at or below it, and
// nothing else.
func TestSkipFallsInsideAnAggregate(t *testing.T) {
	batch := []types.Record{
		{SequenceNumber: aws.String("9"), Data: []byte("plain")},
		{SequenceNumber: aws.String("10"), Data: aggregate("a", "b", "c")},
		{SequenceNumber: aws.String("11"), Data: malformed()["key out of range"]},
	}
	for _, c := range []struct {
		skip stream.Position
		want string
	}{
		{stream.Position{}, "9! 10 10/1 10/2! 11! "},
		{stream.Position{Seq: "9"}, "10 10/1 10/2! 11! "},
		{stream.Position{Seq: "10"}, "10/1 10/2! 11! "},
		{stream.Position{Seq: "10", Sub: 1}, "10/2! 11! "},
		{stream.Position{Seq: "10", Sub: 2}, "11! "},
		{stream.Position{Seq: "11"}, ""},
	} {
		var got string
		for _, r := range appendRecords(nil, batch, c.skip) {
			got += r.Pos.String()
			if r.Last {
				got += "!"
			}
			got += " "
		}
		if got != c.want {
			t.Errorf("above %s: %s, want %s", c.skip, got, c.want)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	users := make([]string, 100)
	for i := range users {
		users[i] = fmt.Sprintf("%0200d", i)
	}
	data := aggregate(users...)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, ok := expand(data); !ok {
			b.Fatal("not expanded")
		}
	}
}
