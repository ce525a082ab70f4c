package testservers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTries   = 3
	startTimeout = 3 * time.Minute // a JVM on a busy machine
	logTail      = 8 << 10
)

// kind says how one kind of server runs.
type kind struct {
	name   string
	scheme string
	// command is the server on a port, with its data in a folder.
	command func(dir string, port int) *exec.Cmd
	// ready is nil when the server at url serves requests.
	ready func(ctx context.Context, url string) error
}

// Server is a running server. Its methods may be used by several goroutines;
// those that take the test belong to the test's own.
type Server struct {
	// URL is where it listens, on the same port for life: http://127.0.0.1:port.
	URL string

	kind
	dir  string
	port int
	log  *os.File

	mu      sync.Mutex
	process *process
}

// start runs a server until the test ends.
func start(t testing.TB, k kind) *Server {
	t.Helper()
	s := &Server{kind: k, dir: t.TempDir()}
	var err error
	if s.log, err = os.Create(filepath.Join(t.TempDir(), "server.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(t) })
	for range startTries {
		if s.port, err = unusedPort(); err != nil {
			break
		}
		s.URL = fmt.Sprintf("%s://127.0.0.1:%d", k.scheme, s.port)
		if err = s.launch(t.Context()); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
	return s
}

// Kill ends the server at once (SIGKILL) and returns when it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.kill()
}

// Restart starts the killed server again, at the same URL and with the data of
// those that keep it, and returns when it serves. A server that still runs is
// killed first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	var err error
	for range startTries {
		if err = s.launch(t.Context()); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		t.Fatalf("restart %s: %v", s.name, err)
	}
}

// Pause stops the server (SIGSTOP): connections are accepted by the kernel and
// stay open, and nothing is answered until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// PID is the process that serves now, to measure it.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.cmd.Process.Pid
}

func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process.signal(sig)
}

var errEnded = errors.New("it ended before it served")

// launch returns when the server serves. A server that did not serve in time
// is left to stop, one that ended by itself is errEnded: its port may be taken.
func (s *Server) launch(ctx context.Context) error {
	cmd := s.command(s.dir, s.port)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if cmd.Dir == "" {
		cmd.Dir = s.dir
	}
	p, err := run(cmd)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(25 * time.Millisecond)
	defer poll.Stop()
	for {
		attempt, end := context.WithTimeout(ctx, 5*time.Second)
		err := s.ready(attempt, s.URL)
		end()
		select {
		case <-p.ended: // also when somebody else answers on its port
			p.kill()
			return fmt.Errorf("%w: %w", errEnded, p.exit)
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
		case <-ctx.Done():
			return fmt.Errorf("it does not serve on %s: %w", s.URL, err)
		case <-poll.C:
		}
	}
}

func (s *Server) stop(t testing.TB) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.log.Close()
	if s.process == nil {
		return
	}
	select {
	case <-s.process.ended:
		if !s.process.killed {
			t.Errorf("%s ended during the test: %v; it was not the test that killed it", s.name, s.process.exit)
		}
	default:
	}
	s.process.kill()
	if !t.Failed() {
		return
	}
	if b, err := os.ReadFile(s.log.Name()); err == nil {
		t.Logf("%s said:\n%s", s.name, b[max(0, len(b)-logTail):])
	}
}

// process is the leader of a process group.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	exit   error // valid when ended
	killed bool
}

// run starts cmd. The thread that does it stays until cmd has ended, as the
// kernel takes the end of that thread for the death of the parent.
func run(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = groupThatDiesWithUs()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.exit = cmd.Wait()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.ended: // its number may be another's
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, sig) // fails when it ended right now
	}
}

func (p *process) kill() {
	p.killed = true
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// Ports of servers: below the 32768 where Linux's outgoing connections begin.
const firstPort, endPort = 20_000, 30_000

// unusedPort is a port that nobody listened on a moment ago.
func unusedPort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(endPort-firstPort)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find an unused port between %d and %d: %w", firstPort, endPort, err)
}
