package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc/<pid>/stat: USER_HZ, which Linux fixes at 100 for programs.
const tick = 10 * time.Millisecond

// cpuTime is the time that a process has spent in user and system mode.
func cpuTime(pid int) (time.Duration, error) { return statTime(fmt.Sprintf("/proc/%d/stat", pid)) }

// threadTime is the time that the process's threads of a name, of which the system keeps 15 bytes, have spent.
func threadTime(pid int, name string) (time.Duration, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", pid))
	if err != nil {
		return 0, err
	}
	total, found := time.Duration(0), false
	for _, file := range names {
		comm, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue // it may have ended meanwhile
		}
		spent, err := statTime(filepath.Join(filepath.Dir(file), "stat"))
		if err != nil {
			return 0, err
		}
		total, found = total+spent, true
	}
	if !found {
		return 0, fmt.Errorf("process %d has no thread %s", pid, name)
	}
	return total, nil
}

// statTime is the time that the process or thread with the stat file has spent.
func statTime(file string) (time.Duration, error) {
	stat, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may hold anything; utime and stime are fields 14 and 15, the third is the first behind it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read the CPU time in %s", file)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// residentBytes is the memory of a process that is in RAM.
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", pid)
}

// loadAverage is the machine's of the last minute, as text.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

// usage is what a server spent on one piece of load.
type usage struct {
	cpu  time.Duration
	wall time.Duration
}

// spend runs load and returns what s spent meanwhile.
func (s *server) spend(load func() error) (usage, error) {
	before, err := cpuTime(s.pid())
	if err != nil {
		return usage{}, err
	}
	begin := time.Now()
	if err := load(); err != nil {
		return usage{}, err
	}
	wall := time.Since(begin)
	after, err := cpuTime(s.pid())
	return usage{cpu: after - before, wall: wall}, err
}
