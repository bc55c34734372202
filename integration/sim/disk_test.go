//go:build synctests

package sim

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ottla/ottla/storage/vfs"
)

// disk is what one process sees of a node's file system. When the process is killed, the disk is switched off for it: what its goroutines still do
// does not reach the files.
type disk struct {
	*vfs.Mem

	mu  sync.RWMutex // held for reading while the files are changed; guards what follows
	off bool

	slow    sync.Mutex // guards what follows
	rng     *rand.Rand
	stall   time.Duration // at most, of an fsync
	unlocks []func() error
}

func newDisk(m *vfs.Mem, seed uint64) *disk {
	return &disk{Mem: m, rng: rand.New(rand.NewPCG(seed, 0x6469736b))}
}

// kill switches the disk off, and returns the files as the process left them.
func (d *disk) kill() *vfs.Mem {
	d.mu.Lock()
	d.off = true
	d.mu.Unlock()
	d.slow.Lock()
	defer d.slow.Unlock()
	for _, unlock := range d.unlocks { // as the system does for a process that ended
		_ = unlock()
	}
	return d.Mem
}

// stalls makes fsyncs take up to most.
func (d *disk) stalls(most time.Duration) {
	d.slow.Lock()
	defer d.slow.Unlock()
	d.stall = most
}

// change runs a change of the files unless the disk is off.
func (d *disk) change(op, path string, do func() error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.off {
		return &os.PathError{Op: op, Path: path, Err: syscall.EIO}
	}
	return do()
}

func (d *disk) Open(path string) (f vfs.File, err error) {
	err = d.change("open", path, func() error {
		f, err = d.Mem.Open(path)
		return err
	})
	return d.file(f, path, err)
}

func (d *disk) Create(path string) (f vfs.File, err error) {
	err = d.change("create", path, func() error {
		f, err = d.Mem.Create(path)
		return err
	})
	return d.file(f, path, err)
}

func (d *disk) file(f vfs.File, path string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, path: path}, nil
}

func (d *disk) Rename(old, new string) error {
	return d.change("rename", old, func() error { return d.Mem.Rename(old, new) })
}

func (d *disk) Remove(path string) error {
	return d.change("remove", path, func() error { return d.Mem.Remove(path) })
}

func (d *disk) RemoveAll(path string) error {
	return d.change("remove", path, func() error { return d.Mem.RemoveAll(path) })
}

func (d *disk) SetModTime(path string, t time.Time) error {
	return d.change("chtimes", path, func() error { return d.Mem.SetModTime(path, t) })
}

func (d *disk) MkdirAll(path string) error {
	return d.change("mkdir", path, func() error { return d.Mem.MkdirAll(path) })
}

func (d *disk) SyncDir(path string) error {
	return d.change("sync", path, func() error { return d.Mem.SyncDir(path) })
}

func (d *disk) Lock(path string) (unlock func() error, err error) {
	err = d.change("lock", path, func() error {
		unlock, err = d.Mem.Lock(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.slow.Lock()
	defer d.slow.Unlock()
	d.unlocks = append(d.unlocks, unlock)
	return unlock, nil
}

// OpenVolume says that there is no sync of volumes, so that the syncs of files are seen one by one.
func (d *disk) OpenVolume(string) (vfs.Volume, error) { return nil, vfs.ErrNoVolumeSync }

// diskFile is an open file of a disk.
type diskFile struct {
	vfs.File
	d    *disk
	path string
}

func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.d.change("write", f.path, func() error {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f *diskFile) Truncate(size int64) error {
	return f.d.change("truncate", f.path, func() error { return f.File.Truncate(size) })
}

func (f *diskFile) Sync() error {
	f.d.sleep(f.path)
	return f.d.change("sync", f.path, f.File.Sync)
}

// sleep makes an fsync slow, where nobody holds a lock meanwhile: in a round of the group commit. A bubble's clock does not move on while somebody waits for a mutex.
func (d *disk) sleep(path string) {
	d.slow.Lock()
	most := d.stall
	var took time.Duration
	if most > 0 {
		took = time.Duration(d.rng.Int64N(int64(most)))
	}
	d.slow.Unlock()
	if most == 0 || !strings.HasSuffix(path, ".log") || !inRound() {
		return
	}
	time.Sleep(took)
}

// inRound reports whether the flusher's round is the caller, not a sync that holds a log's lock.
func inRound() bool {
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	round := false
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "storage.(*Log).Sync") || strings.HasSuffix(f.Function, "storage.(*Log).syncBelow") {
			return false
		}
		round = round || strings.Contains(f.Function, "storage.(*flusher).round")
		if !more {
			return round
		}
	}
}
