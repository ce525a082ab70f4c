//go:build unix

package localkinesis

import (
	"fmt"
	"os"
	"syscall"
)

// lockFolder takes the data folder for this process; the lock goes when the file is closed or the process ends.
func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s is held by another process; end it or choose another folder: %w", path, err)
	}
	return f, nil
}
