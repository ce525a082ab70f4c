package localkinesis

import (
	"os"
	"syscall"
)

// syncData makes a file's content and length durable, not its times.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
