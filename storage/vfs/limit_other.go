//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package vfs

import "math"

// OpenFileLimit is how many descriptors this process may have open: these systems have no limit worth knowing.
func OpenFileLimit() int { return math.MaxInt32 }
