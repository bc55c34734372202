package vfs

import (
	"os"

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
	if unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &q) == nil && q.Type != unix.F_UNLCK && q.Pid > 0 {
		holder = int(q.Pid)
	}
	return holder, err
}
