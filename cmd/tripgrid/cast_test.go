package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// patience is what anything may take on a busy machine.
const patience = 2 * time.Minute

// member is one process of tripgrid.
type member struct {
	t       *testing.T
	name    string
	process *os.Process
	log     string // file of what it says
	ended   chan struct{}
	exit    error // valid when ended
	killed  bool  // its end is no surprise
}

// cast is the processes of a job, in the order of their start.
type cast struct{ members []*member }

// start starts tripgrid as a process that dies with this one.
func (c *cast) start(t *testing.T, name, dir string, args ...string) *member {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	m := &member{t: t, name: name, log: out.Name(), ended: make(chan struct{})}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread that started it for ours.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			m.exit = cmd.Wait()
			close(m.ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	m.process = cmd.Process
	c.members = append(c.members, m)
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			said := m.said()
			t.Logf("%s said:\n%s", m.name, said[max(0, len(said)-6<<10):])
		}
	})
	return m
}

// kill is SIGKILL: the process has no say in it.
func (m *member) kill() {
	m.killed = true
	_ = m.process.Kill() // it may have ended
	<-m.ended
}

// signal stops the process (SIGSTOP) or lets it go on (SIGCONT).
func (m *member) signal(sig syscall.Signal) {
	m.t.Helper()
	if err := m.process.Signal(sig); err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
}

// said is what the process has printed.
func (m *member) said() []byte {
	data, err := os.ReadFile(m.log)
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}

// says counts the lines with a text.
func (m *member) says(text string) int { return bytes.Count(m.said(), []byte(text)) }

// running reports whether the process has not ended.
func (m *member) running() bool {
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}

// mustRun fails if a process has failed.
func (c *cast) mustRun(t *testing.T) {
	t.Helper()
	for _, m := range c.members {
		if !m.running() && !m.killed && m.exit != nil {
			t.Fatalf("%s ended by itself: %v", m.name, m.exit)
		}
	}
}

// mustFail waits for the end of a process that cannot start, and says why.
func (m *member) mustFail(want string) {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.t.Fatalf("%s runs, it should fail: %s", m.name, want)
	}
	var exit *exec.ExitError
	if !errors.As(m.exit, &exit) || exit.ExitCode() != 1 || m.says(want) == 0 {
		m.t.Fatalf("%s ended with %v, want exit status 1 and %q:\n%s", m.name, m.exit, want, m.said())
	}
	m.killed = true
}

// mustAllRun fails if a worker has ended that was not killed.
func (c *cast) mustAllRun(t *testing.T) {
	t.Helper()
	for _, m := range c.members {
		if m.name != "produce" && !m.killed && !m.running() {
			t.Fatalf("%s ended: %v", m.name, m.exit)
		}
	}
}

// mustEnd waits until all processes have ended, in good order.
func (c *cast) mustEnd(t *testing.T) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); ; <-poll.C {
		c.mustRun(t)
		i := slices.IndexFunc(c.members, (*member).running)
		if i < 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not end within %v", c.members[i].name, patience)
		}
	}
}
