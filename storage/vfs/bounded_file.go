package vfs

import (
	"errors"
	"iter"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
)

// ErrGone is the error of a file of a Bounded that was removed, or replaced, where files hold their names.
var ErrGone = errors.New("the file was removed")

// Pinner is a File whose descriptor may be closed while it is idle.
type Pinner interface {
	// Pin opens the descriptor if need be, and keeps it and what Raw returns until Unpin. Where files hold their names it does nothing, and Raw returns nil: nobody may keep a
	// folder from being renamed for longer than one read takes.
	Pin() error
	Unpin()
}

const (
	// suspended is the number of pins of a file without a descriptor.
	suspended = -1
	// parked is added to the pins of a file whose descriptor is to be closed when they are undone; there are no new ones meanwhile.
	parked = math.MinInt64 / 2
)

// boundedFile is a File of a Bounded. Its descriptor is closed only by who changes pins from 0, or parked, to suspended, and opened only by who changes it back; both hold
// Bounded.mu. Everybody else uses it with a pin.
type boundedFile struct {
	fs    *Bounded
	pins  atomic.Int64
	used  atomic.Bool           // since somebody looked for idle files
	dirty atomic.Bool           // written and not known to be synced since; set before the writer's pin is undone
	lost  atomic.Pointer[error] // of an fsync whose caller was not the owner: what was written is not known to be on the disk ever after
	file  File

	// Guarded by Bounded.mu; folder and name change only under Bounded.names.
	folder         *boundedFolder
	next, previous *boundedFile // in folder
	name           string
	unnamed        bool // the name is gone: the descriptor stays open, or closed
	ended          bool // Close was called
	slot           int  // in the ring, if the descriptor is open
}

// boundedFolder is the files of a folder that have a name: a list, as of most folders there are few. Guarded by Bounded.mu.
type boundedFolder struct {
	path  string
	first *boundedFile
}

// files yields the folder's files, none of nil.
func (d *boundedFolder) files() iter.Seq[*boundedFile] {
	return func(yield func(*boundedFile) bool) {
		if d == nil {
			return
		}
		for x := d.first; x != nil && yield(x); x = x.next {
		}
	}
}

// path is that of a file which has a name. Caller holds Bounded.mu.
func (x *boundedFile) path() string { return filepath.Join(x.folder.path, x.name) }

// Pin implements Pinner.
func (x *boundedFile) Pin() error {
	if x.fs.holds {
		return nil
	}
	return x.pin()
}

// Unpin implements Pinner.
func (x *boundedFile) Unpin() {
	if !x.fs.holds {
		x.unpin()
	}
}

// pin opens the descriptor if need be, and keeps it until unpin.
func (x *boundedFile) pin() error {
	for {
		n := x.pins.Load()
		if n < suspended { // until names have changed
			x.fs.names.RLock()
			x.fs.names.RUnlock() //nolint:staticcheck // there is nothing to do in between
			continue
		}
		if n == suspended {
			opened, err := x.resume()
			if opened || err != nil {
				return err
			}
			continue
		}
		if x.pins.CompareAndSwap(n, n+1) {
			if !x.used.Load() {
				x.used.Store(true)
			}
			return nil
		}
	}
}

func (x *boundedFile) unpin() {
	if x.pins.Add(-1) == parked {
		close(x.fs.drained)
	}
}

// resume opens the descriptor, with a pin; false if somebody else has.
func (x *boundedFile) resume() (opened bool, err error) {
	b := x.fs
	defer func() {
		if opened {
			b.relieve()
		}
	}()
	b.names.RLock()
	defer b.names.RUnlock()
	b.mu.Lock()
	path, ended, gone := x.path(), x.ended, x.unnamed
	b.mu.Unlock()
	switch {
	case ended:
		return false, errEnded
	case gone && b.holds:
		return false, ErrGone
	}
	f, err := b.FS.Open(path)
	if err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if x.pins.Load() != suspended || x.ended {
		return false, f.Close()
	}
	x.file = f
	x.pins.Store(1)
	b.opened(x)
	return true, nil
}

// suspend closes the descriptor if nobody needs it, and all that was written is on the disk. Caller holds Bounded.mu.
func (x *boundedFile) suspend() bool {
	if x.unnamed || x.dirty.Load() || !x.pins.CompareAndSwap(0, suspended) {
		return false
	}
	if x.dirty.Load() { // written and let go of in between
		x.pins.Store(0)
		return false
	}
	_ = x.file.Close() // nothing is lost with it
	x.file = nil
	x.fs.closed(x)
	return true
}

// settle syncs the file on nobody's behalf.
func (x *boundedFile) settle() {
	x.dirty.Store(false)
	if err := x.file.Sync(); err != nil {
		x.lost.CompareAndSwap(nil, &err)
		x.dirty.Store(true)
	}
}

// ReadAt implements File.
func (x *boundedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := x.pin(); err != nil {
		return 0, err
	}
	defer x.unpin()
	return x.file.ReadAt(p, off)
}

// WriteAt implements File.
func (x *boundedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := x.pin(); err != nil {
		return 0, err
	}
	defer x.unpin()
	defer x.dirty.Store(true) // afterwards: a sync that is under way may have missed it
	return x.file.WriteAt(p, off)
}

// Truncate implements File.
func (x *boundedFile) Truncate(size int64) error {
	if err := x.pin(); err != nil {
		return err
	}
	defer x.unpin()
	defer x.dirty.Store(true)
	return x.file.Truncate(size)
}

// Sync implements File.
func (x *boundedFile) Sync() error {
	if err := x.pin(); err != nil {
		return err
	}
	defer x.unpin()
	if err := x.lost.Load(); err != nil {
		return *err
	}
	x.dirty.Store(false)
	err := x.file.Sync()
	if err != nil {
		x.dirty.Store(true)
	}
	return err
}

// Size implements File.
func (x *boundedFile) Size() (int64, error) {
	if err := x.pin(); err != nil {
		return 0, err
	}
	defer x.unpin()
	return x.file.Size()
}

// Raw implements File; nil unless the file is pinned.
func (x *boundedFile) Raw() *os.File {
	if x.fs.holds || x.pins.Load() <= 0 {
		return nil
	}
	return x.file.Raw()
}

// Close implements File. None of the other methods may run.
func (x *boundedFile) Close() error {
	b := x.fs
	if b.holds { // until it is closed it is in the way of names that change
		b.names.RLock()
		defer b.names.RUnlock()
	}
	b.mu.Lock()
	if x.ended {
		b.mu.Unlock()
		return errEnded
	}
	x.ended = true
	if !x.unnamed {
		b.displace(x)
	}
	open := x.pins.Load() != suspended
	if open {
		b.closed(x)
	}
	b.mu.Unlock()
	if !open {
		return nil
	}
	return x.file.Close()
}
