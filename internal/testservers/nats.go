package testservers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const natsModule = "github.com/nats-io/nats-server/v2"

// NATSConfig says how to run nats-server.
type NATSConfig struct {
	// MaxPayload is the greatest message, in bytes; 0 is 8 MiB.
	MaxPayload int
	// SyncInterval is JetStream's, like "2m"; empty syncs on every write.
	SyncInterval string
	// Lines are more lines of nats-server's configuration file.
	Lines string
}

// NATS starts nats-server, in the version that go.mod names, with JetStream on
// disk. Its URL begins with nats://.
func NATS(t testing.TB, cfg NATSConfig) *Server {
	t.Helper()
	golang := tool(t, "go")
	version, err := exec.Command(golang, "list", "-m", "-f", "{{.Version}}", natsModule).Output()
	if err != nil {
		t.Fatalf("go list -m %s: %v; run the test in its module", natsModule, err)
	}
	dir := installed(t, "nats-server-"+strings.TrimSpace(string(version)), func(dir string) []*exec.Cmd {
		return []*exec.Cmd{exec.Command(golang, "build", "-o", filepath.Join(dir, "nats-server"), natsModule)}
	})
	payload, sync := 8<<20, "always"
	if cfg.MaxPayload != 0 {
		payload = cfg.MaxPayload
	}
	if cfg.SyncInterval != "" {
		sync = cfg.SyncInterval
	}
	return start(t, kind{name: "nats-server", scheme: "nats", ready: hasJetStream,
		command: func(data string, port int) *exec.Cmd {
			file := filepath.Join(data, "nats.conf")
			conf := fmt.Sprintf("server_name: tripgrid\nlisten: \"127.0.0.1:%d\"\nmax_payload: %d\njetstream {\n  store_dir: %q\n  sync_interval: %q\n}\n%s\n",
				port, payload, data, sync, cfg.Lines)
			if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
				t.Error(err)
			}
			return exec.Command(filepath.Join(dir, "nats-server"), "--config", file)
		}})
}

func hasJetStream(ctx context.Context, url string) error {
	nc, err := nats.Connect(url, nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	return err
}
