//go:build !linux

package server

import (
	"math"
	"runtime/debug"
)

// assumedMemory is taken for the machine's where the system is not asked.
const assumedMemory = 4 << 30

// machineMemory is the memory in bytes that this process may count on.
func machineMemory() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return assumedMemory
}
