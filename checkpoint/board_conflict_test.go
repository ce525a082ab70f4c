package checkpoint

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestConflictsAreToldByEitherCode(t *testing.T) {
	for err, want := range map[error]bool{
		&jetstream.APIError{ErrorCode: 10071}: true,
		&jetstream.APIError{ErrorCode: 10164}: true,
		&jetstream.APIError{ErrorCode: 10059}: false,
		errors.New("timeout"):                 false,
	} {
		if got := isConflict(fmt.Errorf("write: %w", err)); got != want {
			t.Errorf("isConflict of %v is %v", err, got)
		}
	}
}
