//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile locks path with tryLock. The holder removes the file before it lets go, so a lock may be won on a file that has no
// name any more; then the next try meets the new file.
func lockFile(path string) (func() error, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		holder, err := tryLock(f)
		if err != nil {
			f.Close()
			switch {
			case holder == os.Getpid():
				return nil, fmt.Errorf("another broker in this process holds %s: %w", path, ErrLocked)
			case holder > 0:
				return nil, fmt.Errorf("process %d%s holds %s: %w", holder, processName(holder), path, ErrLocked)
			case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES): // what systems answer where somebody holds it
				return nil, fmt.Errorf("%s: %w", path, ErrLocked)
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		named, err := os.Stat(path)
		own, err2 := f.Stat()
		if err == nil && err2 == nil && os.SameFile(named, own) {
			return func() error {
				rerr := os.Remove(path)
				if err := f.Close(); err != nil {
					return err
				}
				return rerr
			}, nil
		}
		f.Close()
	}
}
