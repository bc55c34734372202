package storage

import (
	"errors"
	"io/fs"
	"time"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// The segment that compaction has made takes the place of its sources in steps of which each, after a crash, leads to the one log or the other:
//
//  1. its files are complete and synced as .cleaned; loading removes them
//  2. they are renamed to .swap, the .log last; while one is still .cleaned loading removes all, after that it goes on from here
//  3. readers see the new segment; the sources' files are renamed to .deleted
//  4. .swap is taken off the names, and the folder synced

// createCleaned makes the files of a segment under their names for step 1.
func createCleaned(fsys vfs.FS, dir *folder, base, now int64) (*segment, error) {
	s := newSegment(fsys, dir, base, now)
	s.offsets.suffix += cleanedSuffix
	s.times.suffix += cleanedSuffix
	s.txns.suffix += cleanedSuffix
	err := s.txns.reset() // of an attempt that ended early
	if err == nil {
		s.file, err = fsys.Create(s.path(logSuffix) + cleanedSuffix)
	}
	if err == nil {
		err = s.offsets.create()
	}
	if err == nil {
		err = s.times.create()
	}
	if err != nil {
		s.abandonCleaned(fsys)
		return nil, err
	}
	return s, nil
}

// abandonCleaned closes and removes what step 1 has made so far.
func (s *segment) abandonCleaned(fsys vfs.FS) {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.offsets.close()
	s.times.close()
	s.txns.close()
	for _, path := range s.files() {
		_ = fsys.Remove(path + cleanedSuffix) // best effort: loading removes it
	}
}

// flushIndexes writes the index entries that are in memory only.
func (s *segment) flushIndexes() error {
	return errors.Join(s.offsets.flush(), s.times.flush())
}

// completeCleaned ends step 1.
func (s *segment) completeCleaned(fsys vfs.FS, modified int64) error {
	if err := s.finish(); err != nil {
		return err
	}
	if err := s.syncFiles(true); err != nil {
		return err
	}
	return fsys.SetModTime(s.path(logSuffix)+cleanedSuffix, time.UnixMilli(modified))
}

// renameFiles changes the names of a new segment's files, the .log last.
func (s *segment) renameFiles(fsys vfs.FS, from, to string) error {
	suffixes := []string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix}
	for _, suffix := range suffixes {
		err := fsys.Rename(s.path(suffix)+from, s.path(suffix)+to)
		if err != nil && (suffix != txnIndexSuffix || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

// setNames tells the indexes their files' last names.
func (s *segment) setNames() {
	s.offsets.setSuffix(indexSuffix)
	s.times.setSuffix(timeIndexSuffix)
	s.txns.mu.Lock()
	defer s.txns.mu.Unlock()
	s.txns.suffix = txnIndexSuffix
}

func (x *indexFile) setSuffix(suffix string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.suffix = suffix
}

// openIndexes opens what was not opened yet: readers that hold the segment must find its own files when others have their names.
func (s *segment) openIndexes() error {
	s.txns.mu.Lock()
	err := s.txns.open()
	s.txns.mu.Unlock()
	return errors.Join(err, s.offsets.ensureOpen(), s.times.ensureOpen())
}

func (x *indexFile) ensureOpen() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.open()
}

// indexSizes returns the bytes of the offset and the time index.
func (s *segment) indexSizes() (offsets, times int64, err error) {
	err = s.held(func() error { return errors.Join(s.offsets.ensureOpen(), s.times.ensureOpen()) })
	return int64(s.offsets.known()) * offsetEntrySize, int64(s.times.known()) * timeEntrySize, err
}

// replace puts dest, whose files are complete, in the place of group, if that is still a part of the log; done says whether it has become one. An error other
// than errCleaningAborted means that the disk has failed.
func (p *pass) replace(group []*segment, dest *segment) (done bool, err error) {
	l := p.log
	if done, err = l.replace(p, group, dest); err != nil {
		return done, err
	}
	// Not under the log's mutex: appends need not wait for it, and until it is done the log after a crash is the old one or the new one.
	return true, l.fs.SyncDir(l.folder.String())
}

func (l *Log) replace(p *pass, group []*segment, dest *segment) (done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := p.position()
	if l.offline() != nil || l.truncations.Load() != p.truncations || !ok {
		return false, errCleaningAborted
	}
	for _, s := range group {
		if err := s.openIndexes(); err != nil {
			return false, err
		}
	}
	err = dest.renameFiles(l.fs, cleanedSuffix, swapSuffix)
	if err == nil {
		done = true
		err = l.swapIn(group, dest, at)
	}
	if err != nil {
		l.shut(err) // names and list do not agree any more: only loading brings them together
		return done, l.storageFailed("replacement of segments", err)
	}
	return true, nil
}

// swapIn does steps 3 and 4. Caller holds mu.
func (l *Log) swapIn(group []*segment, dest *segment, at int) error {
	v := l.view.Load()
	segments := make([]*segment, 0, len(v.segments)-len(group)+1)
	segments = append(segments, v.segments[:at]...)
	segments = append(segments, dest)
	segments = append(segments, v.segments[at+len(group):]...)
	l.view.Store(&view{segments})
	var failed error
	for _, old := range group {
		if failed == nil {
			failed = l.removeReplaced(old, dest)
		}
		l.release(old)
	}
	if failed != nil {
		return failed
	}
	if err := dest.renameFiles(l.fs, swapSuffix, ""); err != nil {
		return err
	}
	dest.setNames()
	return nil
}

// removeReplaced marks the files of a segment deleted that dest replaces. The producer snapshot at dest's base stays.
func (l *Log) removeReplaced(old, dest *segment) error {
	if old.base != dest.base {
		return l.removeFiles(old)
	}
	paths, err := old.markDeleted(l.fs)
	if err != nil {
		return err
	}
	if l.host != nil {
		l.host.deleteLater(l, l.config.Load().FileDeleteDelayMs, paths...)
		return nil
	}
	for _, path := range paths {
		if err := l.fs.Remove(path); err != nil {
			l.logger.Warn("file cannot be removed", zap.String("path", path), zap.Error(err))
		}
	}
	return nil
}

// cleanedTo notes that the log is compacted up to offset, unless it was truncated since.
func (l *Log) cleanedTo(offset, truncations int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline() != nil || l.truncations.Load() != truncations {
		return errCleaningAborted
	}
	l.cleaned.Store(offset)
	return nil
}

// uncleanedFrom follows a truncation to end: what comes there now is dirty. Caller holds mu.
func (l *Log) uncleanedFrom(end int64) {
	l.truncations.Add(1)
	if l.cleaned.Load() > end {
		l.cleaned.Store(end)
	}
}
