package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// Suffixes of a segment's files, and of the protocol by which files are replaced and removed.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	deletedSuffix   = ".deleted"
	cleanedSuffix   = ".cleaned"
	swapSuffix      = ".swap"
)

// segmentName is the 20-digit name that a segment's files share.
func segmentName(base int64) string { return fmt.Sprintf("%020d", base) }

// segmentBase parses the number that a file's name begins with; ok is false if it is not 20 digits and the suffix.
func segmentBase(name, suffix string) (base int64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), err == nil
}

// segment is one .log file and its indexes. The log's writer alone changes it; readers pin it with acquire, and then see the batches
// that lie below size. The files are closed when the log and all readers have let go.
type segment struct {
	base    int64
	folder  *folder
	file    vfs.File
	offsets offsetIndex
	times   timeIndex
	txns    txnIndex

	size atomic.Int64 // bytes of whole batches
	refs atomic.Int64 // 1 for the log, 1 for each reader
	sure atomic.Bool  // since the .log file was last synced it was only appended to: its length on the disk is no longer than here
	gone atomic.Bool  // set after view or marks tell of it, before its files lose their names: an index that is not open yet may not be found any more
	cuts cutList

	recent recentBatches

	maxMu sync.Mutex      // guards max
	max   timestampOffset // the largest timestamp so far, -1 none, and the last offset of its batch

	// Owned by the log's writer.
	created    int64 // ms, when the file was made or opened
	firstTime  int64 // max timestamp of the first batch, -1 none or not read yet
	jitter     int64 // ms by which a roll by time comes early
	sinceIndex int   // bytes since the last index entry
	fileEnd    int64 // length of the file, which is more than size if it was allocated in advance
	synced     int64 // bytes of .log known to be durable; guarded by Log.syncMu
}

func newSegment(fsys vfs.FS, dir *folder, base int64, now int64) *segment {
	s := &segment{base: base, folder: dir, created: now, firstTime: record.NoTimestamp}
	s.offsets = offsetIndex{indexFile{fs: fsys, folder: dir, base: base, suffix: indexSuffix, size: offsetEntrySize}}
	s.times = timeIndex{indexFile: indexFile{fs: fsys, folder: dir, base: base, suffix: timeIndexSuffix, size: timeEntrySize}}
	s.times.end = timestampOffset{record.NoTimestamp, base}
	s.txns = txnIndex{fs: fsys, folder: dir, base: base, suffix: txnIndexSuffix}
	s.max = timestampOffset{record.NoTimestamp, base}
	s.refs.Store(1)
	return s
}

// createSegment makes the files of an empty segment; leftovers of the same name are removed first.
func createSegment(fsys vfs.FS, dir *folder, base int64, c *LogConfig, now int64) (*segment, error) {
	s := newSegment(fsys, dir, base, now)
	err := s.txns.reset()
	if err == nil {
		s.file, err = fsys.Create(dir.join(segmentName(base) + logSuffix))
	}
	if err == nil && c.Preallocate {
		s.fileEnd = int64(c.SegmentBytes)
		err = s.file.Truncate(s.fileEnd)
	}
	if err == nil {
		err = s.offsets.create()
	}
	if err == nil {
		err = s.times.create()
	}
	if err != nil {
		s.abandon(fsys)
		return nil, err
	}
	return s, nil
}

// abandon closes and removes what createSegment has made so far.
func (s *segment) abandon(fsys vfs.FS) {
	if s.file != nil {
		s.file.Close()
	}
	s.offsets.close()
	s.times.close()
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		_ = fsys.Remove(s.path(suffix)) // best effort: recovery copes with an empty segment
	}
}

// openSegment opens existing files; the .log file is taken to be whole batches to its end.
func openSegment(fsys vfs.FS, dir *folder, base int64, now int64) (*segment, error) {
	s := newSegment(fsys, dir, base, now)
	f, err := fsys.Open(s.path(logSuffix))
	if err != nil {
		return nil, err
	}
	length, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	s.file, s.fileEnd = f, length
	s.size.Store(length)
	return s, nil
}

func (s *segment) path(suffix string) string { return s.folder.join(segmentName(s.base) + suffix) }

// acquire pins the segment; false if it is gone.
func (s *segment) acquire() bool {
	for {
		n := s.refs.Load()
		if n == 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release undoes acquire; the last one closes the files.
func (s *segment) release() error {
	if s.refs.Add(-1) > 0 {
		return nil
	}
	return errors.Join(s.file.Close(), s.offsets.close(), s.times.close(), s.txns.close())
}

func (s *segment) maxTimestamp() timestampOffset {
	s.maxMu.Lock()
	defer s.maxMu.Unlock()
	return s.max
}

func (s *segment) setMaxTimestamp(t timestampOffset) {
	s.maxMu.Lock()
	defer s.maxMu.Unlock()
	s.max = t
}

// noteBatch enters a batch that stands at h.pos into the indexes: an entry is due before it if more than interval bytes came since the last one.
func (s *segment) noteBatch(h *batchHeader, interval, maxEntries int) {
	s.maxMu.Lock()
	if h.maxTimestamp > s.max.timestamp {
		s.max = timestampOffset{h.maxTimestamp, h.lastOffset}
	}
	largest := s.max
	s.maxMu.Unlock()
	if h.pos == 0 {
		s.firstTime = h.maxTimestamp
	}
	if h.magic == record.Magic2 {
		s.recent.add(h.baseOffset, h.pos)
	}
	if s.sinceIndex > interval && h.lastOffset-s.base <= math.MaxInt32 && h.pos <= math.MaxInt32 && s.offsets.known() < maxEntries {
		s.offsets.append(h.lastOffset, h.pos)
		s.times.maybeAppend(largest)
		s.sinceIndex = 0
	}
	s.sinceIndex += h.size
}

// finish writes what a segment lacks that gets no more batches: the last time index entry, and files of exact length.
func (s *segment) finish() error {
	if t := s.maxTimestamp(); t.timestamp >= 0 && t.offset-s.base <= math.MaxInt32 {
		s.times.maybeAppend(t)
	}
	if size := s.size.Load(); s.fileEnd > size {
		if err := s.file.Truncate(size); err != nil {
			return err
		}
		s.sure.Store(false)
		s.fileEnd = size
	}
	return errors.Join(s.offsets.trim(), s.times.trim())
}

// syncFiles makes the segment durable. all says whether its indexes too, which only a finished segment needs.
func (s *segment) syncFiles(all bool) error {
	size := s.size.Load()
	if size > s.synced || all && !s.sure.Load() {
		s.sure.Store(true) // what is cut off while the sync runs changes it again
		if err := s.file.Sync(); err != nil {
			s.sure.Store(false)
			return err
		}
		s.synced = size
	}
	if !all {
		return nil
	}
	return errors.Join(s.offsets.sync(), s.times.sync(), s.txns.sync())
}

// unsynced reports whether the segment, with its indexes, may not be on the disk, and returns its files that are in use. Caller holds Log.syncMu.
func (s *segment) unsynced() (files []vfs.File, dirty bool) {
	files = append(files, s.file)
	dirty = s.size.Load() > s.synced || !s.sure.Load()
	for _, index := range []interface{ unsynced() (vfs.File, bool) }{&s.offsets, &s.times, &s.txns} {
		f, changed := index.unsynced()
		if f != nil {
			files = append(files, f)
		}
		dirty = dirty || changed
	}
	return files, dirty
}

// files lists the paths of all files that exist or may exist.
func (s *segment) files() []string {
	return []string{s.path(logSuffix), s.path(indexSuffix), s.path(timeIndexSuffix), s.path(txnIndexSuffix)}
}

// markDeleted renames the files to .deleted and returns their new paths. The .log file goes first: without it the others mean nothing.
func (s *segment) markDeleted(fsys vfs.FS) ([]string, error) {
	var renamed []string
	for _, path := range s.files() {
		err := fsys.Rename(path, path+deletedSuffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return renamed, err
		}
		renamed = append(renamed, path+deletedSuffix)
	}
	return renamed, nil
}

// largestTimestamp is the largest timestamp of the segment's records, else the time of the file's last change (LogSegment.largestTimestamp).
func (s *segment) largestTimestamp(fsys vfs.FS) (int64, error) {
	t, err := s.indexedMax(make([]byte, scratchSize))
	if err != nil || t.timestamp >= 0 {
		return t.timestamp, err
	}
	info, err := fsys.Stat(s.path(logSuffix))
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}

// loadMax takes the largest timestamp from the time index, of a segment that was finished.
func (s *segment) loadMax(scratch []byte) error {
	if err := s.times.reload(scratch); err != nil {
		return err
	}
	s.setMaxTimestamp(s.times.end)
	return nil
}

// firstTimestamp is the max timestamp of the first batch, from which the age of the segment counts; -1 if there is none.
func (s *segment) firstTimestamp(scratch []byte) int64 {
	if s.firstTime < 0 && s.size.Load() > 0 {
		sc := scanner{file: s.file, end: s.size.Load(), buf: scratch}
		if h, err := sc.next(); err == nil {
			s.firstTime = h.maxTimestamp
		}
	}
	return s.firstTime
}

// walk starts a walk, which ends at limit (a position), from which the first batch whose last offset is at or above offset is found. The index has no checksum: if no
// batch is where it points to, or one that lies beyond the entry, the walk starts at the beginning.
func (s *segment) walk(offset, limit int64, scratch []byte) (scanner, error) {
	from, known := s.recent.from(offset, limit)
	if !known {
		var err error
		if from, err = s.offsets.lookup(scratch, offset); err != nil {
			return scanner{}, err
		}
	}
	sc := scanner{file: s.file, pos: from, end: limit, buf: scratch}
	if known || from == 0 {
		return sc, nil
	}
	h, err := sc.next()
	switch {
	case err == nil && h.baseOffset >= s.base && h.lastOffset <= offset:
		sc.pos = from
	case err == nil, err == io.EOF, errors.Is(err, protocol.CorruptMessage): //nolint:errorlint // next returns it bare
		sc.pos = 0
	default:
		return sc, err
	}
	return sc, nil
}

// locate finds the first batch below limit (a position) whose last offset is at or above offset.
func (s *segment) locate(offset, limit int64, scratch []byte) (h batchHeader, ok bool, err error) {
	sc, err := s.walk(offset, limit, scratch)
	if err != nil {
		return h, false, err
	}
	for {
		h, err := sc.next()
		if err == io.EOF { //nolint:errorlint // next returns it bare
			return h, false, nil
		}
		if err != nil {
			return h, false, err
		}
		if h.lastOffset >= offset {
			return h, true, nil
		}
	}
}

// boundary returns the largest position at or below limit, and below size, where a batch begins, from start on, where one does, and the offset that begins there.
func (s *segment) boundary(start, limit, size int64, scratch []byte) (at, offset int64, err error) {
	from, known := s.recent.before(limit)
	if !known {
		if from, err = s.indexedBefore(start, limit, scratch); err != nil {
			return 0, 0, err
		}
	}
	sc := scanner{file: s.file, pos: max(from, start), end: size, buf: scratch}
	for {
		h, err := sc.next()
		if err != nil {
			return 0, 0, err // not the end: limit lies before it
		}
		if h.end() > limit {
			return h.pos, h.baseOffset, nil
		}
	}
}

// indexedBefore returns where in (start, limit] a batch begins by the index, start if it has none or what it says is not so: it has no checksum.
func (s *segment) indexedBefore(start, limit int64, scratch []byte) (int64, error) {
	from, last, err := s.offsets.before(scratch, limit)
	if err != nil || from <= start {
		return start, err
	}
	sc := scanner{file: s.file, pos: from, end: s.size.Load(), buf: scratch}
	h, err := sc.next()
	switch {
	case err == nil && h.baseOffset >= s.base && h.lastOffset <= last:
		return from, nil
	case err == nil, err == io.EOF, errors.Is(err, protocol.CorruptMessage): //nolint:errorlint // next returns it bare
		return start, nil
	}
	return 0, err
}

// cutTo drops the batches from position on, which must be where one begins, and their index entries. Readers learn of it before the bytes go.
func (s *segment) cutTo(position, offset int64, scratch []byte, now int64) error {
	s.cuts.add(position)
	s.size.Store(position)
	s.recent.clear()
	s.synced = min(s.synced, position)
	if err := errors.Join(s.offsets.truncateTo(scratch, offset), s.times.truncateTo(scratch, offset), s.txns.truncateTo(offset)); err != nil {
		return err
	}
	if err := s.file.Truncate(position); err != nil {
		return err
	}
	s.sure.Store(false)
	s.fileEnd, s.sinceIndex = position, 0
	if position == 0 {
		s.created, s.firstTime = now, record.NoTimestamp
	}
	return s.rescanMax(scratch)
}

// rescanMax finds the largest timestamp again: the time index knows it for the batches up to its last entry.
func (s *segment) rescanMax(scratch []byte) error {
	if err := s.times.reload(scratch); err != nil {
		return err
	}
	largest := s.times.end
	sc, err := s.walk(largest.offset, s.size.Load(), scratch)
	if err != nil {
		return err
	}
	for {
		h, err := sc.next()
		if err == io.EOF { //nolint:errorlint // next returns it bare
			s.setMaxTimestamp(largest)
			return nil
		}
		if err != nil {
			return err
		}
		if h.maxTimestamp > largest.timestamp {
			largest = timestampOffset{h.maxTimestamp, h.lastOffset}
		}
	}
}

// cutList remembers where a segment was cut, so that a slice made before can tell whether it was hit.
type cutList struct {
	n  atomic.Int64 // len(at)
	mu sync.Mutex   // guards at
	at []int64
}

func (c *cutList) add(position int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = append(c.at, position)
	c.n.Store(int64(len(c.at)))
}

// hit reports whether a cut after the first seen ones removed bytes below end.
func (c *cutList) hit(seen, end int64) bool {
	if c.n.Load() == seen {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.at[seen:] {
		if at < end {
			return true
		}
	}
	return false
}

// recentBatches remembers where the last batches of the active segment begin: most readers are near the end.
type recentBatches struct {
	mu   sync.Mutex      // guards the rest
	n    int             // added so far; the last len(ring) of them are known
	ring []batchPosition // grows with the first ones: most segments get few batches, or none any more
}

// recentKept is how many batches are remembered.
const recentKept = 32

type batchPosition struct{ offset, position int64 }

func (r *recentBatches) add(offset, position int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n < recentKept {
		r.ring = append(r.ring, batchPosition{offset, position})
	} else {
		r.ring[r.n%recentKept] = batchPosition{offset, position}
	}
	r.n++
}

func (r *recentBatches) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n, r.ring = 0, nil
}

// from returns the position of the last batch that begins at or below offset and stands below limit, if it is known.
func (r *recentBatches) from(offset, limit int64) (position int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := r.n - 1; i >= max(0, r.n-len(r.ring)); i-- {
		if e := &r.ring[i%recentKept]; e.offset <= offset && e.position < limit {
			return e.position, true
		}
	}
	return 0, false
}

// before returns the position of the last batch that begins at or below limit, if it is known.
func (r *recentBatches) before(limit int64) (position int64, ok bool) {
	return r.from(math.MaxInt64, limit+1)
}

func nowMs() int64 { return time.Now().UnixMilli() }
