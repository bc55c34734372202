//go:build !windows

package vfs

import (
	"os"
	"time"
)

const holdsNames = false

func openFile(path string, flag int) (*os.File, error) { return os.OpenFile(path, flag, 0o644) }
func rename(old, new string) error                     { return os.Rename(old, new) }
func remove(path string) error                         { return os.Remove(path) }
func removeAll(path string) error                      { return os.RemoveAll(path) }
func readFile(path string) ([]byte, error)             { return os.ReadFile(path) }
func setModTime(path string, t time.Time) error        { return os.Chtimes(path, time.Time{}, t) }

// held: nothing that is open is in the way here.
func held(error) bool { return false }
