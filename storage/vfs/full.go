package vfs

import (
	"errors"
	"io/fs"
)

// IsFull reports whether err says that the disk, or this user's share of it, has no room left. A failed fsync never says so: what it leaves on the
// disk is not known, whatever the reason was.
func IsFull(err error) bool {
	var path *fs.PathError
	if errors.As(err, &path) && path.Op == string(OpSync) {
		return false
	}
	for _, full := range errorsOfFull() {
		if errors.Is(err, full) {
			return true
		}
	}
	return false
}
