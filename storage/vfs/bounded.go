package vfs

import (
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"sync"
)

// Bounded is an FS that keeps about limit files of another FS open at most: it closes the descriptors of those that are idle, and opens them again when they are
// used. To their users nothing changes: a file that was renamed, replaced or removed stays the file that it was, if it was not opened while that was done. Safe for
// concurrent use.
//
// Where files hold their names (FS.HoldsNames) it has no descriptor in the way of a name that changes: a folder's files are closed while it is renamed, and opened again
// when they are used. A file that is replaced or removed is closed for good, and its users get ErrGone.
//
// Lock order: names, mu.
type Bounded struct {
	FS
	limit  int
	volume Volume // nil if there is none
	holds  bool   // FS.HoldsNames

	// names is held for reading while a descriptor is opened by a name, and for writing while names change.
	names   sync.RWMutex
	drained chan struct{} // of the file that vacate has parked: closed when its pins have come down to that

	mu      sync.Mutex                // guards what follows
	folders map[string]*boundedFolder // of the files that have a name
	ring    []*boundedFile            // those with an open descriptor
	hand    int                       // where the search for idle ones goes on

	relief sync.Mutex // held by whoever syncs files so that they can be closed
}

// NewBounded wraps fs. Files that are pinned, or have no name any more, stay open above the limit if need be. volume, which may be nil, syncs the files where there are
// many that need it before they can be closed.
func NewBounded(fs FS, limit int, volume Volume) *Bounded {
	return &Bounded{FS: fs, limit: max(1, limit), volume: volume, holds: fs.HoldsNames(), folders: map[string]*boundedFolder{}}
}

// Open implements FS.
func (b *Bounded) Open(path string) (File, error) { return b.enter(path, b.FS.Open) }

// Create implements FS.
func (b *Bounded) Create(path string) (File, error) { return b.enter(path, b.FS.Create) }

func (b *Bounded) enter(path string, open func(string) (File, error)) (File, error) {
	path = filepath.Clean(path)
	b.names.RLock()
	f, err := open(path)
	if err != nil {
		b.names.RUnlock()
		return nil, err
	}
	x := &boundedFile{fs: b, file: f, name: strings.Clone(filepath.Base(path))}
	x.pins.Store(1) // until it is in place
	b.mu.Lock()
	b.place(x, filepath.Dir(path))
	b.opened(x)
	b.mu.Unlock()
	b.names.RUnlock()
	x.unpin()
	b.relieve()
	return x, nil
}

// place enters x under a folder. Caller holds mu.
func (b *Bounded) place(x *boundedFile, folder string) {
	d := b.folders[folder]
	if d == nil {
		d = &boundedFolder{path: strings.Clone(folder)}
		b.folders[d.path] = d
	}
	if x.folder, x.next = d, d.first; x.next != nil {
		x.next.previous = x
	}
	d.first = x
}

// displace takes x out of its folder. Caller holds mu.
func (b *Bounded) displace(x *boundedFile) {
	if x.next != nil {
		x.next.previous = x.previous
	}
	if x.previous != nil {
		x.previous.next = x.next
	} else if x.folder.first = x.next; x.next == nil {
		delete(b.folders, x.folder.path)
	}
	x.next, x.previous = nil, nil
}

// opened notes that x has a descriptor, and closes those of others if there are too many. Caller holds mu.
func (b *Bounded) opened(x *boundedFile) {
	x.slot = len(b.ring)
	x.used.Store(true)
	b.ring = append(b.ring, x)
	b.shrink()
}

// closed notes that x has no descriptor any more. Caller holds mu.
func (b *Bounded) closed(x *boundedFile) {
	last := len(b.ring) - 1
	b.ring[x.slot] = b.ring[last]
	b.ring[x.slot].slot = x.slot
	b.ring[last] = nil
	b.ring = b.ring[:last]
}

// shrink closes descriptors that nobody uses until there are no more than limit. Files that were used since the hand last passed are spared once; those that
// need an fsync first are left to relieve. Caller holds mu.
func (b *Bounded) shrink() {
	for tries := 2 * len(b.ring); len(b.ring) > b.limit && tries > 0; tries-- {
		if b.hand >= len(b.ring) {
			b.hand = 0
		}
		if x := b.ring[b.hand]; x.used.Swap(false) || !x.suspend() {
			b.hand++
		}
	}
}

const (
	// reliefSize is how many files relieve syncs in one go, one by one.
	reliefSize = 64
	// volumeRelief is how many must need it for a sync of the volume instead: that of all of them.
	volumeRelief = 4 * reliefSize
)

// relieve syncs idle files, if there are too many open ones that could not be closed without: an error of the disk would reach nobody after that. While somebody else does
// it, it waits only if there are far too many: those who open files must not outrun a slow disk.
func (b *Bounded) relieve() {
	b.mu.Lock()
	excess := len(b.ring) - b.limit
	b.mu.Unlock()
	switch {
	case excess <= 0:
		return
	case excess > reliefSize:
		b.relief.Lock()
	case !b.relief.TryLock():
		return
	}
	defer b.relief.Unlock()
	if !b.relieveByVolume() {
		for _, x := range b.idleDirty(reliefSize) {
			x.settle()
			x.unpin()
		}
	}
	b.mu.Lock()
	b.shrink()
	b.mu.Unlock()
}

// idleDirty pins up to limit of the files that nobody uses and that need an fsync.
func (b *Bounded) idleDirty(limit int) (dirty []*boundedFile) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := 0; i < len(b.ring) && len(dirty) < limit; i++ {
		if b.hand >= len(b.ring) {
			b.hand = 0
		}
		if x := b.ring[b.hand]; !x.used.Load() && x.dirty.Load() && !x.unnamed && x.pins.CompareAndSwap(0, 1) {
			dirty = append(dirty, x)
		}
		b.hand++
	}
	return dirty
}

// relieveByVolume syncs all files that need it, and are not in use, by one sync of the volume; false if they are few, or it failed: the files are to tell whose write it was.
func (b *Bounded) relieveByVolume() bool {
	if b.volume == nil {
		return false
	}
	dirty := b.idleDirty(math.MaxInt)
	defer func() {
		for _, x := range dirty {
			x.unpin()
		}
	}()
	if len(dirty) < volumeRelief {
		return false
	}
	for _, x := range dirty {
		x.dirty.Store(false)
	}
	err := b.volume.Sync()
	for _, x := range dirty {
		if err != nil || x.lost.Load() != nil {
			x.dirty.Store(true)
		}
	}
	return err == nil
}

// CloseIdle closes the descriptors of files that were not used since the call before and need no fsync. It returns how many.
func (b *Bounded) CloseIdle() (closed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.ring) - 1; i >= 0; i-- { // backwards: the last one fills each gap
		if x := b.ring[i]; !x.used.Swap(false) && x.suspend() {
			closed++
		}
	}
	return closed
}

// SyncVolume syncs v, and with it files, which Open or Create have returned: it does for each of them what its Sync does.
func (b *Bounded) SyncVolume(v Volume, files []File) error {
	for _, f := range files {
		x := f.(*boundedFile)
		if err := x.lost.Load(); err != nil {
			return *err
		}
		x.dirty.Store(false)
	}
	err := v.Sync()
	if err != nil {
		for _, f := range files {
			f.(*boundedFile).dirty.Store(true)
		}
	}
	return err
}

// OpenFiles returns how many descriptors are open.
func (b *Bounded) OpenFiles() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ring)
}

// Rename implements FS.
func (b *Bounded) Rename(old, new string) error {
	old, new = filepath.Clean(old), filepath.Clean(new)
	b.names.Lock()
	defer b.names.Unlock()
	if old == new {
		return b.FS.Rename(old, new)
	}
	if err := b.orphan(b.at(new)); err != nil { // what it replaces
		return err
	}
	if b.holds {
		b.vacate(b.inside(old), false)
	}
	if err := b.FS.Rename(old, new); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for x, rest := range b.below(old) {
		b.displace(x)
		path := filepath.Join(new, rest)
		x.name = strings.Clone(filepath.Base(path))
		b.place(x, filepath.Dir(path))
	}
	return nil
}

// Remove implements FS.
func (b *Bounded) Remove(path string) error {
	b.names.Lock()
	err := b.orphan(b.at(filepath.Clean(path)))
	b.names.Unlock() // large files take their time
	if err != nil {
		return err
	}
	return b.FS.Remove(path)
}

// RemoveAll implements FS.
func (b *Bounded) RemoveAll(path string) error {
	b.names.Lock()
	b.mu.Lock()
	var all []*boundedFile
	for x := range b.below(filepath.Clean(path)) {
		all = append(all, x)
	}
	b.mu.Unlock()
	err := b.orphan(all)
	b.names.Unlock()
	if err != nil {
		return err
	}
	return b.FS.RemoveAll(path)
}

// ReadFile implements FS.
func (b *Bounded) ReadFile(path string) ([]byte, error) {
	if b.holds { // its descriptor must not be in the way of a name
		b.names.RLock()
		defer b.names.RUnlock()
	}
	return b.FS.ReadFile(path)
}

// at lists the files with exactly this path.
func (b *Bounded) at(path string) []*boundedFile {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*boundedFile
	name := filepath.Base(path)
	for x := range b.folders[filepath.Dir(path)].files() {
		if x.name == name {
			all = append(all, x)
		}
	}
	return all
}

// below finds the files at path and in the folders at and below it, and the rest of their paths. Caller holds mu.
func (b *Bounded) below(path string) map[*boundedFile]string {
	all := map[*boundedFile]string{}
	name := filepath.Base(path)
	for x := range b.folders[filepath.Dir(path)].files() {
		if x.name == name {
			all[x] = ""
		}
	}
	if len(all) > 0 {
		return all // a file has nothing below it
	}
	prefix := path + string(filepath.Separator)
	for folder, d := range b.folders {
		if folder != path && !strings.HasPrefix(folder, prefix) {
			continue
		}
		for x := range d.files() {
			all[x] = filepath.Join(strings.TrimPrefix(folder, path), x.name)
		}
	}
	return all
}

// inside lists the files in the folders at and below path.
func (b *Bounded) inside(path string) []*boundedFile {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []*boundedFile
	for x, rest := range b.below(path) {
		if rest != "" {
			all = append(all, x)
		}
	}
	return all
}

// vacate closes the descriptors of files, those that are not synced too, and waits for who uses them: nobody opens them again before the caller, who holds names for writing, lets go of it.
// gone says that they are about to lose their names.
func (b *Bounded) vacate(files []*boundedFile, gone bool) {
	for _, x := range files {
		b.mu.Lock()
		if x.ended {
			b.mu.Unlock()
			continue
		}
		if x.pins.Load() != suspended {
			drained := make(chan struct{})
			b.drained = drained
			if x.pins.Add(parked) == parked {
				close(drained)
			}
			b.mu.Unlock()
			<-drained
			b.mu.Lock()
			_ = x.file.Close() // a later Sync tells of what was written
			x.file = nil
			b.closed(x)
			x.pins.Store(suspended)
		}
		if gone {
			b.displace(x)
			x.unnamed = true
		}
		b.mu.Unlock()
	}
}

// orphan opens files that are about to lose their names, for good; where files hold their names it closes them for good. Caller holds names for writing.
func (b *Bounded) orphan(files []*boundedFile) error {
	if b.holds {
		b.vacate(files, true)
		return nil
	}
	for _, x := range files {
		path, idle := b.unname(x)
		if !idle {
			continue
		}
		f, err := b.FS.Open(path)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.displace(x)
		x.unnamed, x.file = true, f
		x.pins.Store(0)
		b.opened(x)
		b.mu.Unlock()
	}
	return nil
}

// unname takes the name from a file that has a descriptor, or reports that it has none, and the path to open it by.
func (b *Bounded) unname(x *boundedFile) (path string, idle bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case x.ended:
		return "", false
	case x.pins.Load() == suspended:
		return x.path(), true
	}
	b.displace(x)
	x.unnamed = true
	return "", false
}

// errEnded is the error of a file after its Close.
var errEnded = fs.ErrClosed
