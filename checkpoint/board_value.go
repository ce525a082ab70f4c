package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A value on the board is JSON; one above plainValue bytes is a zstd frame of
// it: the marks of many lanes would not fit in a message of 1 MiB.
const (
	plainValue    = 64 << 10
	maxValue      = 256 << 20 // unpacked
	valueOverhead = 1 << 10   // of headers, in a message
)

var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

var valueDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxValue))
	if err != nil {
		panic(err) // the options are constant
	}
	return d
})

func encodeValue(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(data) <= plainValue {
		return data, err
	}
	return zstdEncoder().EncodeAll(data, nil), nil
}

func decodeValue(data []byte, v any) error {
	if bytes.HasPrefix(data, zstdMagic) {
		plain, err := valueDecoder().DecodeAll(data, nil)
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		data = plain
	}
	return json.Unmarshal(data, v)
}
