package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/ottla/ottla/storage/vfs"
)

const (
	txnEntrySize    = 34
	txnEntryVersion = 0
)

// abortedTxn is one entry of a transaction index (Kafka's AbortedTxn).
type abortedTxn struct {
	producerID  int64
	firstOffset int64
	lastOffset  int64 // of the abort marker
	lastStable  int64 // last stable offset after the marker
}

var errCorruptTxnIndex = errors.New("corrupt transaction index")

// txnIndex is the list of aborted transactions whose markers lie in one segment (Kafka's TransactionIndex): int16 version 0, int64
// producer id, first offset, last offset, last stable offset. The file exists only if there are any. The log's writer alone
// appends and truncates; reads may come from anywhere.
type txnIndex struct {
	fs     vfs.FS
	folder *folder
	base   int64

	mu      sync.RWMutex // guards the rest
	suffix  string       // of the file's name
	file    vfs.File     // nil if there is none or it was not opened
	checked bool         // whether there is a file is known
	size    int64
	pending []byte // entries for which the disk had no room; they follow those in the file
	dirty   bool
}

// path is the file's. Caller holds mu.
func (x *txnIndex) path() string { return x.folder.join(segmentName(x.base) + x.suffix) }

// open opens the file if it exists. Caller holds mu for writing.
func (x *txnIndex) open() error {
	if x.checked {
		return nil
	}
	f, err := x.fs.Open(x.path())
	if errors.Is(err, fs.ErrNotExist) {
		x.checked, x.size = true, 0
		return nil
	}
	if err != nil {
		return err
	}
	if x.size, err = f.Size(); err != nil {
		f.Close()
		return err
	}
	x.file, x.checked = f, true
	return nil
}

// append writes one entry at the end; it creates the file with the first. The batch that it belongs to is in the log already, so an entry for which the disk
// has no room waits in memory: sync does not succeed without it, and after a crash recovery makes it again.
func (x *txnIndex) append(t abortedTxn) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.pending
	b = binary.BigEndian.AppendUint16(b, txnEntryVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(t.producerID))
	b = binary.BigEndian.AppendUint64(b, uint64(t.firstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.lastOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.lastStable))
	x.pending = b
	if err := x.flush(); err != nil && !vfs.IsFull(err) {
		return err
	}
	return nil
}

// flush writes the entries that are in memory. Caller holds mu for writing.
func (x *txnIndex) flush() error {
	if len(x.pending) == 0 {
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	if x.file == nil {
		f, err := x.fs.Create(x.path())
		if err != nil {
			return err
		}
		x.file, x.size = f, 0
	}
	if _, err := x.file.WriteAt(x.pending, x.size); err != nil {
		return err
	}
	x.size += int64(len(x.pending))
	x.pending, x.dirty = nil, true
	return nil
}

// all reads the entries, in order of their last offsets. Anything that is no entry of this segment is errCorruptTxnIndex.
func (x *txnIndex) all() ([]abortedTxn, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.entries()
}

// entries is all; the caller holds mu for writing.
func (x *txnIndex) entries() ([]abortedTxn, error) {
	if err := x.open(); err != nil || x.size+int64(len(x.pending)) == 0 {
		return nil, err
	}
	if x.size%txnEntrySize != 0 {
		return nil, fmt.Errorf("%w: %s has %d bytes", errCorruptTxnIndex, x.path(), x.size)
	}
	b := make([]byte, x.size, x.size+int64(len(x.pending)))
	if x.size > 0 {
		if _, err := x.file.ReadAt(b, 0); err != nil {
			return nil, err
		}
	}
	b = append(b, x.pending...)
	out := make([]abortedTxn, 0, len(b)/txnEntrySize)
	for ; len(b) > 0; b = b[txnEntrySize:] {
		field := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[2+8*i:])) }
		t := abortedTxn{producerID: field(0), firstOffset: field(1), lastOffset: field(2), lastStable: field(3)}
		if v := binary.BigEndian.Uint16(b); v != txnEntryVersion || t.lastOffset < x.base {
			return nil, fmt.Errorf("%w: %s version %d, last offset %d", errCorruptTxnIndex, x.path(), v, t.lastOffset)
		}
		out = append(out, t)
	}
	return out, nil
}

// truncateTo drops the entries whose marker is at or above offset.
func (x *txnIndex) truncateTo(offset int64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	entries, err := x.entries()
	if err != nil {
		return err
	}
	n := len(entries)
	for n > 0 && entries[n-1].lastOffset >= offset {
		n--
	}
	if stored := int(x.size / txnEntrySize); n >= stored {
		x.pending = x.pending[:(n-stored)*txnEntrySize]
		return nil
	}
	x.pending = nil
	x.size, x.dirty = int64(n)*txnEntrySize, true
	return x.file.Truncate(x.size)
}

// reset removes the file.
func (x *txnIndex) reset() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file != nil {
		x.file.Close()
	}
	x.file, x.size, x.pending, x.checked = nil, 0, nil, true
	if err := x.fs.Remove(x.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// complete writes the entries that are in memory.
func (x *txnIndex) complete() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flush()
}

// unsynced reports whether there are entries that are not known to be on the disk, and returns the file, nil if it is not open.
func (x *txnIndex) unsynced() (f vfs.File, dirty bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.file, x.dirty || len(x.pending) > 0
}

// sync makes the file durable if it has changed.
func (x *txnIndex) sync() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.flush(); err != nil {
		return err
	}
	if !x.dirty || x.file == nil {
		return nil
	}
	x.dirty = false
	return x.file.Sync()
}

func (x *txnIndex) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file == nil {
		return nil
	}
	err := x.file.Close()
	x.file, x.checked = nil, false
	return err
}
