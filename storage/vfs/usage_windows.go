package vfs

import "golang.org/x/sys/windows"

func usage(path string) (total, usable int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var avail, size, free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &avail, &size, &free); err != nil {
		return 0, 0, err
	}
	return int64(size), int64(avail), nil
}
