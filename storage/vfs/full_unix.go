//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import "syscall"

func errorsOfFull() []error { return []error{syscall.ENOSPC, syscall.EDQUOT} }
