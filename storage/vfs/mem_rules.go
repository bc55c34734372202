package vfs

import (
	"maps"
	"slices"
	"strings"
)

// NewWindowsMem returns an empty Mem with the rules of Windows, those of its file systems that know no POSIX semantics, for tests on other systems:
//
//   - a folder with an open file below it is not renamed;
//   - an open file is not replaced;
//   - a file that is removed while it is open keeps its name until it is closed: nobody can open, make, rename or remove it meanwhile, nor the folder;
//   - a locked file is neither renamed nor removed;
//   - names that differ only in case are one.
//
// IsBusy tells the errors.
func NewWindowsMem() *Mem {
	m := NewMem()
	m.windows = true
	return m
}

// HoldsNames implements FS.
func (m *Mem) HoldsNames() bool { return m.windows }

// spelled is how dir spells name, name itself if it is not there. Caller holds mu.
func (m *Mem) spelled(dir *inode, name string) string {
	if !m.windows || dir == nil || dir.entries[name] != nil {
		return name
	}
	for other := range dir.entries {
		if strings.EqualFold(other, name) {
			return other
		}
	}
	return name
}

// handle opens a file. Caller holds mu.
func (m *Mem) handle(op string, n *inode, path string) (File, error) {
	if !m.windows {
		return &memFile{node: n, name: path}, nil
	}
	if n.leaving != nil || n.exclusive {
		return nil, pathError(op, path, errBusy)
	}
	n.handles++
	return &memFile{mem: m, life: m.life, node: n, name: path}, nil
}

// closed notes that f is closed.
func (m *Mem) closed(f *memFile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.life != m.life {
		return
	}
	f.node.handles--
	m.leave(f.node)
}

// leave takes the name from a removed file that is not open any more. Caller holds mu.
func (m *Mem) leave(n *inode) {
	if n.handles > 0 || n.leaving == nil {
		return
	}
	last := *n.leaving
	n.leaving, last.node = nil, nil
	m.change(last)
}

// CloseAll makes nothing of the handles that are open, as the end of a process does.
func (m *Mem) CloseAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	m.forget(m.root)
}

// forget forgets the handles of n and all below it. Caller holds mu.
func (m *Mem) forget(n *inode) {
	for _, child := range slices.Collect(maps.Values(n.entries)) {
		m.forget(child)
	}
	n.handles = 0
	m.leave(n)
}

// held reports whether a file, or one below a folder, is open. Caller holds Mem.mu.
func (n *inode) held() bool {
	if n.handles > 0 || n.exclusive {
		return true
	}
	for _, child := range n.entries {
		if child.held() {
			return true
		}
	}
	return false
}

// drop removes the name that s tells, now or when its file is closed. Caller holds mu.
func (m *Mem) drop(s nameSet) {
	if s.node.handles > 0 {
		s.node.leaving = &s
		return
	}
	s.node = nil
	m.change(s)
}
