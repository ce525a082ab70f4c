package natsd_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

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
	for _, tc := range []struct{ listen, line string }{
		{"127.0.0.1:0", "NATS listens"},
		{":0", "without a login"},
	} {
		core, lines := observer.New(zapcore.InfoLevel)
		s, err := natsd.Start(natsd.Config{Dir: t.TempDir(), Listen: tc.listen, SyncInterval: time.Minute, Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		url := s.URL()
		if !strings.HasPrefix(url, "nats://127.0.0.1:") {
			t.Errorf("listens on %s", url)
		}
		nc, err := nats.Connect(url)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		if all := lines.All(); len(all) != 1 || !strings.Contains(all[0].Message, tc.line) || all[0].ContextMap()["url"] != url {
			t.Errorf("%s: %v", tc.listen, all)
		}
		if tc.listen != ":0" { // no other address of this machine, no other port
			port := url[strings.LastIndex(url, ":")+1:]
			if c, err := net.Dial("tcp", "127.0.0.2:"+port); err == nil {
				_ = c.Close()
				t.Error("listens on 127.0.0.2, too")
			}
			if _, err := natsd.Start(natsd.Config{Dir: t.TempDir(), Listen: "127.0.0.1:" + port}); err == nil || !strings.Contains(err.Error(), "address already in use") {
				t.Errorf("a port in use: %v", err)
			} else {
				t.Log(err)
			}
		}
		s.Close()
	}
}

// TestInProcessConn: a client of external servers connects without a socket.
func TestInProcessConn(t *testing.T) {
	s, err := natsd.Start(natsd.Config{Dir: t.TempDir(), SyncInterval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Error(err)
	}
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
