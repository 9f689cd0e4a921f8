//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package process

import "syscall"

func groupAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
