package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory: the disk of tests and of an ephemeral broker. Appending costs what is appended. Crash makes
// a copy as a power loss would leave it. The zero Mem is not usable; call NewMem.
type Mem struct {
	windows bool // holds names as Windows does; see NewWindowsMem

	mu      sync.Mutex // guards the tree: entries of all folders, pending, locks, and what inodes say of handles
	root    *inode
	pending []nameChange
	locks   map[string]bool
	made    uint64 // inodes so far
	life    uint64 // counts CloseAll
}

// nameChange is one atomic change of names that no SyncDir covers yet.
type nameChange struct{ set []nameSet }

// nameSet says that name in dir refers to node from then on, or to nothing if node is nil.
type nameSet struct {
	dir  *inode
	name string
	node *inode
}

var errNotEmpty = errors.New("directory not empty")

// NewMem returns an empty file system with a root folder. Relative paths start at the root.
func NewMem() *Mem { return &Mem{root: newInode(true, 0), locks: map[string]bool{}} }

// newInode makes a file or folder that has no name yet. Caller holds mu.
func (m *Mem) newInode(dir bool) *inode {
	m.made++
	return newInode(dir, m.made)
}

func pathError(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

// steps splits a path into its names below the root.
func steps(path string) []string {
	path = filepath.ToSlash(filepath.Clean(path))
	path = strings.Trim(strings.TrimPrefix(path, filepath.VolumeName(path)), "/")
	if path == "" || path == "." {
		return nil
	}
	return strings.Split(path, "/")
}

// find returns the node of a path, or nil. Caller holds mu.
func (m *Mem) find(names []string) *inode {
	n := m.root
	for _, name := range names {
		if n == nil || !n.dir {
			return nil
		}
		n = n.entries[m.spelled(n, name)]
	}
	return n
}

// parent returns the folder that holds path's last name. Caller holds mu.
func (m *Mem) parent(op, path string) (*inode, string, error) {
	names := steps(path)
	if len(names) == 0 {
		return nil, "", pathError(op, path, fs.ErrInvalid)
	}
	d := m.find(names[:len(names)-1])
	if d == nil || !d.dir {
		return nil, "", pathError(op, path, fs.ErrNotExist)
	}
	return d, m.spelled(d, names[len(names)-1]), nil
}

// change applies an atomic change of names and notes it as not yet durable. Caller holds mu.
func (m *Mem) change(set ...nameSet) {
	for _, s := range set {
		setName(s.dir.entries, s.name, s.node)
	}
	m.pending = append(m.pending, nameChange{set})
}

func setName(entries map[string]*inode, name string, node *inode) {
	if node == nil {
		delete(entries, name)
		return
	}
	entries[name] = node
}

// Open implements FS.
func (m *Mem) Open(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(steps(path))
	switch {
	case n == nil:
		return nil, pathError("open", path, fs.ErrNotExist)
	case n.dir:
		return nil, pathError("open", path, syscall.EISDIR)
	}
	return m.handle("open", n, path)
}

// Create implements FS.
func (m *Mem) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, name, err := m.parent("open", path)
	if err != nil {
		return nil, err
	}
	n := d.entries[name]
	switch {
	case n == nil:
		n = m.newInode(false)
		m.change(nameSet{d, name, n})
	case n.dir:
		return nil, pathError("open", path, syscall.EISDIR)
	case n.leaving != nil:
	default:
		n.mu.Lock()
		n.truncate(0)
		n.mu.Unlock()
	}
	return m.handle("open", n, path)
}

// Rename implements FS; folders move with all they hold.
func (m *Mem) Rename(old, new string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldName, err := m.parent("rename", old)
	if err != nil {
		return err
	}
	n := from.entries[oldName]
	if n == nil {
		return pathError("rename", old, fs.ErrNotExist)
	}
	to, newName, err := m.parent("rename", new)
	if err != nil {
		return err
	}
	if was := to.entries[newName]; was != nil {
		if was == n {
			return nil
		}
		if was.dir && (!n.dir || len(was.entries) > 0) {
			return pathError("rename", new, errNotEmpty)
		}
		if n.dir && !was.dir {
			return pathError("rename", new, syscall.ENOTDIR)
		}
		if was.held() {
			return pathError("rename", new, errBusy)
		}
	}
	if n.leaving != nil || n.exclusive || n.dir && n.held() {
		return pathError("rename", old, errBusy)
	}
	m.change(nameSet{from, oldName, nil}, nameSet{to, newName, n})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, name, err := m.parent("remove", path)
	if err != nil {
		return err
	}
	n := d.entries[name]
	if n == nil {
		return pathError("remove", path, fs.ErrNotExist)
	}
	if n.dir && len(n.entries) > 0 {
		return pathError("remove", path, errNotEmpty)
	}
	if n.exclusive || n.leaving != nil {
		return pathError("remove", path, errBusy)
	}
	m.drop(nameSet{d, name, n})
	return nil
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, name, err := m.parent("removeall", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if n := d.entries[name]; n != nil && !m.removeTree(nameSet{d, name, n}) {
		return pathError("removeall", path, errBusy)
	}
	return nil
}

// removeTree removes a file or a folder, from its leaves up, one change for each name. It reports whether all has gone. Caller holds mu.
func (m *Mem) removeTree(s nameSet) bool {
	for _, name := range slices.Sorted(maps.Keys(s.node.entries)) {
		m.removeTree(nameSet{s.node, name, s.node.entries[name]})
	}
	if len(s.node.entries) > 0 || s.node.exclusive {
		return false
	}
	m.drop(s)
	return s.node.leaving == nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]os.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(steps(dir))
	if n == nil {
		return nil, pathError("open", dir, fs.ErrNotExist)
	}
	if !n.dir {
		return nil, pathError("readdir", dir, syscall.ENOTDIR)
	}
	out := make([]os.DirEntry, 0, len(n.entries))
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		out = append(out, fs.FileInfoToDirEntry(infoOf(name, n.entries[name])))
	}
	return out, nil
}

// Stat implements FS.
func (m *Mem) Stat(path string) (os.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(steps(path))
	if n == nil {
		return nil, pathError("stat", path, fs.ErrNotExist)
	}
	if n.leaving != nil {
		return nil, pathError("stat", path, errBusy)
	}
	return infoOf(filepath.Base(path), n), nil
}

// SetModTime implements FS.
func (m *Mem) SetModTime(path string, t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(steps(path))
	if n == nil {
		return pathError("chtimes", path, fs.ErrNotExist)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.modified = t
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, name := range steps(path) {
		name = m.spelled(d, name)
		n := d.entries[name]
		if n == nil {
			n = m.newInode(true)
			m.change(nameSet{d, name, n})
		} else if !n.dir {
			return pathError("mkdir", path, syscall.ENOTDIR)
		}
		d = n
	}
	return nil
}

// SyncDir implements FS. The folder's own name and those of the folders above it become durable too, as on journaling file
// systems; names elsewhere do not.
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := steps(path)
	d := m.find(names)
	if d == nil || !d.dir {
		return pathError("sync", path, fs.ErrNotExist)
	}
	above := map[*inode]string{}
	up := m.root
	for _, name := range names {
		name = m.spelled(up, name)
		above[up] = name
		up = up.entries[name]
	}
	chosen := m.touching(func(s nameSet) bool { return s.dir == d || above[s.dir] == s.name && s.node != nil })
	kept := m.pending[:0]
	for i, c := range m.pending {
		if !chosen[i] {
			kept = append(kept, c)
			continue
		}
		for _, s := range c.set {
			setName(s.dir.synced, s.name, s.node)
		}
	}
	clear(m.pending[len(kept):])
	m.pending = kept
	return nil
}

// OpenVolume implements FS: all of the memory is one volume.
func (m *Mem) OpenVolume(path string) (Volume, error) {
	if _, err := m.List(path); err != nil {
		return nil, err
	}
	return memVolume{m}, nil
}

type memVolume struct{ m *Mem }

func (v memVolume) Close() error { return nil }

// Sync syncs every file that has a name, and all names.
func (v memVolume) Sync() error {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	for _, c := range v.m.pending {
		for _, s := range c.set {
			setName(s.dir.synced, s.name, s.node)
		}
	}
	clear(v.m.pending)
	v.m.pending = v.m.pending[:0]
	v.m.root.syncAll()
	return nil
}

// syncAll syncs the files of a folder and of those below it. Caller holds Mem.mu.
func (n *inode) syncAll() {
	if n.dir {
		for _, child := range n.entries {
			child.syncAll()
		}
		return
	}
	n.sync()
}

// touching says which pending changes have a part that match selects, or precede such a change of the same name: no change overtakes another. Caller holds mu.
func (m *Mem) touching(match func(nameSet) bool) []bool {
	type place struct {
		dir  *inode
		name string
	}
	chosen := make([]bool, len(m.pending))
	places := map[place]bool{}
	for i, c := range slices.Backward(m.pending) {
		chosen[i] = slices.ContainsFunc(c.set, func(s nameSet) bool { return places[place{s.dir, s.name}] || match(s) })
		if chosen[i] {
			for _, s := range c.set {
				places[place{s.dir, s.name}] = true
			}
		}
	}
	return chosen
}

// ReadFile implements FS.
func (m *Mem) ReadFile(path string) ([]byte, error) {
	f, err := m.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// Lock implements FS.
func (m *Mem) Lock(path string) (func() error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := strings.Join(steps(path), "/")
	if m.locks[key] {
		return nil, pathError("lock", path, ErrLocked)
	}
	d, name, err := m.parent("lock", path)
	if err != nil {
		return nil, err
	}
	if d.entries[name] == nil {
		m.change(nameSet{d, name, m.newInode(false)})
	}
	m.locks[key] = true
	n := d.entries[name]
	n.exclusive = m.windows
	return sync.OnceValue(func() error {
		m.mu.Lock()
		delete(m.locks, key)
		n.exclusive = false
		m.mu.Unlock()
		return m.Remove(path)
	}), nil
}

// Usage implements FS: memory has no size of its own.
func (m *Mem) Usage(string) (total, usable int64, err error) { return -1, -1, nil }

type memInfo struct {
	name     string
	size     int64
	dir      bool
	modified time.Time
}

func infoOf(name string, n *inode) memInfo {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return memInfo{name: name, size: n.size, dir: n.dir, modified: n.modified}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.modified }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
