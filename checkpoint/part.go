package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A part is (docs/format/part.md has the table, testdata the golden files):
//
//	 0  4  magic "TGPT"
//	 4  2  version, 1
//	 6  2  zero
//	 8  8  length of the body
//	16  8  length L of the zstd frame
//	24  L  zstd frame
//	24+L 32  SHA-256 of all bytes before
//
// Integers are little-endian.
const (
	partMagic   = "TGPT"
	partVersion = 1
	partHeader  = 24
	partTrailer = sha256.Size
)

// MaxPartBody bounds what DecodePart unpacks.
const MaxPartBody = 4 << 30

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // constant options
	}
	return e
})

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(MaxPartBody))
	if err != nil {
		panic(err) // constant options
	}
	return d
})

// EncodePart wraps a partition's encoded state.
func EncodePart(body []byte) []byte {
	b := make([]byte, partHeader, partHeader+len(body)/3+partTrailer+64)
	b = zstdEncoder().EncodeAll(body, b)
	copy(b, partMagic)
	binary.LittleEndian.PutUint16(b[4:], partVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(len(body)))
	binary.LittleEndian.PutUint64(b[16:], uint64(len(b)-partHeader))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// DecodePart unwraps a part; a corrupt one, or one of an unknown version, is
// refused by name.
func DecodePart(name string, data []byte) ([]byte, error) {
	refuse := func(format string, a ...any) ([]byte, error) {
		return nil, fmt.Errorf("part %s is %w: "+format, append([]any{name, ErrCorrupt}, a...)...)
	}
	if len(data) < partHeader+partTrailer {
		return refuse("it has %d bytes, less than an empty part", len(data))
	}
	if string(data[:4]) != partMagic {
		return refuse("it begins with %q", data[:4])
	}
	if v := binary.LittleEndian.Uint16(data[4:]); v != partVersion {
		return nil, fmt.Errorf("part %s is %w or too new: it has version %d, this binary reads %d", name, ErrCorrupt, v, partVersion)
	}
	frame := binary.LittleEndian.Uint64(data[16:])
	if want := uint64(len(data) - partHeader - partTrailer); frame != want {
		return refuse("its frame has %d bytes, it says %d", want, frame)
	}
	end := len(data) - partTrailer
	if sum := sha256.Sum256(data[:end]); string(sum[:]) != string(data[end:]) {
		return refuse("its checksum is %x, it says %x", sum[:6], data[end:end+6])
	}
	if data[6] != 0 || data[7] != 0 {
		return refuse("its reserved bytes are set")
	}
	length := binary.LittleEndian.Uint64(data[8:])
	if length > MaxPartBody {
		return refuse("it says that it unpacks to %d bytes", length)
	}
	body, err := zstdDecoder().DecodeAll(data[partHeader:end], nil)
	if err != nil {
		return refuse("%v", err)
	}
	if uint64(len(body)) != length {
		return refuse("it unpacks to %d bytes, it says %d", len(body), length)
	}
	return body, nil
}
