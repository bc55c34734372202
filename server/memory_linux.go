package server

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

// MachineMemory is the memory in bytes that this process may count on: the least of the machine's, its control group's and the Go
// runtime's limit; 0 if that is not known.
func MachineMemory() int64 {
	least := min(debug.SetMemoryLimit(-1), groupMemory("/proc/self/cgroup", "/sys/fs/cgroup"))
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) == nil {
		least = min(least, int64(uint64(info.Totalram)*uint64(info.Unit))) //nolint:unconvert // 32-bit systems have another type
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// groupMemory is the least limit of the process's control group and those around it, math.MaxInt64 if there is none. In a container the group's own
// folder is the root.
func groupMemory(self, root string) int64 {
	least := int64(math.MaxInt64)
	look := func(dir, name string) {
		text, err := os.ReadFile(filepath.Join(root, dir, name))
		if err != nil {
			return
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	look("/", "memory.max")
	look("/memory", "memory.limit_in_bytes")
	text, err := os.ReadFile(self)
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(text)) { // hierarchy:controllers:path
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		for dir := filepath.Clean("/" + parts[2]); dir != "/"; dir = filepath.Dir(dir) {
			if parts[0] == "0" { // version 2
				look(dir, "memory.max")
			} else if parts[1] == "memory" {
				look("/memory"+dir, "memory.limit_in_bytes")
			}
		}
	}
	return least
}
