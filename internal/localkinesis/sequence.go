package localkinesis

import (
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// shardID numbers the shards of a stream from 0; a closed shard's number is never given again.
type shardID uint32

const shardIDPrefix = "shardId-"

// String is the API's form, shardId-000000000000.
func (id shardID) String() string { return fmt.Sprintf("%s%012d", shardIDPrefix, uint32(id)) }

// parseShardID reads the API's form.
func parseShardID(s string) (shardID, bool) {
	digits, ok := strings.CutPrefix(s, shardIDPrefix)
	if !ok || len(digits) != 12 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return shardID(n), err == nil && !strings.HasPrefix(digits, "+")
}

// epoch tells apart everything that was ever created on one data folder: in seconds since 1970, as AWS has it, but
// raised where two creations fall into one second. A shard's epoch is in each of its sequence numbers.
type epoch uint64

// ordinal numbers the records of a shard: which opening of the folder wrote it (see Server), then a counter from 1.
type ordinal uint64

const (
	counterBits = 40
	maxOpens    = 1<<23 - 1
)

// firstOrdinal is the first of an opening.
func firstOrdinal(opens uint64) ordinal { return ordinal(opens<<counterBits | 1) }

// sequence is a sequence number in AWS's layout of 186 bits, which has 56 decimal digits beginning with 49:
//
//	bits  184-187  2
//	      148-183  epoch of the shard
//	      144-147  the shard's number, low 4 bits
//	       80-143  ordinal of the record in its shard
//	        72-79  0
//	        36-71  arrival in seconds since 1970
//	         4-35  the shard's number
//	          0-3  2, the layout's version
//
// Sequence numbers of a shard grow with the ordinal, and those of a younger shard are larger than those of an older.
type sequence struct {
	epoch epoch
	shard shardID
	ord   ordinal
	secs  uint64
}

const (
	sequenceDigits = 56
	chunk          = 1e19
	mask36         = 1<<36 - 1
)

// appendTo appends the decimal form.
func (s sequence) appendTo(b []byte) []byte {
	secs := s.secs & mask36
	w0 := 2 | uint64(s.shard)<<4 | secs<<36
	w1 := secs>>28 | uint64(s.ord)<<16
	w2 := uint64(s.ord)>>48 | uint64(s.shard&15)<<16 | uint64(s.epoch&mask36)<<20 | 2<<56
	// Two divisions by 10^19 leave three groups of digits: 18, 19 and 19.
	q1, r := bits.Div64(w2, w1, chunk)
	q0, low := bits.Div64(r, w0, chunk)
	high, mid := bits.Div64(q1, q0, chunk)
	b = strconv.AppendUint(b, high, 10)
	b = appendPadded(b, mid)
	return appendPadded(b, low)
}

// appendPadded appends 19 digits.
func appendPadded(b []byte, n uint64) []byte {
	var d [19]byte
	for i := len(d) - 1; i > 0; i -= 2 {
		q := n / 100
		r := n - q*100
		d[i], d[i-1] = byte('0'+r%10), byte('0'+r/10)
		n = q
	}
	d[0] = byte('0' + n)
	return append(b, d[:]...)
}

// String is the decimal form.
func (s sequence) String() string { return string(s.appendTo(make([]byte, 0, sequenceDigits))) }

// validSequence tells whether s fits the API's pattern 0|([1-9]\d{0,128}).
func validSequence(s string) bool {
	if s == "" || len(s) > 129 || s[0] == '0' && len(s) > 1 {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// parseSequence reads a number that appendTo wrote.
func parseSequence(s string) (sequence, bool) {
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || len(s) != sequenceDigits || n.BitLen() > 188 {
		return sequence{}, false
	}
	field := func(shift, width uint) uint64 {
		f := new(big.Int).Rsh(n, shift)
		return f.And(f, new(big.Int).SetUint64(1<<width-1)).Uint64()
	}
	q := sequence{epoch: epoch(field(148, 36)), shard: shardID(field(4, 32)), ord: ordinal(field(80, 64)), secs: field(36, 36)}
	return q, q.String() == s
}
