package remote

import (
	"crypto/sha1" //nolint:gosec // S3 has it, for what it is worth
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// checksum is that of a whole object, taken as its bytes come. It goes on over
// the answers in which they come, which the SDK's own check does not.
type checksum struct {
	hash.Hash
	want string // base64
}

// matches says whether what was written is all of the object, and right.
func (c *checksum) matches() bool {
	return base64.StdEncoding.EncodeToString(c.Sum(nil)) == c.want
}

// crc64NVME is the reversed polynomial of CRC-64/NVME.
var crc64NVME = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// checksumOf returns the checksum that S3 has of an object, nil if it has none or
// one that is of the parts' checksums.
func checksumOf(got *s3.GetObjectOutput) *checksum {
	if got.ChecksumType == types.ChecksumTypeComposite {
		return nil
	}
	for _, known := range []struct {
		want *string
		new  func() hash.Hash
	}{
		{got.ChecksumCRC64NVME, func() hash.Hash { return crc64.New(crc64NVME) }},
		{got.ChecksumCRC32C, func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
		{got.ChecksumCRC32, func() hash.Hash { return crc32.NewIEEE() }},
		{got.ChecksumSHA256, sha256.New},
		{got.ChecksumSHA1, sha1.New},
	} {
		if known.want == nil {
			continue
		}
		sum := &checksum{known.new(), *known.want}
		if raw, err := base64.StdEncoding.DecodeString(sum.want); err != nil || len(raw) != sum.Size() {
			return nil // "...-7" is of 7 parts
		}
		return sum
	}
	return nil
}
