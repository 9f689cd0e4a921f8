package process

import "syscall"

// groupAttributes: where the system can do it, the program dies with this
// process even if that is killed.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
