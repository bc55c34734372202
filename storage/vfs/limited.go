package vfs

import (
	"errors"
	"path/filepath"
	"sync/atomic"
)

// Limited is an FS with little room: writes that would make its files together larger fail as on a full disk, after what still fits; so do new files once there is
// no room at all. It is for tests of full disks, and slow. Safe for concurrent use, as long as the capacity need not be kept to the byte.
type Limited struct {
	FS
	root     string
	capacity atomic.Int64
}

// NewLimited limits what fsys holds below root to capacity bytes.
func NewLimited(fsys FS, root string, capacity int64) *Limited {
	l := &Limited{FS: fsys, root: root}
	l.capacity.Store(capacity)
	return l
}

// Resize changes the capacity.
func (l *Limited) Resize(capacity int64) { l.capacity.Store(capacity) }

// Used returns how many bytes the files hold together.
func (l *Limited) Used() (int64, error) { return l.used(l.root) }

func (l *Limited) used(dir string) (sum int64, err error) {
	entries, err := l.List(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		path, n := filepath.Join(dir, e.Name()), int64(0)
		if e.IsDir() {
			n, err = l.used(path)
		} else if info, statErr := l.Stat(path); statErr == nil { // else it has gone meanwhile
			n = info.Size()
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// room returns how many bytes there is still room for.
func (l *Limited) room() (int64, error) {
	used, err := l.Used()
	return max(0, l.capacity.Load()-used), err
}

// Usage implements FS.
func (l *Limited) Usage(string) (total, usable int64, err error) {
	usable, err = l.room()
	return l.capacity.Load(), usable, err
}

// Open implements FS.
func (l *Limited) Open(path string) (File, error) { return l.wrap(path)(l.FS.Open(path)) }

// Create implements FS.
func (l *Limited) Create(path string) (File, error) {
	if _, err := l.Stat(path); err != nil {
		if room, err := l.room(); err != nil || room == 0 {
			return nil, errors.Join(err, pathError(string(OpCreate), path, errFull()))
		}
	}
	return l.wrap(path)(l.FS.Create(path))
}

func (l *Limited) wrap(path string) func(File, error) (File, error) {
	return func(f File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &limitedFile{f, l, path}, nil
	}
}

// errFull is an error that IsFull tells, where this system has one.
func errFull() error {
	if all := errorsOfFull(); len(all) > 0 {
		return all[0]
	}
	return ErrInjected
}

type limitedFile struct {
	File
	fs   *Limited
	path string
}

// WriteAt implements File.
func (f *limitedFile) WriteAt(p []byte, off int64) (int, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	room := int64(0)
	if off+int64(len(p)) > size {
		if room, err = f.fs.room(); err != nil {
			return 0, err
		}
	}
	if fits := max(0, size+room-off); fits < int64(len(p)) {
		n, err := f.File.WriteAt(p[:fits], off)
		return n, errors.Join(err, pathError(string(OpWrite), f.path, errFull()))
	}
	return f.File.WriteAt(p, off)
}
