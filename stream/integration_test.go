//go:build integration

package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tripgrid/tripgrid/stream/natsconn"
)

// TestDenied: a missing permission is named, and nothing waits for it for ever.
func TestDenied(t *testing.T) {
	for name, tc := range map[string]struct {
		deny string
		do   func(context.Context, jetstream.JetStream) error
	}{
		"create":  {"$JS.API.STREAM.CREATE.*", openSpec},
		"genesis": {"taxi.>", openSpec},
		"frame": {"taxi.*.*.shard*", func(ctx context.Context, js jetstream.JetStream) error {
			l, err := OpenLog(ctx, js, testSpec())
			if err != nil {
				t.Error(err) // too early
				return err
			}
			w := l.Writer(1, testShard, Identity{Epoch: 1, Writer: 7})
			frame, h := frameOf(testShard, w.Identity(), 0, 1, 0)
			_, err = w.Publish(ctx, frame, h)
			return err
		}},
		"pull": {"$JS.API.CONSUMER.MSG.NEXT.>", func(ctx context.Context, js jetstream.JetStream) error {
			l, err := OpenLog(ctx, js, testSpec())
			if err != nil {
				return err
			}
			r, err := l.Reader(ctx, 0, 0)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = r.Next(ctx)
			return err
		}},
		"bucket": {"$KV.>", func(ctx context.Context, js jetstream.JetStream) error {
			_, err := OpenBucket(ctx, js, Bucket{Name: "b"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deny := tc.deny
			if name == "frame" {
				deny = "taxi.1.1." + testShard
			}
			js := connect(t, serveConf(t, fmt.Sprintf(`jetstream {}
				authorization { users: [{user: u, password: u, permissions: {publish: {deny: [%q]}}}] }`, deny)), asUser("u"))
			err := tc.do(testContext(t), js)
			t.Log(err)
			if !errors.Is(err, natsconn.ErrDenied) || !strings.Contains(err.Error(), "may not publish to "+strings.TrimRight(deny, ">*")) {
				t.Error(err)
			}
		})
	}
}

func openSpec(ctx context.Context, js jetstream.JetStream) error {
	_, err := OpenLog(ctx, js, testSpec())
	return err
}

// process is a nats-server in a process of its own.
type process struct {
	t      *testing.T
	binary string
	conf   string
	url    string
	cmd    *exec.Cmd
}

// startProcess builds the nats-server of go.mod and runs it; the environment
// variable NATS_SERVER names another one, of another version.
func startProcess(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	p := &process{t: t, binary: os.Getenv("NATS_SERVER"), conf: filepath.Join(dir, "nats.conf")}
	if p.binary == "" {
		p.binary = filepath.Join(dir, "nats-server")
		if out, err := exec.Command("go", "build", "-o", p.binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
			t.Fatalf("build nats-server: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	p.url = "nats://" + address
	conf := fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: always }\n", address, filepath.Join(dir, "store"))
	if err := os.WriteFile(p.conf, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.binary, "-c", p.conf)
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	address := strings.TrimPrefix(p.url, "nats://")
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the nats-server process does not listen")
		}
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func (p *process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// TestR2ExternalServerFails: writers and a reader go on through a server that
// is killed three times and paused for five seconds, without loss or duplicate.
func TestR2ExternalServerFails(t *testing.T) {
	p := startProcess(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	nc, js, err := natsconn.Connect(ctx, natsconn.Config{URLs: p.url})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	spec := testSpec()
	spec.Prefix = "acme.tripgrid"
	l := openTestLog(t, js, spec)

	const shards = 3
	stop := make(chan struct{})
	ends := make([]int, shards)
	rebased := make([]int, shards)
	var writers errgroup.Group
	for i := range shards {
		writers.Go(func() error {
			w := l.Writer(0, ShardID(fmt.Sprintf("s%d", i)), Identity{Epoch: 1, Writer: uint64(i + 1)})
			for n := 0; ; {
				select {
				case <-stop:
					ends[i] = n
					return nil
				default:
				}
				frame, h := frameOf(w.shard, w.id, n, n+1, 0)
				r, err := w.Publish(ctx, frame, h)
				if err != nil {
					return err
				}
				if r.Rebased { // the acknowledgement was lost
					rebased[i]++
				}
				if r.Tail.Header.Upto != at(n+1) {
					return fmt.Errorf("the tail is %v after frame %d", r.Tail.Header.Upto, n+1)
				}
				n++
			}
		})
	}
	// A reader that is there all the time sees each frame once, in order.
	seen := map[ShardID]Position{}
	frames := 0
	rctx, endReader := context.WithCancel(ctx)
	defer endReader()
	r, err := l.Reader(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var reader errgroup.Group
	reader.Go(func() error {
		for {
			m, err := r.Next(rctx)
			if rctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			var f Frame
			if err := Decode(m.Data, &f); err != nil {
				return err
			}
			if f.After != seen[f.Shard] {
				return fmt.Errorf("sequence %d of shard %s begins after %v, the one before ended at %v", m.Seq, f.Shard, f.After, seen[f.Shard])
			}
			seen[f.Shard] = f.Upto
			frames++
		}
	})
	for range 3 {
		time.Sleep(500 * time.Millisecond)
		p.kill()
		time.Sleep(300 * time.Millisecond)
		p.start()
		time.Sleep(time.Second)
	}
	p.signal(syscall.SIGSTOP)
	time.Sleep(5 * time.Second)
	p.signal(syscall.SIGCONT)
	time.Sleep(time.Second)
	close(stop)
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	uptos := checkI1(t, l, 0)
	total := 0
	for i, n := range ends {
		s := ShardID(fmt.Sprintf("s%d", i))
		if n < 10 || uptos[s] != at(n) {
			t.Errorf("shard %s: %d frames were acknowledged, the log ends at %v", s, n, uptos[s])
		}
		total += n
	}
	st, err := l.State(ctx, 0)
	if err != nil || st.Last != uint64(total)+1 {
		t.Errorf("the log ends at sequence %d after %d frames: %v", st.Last, total, err)
	}
	time.Sleep(6 * time.Second) // a reader may wait for its idle check
	endReader()
	if err := reader.Wait(); err != nil {
		t.Fatal(err)
	}
	if frames != total {
		t.Errorf("the reader saw %d of %d frames", frames, total)
	}
	t.Logf("%d frames on server %s, %v rebased", total, nc.ConnectedServerVersion(), rebased)
}

// TestCluster: three replicas on three servers; the log goes on without the
// partition's leader.
func TestCluster(t *testing.T) {
	ports := make([]int, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
	}
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", p))
	}
	servers := map[string]*server.Server{}
	var urls []string
	for i, p := range ports {
		name := fmt.Sprintf("n%d", i)
		servers[name] = serveConf(t, fmt.Sprintf("server_name: %s\njetstream {}\ncluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }",
			name, p, strings.Join(routes, ", ")))
		urls = append(urls, servers[name].Addr().String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for clustered := false; !clustered; time.Sleep(50 * time.Millisecond) {
		for _, s := range servers {
			clustered = clustered || s.JetStreamIsLeader()
		}
		if ctx.Err() != nil {
			t.Fatal("the servers elect no leader")
		}
	}
	nc, js, err := natsconn.Connect(ctx, natsconn.Config{URLs: strings.Join(urls, ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	spec := testSpec()
	spec.Replicas, spec.MaxBytes = 3, 16<<20
	l, err := OpenLog(ctx, js, spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBucket(ctx, js, Bucket{Name: "taxi-1-leases", Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	w := l.Writer(1, testShard, Identity{Epoch: 1, Writer: 7})
	for n := range 40 {
		if n == 20 {
			info, err := l.parts[1].stream.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			servers[info.Cluster.Leader].Shutdown()
		}
		frame, h := frameOf(testShard, w.id, n, n+1, 0)
		if r, err := w.Publish(ctx, frame, h); err != nil || r.Tail.Header.Upto != at(n+1) {
			t.Fatal(n, r, err)
		}
	}
	if uptos := checkI1(t, l, 1); uptos[testShard] != at(40) {
		t.Errorf("the log ends at %v", uptos[testShard])
	}
	spec.Job, spec.Replicas = "cab", 5
	if _, err := OpenLog(ctx, js, spec); err == nil || !strings.Contains(err.Error(), "5 replicas need as many servers") {
		t.Error(err)
	}
}
