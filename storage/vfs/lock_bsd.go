//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes a flock lock, which belongs to the open file and so excludes a second broker in this process too.
func tryLock(f *os.File) (holder int, err error) {
	return 0, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// processName would name a running program; tryLock finds none here.
func processName(int) string { return "" }
