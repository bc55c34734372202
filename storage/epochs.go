package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/ottla/ottla/storage/vfs"
)

// epochCheckpointName is the file that holds a log's leader epochs, in its folder.
const epochCheckpointName = "leader-epoch-checkpoint"

// epochEntry says that the batches from startOffset on were written under the leader epoch, until the next entry's start.
type epochEntry struct {
	epoch       int32
	startOffset int64
}

// epochCache is a log's leader epochs (Kafka's LeaderEpochFileCache): entries strictly ascending in epoch and in start offset.
//
// It is safe for concurrent use. Changes are in memory only; flush writes them. The log flushes it before its recovery point passes any batch, and
// recovery assigns the epochs of all batches above the recovery point anew, so a crash between change and flush loses no epoch that has data.
type epochCache struct {
	fs  vfs.FS
	dir string // the log's folder; guarded by mu

	mu      sync.RWMutex
	entries []epochEntry // guarded by mu
	version int64        // guarded by mu: counts changes

	writing sync.Mutex   // one flush at a time; taken before mu
	written int64        // guarded by writing: the version on disk
	stored  []epochEntry // guarded by writing: what is in the file
	next    *epochFile   // guarded by writing: the file that is to become it; nil without
}

// epochFile is a version of the epochs that is in a file of another name, which may not be on the disk yet.
type epochFile struct {
	version int64
	entries []epochEntry
}

// newEpochCache loads the leader-epoch-checkpoint in dir; a missing or empty file is an empty cache.
func newEpochCache(fsys vfs.FS, dir string) (*epochCache, error) {
	c := &epochCache{fs: fsys, dir: dir}
	path := c.path()
	data, err := fsys.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if c.entries, err = parseEpochs(data); err != nil {
		return nil, fmt.Errorf("malformed %s: %w", path, err)
	}
	c.stored = slices.Clone(c.entries)
	return c, nil
}

// path is the file's. Caller holds mu.
func (c *epochCache) path() string { return filepath.Join(c.dir, epochCheckpointName) }

func parseEpochs(data []byte) ([]epochEntry, error) {
	var entries []epochEntry
	err := parseCheckpoint(data, 2, func(f []string) error {
		epoch, err := strconv.ParseInt(f[0], 10, 32)
		if err != nil {
			return err
		}
		start, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return err
		}
		if epoch < 0 || start < 0 {
			return fmt.Errorf("negative epoch or offset %d %d", epoch, start)
		}
		entries = insertEpoch(entries, epochEntry{int32(epoch), start})
		return nil
	})
	return entries, err
}

func formatEpochs(entries []epochEntry) []byte {
	b := appendCheckpointHeader(nil, len(entries))
	for _, e := range entries {
		b = strconv.AppendInt(b, int64(e.epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.startOffset, 10)
		b = append(b, '\n')
	}
	return b
}

// insertEpoch appends e after removing the entries that contradict it: those of its epoch or a later one, and those that start at or after it.
func insertEpoch(entries []epochEntry, e epochEntry) []epochEntry {
	n := len(entries)
	for n > 0 && (entries[n-1].epoch >= e.epoch || entries[n-1].startOffset >= e.startOffset) {
		n--
	}
	return append(entries[:n], e)
}

// assign notes that epoch starts at startOffset. The latest epoch again, at the same or a later offset, changes nothing.
func (c *epochCache) assign(epoch int32, startOffset int64) {
	if epoch < 0 || startOffset < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.entries); n > 0 {
		if last := c.entries[n-1]; last.epoch == epoch && startOffset >= last.startOffset {
			return
		}
	}
	c.entries = insertEpoch(c.entries, epochEntry{epoch, startOffset})
	c.version++
}

// truncateFromEnd drops the epochs that start at or after offset, and returns them.
func (c *epochCache) truncateFromEnd(offset int64) []epochEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	for n > 0 && c.entries[n-1].startOffset >= offset {
		n--
	}
	dropped := slices.Clone(c.entries[n:])
	if n < len(c.entries) {
		c.entries = c.entries[:n]
		c.version++
	}
	return dropped
}

// truncateFromStart drops the epochs that lie wholly below offset; the one that covers offset then starts there.
func (c *epochCache) truncateFromStart(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.entries) && c.entries[n].startOffset <= offset {
		n++
	}
	if n == 0 || n == 1 && c.entries[0].startOffset == offset {
		return
	}
	c.entries = slices.Delete(c.entries, 0, n-1)
	c.entries[0].startOffset = offset
	c.version++
}

// clear drops all epochs.
func (c *epochCache) clear() { c.truncateFromEnd(math.MinInt64) }

// latest returns the highest epoch, -1 if there is none.
func (c *epochCache) latest() int32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if n := len(c.entries); n > 0 {
		return c.entries[n-1].epoch
	}
	return -1
}

// earliest returns the lowest epoch, -1 if there is none.
func (c *epochCache) earliest() int32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.entries) > 0 {
		return c.entries[0].epoch
	}
	return -1
}

// epochOf returns the epoch that offset was written under, -1 if it lies below every known epoch.
func (c *epochCache) epochOf(offset int64) int32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, found := slices.BinarySearchFunc(c.entries, offset, func(e epochEntry, o int64) int { return cmp.Compare(e.startOffset, o) })
	if !found {
		i--
	}
	if i < 0 {
		return -1
	}
	return c.entries[i].epoch
}

// endOffsetFor answers OffsetForLeaderEpoch: the largest known epoch that is not above epoch, and the offset where the next one starts (logEnd for
// the latest). An epoch below all known ones is answered with itself and the first known start; one above all, or -1, with (-1, -1).
func (c *epochCache) endOffsetFor(epoch int32, logEnd int64) (int32, int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n := len(c.entries)
	switch {
	case epoch == -1 || n == 0 || epoch > c.entries[n-1].epoch:
		return -1, -1
	case epoch == c.entries[n-1].epoch:
		return epoch, logEnd
	}
	i, found := slices.BinarySearchFunc(c.entries, epoch, func(e epochEntry, t int32) int { return cmp.Compare(e.epoch, t) })
	if found {
		return epoch, c.entries[i+1].startOffset
	}
	if i == 0 {
		return epoch, c.entries[0].startOffset
	}
	return c.entries[i-1].epoch, c.entries[i].startOffset
}

// flush writes the cache to its file, synced, if it has changed since the last flush.
func (c *epochCache) flush() error { return c.flushBelow(math.MaxInt64) }

// flushBelow is flush, but writes nothing if all that is new are epochs that start at or above end, the log's: they have no batch, and a start of the broker
// makes one for each log that it leads. The next leader's epoch begins where such a one began.
func (c *epochCache) flushBelow(end int64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	next, path := c.behind(end)
	if next == nil {
		return nil
	}
	c.next = nil
	if err := replaceFile(c.fs, path, formatEpochs(next.entries)); err != nil {
		return err
	}
	c.written, c.stored = next.version, next.entries
	return nil
}

// behind returns what flushBelow(end) is to write, nil if nothing, and to which file. Caller holds writing.
func (c *epochCache) behind(end int64) (next *epochFile, path string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.version == c.written || c.onlyNewFrom(end) {
		return nil, ""
	}
	return &epochFile{c.version, slices.Clone(c.entries)}, c.path()
}

// prepare is the first part of flushBelow(end), without a sync: the file has another name. install is the second, once that is on the disk.
func (c *epochCache) prepare(end int64) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	next, path := c.behind(end)
	if next == nil {
		return nil
	}
	if err := writeFile(c.fs, path+temporary, formatEpochs(next.entries), false); err != nil {
		return err
	}
	c.next = next
	return nil
}

// install gives the file that prepare has written its name, and reports whether there was one. The name is not synced.
func (c *epochCache) install() (installed bool, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.next == nil {
		return false, nil
	}
	c.mu.RLock()
	path := c.path()
	c.mu.RUnlock()
	if err := c.fs.Rename(path+temporary, path); err != nil {
		return false, err
	}
	c.written, c.stored, c.next = c.next.version, c.next.entries, nil
	return true, nil
}

// upToDate reports whether flushBelow(end) has nothing to do. It does not wait for one that is under way.
func (c *epochCache) upToDate(end int64) bool {
	if !c.writing.TryLock() {
		return false
	}
	defer c.writing.Unlock()
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.version == c.written || c.onlyNewFrom(end)
}

// onlyNewFrom reports whether the file has exactly the entries that start below end. Caller holds writing and mu.
func (c *epochCache) onlyNewFrom(end int64) bool {
	n := len(c.entries)
	for n > 0 && c.entries[n-1].startOffset >= end {
		n--
	}
	return slices.Equal(c.entries[:n], c.stored)
}

// move runs rename, which makes dir the log's folder, while nothing is flushed.
func (c *epochCache) move(dir string, rename func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := rename(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dir = dir
	return nil
}
