package checkpoint

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt says that an object is not what was written, or of a version that this
// binary does not know. The error text names the object.
var ErrCorrupt = errors.New("corrupt")

// documentFormat is the version of manifests and HEADs.
const documentFormat = 1

// document is the JSON envelope of manifests and HEADs: SHA256 is that of
// Body's bytes as they stand in the object.
type document struct {
	Tripgrid string          `json:"tripgrid"` // "manifest" or "head"
	Format   int             `json:"format"`
	Body     json.RawMessage `json:"body"`
	SHA256   string          `json:"sha256"`
}

func encodeDocument(kind string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", kind, err)
	}
	b, err := json.Marshal(document{Tripgrid: kind, Format: documentFormat, Body: raw, SHA256: sumHex(raw)})
	if err != nil {
		return nil, fmt.Errorf("encode the %s: %w", kind, err)
	}
	return append(b, '\n'), nil
}

func decodeDocument(kind, name string, data []byte, body any) error {
	// The version comes first: a newer format may have other fields.
	var probe struct {
		Tripgrid string `json:"tripgrid"`
		Format   int    `json:"format"`
	}
	if err := json.Unmarshal(data, &probe); err != nil {
		return fmt.Errorf("%s %s is %w: %w", kind, name, ErrCorrupt, err)
	}
	if probe.Tripgrid != kind {
		return fmt.Errorf("%s %s is %w: it says it is a %q", kind, name, ErrCorrupt, probe.Tripgrid)
	}
	if probe.Format != documentFormat {
		return fmt.Errorf("%s %s is %w or too new: it has format %d, this binary reads %d",
			kind, name, ErrCorrupt, probe.Format, documentFormat)
	}
	var d document
	if err := decodeStrict(data, &d); err != nil {
		return fmt.Errorf("%s %s is %w: %w", kind, name, ErrCorrupt, err)
	}
	if got := sumHex(d.Body); got != d.SHA256 {
		return fmt.Errorf("%s %s is %w: its checksum is %.12s, it says %.12s", kind, name, ErrCorrupt, got, d.SHA256)
	}
	if err := decodeStrict(d.Body, body); err != nil {
		return fmt.Errorf("%s %s is %w: %w", kind, name, ErrCorrupt, err)
	}
	return nil
}

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func sumHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// NewNonce returns a random, non-zero nonce.
func NewNonce() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
