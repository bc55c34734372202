package vfs

import (
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// chunkSize is the unit in which a file in memory grows: appending never moves what is there.
const chunkSize = 64 << 10

// inode is the content of one file or the entries of one folder. It lives as long as a name or an open handle refers to it.
type inode struct {
	dir     bool
	id      uint64            // in order of creation
	entries map[string]*inode // of a folder; guarded by Mem.mu
	synced  map[string]*inode // entries that a crash keeps for certain; guarded by Mem.mu

	// Of a file of a NewWindowsMem; guarded by Mem.mu.
	handles   int      // open ones
	exclusive bool     // one that lets nobody rename or remove the file
	leaving   *nameSet // removed: the name goes when the last handle is closed

	mu sync.RWMutex // guards the rest
	// chunks[i] holds bytes from i*chunkSize; nil or short chunks read as zeros up to size.
	chunks [][]byte
	size   int64
	// syncedSize is the length at the last Sync; old holds the chunks as of then that were changed since.
	syncedSize int64
	old        map[int][]byte
	modified   time.Time
}

func newInode(dir bool, id uint64) *inode {
	n := &inode{dir: dir, id: id, modified: time.Now()}
	if dir {
		n.entries, n.synced = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// memFile is one open handle.
type memFile struct {
	mem    *Mem   // which counts the handles; nil if it does not
	life   uint64 // of mem when it was opened
	node   *inode
	name   string
	mu     sync.RWMutex // guards closed
	closed bool
}

func (f *memFile) check(op string) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return f.node.readAt(p, off)
}

func (n *inode) readAt(p []byte, off int64) (int, error) {
	if off >= n.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := min(int64(len(p)), n.size-off)
	for done := int64(0); done < want; {
		i, at := int((off+done)/chunkSize), (off+done)%chunkSize
		step := min(want-done, chunkSize-at)
		copyOut(p[done:done+step], n.chunk(i), at)
		done += step
	}
	if want < int64(len(p)) {
		return int(want), io.EOF
	}
	return int(want), nil
}

// copyOut fills dst from chunk at offset at, with zeros past the chunk's end.
func copyOut(dst, chunk []byte, at int64) {
	n := 0
	if at < int64(len(chunk)) {
		n = copy(dst, chunk[at:])
	}
	clear(dst[n:])
}

func (n *inode) chunk(i int) []byte {
	if i >= len(n.chunks) {
		return nil
	}
	return n.chunks[i]
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: fs.ErrInvalid}
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.writeAt(p, off)
	return len(p), nil
}

func (n *inode) writeAt(p []byte, off int64) {
	n.modified = time.Now()
	for done := 0; done < len(p); {
		i, at := int((off+int64(done))/chunkSize), int((off+int64(done))%chunkSize)
		step := min(len(p)-done, chunkSize-at)
		n.keepOld(i, int64(i)*chunkSize+int64(at))
		for len(n.chunks) <= i {
			n.chunks = append(n.chunks, nil)
		}
		c := n.chunks[i]
		if end := at + step; end > len(c) {
			if end > cap(c) {
				grown := make([]byte, len(c), min(chunkSize, max(end, 2*cap(c), 512)))
				copy(grown, c)
				c = grown
			}
			had := len(c)
			c = c[:end]
			if had < at {
				clear(c[had:at])
			}
			n.chunks[i] = c
		}
		copy(c[at:], p[done:done+step])
		done += step
	}
	n.size = max(n.size, off+int64(len(p)))
}

// keepOld saves chunk i as it was at the last Sync, before a change from off on, if the change touches synced bytes.
func (n *inode) keepOld(i int, off int64) {
	if off >= n.syncedSize {
		return
	}
	if _, ok := n.old[i]; ok {
		return
	}
	if n.old == nil {
		n.old = map[int][]byte{}
	}
	n.old[i] = append([]byte(nil), n.chunk(i)...)
}

func (f *memFile) Truncate(size int64) error {
	if err := f.check("truncate"); err != nil {
		return err
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: f.name, Err: fs.ErrInvalid}
	}
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.truncate(size)
	return nil
}

func (n *inode) truncate(size int64) {
	n.modified = time.Now()
	if size < n.size {
		last := int(size / chunkSize)
		for i := last; i < len(n.chunks); i++ {
			n.keepOld(i, max(size, int64(i)*chunkSize))
		}
		if last < len(n.chunks) {
			if keep := int(size % chunkSize); keep < len(n.chunks[last]) {
				n.chunks[last] = n.chunks[last][:keep]
			}
			clear(n.chunks[last+1:])
			n.chunks = n.chunks[:last+1]
		}
	}
	n.size = size
}

func (f *memFile) Sync() error {
	if err := f.check("sync"); err != nil {
		return err
	}
	f.node.sync()
	return nil
}

func (n *inode) sync() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.syncedSize, n.old = n.size, nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.check("stat"); err != nil {
		return 0, err
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return f.node.size, nil
}

func (f *memFile) Close() error {
	f.mu.Lock()
	again := f.closed
	f.closed = true
	f.mu.Unlock()
	if again {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	if f.mem != nil {
		f.mem.closed(f)
	}
	return nil
}

func (f *memFile) Raw() *os.File { return nil }
