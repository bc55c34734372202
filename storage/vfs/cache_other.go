//go:build !linux

package vfs

// DropCache does nothing: only Linux takes the hint.
func DropCache(File, int64, int64) {}
