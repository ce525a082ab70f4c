package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tripgrid/tripgrid/checkpoint"
)

// temporary is a synced file that waits to be renamed. It stays open, and
// locked, until then, so that removeDead of another process leaves it alone.
type temporary struct {
	name string
	file *os.File
}

func (s *Store) writeTemp(data []byte) (*temporary, error) {
	t, err := s.newTemp()
	if err != nil {
		return nil, err
	}
	s.step("temp: created")
	if _, err = t.file.Write(data); err == nil {
		s.step("temp: written")
		err = t.file.Sync()
	}
	if err != nil {
		t.discard()
		return nil, err
	}
	s.step("temp: synced")
	return t, nil
}

func (s *Store) newTemp() (*temporary, error) {
	for {
		f, err := os.CreateTemp(filepath.Join(s.root, tempDir), "new-")
		if err != nil {
			return nil, err
		}
		t := &temporary{name: f.Name(), file: f}
		if err = flock(f, syscall.LOCK_EX); err == nil {
			// Another process may have taken it for dead before it was locked.
			if _, err = os.Stat(t.name); err == nil {
				return t, nil
			}
		}
		t.discard()
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// discard removes the file if it was not renamed.
func (t *temporary) discard() {
	_ = os.Remove(t.name) // gone if it was renamed
	_ = t.file.Close()    // everything was synced
}

// mkdir creates dir below root and syncs every new entry on the way.
func (s *Store) mkdir(dir string) error {
	if dir == s.root {
		return nil
	}
	s.mu.Lock()
	known := s.synced[dir]
	s.mu.Unlock()
	if known {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
	}
	parent := filepath.Dir(dir)
	if err := s.mkdir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Another process may have created it and not synced it yet.
	if err := syncDir(parent); err != nil {
		return err
	}
	s.mu.Lock()
	s.synced[dir] = true
	s.mu.Unlock()
	return nil
}

// mkdirAll creates dir and its missing parents, and syncs every new entry.
func mkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // read only
	return d.Sync()
}

// uncertain marks an error after which the rename may or may not survive.
func uncertain(err error) error {
	return fmt.Errorf("%w: %w", checkpoint.ErrUncertain, err)
}

// describe translates what the file system says.
func describe(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", checkpoint.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("the disk (or quota) is full, free some space, it is tried again: %w", err)
	}
	return err
}
