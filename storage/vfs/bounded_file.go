package vfs

import (
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Pinner is a File whose descriptor may be closed while it is idle.
type Pinner interface {
	// Pin opens the descriptor if need be, and keeps it and what Raw returns until Unpin.
	Pin() error
	Unpin()
}

// suspended is the number of pins of a file without a descriptor.
const suspended = -1

// boundedFile is a File of a Bounded. Its descriptor is closed only by who changes pins from 0 to suspended, and opened only by who changes it back; both hold
// Bounded.mu. Everybody else uses it with a pin.
type boundedFile struct {
	fs    *Bounded
	pins  atomic.Int64
	used  atomic.Bool           // since somebody looked for idle files
	dirty atomic.Bool           // written and not synced since
	lost  atomic.Pointer[error] // of an fsync whose caller was not the owner: what was written is not known to be on the disk ever after
	file  File

	// Guarded by Bounded.mu; folder and name change only under Bounded.names.
	folder         *boundedFolder
	next, previous *boundedFile // in folder
	name           string
	unnamed        bool // the name is gone: the descriptor stays open
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
	for {
		n := x.pins.Load()
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

// Unpin implements Pinner.
func (x *boundedFile) Unpin() { x.pins.Add(-1) }

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
	path, ended := x.path(), x.ended
	b.mu.Unlock()
	if ended {
		return false, errEnded
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
	if err := x.Pin(); err != nil {
		return 0, err
	}
	defer x.Unpin()
	return x.file.ReadAt(p, off)
}

// WriteAt implements File.
func (x *boundedFile) WriteAt(p []byte, off int64) (int, error) {
	if err := x.Pin(); err != nil {
		return 0, err
	}
	defer x.Unpin()
	x.dirty.Store(true)
	return x.file.WriteAt(p, off)
}

// Truncate implements File.
func (x *boundedFile) Truncate(size int64) error {
	if err := x.Pin(); err != nil {
		return err
	}
	defer x.Unpin()
	x.dirty.Store(true)
	return x.file.Truncate(size)
}

// Sync implements File.
func (x *boundedFile) Sync() error {
	if err := x.Pin(); err != nil {
		return err
	}
	defer x.Unpin()
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
	if err := x.Pin(); err != nil {
		return 0, err
	}
	defer x.Unpin()
	return x.file.Size()
}

// Raw implements File; nil unless the file is pinned.
func (x *boundedFile) Raw() *os.File {
	if x.pins.Load() <= 0 {
		return nil
	}
	return x.file.Raw()
}

// Close implements File. None of the other methods may run.
func (x *boundedFile) Close() error {
	b := x.fs
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
