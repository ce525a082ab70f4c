package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"
)

func isCorrupt(err error) bool { return errors.Is(err, ErrCorrupt) }

// seal ends body as a frame, so that the fuzzer gets past the checksum.
func seal(body []byte) []byte {
	data := append([]byte(nil), magic[:]...)
	data = append(data, body...)
	data = append(data, trailerTag[:]...)
	data = append(data, 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint64(data[len(data)-8:], Checksum(data))
	return data
}

// FuzzDecode: Decode never panics; what it takes, it takes again from Append.
func FuzzDecode(f *testing.F) {
	for _, g := range goldenFrames() {
		data := Append(nil, g)
		f.Add(data[len(magic) : len(data)-trailerLen])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var raw, a, b Frame
		if err := Decode(body, &raw); err != nil && !isCorrupt(err) {
			t.Fatal(err)
		}
		data := seal(body)
		err := Decode(data, &a)
		var h Header
		_, herr := DecodeHeader(data, &h)
		if err != nil {
			if !isCorrupt(err) || herr != nil && !isCorrupt(herr) {
				t.Fatal(err, herr)
			}
			return
		}
		if herr != nil {
			t.Fatal(herr)
		}
		again := Append(nil, &a)
		if len(again) > MaxFrameBytes {
			return
		}
		if err := Decode(again, &b); err != nil {
			t.Fatalf("decoded, encoded, but not decoded again: %v", err)
		}
		equalFrames(t, &b, &a)
	})
}

func BenchmarkFrame(b *testing.B) {
	for _, perRecord := range []int{1, 100} {
		const rows = 512
		frames := make([]*Frame, 8)
		encoded := make([][]byte, len(frames))
		bytes := 0
		for i := range frames {
			frames[i] = testFrame(uint64(i), rows, perRecord)
			frames[i].Upto.Sub += uint32(i)
			encoded[i] = Append(nil, frames[i])
			bytes += len(encoded[i])
		}
		var before time.Duration
		report := func(b *testing.B) {
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N)/rows, "cpu-ns/row")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			b.ReportMetric(float64(bytes)/float64(len(frames))/rows, "B/row")
		}
		b.Run(fmt.Sprintf("append/record=%d", perRecord), func(b *testing.B) {
			b.ReportAllocs()
			before = cpuTime()
			var dst []byte
			for i := 0; b.Loop(); i++ {
				dst = Append(dst[:0], frames[i%len(frames)])
			}
			report(b)
		})
		b.Run(fmt.Sprintf("decode/record=%d", perRecord), func(b *testing.B) {
			b.ReportAllocs()
			before = cpuTime()
			var f Frame
			for i := 0; b.Loop(); i++ {
				if err := Decode(encoded[i%len(encoded)], &f); err != nil {
					b.Fatal(err)
				}
			}
			report(b)
		})
	}
}
