//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import (
	"math"

	"golang.org/x/sys/unix"
)

// OpenFileLimit is how many descriptors this process may have open (RLIMIT_NOFILE). Go raises it to what the system allows the process when it starts.
func OpenFileLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // the least that is common
	}
	if uint64(limit.Cur) > math.MaxInt32 { //nolint:unconvert // signed on some systems
		return math.MaxInt32
	}
	return int(limit.Cur)
}
