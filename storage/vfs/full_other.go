//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package vfs

func errorsOfFull() []error { return nil }
