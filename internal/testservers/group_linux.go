package testservers

import "syscall"

// groupThatDiesWithUs makes a child the leader of a process group, which the
// kernel kills when this process dies.
func groupThatDiesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
