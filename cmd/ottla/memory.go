package main

import (
	"os"
	"runtime/debug"

	"github.com/ottla/ottla/server"
)

// limitMemory sets the collector's limit to three quarters of the memory of the machine or the control group: the rest is the page cache's and the
// system's. The user's own GOMEMLIMIT wins.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if n := server.MachineMemory(); n > 0 {
		debug.SetMemoryLimit(n / 4 * 3)
	}
}
