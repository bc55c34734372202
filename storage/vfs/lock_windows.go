package vfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile opens path so that nobody can rename or remove it while it is locked.
func lockFile(path string) (func() error, error) {
	var f *os.File
	err := insist(func() (err error) { // the last holder may be about to remove the file
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		return err
	})
	if err != nil {
		return nil, err
	}
	h := windows.Handle(f.Fd())
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(h, flags, 0, 1, 0, new(windows.Overlapped)); err != nil {
		f.Close()
		if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() error {
		if err := f.Close(); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !held(err) { // else the next holder has it already
			return err
		}
		return nil
	}, nil
}
