//go:build integration

package localkinesis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tripgrid/tripgrid/internal/localkinesis/conformance"
)

// The server that judges our conformance suite. It is not ours.
const (
	judge        = "kinesis-local"
	judgeVersion = "0.6.2"
)

// judgeDeviations are what kinesis-local 0.6.2 does otherwise than AWS documents.
var judgeDeviations = map[string]string{
	"route-explicit-malformed":   "a malformed ExplicitHashKey is answered with status 500",
	"put-batch-empty":            "PutRecords without records is accepted",
	"put-batch-over-500":         "PutRecords of 501 records is accepted",
	"put-batch-over-10MiB":       "PutRecords of 11 MiB is accepted",
	"put-batch-record-over-1MiB": "PutRecords accepts a record that PutRecord refuses",
	"iterator-bad-type":          "an unknown ShardIteratorType is refused with SerializationException",
	"iterator-foreign-sequence":  "a sequence number of another shard is accepted",
	"iterator-garbage":           "a made-up iterator is answered with status 500",
}

// TestConformanceOfKinesisLocal runs the suite against npm's kinesis-local. It fails, and does not skip, where that cannot
// be installed or started.
func TestConformanceOfKinesisLocal(t *testing.T) {
	// It resets kept connections now and then, so each call has its own.
	c := client(t, startJudge(t), func(tr *http.Transport) { tr.DisableKeepAlives = true })
	conformance.Run(t, c, conformance.Options{Deviations: judgeDeviations, Timeout: 5 * time.Minute})
}

// startJudge starts kinesis-local on free ports and returns its endpoint.
func startJudge(t *testing.T) string {
	t.Helper()
	dir := installJudge(t)
	plain, tls := freePort(t), freePort(t)
	log, err := os.Create(filepath.Join(t.TempDir(), judge+".log"))
	if err != nil {
		t.Fatal(err)
	}
	// It reads server.json in its working directory.
	cmd := exec.Command("node", "main.js")
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(),
		fmt.Sprint("KINESIS_MOCK_PLAIN_PORT=", plain), fmt.Sprint("KINESIS_MOCK_TLS_PORT=", tls),
		"SHARD_LIMIT=200", "CREATE_STREAM_DURATION=50ms", "DELETE_STREAM_DURATION=50ms", "LOG_LEVEL=ERROR")
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v; install Node", judge, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			if b, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("%s said:\n%s", judge, b[max(0, len(b)-4096):])
			}
		}
		_ = log.Close()
	})
	addr := fmt.Sprint("127.0.0.1:", plain)
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return "http://" + addr
		}
		select {
		case <-ended:
			t.Fatalf("%s ended instead of listening on %s", judge, addr)
		case <-deadline.C:
			t.Fatalf("%s does not listen on %s: %v", judge, addr, err)
		case <-poll.C:
		}
	}
}

// installJudge installs kinesis-local into the user's cache, if it is not there, and returns its folder. Test processes
// wait for each other.
func installJudge(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "tripgrid-test", judge+"-"+judgeVersion)
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "node_modules", judge)
	done := filepath.Join(root, ".installed") // written last: a broken installation is done again
	if _, err := os.Stat(done); err == nil {
		return dir
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", root, "--no-audit", "--no-fund", judge+"@"+judgeVersion)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm install %s@%s: %v; install Node and npm, or look at what npm says:\n%s", judge, judgeVersion, err, out)
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
