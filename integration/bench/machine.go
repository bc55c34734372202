package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// machineInfo is where and with what was measured.
type machineInfo struct {
	CPU, Kernel, Memory         string
	CPUs                        int
	Ottla, Go, Java, Librdkafka string // versions
	BinarySize                  int64  // bytes of the static binary
}

func newMachine(binary string) machineInfo {
	m := machineInfo{
		CPU: lineOf("/proc/cpuinfo", "model name"), Memory: lineOf("/proc/meminfo", "MemTotal"), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Ottla: firstLine(exec.Command(binary, "version")), Java: firstLine(exec.Command("java", "-version")),
		Kernel: firstLine(exec.Command("uname", "-sr")), Librdkafka: firstLine(exec.Command("pkg-config", "--modversion", "rdkafka")),
	}
	if info, err := os.Stat(binary); err == nil {
		m.BinarySize = info.Size()
	}
	return m
}

// lineOf returns the value of the first line of a file that begins with key, as in /proc.
func lineOf(file, key string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		name, value, found := strings.Cut(line, ":")
		if found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// firstLine is what a program says first; nothing if it cannot be run.
func firstLine(cmd *exec.Cmd) string {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// dropCaches has the system forget the contents of the files in dir that are on the disk: of all files if this program may say so,
// else of these.
func dropCaches(dir string) error {
	syscall.Sync()
	if os.WriteFile("/proc/sys/vm/drop_caches", []byte("1\n"), 0o200) == nil {
		return nil
	}
	const dontNeed = 4
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if _, _, code := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); code != 0 {
			return code
		}
		return nil
	})
}
