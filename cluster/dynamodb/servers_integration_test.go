//go:build integration

package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The servers that judge the table. They are not ours: npm's dynalite, and
// Amazon's DynamoDB Local from Maven Central.
const (
	dynaliteVersion = "4.0.0"
	localVersion    = "2.6.1" // needs Java 17
)

type server struct {
	endpoint string
	process  *os.Process
}

// signal stops (SIGSTOP) and continues (SIGCONT) the server.
func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func startDynalite(t *testing.T) *server {
	t.Helper()
	root := installed(t, "dynalite-"+dynaliteVersion, func(ctx context.Context, root string) *exec.Cmd {
		return exec.CommandContext(ctx, "npm", "install", "--prefix", root, "--no-audit", "--no-fund", "dynalite@"+dynaliteVersion)
	})
	return start(t, func(port string) *exec.Cmd {
		return exec.Command("node", filepath.Join(root, "node_modules", "dynalite", "cli.js"), "--host", "127.0.0.1", "--port", port,
			"--createTableMs", "200")
	})
}

const localPOM = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.github.tripgrid</groupId><artifactId>dynamodb-local</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>com.amazonaws</groupId><artifactId>DynamoDBLocal</artifactId><version>` + localVersion + `</version>
  </dependency></dependencies>
</project>
`

func startLocal(t *testing.T) *server {
	t.Helper()
	root := installed(t, "dynamodb-local-"+localVersion, func(ctx context.Context, root string) *exec.Cmd {
		pom := filepath.Join(root, "pom.xml")
		if err := os.WriteFile(pom, []byte(localPOM), 0o644); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(ctx, "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(root, "lib"))
	})
	lib := filepath.Join(root, "lib")
	return start(t, func(port string) *exec.Cmd {
		return exec.Command("java", "-Xmx256m", "-Dsqlite4java.library.path="+lib, "-cp", filepath.Join(lib, "*"),
			"com.amazonaws.services.dynamodbv2.local.main.ServerRunner", "-inMemory", "-disableTelemetry", "-port", port)
	})
}

// start runs a server on a free port until the test ends.
func start(t *testing.T, command func(port string) *exec.Cmd) *server {
	t.Helper()
	addr := unused(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := command(port)
	log, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = filepath.Dir(log.Name())
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v; install it", cmd.Path, err)
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
				t.Logf("%s said:\n%s", cmd.Path, b[max(0, len(b)-4096):])
			}
		}
		_ = log.Close()
	})
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return &server{endpoint: "http://" + addr, process: cmd.Process}
		}
		select {
		case <-ended:
			t.Fatalf("%s ended instead of listening on %s", cmd.Path, addr)
		case <-deadline.C:
			t.Fatalf("%s does not listen on %s: %v", cmd.Path, addr, err)
		case <-poll.C:
		}
	}
}

// installed returns the folder in the user's cache that the command has
// filled, now or before. Test processes wait for each other.
func installed(t *testing.T, name string, command func(ctx context.Context, root string) *exec.Cmd) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "tripgrid-test", name)
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
	done := filepath.Join(root, ".installed") // written last: a broken installation is done again
	if _, err := os.Stat(done); err == nil {
		return root
	} else if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := command(ctx, root)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v; needs Node with npm, and Java with Maven; it said:\n%s", name, err, out)
	}
	if err := os.WriteFile(done, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		t.Fatal(fmt.Errorf("install %s: %w", name, err))
	}
	return root
}
