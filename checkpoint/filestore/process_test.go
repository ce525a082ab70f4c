package filestore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// child is what the re-executed test binary does.
func child(role string) int {
	dir, arg := os.Getenv("FILESTORE_TEST_DIR"), os.Getenv("FILESTORE_TEST_ARG")
	s, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ctx := context.Background()
	switch role {
	case "append": // add own name to HEAD a hundred times, whoever else does
		for i := range 100 {
			for {
				data, version, err := s.ReadHead(ctx, "taxi")
				if err != nil && !errors.Is(err, checkpoint.ErrNotFound) {
					fmt.Println(err)
					return 1
				}
				_, err = s.SwapHead(ctx, "taxi", version, fmt.Appendf(data, "%s%d,", arg, i))
				if err == nil {
					break
				}
				if !errors.Is(err, checkpoint.ErrConflict) {
					fmt.Println(err)
					return 1
				}
			}
		}
	case "die": // swap HEAD and put an object, and die at the named step
		s.step = func(name string) {
			if name == arg {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		var err error
		if strings.HasPrefix(arg, "put") {
			err = s.Put(ctx, "taxi/1/1/p", bytes.Repeat([]byte("new"), 1000))
		} else {
			_, version, rerr := s.ReadHead(ctx, "taxi")
			if rerr != nil {
				fmt.Println(rerr)
				return 1
			}
			_, err = s.SwapHead(ctx, "taxi", version, bytes.Repeat([]byte("new"), 1000))
		}
		fmt.Println("survived", err)
		return 1
	case "full": // no file may grow beyond 4 KiB
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
			fmt.Println(err)
			return 1
		}
		err := s.Put(ctx, "taxi/1/1/large", make([]byte, 100_000))
		fmt.Println(err)
		if err := s.Put(ctx, "taxi/1/1/small", make([]byte, 100)); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	return 0
}

func command(role, dir, arg string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FILESTORE_TEST_ROLE="+role, "FILESTORE_TEST_DIR="+dir, "FILESTORE_TEST_ARG="+arg)
	return cmd
}

func TestR10TwoProcesses(t *testing.T) {
	dir := t.TempDir()
	var cmds []*exec.Cmd
	var outs []*bytes.Buffer
	for _, name := range []string{"a", "b"} {
		cmd := command("append", dir, name)
		out := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, outs[i])
		}
	}
	data, _, err := open(t, dir).ReadHead(context.Background(), "taxi")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		for i := range 100 {
			if strings.Count(","+string(data), fmt.Sprintf(",%s%d,", name, i)) != 1 {
				t.Fatalf("the swap %s%d is not exactly once in HEAD", name, i)
			}
		}
	}
}

// Killed between any two steps, a writer leaves the old or the new bytes, the
// lock is free, and the next writer goes on.
func TestR10KillBetweenSteps(t *testing.T) {
	for _, c := range []struct{ step, head, object string }{
		{"temp: created", "old", ""},
		{"temp: written", "old", ""},
		{"temp: synced", "old", ""},
		{"swap: before rename", "old", ""},
		{"swap: renamed", "new", ""},
		{"swap: done", "new", ""},
		{"put: before rename", "old", ""},
		{"put: renamed", "old", "new"},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			dir, ctx := t.TempDir(), context.Background()
			version, err := open(t, dir).SwapHead(ctx, "taxi", "", []byte("old"))
			if err != nil {
				t.Fatal(err)
			}
			out, err := command("die", dir, c.step).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the child was not killed at the step: %v: %s", err, out)
			}
			s := open(t, dir)
			data, now, err := s.ReadHead(ctx, "taxi")
			if err != nil || !strings.HasPrefix(string(data), c.head) || len(data) != 3 && len(data) != 3000 {
				t.Fatalf("HEAD is %.10q (%d bytes), %v, want %s", data, len(data), err, c.head)
			}
			if (now == version) != (c.head == "old") {
				t.Fatalf("HEAD has version %s", now)
			}
			object, err := s.Get(ctx, "taxi/1/1/p")
			if c.object == "" && !errors.Is(err, checkpoint.ErrNotFound) || c.object != "" && len(object) != 3000 {
				t.Fatalf("the object has %d bytes, %v", len(object), err)
			}
			left, err := os.ReadDir(filepath.Join(dir, tempDir))
			if err != nil || len(left) != 0 {
				t.Fatalf("temporaries are left: %v %v", left, err)
			}
			if _, err := s.SwapHead(ctx, "taxi", now, []byte("next")); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(ctx, "taxi/1/1/p", bytes.Repeat([]byte("new"), 1000)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	out, err := command("full", dir, "").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	line, _, err := bufio.NewReader(bytes.NewReader(out)).ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(line); !strings.HasPrefix(got, "write taxi/1/1/large: the disk (or quota) is full, free some space") {
		t.Fatalf("the error is %q", got)
	}
	objects, err := open(t, dir).List(context.Background(), "")
	if err != nil || len(objects) != 1 || objects[0].Name != "taxi/1/1/small" {
		t.Fatalf("the store has %v, %v", objects, err)
	}
}
