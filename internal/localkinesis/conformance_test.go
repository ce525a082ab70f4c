package localkinesis

import (
	"testing"

	"github.com/tripgrid/tripgrid/internal/localkinesis/conformance"
)

func TestConformance(t *testing.T) {
	s, _ := start(t, Config{Dir: t.TempDir()}, defaultTuning())
	conformance.Run(t, client(t, s.Endpoint()), conformance.Options{})
}
