package filestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tripgrid/tripgrid/checkpoint"
	"github.com/tripgrid/tripgrid/checkpoint/storetest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("FILESTORE_TEST_ROLE"); role != "" {
		os.Exit(child(role))
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFileStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) (checkpoint.Store, checkpoint.Store) {
		dir := t.TempDir()
		return open(t, dir), open(t, dir)
	})
}

func TestEmptyFoldersGo(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s := open(t, dir)
	if err := s.Put(ctx, "taxi/1/2/3/part", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "taxi/1/2/3/part"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "taxi", "1")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the empty folder is still there: %v", err)
	}
	if err := s.Put(ctx, "taxi/1/2/3/part", []byte("x")); err != nil {
		t.Fatal(err)
	}
}

// A process that is stopped while it holds the lock must not keep others from
// shutting down.
func TestR10WaitForLockEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	holding, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.locked(context.Background(), "taxi", func() error {
			close(holding)
			<-release
			return nil
		})
	}()
	<-holding
	defer close(release)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err := open(t, dir).SwapHead(ctx, "taxi", "", []byte("x"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), lockFile) {
		t.Fatalf("the error is %v", err)
	}
}

func TestOpenRemovesDeadTemporariesOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	living, err := s.writeTemp([]byte("being written"))
	if err != nil {
		t.Fatal(err)
	}
	defer living.discard()
	dead := filepath.Join(dir, tempDir, "new-dead")
	if err := os.WriteFile(dead, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead temporary is still there: %v", err)
	}
	if _, err := os.Stat(living.name); err != nil {
		t.Errorf("the living temporary is gone: %v", err)
	}
}
