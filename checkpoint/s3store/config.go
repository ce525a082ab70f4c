package s3store

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// Limits of S3.
const (
	minPartSize = 5 << 20
	maxPartSize = 5 << 30
	maxParts    = 10_000
)

// Config says where and how checkpoints are kept. Zero values are the defaults.
type Config struct {
	// Bucket is the bucket's name; it must exist, in the client's region.
	Bucket string
	// Prefix is put before every name, with a slash between: "checkpoints",
	// "teams/taxi". Empty: names begin at the bucket's root.
	Prefix string
	// SSE is the encryption at rest: "" is the bucket's default, "AES256" is
	// SSE-S3, "aws:kms" is SSE-KMS.
	SSE string
	// KMSKeyID is the key's id, ARN or alias for SSE "aws:kms"; empty is the
	// account's key for S3.
	KMSKeyID string
	// PartSize is the largest object, in bytes, that is sent in one request, and
	// the size of the parts of larger ones: 5 MiB to 5 GiB, 16 MiB if 0.
	PartSize int64
	// Timeout is how long one request may go without an answer, and a download
	// without a byte; an upload has a second more for each MiB. 20 s if 0.
	Timeout time.Duration
	// Attempts is how often a request is tried before its error is returned, 5 if 0.
	Attempts int
	// Backoff is the longest pause before the second try; it doubles with each
	// further one, up to 5 s. The pause is uniform between zero and that. 100 ms if 0.
	Backoff time.Duration
}

// Validate says in one sentence what is wrong.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Bucket == "":
		return fmt.Errorf("the S3 bucket is missing: name the bucket that keeps the checkpoints")
	case strings.ContainsAny(c.Bucket, "/ ") && !strings.HasPrefix(c.Bucket, "arn:"):
		return fmt.Errorf("%q is no S3 bucket: give its name alone, and what follows it as the prefix", c.Bucket)
	case c.Prefix != "" && checkpoint.CheckName(c.Prefix) != nil:
		return fmt.Errorf("%q is no S3 prefix: use segments of letters, digits, '.', '_', '-' and '=', with slashes between", c.Prefix)
	case c.SSE != "" && c.SSE != string(types.ServerSideEncryptionAes256) && c.SSE != string(types.ServerSideEncryptionAwsKms):
		return fmt.Errorf("%q is no S3 encryption: use AES256, aws:kms, or nothing for the bucket's default", c.SSE)
	case c.KMSKeyID != "" && c.SSE != string(types.ServerSideEncryptionAwsKms):
		return fmt.Errorf("a KMS key is given and the S3 encryption is %q: set it to aws:kms", c.SSE)
	case c.PartSize < minPartSize || c.PartSize > maxPartSize:
		return fmt.Errorf("the S3 part size is %d bytes: S3 takes 5 MiB (%d) to 5 GiB", c.PartSize, minPartSize)
	case c.Timeout < 0 || c.Attempts < 1 || c.Backoff < 0:
		return fmt.Errorf("the S3 timeout %v, attempts %d or back-off %v is negative: leave it out for the default", c.Timeout, c.Attempts, c.Backoff)
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Prefix = strings.TrimSuffix(c.Prefix, "/")
	if c.PartSize == 0 {
		c.PartSize = 16 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 20 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.Backoff == 0 {
		c.Backoff = 100 * time.Millisecond
	}
	return c
}
