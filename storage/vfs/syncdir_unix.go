//go:build !windows && !plan9

package vfs

import "os"

// SyncDir opens the folder and syncs it.
func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
