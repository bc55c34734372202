package vfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// reserveStep is how much of a reserve is given up at once, so that little of it goes to others who write to the same disk.
const reserveStep = 64 << 10

// Reserved is an FS with room in reserve: a file that is given up piece by piece when what goes through the Reserved meets a full disk. It is for what must be written then,
// such as what lets records be deleted. Safe for concurrent use.
type Reserved struct {
	FS
	path   string
	size   int64
	closed atomic.Bool
	given  chan struct{} // capacity 1

	mu   sync.Mutex // held while the file changes; guards what follows
	left int64      // bytes in the file
}

// NewReserved keeps up to size bytes of fsys in the file at path, which Fill makes: what is there from before counts at once.
func NewReserved(fsys FS, path string, size int64) *Reserved {
	r := &Reserved{FS: fsys, path: path, size: size, given: make(chan struct{}, 1)}
	if info, err := fsys.Stat(path); err == nil {
		r.left = info.Size()
	}
	return r
}

// Fill makes the reserve whole. The error is one that IsFull tells where there is no room.
func (r *Reserved) Fill() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left >= r.size {
		return nil
	}
	f, err := r.FS.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		r.left = 0
		f, err = r.FS.Create(r.path)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	noise := make([]byte, min(reserveStep, r.size)) // nothing that a file system would compress or leave out
	source := rand.NewChaCha8([32]byte{1})
	for r.left < r.size {
		_, _ = source.Read(noise) // never fails
		n := min(int64(len(noise)), r.size-r.left)
		if _, err := f.WriteAt(noise[:n], r.left); err != nil {
			return errors.Join(err, f.Truncate(r.left))
		}
		r.left += n
	}
	return nil
}

// Whole reports whether nothing of the reserve is given up. It is false before the first Fill.
func (r *Reserved) Whole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left >= r.size
}

// Given tells when something was given up since it was last received from.
func (r *Reserved) Given() <-chan struct{} { return r.given }

// Hold keeps the reserve from now on (hold), or lets it be given up as in the beginning.
func (r *Reserved) Hold(hold bool) { r.closed.Store(hold) }

// try runs op, and again for each piece of the reserve, while the disk is full.
func (r *Reserved) try(op func() error) error {
	return r.retry(op(), op)
}

// retry is try after op has returned err.
func (r *Reserved) retry(err error, op func() error) error {
	for err != nil && IsFull(err) && r.give() {
		err = op()
	}
	return err
}

// give gives up a piece; false if there is none.
func (r *Reserved) give() bool {
	if r.closed.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		return false
	}
	f, err := r.FS.Open(r.path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // nothing that was written is at stake
	left := max(0, r.left-reserveStep)
	if f.Truncate(left) != nil {
		return false
	}
	r.left = left
	select {
	case r.given <- struct{}{}:
	default:
	}
	return true
}

// Open implements FS.
func (r *Reserved) Open(path string) (File, error) { return r.wrap(r.FS.Open(path)) }

// Create implements FS.
func (r *Reserved) Create(path string) (f File, err error) {
	err = r.try(func() (err error) { f, err = r.FS.Create(path); return err })
	return r.wrap(f, err)
}

// Rename implements FS.
func (r *Reserved) Rename(old, new string) error {
	return r.try(func() error { return r.FS.Rename(old, new) })
}

// MkdirAll implements FS.
func (r *Reserved) MkdirAll(path string) error {
	return r.try(func() error { return r.FS.MkdirAll(path) })
}

// SyncDir implements FS.
func (r *Reserved) SyncDir(path string) error {
	return r.try(func() error { return r.FS.SyncDir(path) })
}

// SetModTime implements FS.
func (r *Reserved) SetModTime(path string, t time.Time) error {
	return r.try(func() error { return r.FS.SetModTime(path, t) })
}

// Lock implements FS.
func (r *Reserved) Lock(path string) (unlock func() error, err error) {
	err = r.try(func() (err error) { unlock, err = r.FS.Lock(path); return err })
	return unlock, err
}

func (r *Reserved) wrap(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &reservedFile{f, r}, nil
}

type reservedFile struct {
	File
	fs *Reserved
}

// WriteAt implements File: what a full disk took of p before is written again.
func (f *reservedFile) WriteAt(p []byte, off int64) (n int, err error) {
	if n, err = f.File.WriteAt(p, off); err != nil {
		err = f.fs.retry(err, func() (err error) { n, err = f.File.WriteAt(p, off); return err })
	}
	return n, err
}

// Truncate implements File.
func (f *reservedFile) Truncate(size int64) error {
	return f.fs.try(func() error { return f.File.Truncate(size) })
}
