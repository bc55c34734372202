package vfs

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenVolume implements FS with syncfs(2): where the kernel tells it of failed writes (from 5.8 on), and on file systems whose syncfs is known to wait for the disk.
func (osFS) OpenVolume(path string) (Volume, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	switch int64(st.Type) { //nolint:unconvert // of another type on other architectures
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
	default:
		return nil, ErrNoVolumeSync
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil || !atLeast(unix.ByteSliceToString(name.Release[:]), 5, 8) {
		return nil, ErrNoVolumeSync
	}
	// The descriptor stays open: errors of writes that nobody waited for are told to those that were there before.
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return osVolume{d}, nil
}

// atLeast compares a kernel's release with a version.
func atLeast(release string, major, minor int) bool {
	fields := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(fields) < 2 {
		return false
	}
	x, err := strconv.Atoi(fields[0])
	y, err2 := strconv.Atoi(fields[1])
	return err == nil && err2 == nil && (x > major || x == major && y >= minor)
}

type osVolume struct{ dir *os.File }

func (v osVolume) Sync() error {
	for {
		err := unix.Syncfs(int(v.dir.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: string(OpSync), Path: v.dir.Name(), Err: err}
		}
		return nil
	}
}

func (v osVolume) Close() error { return v.dir.Close() }
