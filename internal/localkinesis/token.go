package localkinesis

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// tokenLife is how long shard iterators and ListShards' tokens may be used.
const tokenLife = 5 * time.Minute

// tokenKind tells what a token was given for.
type tokenKind byte

const (
	iteratorToken tokenKind = 'I'
	shardsToken   tokenKind = 'L'
)

// token is a place to go on from: for an iterator, the next record of a shard; for ListShards, the last shard listed.
// It is opaque to clients and signed, so a made-up or cut one is refused instead of read.
type token struct {
	kind   tokenKind
	epoch  epoch // of the stream
	shard  shardID
	ord    ordinal
	issued int64 // milliseconds since 1970
}

const (
	tokenBody = 1 + 8 + 4 + 8 + 8
	tokenMAC  = 16
	tokenSize = tokenBody + tokenMAC
)

func (t token) appendTo(b, key []byte) []byte {
	var raw [tokenSize]byte
	raw[0] = byte(t.kind)
	binary.BigEndian.PutUint64(raw[1:], uint64(t.epoch))
	binary.BigEndian.PutUint32(raw[9:], uint32(t.shard))
	binary.BigEndian.PutUint64(raw[13:], uint64(t.ord))
	binary.BigEndian.PutUint64(raw[21:], uint64(t.issued))
	sign(raw[:], key)
	return base64.StdEncoding.AppendEncode(b, raw[:])
}

func (t token) string(key []byte) string { return string(t.appendTo(nil, key)) }

// parseToken reads a token of the given kind, whatever its age.
func parseToken(s string, kind tokenKind, key []byte) (token, bool) {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(raw) != tokenSize || raw[0] != byte(kind) {
		return token{}, false
	}
	var given [tokenMAC]byte
	copy(given[:], raw[tokenBody:])
	sign(raw, key)
	if !hmac.Equal(given[:], raw[tokenBody:]) {
		return token{}, false
	}
	return token{
		kind:   kind,
		epoch:  epoch(binary.BigEndian.Uint64(raw[1:])),
		shard:  shardID(binary.BigEndian.Uint32(raw[9:])),
		ord:    ordinal(binary.BigEndian.Uint64(raw[13:])),
		issued: int64(binary.BigEndian.Uint64(raw[21:])),
	}, true
}

// sign writes the signature of a token's body behind it.
func sign(raw, key []byte) {
	h := hmac.New(sha256.New, key)
	h.Write(raw[:tokenBody])
	copy(raw[tokenBody:], h.Sum(nil))
}

// expired tells whether the token is older than tokenLife.
func (t token) expired(now time.Time) bool {
	return now.UnixMilli()-t.issued > tokenLife.Milliseconds()
}
