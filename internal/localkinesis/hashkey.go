package localkinesis

import (
	"crypto/md5"
	"encoding/binary"
	"math/big"
	"math/bits"
)

// hashKey is a point of Kinesis' hash key space, 0 to 2^128-1.
type hashKey struct{ hi, lo uint64 }

// maxHashKeyDigits is the longest decimal form the API's pattern allows.
const maxHashKeyDigits = 39

// hashOf is the hash key of a partition key: its MD5, read as a big-endian number.
func hashOf(partitionKey []byte) hashKey {
	sum := md5.Sum(partitionKey)
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// parseHashKey reads the decimal form. It holds to the API's pattern 0|([1-9]\d{0,38}) and to the largest key, 2^128-1.
func parseHashKey[T string | []byte](s T) (hashKey, bool) {
	if len(s) == 0 || len(s) > maxHashKeyDigits || s[0] == '0' && len(s) > 1 {
		return hashKey{}, false
	}
	var k hashKey
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return hashKey{}, false
		}
		over, hi := bits.Mul64(k.hi, 10)
		carry, lo := bits.Mul64(k.lo, 10)
		hi, c1 := bits.Add64(hi, carry, 0)
		lo, c2 := bits.Add64(lo, uint64(d), 0)
		hi, c3 := bits.Add64(hi, 0, c2)
		if over != 0 || c1 != 0 || c3 != 0 {
			return hashKey{}, false
		}
		k = hashKey{hi, lo}
	}
	return k, true
}

// String is the decimal form, as the API writes it.
func (k hashKey) String() string { return k.big().String() }

func (k hashKey) big() *big.Int {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return new(big.Int).SetBytes(b[:])
}

// less orders hash keys as numbers.
func (k hashKey) less(o hashKey) bool {
	return k.hi < o.hi || k.hi == o.hi && k.lo < o.lo
}

// hashRange is what a shard owns; both ends belong to it.
type hashRange struct{ start, end hashKey }

// evenRanges cuts the key space into n ranges as AWS does: all of one width, the last takes the remainder.
func evenRanges(n int) []hashRange {
	space := new(big.Int).Lsh(big.NewInt(1), 128)
	width := new(big.Int).Quo(space, big.NewInt(int64(n)))
	ranges := make([]hashRange, n)
	start := new(big.Int)
	for i := range ranges {
		next := new(big.Int).Add(start, width)
		if i == n-1 {
			next = space
		}
		ranges[i] = hashRange{fromBig(start), fromBig(new(big.Int).Sub(next, big.NewInt(1)))}
		start = next
	}
	return ranges
}

// fromBig converts a number below 2^128.
func fromBig(n *big.Int) hashKey {
	var b [16]byte
	n.FillBytes(b[:])
	return hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}
