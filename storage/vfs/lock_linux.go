package vfs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tryLock takes an open-file-description lock: it conflicts with the fcntl locks of java.nio and with a second broker in this
// process, and is not dropped when some other descriptor of the file is closed. holder is 0 when the system does not name it.
func tryLock(f *os.File) (holder int, err error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
	if err == nil {
		return 0, nil
	}
	q := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &q) != nil || q.Type == unix.F_UNLCK {
		return 0, err
	}
	if q.Pid > 0 {
		return int(q.Pid), err
	}
	return lockHolder(f.Name()), err
}

// lockHolder finds the process that holds an open-file-description lock on path. Such a lock belongs to no process, so the kernel does not name one; but it shows
// the lock with each descriptor that holds it. 0 if the process is of another user or in another container.
func lockHolder(path string) int {
	path, err := filepath.Abs(path)
	if err != nil {
		return 0
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != path {
			continue
		}
		process := filepath.Dir(filepath.Dir(link))
		info, err := os.ReadFile(filepath.Join(process, "fdinfo", filepath.Base(link)))
		if err != nil || !strings.Contains(string(info), "\nlock:") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(process)); err == nil {
			return pid
		}
	}
	return 0
}

// processName is the name of a running program in brackets after a space, "" if it is not known.
func processName(pid int) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(name)) + ")"
}
