package filestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tripgrid/tripgrid/checkpoint"
)

const (
	tempDir  = ".tmp"
	lockFile = ".HEAD.lock"
)

// Store is a checkpoint.Store in a folder.
type Store struct {
	root string

	mu     sync.Mutex
	synced map[string]bool // folders whose entry in their parent is on disk

	// step is called between the steps of a write; tests kill the process there.
	step func(name string)
}

var _ checkpoint.Store = (*Store)(nil)

// Open opens the folder, creates it if it is missing, and removes what killed
// writers left behind.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open the checkpoint folder: %w", err)
	}
	s := &Store{root: root, synced: make(map[string]bool), step: func(string) {}}
	if err := mkdirAll(filepath.Join(root, tempDir)); err != nil {
		return nil, fmt.Errorf("open the checkpoint folder: %w: name a folder that can be made and written", describe(err))
	}
	if err := s.removeDead(); err != nil {
		return nil, fmt.Errorf("clean the checkpoint folder: %w", err)
	}
	return s, nil
}

// removeDead deletes temporaries that no process holds.
func (s *Store) removeDead() error {
	entries, err := os.ReadDir(filepath.Join(s.root, tempDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(s.root, tempDir, e.Name())
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			err = os.Remove(name)
		}
		_ = f.Close() // read only
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.root, filepath.FromSlash(name)) }

// Get implements checkpoint.Store.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(s.path(name))
	return data, describe(err)
}

// Put implements checkpoint.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	job, _, _ := strings.Cut(name, "/")
	temp, err := s.writeTemp(data)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, describe(err))
	}
	defer temp.discard()
	// Under the lock, because a plain rename replaces what is there.
	err = s.locked(ctx, job, func() error {
		old, err := os.ReadFile(s.path(name))
		switch {
		case err == nil && !bytes.Equal(old, data):
			return fmt.Errorf("%w: other bytes are there already", checkpoint.ErrConflict)
		case err == nil:
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := s.mkdir(filepath.Dir(s.path(name))); err != nil {
			return err
		}
		s.step("put: before rename")
		return os.Rename(temp.name, s.path(name))
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, describe(err))
	}
	s.step("put: renamed")
	// Whoever renamed it: the entry must be on disk before this call succeeds.
	if err := syncDir(filepath.Dir(s.path(name))); err != nil {
		return fmt.Errorf("write %s: %w", name, uncertain(err))
	}
	return nil
}

// List implements checkpoint.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]checkpoint.ObjectInfo, error) {
	// Walk the deepest folder that holds all names with the prefix.
	start := s.root
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if checkpoint.CheckName(prefix[:i]) != nil {
			return nil, nil
		}
		start = s.path(prefix[:i])
	}
	var out []checkpoint.ObjectInfo
	err := filepath.WalkDir(start, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil // deleted meanwhile
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != start:
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(s.root, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !strings.HasPrefix(name, prefix) || checkpoint.CheckName(name) != nil {
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			out = append(out, checkpoint.ObjectInfo{Name: name, Size: info.Size()})
		}
		return err
	})
	slices.SortFunc(out, func(a, b checkpoint.ObjectInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Delete implements checkpoint.Store. Folders that become empty are removed.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	job, _, _ := strings.Cut(name, "/")
	return s.locked(ctx, job, func() error {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		for dir := filepath.Dir(s.path(name)); dir != s.path(job) && dir != s.root; dir = filepath.Dir(dir) {
			if os.Remove(dir) != nil {
				break // not empty, or gone
			}
			s.mu.Lock()
			delete(s.synced, dir)
			s.mu.Unlock()
		}
		return nil
	})
}

// ReadHead implements checkpoint.Store.
func (s *Store) ReadHead(ctx context.Context, job string) ([]byte, string, error) {
	if err := checkJob(ctx, job); err != nil {
		return nil, "", err
	}
	data, err := os.ReadFile(s.path(checkpoint.HeadName(job)))
	if err != nil {
		return nil, "", describe(err)
	}
	return data, version(data), nil
}

// SwapHead implements checkpoint.Store.
func (s *Store) SwapHead(ctx context.Context, job, old string, data []byte) (string, error) {
	if err := checkJob(ctx, job); err != nil {
		return "", err
	}
	name := s.path(checkpoint.HeadName(job))
	temp, err := s.writeTemp(data)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", name, describe(err))
	}
	defer temp.discard()
	err = s.locked(ctx, job, func() error {
		there, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		now := ""
		if err == nil {
			now = version(there)
		}
		if now != old {
			return fmt.Errorf("%w: it has version %.12q, not %.12q", checkpoint.ErrConflict, now, old)
		}
		s.step("swap: before rename")
		if err := os.Rename(temp.name, name); err != nil {
			return err
		}
		s.step("swap: renamed")
		if err := syncDir(filepath.Dir(name)); err != nil {
			return uncertain(err)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("swap %s: %w", name, describe(err))
	}
	s.step("swap: done")
	return version(data), nil
}

func version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// locked runs fn under the job's lock. It polls, so that a stopped process
// that holds the lock does not keep ctx from ending.
func (s *Store) locked(ctx context.Context, job string, fn func() error) error {
	if err := s.mkdir(s.path(job)); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.path(job), lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // drops the lock
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return fn()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(wait):
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkpoint.CheckName(name)
}

func checkJob(ctx context.Context, job string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return checkpoint.CheckJob(job)
}
