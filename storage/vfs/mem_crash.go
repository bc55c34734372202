package vfs

import (
	"maps"
	"math/rand/v2"
)

// pageSize is the unit in which a crash keeps or loses unsynced bytes.
const pageSize = 4096

// Crash returns a copy of the file system as a power loss at this moment may leave it: all synced bytes, all names of synced
// folders, a seeded prefix of the other changes of names (in their order: a rename is never half done), and of each file a
// seeded share of the unsynced pages: lost, kept, or zeros where the length was written before the data. What becomes of a file depends on the seed, on
// when the file was made and on what was done to it, not on its name. The receiver stays usable; locks are not copied.
func (m *Mem) Crash(seed int64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := crasher{seed: uint64(seed), done: map[*inode]*inode{}, names: map[*inode]map[string]*inode{}}
	kept := 0
	if n := len(m.pending); n > 0 {
		kept = rand.New(rand.NewPCG(uint64(seed), 0x6f74746c61)).IntN(n + 1)
	}
	for _, p := range m.pending[:kept] {
		for _, s := range p.set {
			setName(c.entries(s.dir), s.name, s.node)
		}
	}
	return &Mem{windows: m.windows, root: c.clone(m.root), locks: map[string]bool{}, made: m.made}
}

type crasher struct {
	seed  uint64
	rng   *rand.Rand // of the file at hand
	done  map[*inode]*inode
	names map[*inode]map[string]*inode // entries of the folders that kept changes touch
}

// entries returns what a folder holds after the crash, ready to be changed.
func (c *crasher) entries(dir *inode) map[string]*inode {
	e, ok := c.names[dir]
	if !ok {
		e = maps.Clone(dir.synced)
		c.names[dir] = e
	}
	return e
}

func (c *crasher) clone(n *inode) *inode {
	if d, ok := c.done[n]; ok {
		return d
	}
	var d *inode
	if n.dir {
		d = newInode(true, n.id)
		c.done[n] = d
		for name, node := range c.entries(n) {
			child := c.clone(node)
			d.entries[name], d.synced[name] = child, child
		}
		return d
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	c.rng = rand.New(rand.NewPCG(c.seed, n.id))
	d = c.content(n)
	c.done[n] = d
	return d
}

// content builds a file's bytes after the crash. Caller holds n.mu.
func (c *crasher) content(n *inode) *inode {
	d := newInode(false, n.id)
	d.modified = n.modified
	size := c.size(n)
	zeros := c.rng.IntN(3) == 0 // lengths may reach the disk before data
	page := make([]byte, pageSize)
	for off := int64(0); off < size; off += pageSize {
		p := page[:min(pageSize, size-off)]
		c.page(n, p, off, zeros)
		d.writeAt(p, off)
	}
	d.size, d.syncedSize, d.old = size, size, nil
	return d
}

// size picks the length: the synced one, the present one, or one between.
func (c *crasher) size(n *inode) int64 {
	switch {
	case n.size == n.syncedSize:
		return n.size
	case n.size < n.syncedSize: // cut since the last sync
		if c.rng.IntN(2) == 0 {
			return n.syncedSize
		}
		return n.size
	}
	switch c.rng.IntN(4) {
	case 0:
		return n.syncedSize
	case 1:
		return n.size
	}
	return n.syncedSize + c.rng.Int64N(n.size-n.syncedSize+1)
}

// page fills p with the bytes at off as the crash leaves them.
func (c *crasher) page(n *inode, p []byte, off int64, zeros bool) {
	i, at := int(off/chunkSize), off%chunkSize
	now, was := n.chunk(i), n.chunk(i)
	old, changed := n.old[i]
	if changed {
		was = old
	}
	switch {
	case off >= n.syncedSize: // never synced
		if zeros && c.rng.IntN(3) == 0 {
			clear(p)
			return
		}
		copyOut(p, now, at)
	case changed:
		if off < n.size && c.rng.IntN(2) == 0 {
			copyOut(p, now, at)
		} else {
			copyOut(p, was, at)
		}
	default:
		copyOut(p, now, at)
		if tail := n.syncedSize - off; tail < int64(len(p)) && zeros && c.rng.IntN(3) == 0 {
			clear(p[tail:])
		}
	}
}
