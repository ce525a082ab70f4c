//go:build integration

package main

import (
	"testing"
)

// TestServices runs the whole path over real servers, as separate processes,
// with each server's outage in mid-stream; what is stored is exact.
func TestServices(t *testing.T) {
	c, l := newCloud(t), newLoad(t)
	t.Run("plain", func(t *testing.T) { plain(newSite(t, c, l, "plain")) })
}

// plain: nothing happens.
func plain(s *site) {
	s.setup()
	s.worker("ingest", "ingest")
	s.worker("window", "window")
	s.produce(0)
	s.cast.mustEnd(s.t)
	s.mustEqual(s.all())
	s.mustVerify()
}
