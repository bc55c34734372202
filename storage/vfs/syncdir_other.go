//go:build windows || plan9

package vfs

import "os"

// SyncDir only looks for the folder: these systems cannot sync one, as Kafka's Utils.flushDir also accepts.
func (osFS) SyncDir(path string) error {
	_, err := os.Stat(path)
	return err
}
