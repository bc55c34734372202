package vfs

import (
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// ErrLocked is wrapped by the error of FS.Lock when another holder has the lock.
var ErrLocked = errors.New("locked by another process or broker")

// ErrNoVolumeSync is the error of OpenVolume where there is no such sync.
var ErrNoVolumeSync = errors.New("no sync of a whole volume here")

// FS is a file system as storage sees it. Paths are absolute or relative as given; separators are the system's. Errors wrap
// those of package io/fs, so errors.Is(err, fs.ErrNotExist) works on every implementation. Safe for concurrent use.
type FS interface {
	// Open opens an existing file for reading and writing.
	Open(path string) (File, error)
	// Create opens a file for reading and writing, making it or cutting it to zero length.
	Create(path string) (File, error)
	// Rename replaces new by old atomically. Durable after SyncDir of the folder.
	Rename(old, new string) error
	// Remove removes one file or one empty folder.
	Remove(path string) error
	// RemoveAll removes a folder and all it holds; nil if there is none.
	RemoveAll(path string) error
	// List returns the entries of a folder sorted by name.
	List(dir string) ([]os.DirEntry, error)
	Stat(path string) (os.FileInfo, error)
	// SetModTime sets the time of a file's last change; it need not be durable.
	SetModTime(path string, t time.Time) error
	// MkdirAll makes a folder and its missing parents.
	MkdirAll(path string) error
	// SyncDir makes names created, renamed and removed in a folder durable.
	SyncDir(path string) error
	ReadFile(path string) ([]byte, error)
	// Lock takes an exclusive lock on a file, making it if needed, without waiting. It excludes other processes (Apache
	// Kafka's java.nio locks included on Linux) and other holders in this process. unlock removes the file. The error is
	// ErrLocked if there is another holder, and names it if the system tells.
	Lock(path string) (unlock func() error, err error)
	// Usage returns the size and the space that is left for this process of the volume that holds path, in bytes; -1 where
	// the system does not tell.
	Usage(path string) (total, usable int64, err error)
	// HoldsNames reports whether files hold their names while they are open, as on Windows: a folder with an open file below it cannot be renamed, an open file not replaced, and
	// one that is removed may keep its name until it is closed. IsBusy tells the errors. Names that differ only in case are one there.
	HoldsNames() bool
	// OpenVolume opens the volume that holds the folder at path, for syncs of all of it. The error is ErrNoVolumeSync where that does not exist, or cannot
	// be trusted.
	OpenVolume(path string) (Volume, error)
}

// Volume is a file system's volume. Safe for concurrent use.
type Volume interface {
	// Sync makes everything durable that was written to the volume, and every name that was changed, before the call. An error may be that of anybody's
	// write since the Volume was opened: syncs of the files tell whose.
	Sync() error
	Close() error
}

// Distrustful returns a Volume whose syncs all fail after one has: that of v may have told of a write of anybody, and does not tell again, so that from there on
// each file must tell for itself.
func Distrustful(v Volume) Volume { return &distrustful{Volume: v} }

type distrustful struct {
	Volume
	failure atomic.Pointer[error] // the first
}

func (d *distrustful) Sync() error {
	if err := d.failure.Load(); err != nil {
		return *err
	}
	err := d.Volume.Sync()
	if err != nil {
		d.failure.CompareAndSwap(nil, &err)
	}
	return err
}

// File is one open file. ReadAt may run concurrently with everything but Close; writes and Truncate have one owner at a time.
type File interface {
	// ReadAt is io.ReaderAt.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt is io.WriterAt; writing past the end extends the file, a gap reads as zeros.
	WriteAt(p []byte, off int64) (int, error)
	// Truncate sets the length; a longer file is extended with zeros.
	Truncate(size int64) error
	// Sync makes the content and the length durable.
	Sync() error
	Size() (int64, error)
	Close() error
	// Raw returns the descriptor for sendfile, or nil where there is none. It stays owned by the File.
	Raw() *os.File
}
