package cluster

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// Both codes of a lost race are conflicts; replicated buckets use the second.
func TestWriteErrorKnowsBothCodes(t *testing.T) {
	for code, conflict := range map[jetstream.ErrorCode]bool{10071: true, 10164: true, 10077: false} {
		err := writeError("update", "shard", &jetstream.APIError{Code: 400, ErrorCode: code})
		if errors.Is(err, ErrConflict) != conflict {
			t.Errorf("code %d: %v", code, err)
		}
	}
}
