package storage

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/storage/vfs"
)

// Sizes of the sparse indexes' entries, and of what is kept in memory of them.
const (
	offsetEntrySize   = 8
	timeEntrySize     = 12
	maxEntrySize      = timeEntrySize
	maxPendingEntries = 512 // entries of the active segment that are not in the file yet
	scratchSize       = 4096
)

// indexEntry holds one entry of any sparse index.
type indexEntry [maxEntrySize]byte

// folder is a log's place, shared by its segments: it changes when the store renames it.
type folder struct{ path atomic.Pointer[string] }

func newFolder(path string) *folder {
	f := &folder{}
	f.path.Store(&path)
	return f
}

func (f *folder) join(name string) string { return filepath.Join(*f.path.Load(), name) }
func (f *folder) String() string          { return *f.path.Load() }

// indexFile is a file of equal, ascending entries that begin at some of a segment's batches: the offset and the time index. New
// entries stay in memory until there are many, the segment is rolled or the log is closed: a crash loses nothing, because recovery
// builds the indexes of the last segment anew. The file is opened when it is first needed, for most segments are never read.
//
// The log's writer alone appends, flushes and truncates; reads may come from anywhere.
type indexFile struct {
	fs     vfs.FS
	folder *folder
	base   int64  // of the segment
	suffix string // of the file's name; guarded by mu
	size   int    // of an entry

	mu      sync.RWMutex // guards the rest
	file    vfs.File     // nil until opened
	stored  int          // entries in the file
	pending []byte       // entries after those
	summary []byte       // every perPage-th entry of the file, so that a search reads one page; made by the first search of a file of several pages
	dirty   bool         // the file has changed since it was last synced
	exact   bool         // the file's length is that of stored entries
	closed  bool
}

var errIndexClosed = errors.New("index is closed")

// path is the file's. Caller holds mu.
func (x *indexFile) path() string { return x.folder.join(segmentName(x.base) + x.suffix) }

// create makes the file, empty.
func (x *indexFile) create() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	f, err := x.fs.Create(x.path())
	if err != nil {
		return err
	}
	if x.file != nil {
		x.file.Close()
	}
	x.file, x.stored, x.pending, x.summary, x.dirty, x.exact = f, 0, x.pending[:0], nil, true, true
	return nil
}

// open opens the file if that was not done yet. Caller holds mu for writing.
func (x *indexFile) open() error {
	if x.closed {
		return errIndexClosed
	}
	if x.file != nil {
		return nil
	}
	f, err := x.fs.Open(x.path())
	if err != nil {
		return err
	}
	length, err := f.Size()
	if err != nil {
		f.Close()
		return err
	}
	x.file, x.stored = f, int(length/int64(x.size))
	err = x.dropZeros()
	x.exact = length == int64(x.stored)*int64(x.size)
	return err
}

// dropZeros forgets the zeros at the end of a file that Kafka had allocated in advance and did not trim: no entry but the first is
// all zero. Caller holds mu for writing.
func (x *indexFile) dropZeros() error {
	var e indexEntry
	zero := func(i int) (bool, error) {
		if _, err := x.file.ReadAt(e[:x.size], int64(i)*int64(x.size)); err != nil {
			return false, err
		}
		return e == indexEntry{}, nil
	}
	if x.stored <= 1 { // nobody allocates room for one
		return nil
	}
	if z, err := zero(x.stored - 1); err != nil || !z {
		return err
	}
	lo, hi := 0, x.stored-1 // the first zero entry is in [lo, hi]
	for lo < hi {
		mid := (lo + hi) / 2
		z, err := zero(mid)
		if err != nil {
			return err
		}
		if z {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	x.stored = lo
	return nil
}

// opened takes mu for reading with the file open.
func (x *indexFile) opened() error {
	x.mu.RLock()
	if x.ready() {
		return nil
	}
	x.mu.RUnlock()
	x.mu.Lock()
	err := x.open()
	if err == nil {
		err = x.summarize()
	}
	x.mu.Unlock()
	if err != nil {
		return err
	}
	x.mu.RLock()
	if x.file == nil || x.closed {
		x.mu.RUnlock()
		return errIndexClosed
	}
	return nil
}

// ready reports whether the file is open and, if it has several pages, its summary is there. Caller holds mu.
func (x *indexFile) ready() bool {
	return x.file != nil && !x.closed && (x.stored <= x.perPage() || len(x.summary) > 0)
}

// known is how many there are, of a file that is open.
func (x *indexFile) known() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.stored + len(x.pending)/x.size
}

// last returns the last entry; ok is false if there is none.
func (x *indexFile) last(scratch []byte) (e indexEntry, ok bool, err error) {
	return x.search(scratch, func([]byte) bool { return true })
}

// search returns the last entry for which below holds; it holds for a first part of the entries and not for the others. scratch
// has room for scratchSize bytes.
func (x *indexFile) search(scratch []byte, below func(entry []byte) bool) (e indexEntry, ok bool, err error) {
	if err := x.opened(); err != nil {
		return e, false, err
	}
	defer x.mu.RUnlock()
	if n := len(x.pending) / x.size; n > 0 && below(x.pending[:x.size]) {
		copy(e[:], x.pending[x.lastBelow(x.pending, n, below)*x.size:][:x.size])
		return e, true, nil
	}
	lo, hi := 0, x.stored
	if n := len(x.summary) / x.size; n > 0 {
		if !below(x.summary[:x.size]) {
			return e, false, nil
		}
		lo = x.lastBelow(x.summary, n, below) * x.perPage()
		hi = min(lo+x.perPage(), x.stored)
	}
	if hi == lo {
		return e, false, nil
	}
	b := scratch[:(hi-lo)*x.size]
	if _, err := x.file.ReadAt(b, int64(lo)*int64(x.size)); err != nil {
		return e, false, err
	}
	if !below(b[:x.size]) {
		return e, false, nil
	}
	copy(e[:], b[x.lastBelow(b, hi-lo, below)*x.size:][:x.size])
	return e, true, nil
}

// lastBelow returns which of n entries in memory, of which the first is below, is the last that is.
func (x *indexFile) lastBelow(b []byte, n int, below func([]byte) bool) int {
	lo, hi := 0, n
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if below(b[mid*x.size : (mid+1)*x.size]) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// perPage is how many entries are read at once.
func (x *indexFile) perPage() int { return scratchSize / x.size }

// summarize brings summary up to the entries of the file. Caller holds mu for writing.
func (x *indexFile) summarize() error {
	have := len(x.summary) / x.size
	want := (x.stored + x.perPage() - 1) / x.perPage()
	if want <= 1 || have >= want {
		return nil
	}
	summary := slices.Grow(x.summary, (want-have)*x.size)
	for ; have < want; have++ {
		n := len(summary)
		summary = summary[:n+x.size]
		if _, err := x.file.ReadAt(summary[n:], int64(have*x.perPage()*x.size)); err != nil {
			return err
		}
	}
	x.summary = summary
	return nil
}

// add appends an entry, in memory.
func (x *indexFile) add(entry []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pending = append(x.pending, entry...)
}

// crowded reports whether many entries wait in memory: flush is due.
func (x *indexFile) crowded() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.pending) >= maxPendingEntries*x.size
}

// flush writes the entries that are in memory only, and cuts off what the file has behind them.
func (x *indexFile) flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.pending) == 0 {
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	x.dirty = true
	if _, err := x.file.WriteAt(x.pending, int64(x.stored)*int64(x.size)); err != nil {
		x.exact = false
		return err
	}
	x.stored += len(x.pending) / x.size
	x.pending = x.pending[:0]
	return x.summarize()
}

// trim flushes and sets the file's length to its entries, and gives back the memory.
func (x *indexFile) trim() error {
	if err := x.flush(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.open(); err != nil {
		return err
	}
	x.pending = nil
	if x.exact { // its descriptor may be closed, and stays so
		return nil
	}
	x.dirty = true
	err := x.file.Truncate(int64(x.stored) * int64(x.size))
	x.exact = err == nil
	return err
}

// truncate drops the entries from the first for which below does not hold.
func (x *indexFile) truncate(scratch []byte, below func(entry []byte) bool) error {
	n, err := x.countBelow(scratch, below)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= x.stored {
		x.pending = x.pending[:(n-x.stored)*x.size]
		return nil
	}
	x.pending = x.pending[:0]
	x.stored, x.dirty, x.exact = n, true, false
	x.summary = x.summary[:min(len(x.summary), (n+x.perPage()-1)/x.perPage()*x.size)]
	err = x.file.Truncate(int64(n) * int64(x.size))
	x.exact = err == nil
	return err
}

// unsynced reports whether the file has changed since it was last synced, and returns it, nil if it is not open.
func (x *indexFile) unsynced() (f vfs.File, dirty bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.file, x.dirty
}

func (x *indexFile) countBelow(scratch []byte, below func([]byte) bool) (int, error) {
	if err := x.opened(); err != nil {
		return 0, err
	}
	defer x.mu.RUnlock()
	lo, hi := 0, x.stored+len(x.pending)/x.size
	for lo < hi {
		mid := (lo + hi) / 2
		b := scratch[:x.size]
		if mid >= x.stored {
			b = x.pending[(mid-x.stored)*x.size:][:x.size]
		} else if _, err := x.file.ReadAt(b, int64(mid)*int64(x.size)); err != nil {
			return 0, err
		}
		if below(b) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// sync makes the file durable if it has changed.
func (x *indexFile) sync() error {
	x.mu.Lock()
	f, dirty := x.file, x.dirty && !x.closed
	x.dirty = false // what is written from here on is for the next sync
	x.mu.Unlock()
	if !dirty {
		return nil
	}
	err := f.Sync()
	if err != nil {
		x.mu.Lock()
		x.dirty = true
		x.mu.Unlock()
	}
	return err
}

func (x *indexFile) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.file == nil {
		return nil
	}
	err := x.file.Close()
	x.file = nil
	return err
}
