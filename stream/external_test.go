package stream

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tripgrid/tripgrid/internal/natsd"
	"github.com/tripgrid/tripgrid/stream/natsconn"
)

const testShard = "shardId-000000000003"

// serveConf runs a nats-server with a configuration as an operator writes it.
func serveConf(t testing.TB, conf string) *server.Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	if opts.JetStream {
		opts.StoreDir = t.TempDir()
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	return srv
}

// connect connects as user u, if srv knows users.
func connect(t testing.TB, srv *server.Server, cfg natsconn.Config) jetstream.JetStream {
	t.Helper()
	cfg.URLs = "nats://" + srv.Addr().String()
	nc, js, err := natsconn.Connect(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return js
}

func asUser(name string) natsconn.Config {
	return natsconn.Config{User: name, Password: natsconn.Secret{Value: name}}
}

// roundTrip writes two frames and reads them.
func roundTrip(t *testing.T, l *Log) {
	t.Helper()
	ctx := testContext(t)
	w := l.Writer(1, testShard, Identity{Epoch: 1, Writer: 7})
	for n := range 2 {
		frame, h := frameOf(testShard, w.Identity(), n, n+1, 0)
		if r, err := w.Publish(ctx, frame, h); err != nil || !r.Landed() {
			t.Fatal(r, err)
		}
	}
	r, err := l.Reader(ctx, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 2 {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if p, s, ok := l.ShardOf(m.Subject); p != 1 || s != testShard || !ok {
			t.Fatalf("%s is of shard %s in partition %s", m.Subject, s, p)
		}
	}
	tail, err := l.Tail(ctx, 1, testShard)
	if err != nil || tail.Header.Upto != at(2) {
		t.Fatal(tail, err)
	}
	if err := l.Purge(ctx, 1, tail.Seq); err != nil {
		t.Fatal(err)
	}
}

// TestPrefix: two logs of one job name in one account know nothing of each other.
func TestPrefix(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	for _, prefix := range []string{"", "acme", "acme.tripgrid"} {
		spec := testSpec()
		spec.Prefix = prefix
		l := openTestLog(t, js, spec)
		roundTrip(t, l)
		want := map[string]string{"": "taxi-1-1 taxi.1.1.s", "acme": "acme_taxi-1-1 acme.taxi.1.1.s", "acme.tripgrid": "acme_tripgrid_taxi-1-1 acme.tripgrid.taxi.1.1.s"}[prefix]
		if got := l.StreamName(1) + " " + l.Subject(1, "s"); got != want {
			t.Errorf("prefix %q: %q, want %q", prefix, got, want)
		}
		kv, err := OpenBucket(testContext(t), js, Bucket{Prefix: prefix, Name: "taxi-1-leases"})
		if err != nil {
			t.Fatal(err)
		}
		if rev, err := kv.Create(testContext(t), "k", []byte(prefix)); err != nil || rev != 1 {
			t.Errorf("prefix %q: revision %d, %v", prefix, rev, err)
		}
	}
	// Names that meet: another prefix with the same letters, another job.
	spec := testSpec()
	spec.Prefix = "acme_tripgrid"
	_, err := OpenLog(testContext(t), js, spec)
	if err == nil || !strings.Contains(err.Error(), "choose another subject prefix") {
		t.Error(err)
	}
	_, err = OpenBucket(testContext(t), js, Bucket{Prefix: "acme_tripgrid", Name: "taxi-1-leases"})
	if err == nil || !strings.Contains(err.Error(), "choose another subject prefix") {
		t.Error(err)
	}
	for _, prefix := range []string{".", "a..b", "a.>", "a b", strings.Repeat("x", 129)} {
		spec.Prefix = prefix
		if spec.Validate() == nil {
			t.Errorf("prefix %q is accepted", prefix)
		}
	}
}

// TestBucketOfAnOlderVersion: it is opened, and its direct gets end.
func TestBucketOfAnOlderVersion(t *testing.T) {
	js := testServer(t, natsd.Config{SyncInterval: time.Minute})
	ctx := testContext(t)
	old, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "taxi-1-leases"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Put(ctx, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		kv, err := OpenBucket(ctx, js, Bucket{Name: "taxi-1-leases"})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := kv.Get(ctx, "k"); err != nil || string(e.Value()) != "v" {
			t.Error(e, err)
		}
		if n, err := kv.Status(ctx); err != nil || n.Values() != 1 {
			t.Errorf("the bucket holds %v, %v", n, err)
		}
	}
	s, err := js.Stream(ctx, "KV_taxi-1-leases")
	if err != nil || s.CachedInfo().Config.AllowDirect {
		t.Error("direct gets are allowed", err)
	}
}

// TestElsewhere: the log in another domain, and behind another account's API.
func TestElsewhere(t *testing.T) {
	for name, tc := range map[string]struct {
		conf string
		cfg  natsconn.Config
	}{
		"domain": {"jetstream { domain: hub }", natsconn.Config{Domain: "hub"}},
		"API prefix": {`jetstream {}
			accounts {
				store { jetstream: enabled, users: [{user: s, password: s}]
					exports: [{service: "$JS.API.>", response_type: stream}, {service: "acme.>"}, {service: "$KV.>"}] }
				job { users: [{user: j, password: j}]
					imports: [{service: {account: store, subject: "$JS.API.>"}, to: "JS.store.API.>"}
						{service: {account: store, subject: "acme.>"}}
						{service: {account: store, subject: "$KV.>"}, to: "JS.store.API.$KV.>"}] }
			}`, natsconn.Config{APIPrefix: "JS.store.API", User: "j", Password: natsconn.Secret{Value: "j"}}},
	} {
		t.Run(name, func(t *testing.T) {
			js := connect(t, serveConf(t, tc.conf), tc.cfg)
			spec := testSpec()
			spec.Prefix = "acme"
			roundTrip(t, openTestLog(t, js, spec))
			kv, err := OpenBucket(testContext(t), js, Bucket{Prefix: "acme", Name: "taxi-1-leases"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Put(testContext(t), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
			if e, err := kv.Get(testContext(t), "k"); err != nil || string(e.Value()) != "v" {
				t.Error(e, err)
			}
		})
	}
}

// TestRefusedStreams: what a server has against streams is said with what to do.
func TestRefusedStreams(t *testing.T) {
	account := func(limits string) string {
		return "jetstream {}\naccounts { a { jetstream { " + limits + " }, users: [{user: u, password: u}] } }"
	}
	for name, tc := range map[string]struct {
		conf   string
		change func(*Spec)
		want   string
	}{
		"account's storage":  {account("max_file: 3MB, max_mem: 1MB"), func(s *Spec) { s.MaxBytes, s.Partitions = 2<<20, 20 }, "20 streams of 2.0 MiB with 1 replicas do not fit in the storage that NATS gives this account (3.0 MiB, of which "},
		"server's storage":   {"jetstream { max_file_store: 3MB }\nauthorization { user: u, password: u }", func(s *Spec) { s.MaxBytes, s.Partitions = 2<<20, 20 }, "do not fit"},
		"size of a stream":   {account("max_file: 100MB, max_mem: 1MB, disk_max_stream_bytes: 1MB"), func(s *Spec) { s.MaxBytes = 2 << 20 }, "may be smaller than 2.0 MiB alone"},
		"number of streams":  {account("max_file: 100MB, max_mem: 1MB, max_streams: 1"), func(s *Spec) { s.MaxBytes, s.Partitions = 2<<20, 20 }, "no more streams, and 20 are needed"},
		"replicas":           {account("max_file: 100MB, max_mem: 1MB"), func(s *Spec) { s.MaxBytes, s.Replicas = 2<<20, 3 }, "3 replicas need as many servers"},
		"subject in use":     {account("max_file: 100MB, max_mem: 1MB"), func(s *Spec) { s.MaxBytes, s.Prefix = 2<<20, "other" }, "another stream takes messages of other.taxi.1."},
		"name in use":        {account("max_file: 100MB, max_mem: 1MB"), func(s *Spec) { s.MaxBytes, s.Job = 2<<20, "cab" }, "it is somebody else's"},
		"limit is mandatory": {account("max_file: 100MB, max_mem: 1MB, max_bytes: true"), func(s *Spec) { s.MaxBytes = 2 << 20 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			js := connect(t, serveConf(t, tc.conf), asUser("u"))
			ctx := testContext(t)
			spec := testSpec()
			tc.change(&spec)
			switch name {
			case "subject in use":
				if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "all", Subjects: []string{"other.>"}, MaxBytes: 1 << 20}); err != nil {
					t.Fatal(err)
				}
			case "name in use":
				if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "cab-1-0", MaxBytes: 1 << 20}); err != nil {
					t.Fatal(err)
				}
			}
			_, err := OpenLog(ctx, js, spec)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				_, err = OpenBucket(ctx, js, Bucket{Name: "b"})
				if err == nil || !strings.Contains(err.Error(), "do not fit") {
					t.Error(err)
				}
				return
			}
			t.Log(err)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v does not say %q", err, tc.want)
			}
		})
	}
}

// TestSmallPayload: refused at once, and a server that shrinks it later ends
// the publish with the numbers.
func TestSmallPayload(t *testing.T) {
	if natsconn.LeastPayload < 2*MaxFrameBytes {
		t.Error("the least payload is not twice the largest frame")
	}
	srv := serveConf(t, "jetstream {}\nmax_payload: 1MB")
	js := connect(t, srv, natsconn.Config{})
	l := openTestLog(t, js, testSpec())
	w := l.Writer(1, testShard, Identity{Epoch: 1, Writer: 7})
	frame, h := frameOf(testShard, w.Identity(), 0, 1, 0)
	big := append(frame, make([]byte, MaxFrameBytes-len(frame))...)
	if r, err := w.Publish(testContext(t), big, h); err != nil || !r.Landed() {
		t.Fatal(r, err) // the largest frame fits the least payload
	}
	l.publish = func(context.Context, string, []byte, uint64) (uint64, error) {
		return 0, js.Conn().Publish("x", make([]byte, natsconn.LeastPayload+1))
	}
	frame, h = frameOf(testShard, w.Identity(), 1, 2, 0)
	_, err := w.Publish(testContext(t), frame, h)
	if err == nil || !strings.Contains(err.Error(), "raise max_payload to 1048576") {
		t.Error(err)
	}
	small := serveConf(t, "jetstream {}\nmax_payload: 64KB")
	_, _, err = natsconn.Connect(testContext(t), natsconn.Config{URLs: small.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "at most 65536 bytes") {
		t.Error(err)
	}
}

// TestMarksFitAFrame: the marks of 16 producers of 256 lanes leave most of a
// barrier's frame to what it carries.
func TestMarksFitAFrame(t *testing.T) {
	size := func(producers, lanes int) int {
		f := &Frame{Header: Header{Shard: testShard, Upto: at(1), Flags: FlagBarrier, Barrier: 1, Cut: &Cut{}}}
		for p := range producers {
			for lane := range lanes {
				f.Cut.Marks = append(f.Cut.Marks, Mark{Producer: uint64(p), Lane: uint16(lane), Seq: uint64(5e6 + (lane*7919+p)%1e6)})
			}
		}
		return len(Append(nil, f))
	}
	if n := size(16, 256); n > MaxFrameBytes/16 {
		t.Errorf("16 producers of 256 lanes take %d bytes", n)
	}
}
