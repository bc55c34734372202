package vfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Op names one operation of an FS or a File.
type Op string

// The operations that a Fault can hit.
const (
	OpOpen      Op = "open"
	OpCreate    Op = "create"
	OpRename    Op = "rename"
	OpRemove    Op = "remove"
	OpRemoveAll Op = "removeall"
	OpList      Op = "list"
	OpStat      Op = "stat"
	OpSetTime   Op = "settime"
	OpMkdir     Op = "mkdir"
	OpSyncDir   Op = "syncdir"
	OpReadFile  Op = "readfile"
	OpLock      Op = "lock"
	OpUsage     Op = "usage"
	OpRead      Op = "read"
	OpWrite     Op = "write"
	OpTruncate  Op = "truncate"
	OpSync      Op = "sync"
	OpSize      Op = "size"
	OpClose     Op = "close"
	OpVolume    Op = "syncvolume" // with the path that OpenVolume was given
)

// ErrInjected is the error of a Fault that names none.
var ErrInjected = errors.New("injected fault")

// Fault makes matching operations fail, or only take longer.
type Fault struct {
	Op      Op     // "" hits every operation
	Pattern string // filepath.Match on the last name of the path; "" hits every path
	Path    string // part of the whole path; "" hits every path
	Skip    int    // matching operations to let pass first
	Count   int    // operations to fail; 0 means all from then on
	Err     error  // nil means ErrInjected
	Partial int    // OpWrite: bytes that are still written, as on a full disk

	Delay time.Duration // before anything else; without Err the operation then goes on as if nothing was
}

// Faulty is an FS that fails on demand; without faults it is the FS it wraps. Safe for concurrent use.
type Faulty struct {
	fs     FS
	mu     sync.Mutex // guards faults and what they count
	faults []*activeFault
}

type activeFault struct {
	Fault
	seen, hit int
}

// NewFaulty wraps fs.
func NewFaulty(fs FS) *Faulty { return &Faulty{fs: fs} }

// Inject adds a fault; hits tells how often it struck, remove takes it away.
func (y *Faulty) Inject(f Fault) (hits func() int, remove func()) {
	a := &activeFault{Fault: f}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.faults = append(y.faults, a)
	hits = func() int {
		y.mu.Lock()
		defer y.mu.Unlock()
		return a.hit
	}
	remove = func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		for i, other := range y.faults {
			if other == a {
				y.faults = append(y.faults[:i:i], y.faults[i+1:]...)
				return
			}
		}
	}
	return hits, remove
}

// strike returns the fault that hits op on path, or nil.
func (y *Faulty) strike(op Op, path string) *Fault {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, a := range y.faults {
		if a.Op != "" && a.Op != op || !strings.Contains(path, a.Path) {
			continue
		}
		if a.Pattern != "" {
			if ok, err := filepath.Match(a.Pattern, filepath.Base(path)); err != nil || !ok {
				continue
			}
		}
		a.seen++
		if a.seen <= a.Skip || a.Count > 0 && a.hit >= a.Count {
			continue
		}
		a.hit++
		f := a.Fault
		if f.Err == nil && f.Delay == 0 {
			f.Err = ErrInjected
		}
		return &f
	}
	return nil
}

// failing returns the fault that makes op on path fail, or nil; one that only delays it has done so.
func (y *Faulty) failing(op Op, path string) *Fault {
	f := y.strike(op, path)
	if f == nil {
		return nil
	}
	if f.Delay > 0 {
		<-time.After(f.Delay)
	}
	if f.Err == nil {
		return nil
	}
	return f
}

func (y *Faulty) err(op Op, path string) error {
	if f := y.failing(op, path); f != nil {
		return pathError(string(op), path, f.Err)
	}
	return nil
}

// Open implements FS.
func (y *Faulty) Open(path string) (File, error) {
	if err := y.err(OpOpen, path); err != nil {
		return nil, err
	}
	return y.wrap(path)(y.fs.Open(path))
}

// Create implements FS.
func (y *Faulty) Create(path string) (File, error) {
	if err := y.err(OpCreate, path); err != nil {
		return nil, err
	}
	return y.wrap(path)(y.fs.Create(path))
}

func (y *Faulty) wrap(path string) func(File, error) (File, error) {
	return func(f File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultyFile{File: f, fs: y, path: path}, nil
	}
}

// Rename implements FS; a fault may name either path.
func (y *Faulty) Rename(old, new string) error {
	if err := errors.Join(y.err(OpRename, old), y.err(OpRename, new)); err != nil {
		return err
	}
	return y.fs.Rename(old, new)
}

// Remove implements FS.
func (y *Faulty) Remove(path string) error {
	if err := y.err(OpRemove, path); err != nil {
		return err
	}
	return y.fs.Remove(path)
}

// RemoveAll implements FS.
func (y *Faulty) RemoveAll(path string) error {
	if err := y.err(OpRemoveAll, path); err != nil {
		return err
	}
	return y.fs.RemoveAll(path)
}

// List implements FS.
func (y *Faulty) List(dir string) ([]os.DirEntry, error) {
	if err := y.err(OpList, dir); err != nil {
		return nil, err
	}
	return y.fs.List(dir)
}

// Stat implements FS.
func (y *Faulty) Stat(path string) (os.FileInfo, error) {
	if err := y.err(OpStat, path); err != nil {
		return nil, err
	}
	return y.fs.Stat(path)
}

// SetModTime implements FS.
func (y *Faulty) SetModTime(path string, t time.Time) error {
	if err := y.err(OpSetTime, path); err != nil {
		return err
	}
	return y.fs.SetModTime(path, t)
}

// MkdirAll implements FS.
func (y *Faulty) MkdirAll(path string) error {
	if err := y.err(OpMkdir, path); err != nil {
		return err
	}
	return y.fs.MkdirAll(path)
}

// SyncDir implements FS.
func (y *Faulty) SyncDir(path string) error {
	if err := y.err(OpSyncDir, path); err != nil {
		return err
	}
	return y.fs.SyncDir(path)
}

// ReadFile implements FS.
func (y *Faulty) ReadFile(path string) ([]byte, error) {
	if err := y.err(OpReadFile, path); err != nil {
		return nil, err
	}
	return y.fs.ReadFile(path)
}

// Lock implements FS.
func (y *Faulty) Lock(path string) (func() error, error) {
	if err := y.err(OpLock, path); err != nil {
		return nil, err
	}
	return y.fs.Lock(path)
}

// Usage implements FS.
func (y *Faulty) Usage(path string) (total, usable int64, err error) {
	if err := y.err(OpUsage, path); err != nil {
		return 0, 0, err
	}
	return y.fs.Usage(path)
}

// HoldsNames implements FS.
func (y *Faulty) HoldsNames() bool { return y.fs.HoldsNames() }

// OpenVolume implements FS.
func (y *Faulty) OpenVolume(path string) (Volume, error) {
	v, err := y.fs.OpenVolume(path)
	if err != nil {
		return nil, err
	}
	return faultyVolume{v, y, path}, nil
}

type faultyVolume struct {
	Volume
	fs   *Faulty
	path string
}

func (v faultyVolume) Sync() error {
	if err := v.fs.err(OpVolume, v.path); err != nil {
		return err
	}
	return v.Volume.Sync()
}

type faultyFile struct {
	File
	fs   *Faulty
	path string
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.err(OpRead, f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if fault := f.fs.failing(OpWrite, f.path); fault != nil {
		n := min(fault.Partial, len(p))
		if n > 0 {
			if done, err := f.File.WriteAt(p[:n], off); err != nil {
				return done, err
			}
		}
		return n, pathError(string(OpWrite), f.path, fault.Err)
	}
	return f.File.WriteAt(p, off)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.err(OpTruncate, f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.fs.err(OpSync, f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultyFile) Size() (int64, error) {
	if err := f.fs.err(OpSize, f.path); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// Close closes the file in any case; a fault only changes the answer.
func (f *faultyFile) Close() error {
	err := f.File.Close()
	if ferr := f.fs.err(OpClose, f.path); ferr != nil {
		return ferr
	}
	return err
}

// Raw returns nil: reads through a descriptor would pass the faults by.
func (f *faultyFile) Raw() *os.File { return nil }
