//go:build !linux

package testservers

import "syscall"

// groupThatDiesWithUs makes a child the leader of a process group. A test
// process that is killed leaves it behind: only Linux can tell it.
func groupThatDiesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
