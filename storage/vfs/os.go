package vfs

import (
	"os"
	"time"
)

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Open(path string) (File, error) { return wrapFile(openFile(path, os.O_RDWR)) }

func (osFS) Create(path string) (File, error) {
	return wrapFile(openFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC))
}

func (osFS) Rename(old, new string) error           { return rename(old, new) }
func (osFS) Remove(path string) error               { return remove(path) }
func (osFS) RemoveAll(path string) error            { return removeAll(path) }
func (osFS) List(dir string) ([]os.DirEntry, error) { return os.ReadDir(dir) }
func (osFS) Stat(path string) (os.FileInfo, error)  { return os.Stat(path) }
func (osFS) MkdirAll(path string) error             { return os.MkdirAll(path, 0o755) }
func (osFS) ReadFile(path string) ([]byte, error)   { return readFile(path) }

func (osFS) SetModTime(path string, t time.Time) error { return setModTime(path, t) }

func (osFS) Lock(path string) (func() error, error) { return lockFile(path) }

func (osFS) Usage(path string) (total, usable int64, err error) { return usage(path) }

func (osFS) HoldsNames() bool { return holdsNames }

// OpenShared opens a file for reading only, so that a broker that has it too can go on renaming and removing it. For tools that look into the folders of a running broker.
func OpenShared(path string) (*os.File, error) { return openFile(path, os.O_RDONLY) }

type osFile struct{ *os.File }

func wrapFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f osFile) Raw() *os.File { return f.File }
