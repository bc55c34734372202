package vfs

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errorsOfFull lists also the error of that name which Go has made up for Windows: tests inject it.
func errorsOfFull() []error {
	return []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED, syscall.ENOSPC}
}
