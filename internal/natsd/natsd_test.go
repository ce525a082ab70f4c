package natsd_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMessagesSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for round := range 3 {
		s, err := natsd.Start(natsd.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if s.URL() != "" {
			t.Errorf("listens on %s", s.URL())
		}
		nc, err := s.Connect("test")
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		// Reservations may exceed the disk.
		stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, MaxBytes: 1 << 45})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "s.x", make([]byte, natsd.MaxPayload-1024)); err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(ctx)
		if err != nil || info.State.Msgs != uint64(round+1) {
			t.Fatalf("round %d: %v, %+v", round, err, info)
		}
		s.Close()
		s.Close()
		if _, err := s.Connect("late"); err == nil || !nc.IsClosed() {
			t.Error("connections outlive the server")
		}
	}
}

func TestListen(t *testing.T) {
	s, err := natsd.Start(natsd.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestStartSaysWhatFailed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]natsd.Config{
		"no folder":     {},
		"a file":        {Dir: file},
		"no address":    {Dir: t.TempDir(), Listen: "nowhere"},
		"negative sync": {Dir: t.TempDir(), SyncInterval: -1},
	} {
		start := time.Now()
		s, err := natsd.Start(cfg)
		if err == nil {
			s.Close()
			t.Errorf("%s: started", name)
			continue
		}
		t.Logf("%s: %v (%v)", name, err, time.Since(start))
	}
}
