package vfs

import "golang.org/x/sys/unix"

// DropCache tells the system that n bytes of f from off on, which were read once, need not stay in memory. It is a hint, and nothing for a file without a descriptor.
func DropCache(f File, off, n int64) {
	raw := f.Raw()
	if raw == nil {
		return
	}
	if c, err := raw.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, unix.FADV_DONTNEED) })
	}
}
