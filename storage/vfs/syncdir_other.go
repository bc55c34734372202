//go:build windows || plan9

package vfs

// SyncDir does nothing: these systems cannot sync a folder, as Kafka's Utils.flushDir also accepts.
func (osFS) SyncDir(string) error { return nil }
