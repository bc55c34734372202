//go:build linux || darwin || freebsd

package vfs

import "golang.org/x/sys/unix"

func usage(path string) (total, usable int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	size := int64(st.Bsize) //nolint:unconvert // of another type on other systems
	return int64(st.Blocks) * size, int64(st.Bavail) * size, nil
}
