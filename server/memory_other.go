//go:build !linux

package server

import (
	"math"
	"runtime/debug"
)

// MachineMemory is the memory in bytes that this process may count on: the Go runtime's limit; 0 if there is none.
func MachineMemory() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return 0
}
