package cluster_test

import (
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/cluster"
	"github.com/tripgrid/tripgrid/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConformance(t *testing.T) {
	clustertest.Run(t, func(*testing.T) cluster.Store { return clustertest.NewMemory() })
}

func TestKVConformance(t *testing.T) {
	js := jetStream(t)
	var buckets atomic.Int64
	clustertest.Run(t, func(t *testing.T) cluster.Store {
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
			Bucket: fmt.Sprintf("leases-%d", buckets.Add(1)), Storage: jetstream.MemoryStorage})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "barrier", []byte("another's key")); err != nil {
			t.Fatal(err)
		}
		return cluster.NewKV(kv, "lease.")
	})
}

// A version that this program does not know is refused by name.
func TestKVRefusesOtherVersions(t *testing.T) {
	kv, err := jetStream(t).CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "leases", Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{`{"v":2}`, `not JSON`} {
		if _, err := kv.PutString(t.Context(), "lease.shard", value); err != nil {
			t.Fatal(err)
		}
		store := cluster.NewKV(kv, "lease.")
		if _, err := store.Get(t.Context(), "shard"); err == nil {
			t.Errorf("Get accepted %s", value)
		}
		if _, err := store.List(t.Context()); err == nil {
			t.Errorf("List accepted %s", value)
		}
	}
}

func jetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, NoSigs: true,
		StoreDir: filepath.Join(t.TempDir(), "js")})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
