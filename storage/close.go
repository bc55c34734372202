package storage

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// closers is how many logs of a dir are closed at the same time: their fsyncs share the file system's commits.
const closers = 64

// closing is a log on its way out, in three steps: it writes what a clean stop leaves, that is brought to the disk, and the log lets go of its files. A Store takes each step for all
// logs of a dir before the next, so that one sync of the volume can serve them. It belongs to who closes the log; after the first step nothing in the log changes any more.
type closing struct {
	log      *Log
	begun    bool  // it was in service until now
	snapshot int64 // the producer snapshot that is not on the disk, noOffset none
	err      error // of the steps so far
}

// Close writes what a clean stop leaves: finished indexes, a producer snapshot at the log's end, everything synced. Slices that are out stay valid.
// Later calls answer KafkaStorageError. Closing again does nothing.
func (l *Log) Close() error {
	c := closing{log: l}
	c.begin()
	c.sync()
	return c.end()
}

// closeLogs closes all logs of d.
func (s *Store) closeLogs(d *logDir) error {
	hosted := s.hostedIn(d)
	all := make([]*closing, len(hosted))
	for i, h := range hosted {
		all[i] = &closing{log: h.log}
	}
	var dirty atomic.Int64
	_ = parallel(closers, all, func(c *closing) error {
		if c.begin(); c.unsynced() {
			dirty.Add(1)
		}
		return nil
	})
	if dirty.Load() < volumeFrom || !d.flusher.syncClosing(all) {
		_ = parallel(closers, all, func(c *closing) error {
			c.sync()
			return nil
		})
	}
	return parallel(closers, all, func(c *closing) error {
		if err := c.end(); err != nil {
			return fmt.Errorf("%s: %w", c.log.TopicPartition(), err)
		}
		return nil
	})
}

// begin takes the log out of service and writes what is missing. Nothing of it needs to be on the disk yet.
func (c *closing) begin() {
	l := c.log
	c.snapshot = noOffset
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.begun = l.offline() == nil; !c.begun {
		return
	}
	c.err = c.finish()
	l.refuse(errLogClosed)
}

// finish completes the files of the log. Caller holds Log.mu.
func (c *closing) finish() error {
	l := c.log
	if err := l.view.Load().active().finish(); err != nil {
		return err
	}
	p := l.producers
	if end := l.logEnd.Load(); p.end() < end {
		p.advanceTo(end)
	}
	if err := p.takeSnapshot(false); err != nil {
		return err
	}
	if p.snapUnsynced {
		c.snapshot = p.snapEnd
		l.dirUnsynced.Store(true)
	}
	return nil
}

// unsynced reports whether something of the log may not be on the disk.
func (c *closing) unsynced() bool {
	l := c.log
	if !c.begun || c.err != nil {
		return false
	}
	if c.snapshot != noOffset || !l.metaSynced.Load() || l.dirUnsynced.Load() || !l.epochs.upToDate(l.logEnd.Load()) {
		return true
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return slices.ContainsFunc(l.unsyncedSegments(), func(s *segment) bool {
		_, dirty := s.unsynced()
		return dirty
	})
}

// unsyncedSegments returns the segments that may not be durable with their indexes. Caller holds syncMu.
func (l *Log) unsyncedSegments() []*segment {
	v := l.view.Load()
	return v.segments[v.find(l.fullySynced):]
}

// sync brings the log to the disk file by file.
func (c *closing) sync() {
	if !c.begun || c.err != nil {
		return
	}
	l := c.log
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if c.err = c.syncFiles(); c.err == nil && l.alone != nil {
		c.err = l.alone.markClean(l)
	}
}

func (c *closing) syncFiles() error {
	l := c.log
	if lost := l.lost.Load(); lost != nil {
		return lost.err
	}
	if c.snapshot != noOffset {
		if err := syncSnapshot(passing(l.fs), l.folder.String(), c.snapshot); err != nil {
			return err
		}
	}
	v := l.view.Load()
	if err := l.syncSegments(v, l.logEnd.Load()); err != nil {
		return err
	}
	if err := v.active().syncFiles(true); err != nil {
		return err
	}
	return l.flushMeta()
}

// end lets go of the files.
func (c *closing) end() error {
	l := c.log
	if !c.begun {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letGo()
	if c.err != nil {
		l.logger.Error("closing the log failed", zap.String("dir", l.Dir()), zap.Error(c.err))
		return l.storageFailed("close", c.err)
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.syncedTo.Store(l.logEnd.Load())
	l.recoveryPoint.Store(l.logEnd.Load())
	return nil
}

// syncClosing brings logs to the disk by syncs of the volume; false if there is no such sync or it failed: then the files are to tell whose write it was.
func (f *flusher) syncClosing(logs []*closing) bool {
	if f.volume == nil {
		return false
	}
	logs = slices.DeleteFunc(slices.Clone(logs), func(c *closing) bool { return !c.unsynced() })
	if parallel(closers, logs, (*closing).prepare) != nil {
		return false
	}
	var files []vfs.File
	for _, c := range logs {
		files = append(files, c.files()...)
	}
	if f.fs.SyncVolume(f.volume, files) != nil {
		return false
	}
	if parallel(closers, logs, (*closing).rename) != nil {
		return false
	}
	renamed := slices.ContainsFunc(logs, func(c *closing) bool { return c.log.dirUnsynced.Load() })
	if renamed && f.volume.Sync() != nil {
		return false
	}
	return true
}

// prepare writes what a sync by files writes on its way.
func (c *closing) prepare() error {
	l := c.log
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if lost := l.lost.Load(); lost != nil {
		return lost.err
	}
	for _, s := range l.unsyncedSegments() {
		if err := s.txns.complete(); err != nil {
			return err
		}
	}
	return l.epochs.prepare(l.logEnd.Load())
}

// files returns those of the log's segments that may not be durable.
func (c *closing) files() (files []vfs.File) {
	c.log.syncMu.Lock()
	defer c.log.syncMu.Unlock()
	for _, s := range c.log.unsyncedSegments() {
		open, _ := s.unsynced()
		files = append(files, open...)
	}
	return files
}

// rename changes the names that only change once the content of all files is on the disk. What is not synced after it is told by Log.dirUnsynced.
func (c *closing) rename() error {
	l := c.log
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.dirUnsynced.Store(false) // the volume was synced
	installed, err := l.epochs.install()
	if installed {
		l.dirUnsynced.Store(true)
	}
	if err != nil {
		return err
	}
	for i, s := range l.unsyncedSegments() {
		if i == 0 {
			continue
		}
		l.dirUnsynced.Store(true)
		if err := l.removeMark(s.base); err != nil {
			return err
		}
	}
	return nil
}
