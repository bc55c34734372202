//go:build !linux

package vfs

// OpenVolume implements FS: these systems have no sync of a volume that waits for the disk and tells of errors.
func (osFS) OpenVolume(string) (Volume, error) { return nil, ErrNoVolumeSync }
