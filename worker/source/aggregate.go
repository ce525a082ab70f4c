package source

import (
	"bytes"
	"crypto/md5"

	"google.golang.org/protobuf/encoding/protowire"
)

// The KPL's aggregated format: magic, protobuf message AggregatedRecord, MD5 of
// the message.
//
//	AggregatedRecord: 1 partition key (string, repeated), 2 hash key (string, repeated), 3 Record (repeated)
//	Record: 1 partition key index (varint, required), 2 hash key index (varint), 3 data (bytes, required), 4 tags
var aggregateMagic = []byte{0xf3, 0x89, 0x9a, 0xc2}

// expand returns the user records of an aggregate, which alias data. ok is
// false if data is none: no magic, wrong checksum, bad framing, a record
// without data or whose partition key is not in the table, no record at all.
// A single bad record makes the whole aggregate raw, so that nothing in it
// vanishes unseen. Unknown fields are skipped.
func expand(data []byte) (users [][]byte, ok bool) {
	if len(data) <= len(aggregateMagic)+md5.Size || !bytes.HasPrefix(data, aggregateMagic) {
		return nil, false
	}
	body := data[len(aggregateMagic) : len(data)-md5.Size]
	if md5.Sum(body) != [md5.Size]byte(data[len(data)-md5.Size:]) {
		return nil, false
	}
	// Protobuf has no field order: all keys are counted before an index is judged.
	var keys, highest uint64
	for rest := body; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, false
		}
		rest = rest[n:]
		if typ != protowire.BytesType || num != 1 && num != 3 {
			if n = protowire.ConsumeFieldValue(num, typ, rest); n < 0 {
				return nil, false
			}
			rest = rest[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(rest)
		if n < 0 {
			return nil, false
		}
		rest = rest[n:]
		if num == 1 {
			keys++
			continue
		}
		key, user, ok := userRecord(v)
		if !ok {
			return nil, false
		}
		highest = max(highest, key)
		users = append(users, user)
	}
	if len(users) == 0 || highest >= keys {
		return nil, false
	}
	return users, true
}

// userRecord reads a Record; of a field that occurs twice the last counts.
func userRecord(b []byte) (key uint64, data []byte, ok bool) {
	var hasKey, hasData bool
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, nil, false
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			key, n = protowire.ConsumeVarint(b)
			hasKey = true
		case num == 3 && typ == protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
			hasData = true
		case num == 4 && typ == protowire.BytesType:
			var tag []byte
			if tag, n = protowire.ConsumeBytes(b); n >= 0 && !validTag(tag) {
				return 0, nil, false
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return 0, nil, false
		}
		b = b[n:]
	}
	return key, data, hasKey && hasData
}

// validTag tells whether b is a Tag: 1 key (string, required), 2 value.
func validTag(b []byte) bool {
	hasKey := false
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return false
		}
		hasKey = hasKey || num == 1 && typ == protowire.BytesType
		b = b[n:]
	}
	return hasKey
}
