package remote

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// S3 is what is needed of S3; *s3.Client has it.
type S3 interface {
	ListObjectsV2(context.Context, *s3.ListObjectsV2Input, ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

var _ S3 = (*s3.Client)(nil)

// Config says how objects are fetched. Zero values are the defaults.
type Config struct {
	// S3 returns the client for names that begin with s3://. It is called when
	// the first one is met, once; nil refuses such names.
	S3 func(context.Context) (S3, error)
	// HTTP is the client for https:// and http://; nil means http.DefaultClient,
	// which heeds HTTPS_PROXY and the system's certificates.
	HTTP *http.Client
	// Cache is a folder, made if it is not there, in which fetched files stay for
	// the next run, without a bound: as much as the objects take. "" keeps none.
	Cache string
	// Ahead is the most files that are fetched while one is read; 0 means 4, and
	// -1 none.
	Ahead int
	// AheadBytes bounds the disk of the file that is read and those fetched ahead,
	// without what is in the cache; 0 means 4 GiB.
	AheadBytes int64
	// Timeout is how long a request may go without a byte; 0 means 30 s.
	Timeout time.Duration
	// Attempts is how many tries in a row may fail; 0 means 5.
	Attempts int
	// Backoff is the pause before the second try; it doubles with each further
	// one, up to 10 s. 0 means 200 ms.
	Backoff time.Duration
}

const (
	defaultAhead      = 4
	defaultAheadBytes = 4 << 30
	defaultTimeout    = 30 * time.Second
	defaultAttempts   = 5
	defaultBackoff    = 200 * time.Millisecond
	maxBackoff        = 10 * time.Second
	maxAhead          = 64
)

// Validate refuses what is negative or more than can be meant.
func (c Config) Validate() error {
	switch {
	case c.Ahead < -1 || c.Ahead > maxAhead:
		return fmt.Errorf("remote: %d files to fetch ahead are not possible: give -1 (none) to %d", c.Ahead, maxAhead)
	case c.AheadBytes < 0:
		return fmt.Errorf("remote: the bound of %d bytes to fetch ahead is negative: give 0 for the default", c.AheadBytes)
	case c.Timeout < 0 || c.Attempts < 0 || c.Backoff < 0:
		return fmt.Errorf("remote: the timeout %s, the attempts %d or the back-off %s are negative: give 0 for the default", c.Timeout, c.Attempts, c.Backoff)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	switch c.Ahead {
	case 0:
		c.Ahead = defaultAhead
	case -1:
		c.Ahead = 0
	}
	if c.AheadBytes == 0 {
		c.AheadBytes = defaultAheadBytes
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Attempts == 0 {
		c.Attempts = defaultAttempts
	}
	if c.Backoff == 0 {
		c.Backoff = defaultBackoff
	}
	return c
}
