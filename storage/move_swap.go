package storage

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/ottla/ottla/protocol"
	"go.uber.org/zap"
)

// replace puts the copy, which has nearly caught up, into the place of its log. It copies the rest while v.Replace keeps everybody else from the log.
//
// A crash leaves either the old folder and the copy (the move goes on), or two folders of which the one with arrivedName counts, or the new folder alone. What is durable in the
// old folder is so in the new one before the name changes.
func (s *Store) replace(v *move, future *hostedLog) (err error) {
	release, err := s.claim(v.tp)
	if err != nil {
		return err
	}
	defer release()
	current := s.hosted(v.tp)
	if current == nil || s.future(v.tp) != future {
		return nil // deleted or cancelled meanwhile
	}
	v.Replace(func() (*Log, error) {
		if err = s.catchUp(v, current, future); err != nil {
			return nil, err
		}
		if err = s.swap(v.tp, current, future); err != nil {
			return nil, err
		}
		return future.log, nil
	})
	return err
}

// catchUp makes the copy equal to the log, and durable.
func (s *Store) catchUp(v *move, current, future *hostedLog) error {
	c := copier{from: current.log, to: future.log, buf: v.buf, limit: movePiece}
	defer func() { v.buf = c.buf }()
	for n := int64(1); n > 0; {
		var err error
		if n, err = c.copy(); err != nil {
			return err
		}
	}
	return future.log.completeAs(current.log)
}

// completeAs gives a copy that has all of original's batches what else is to be the same, and makes it durable.
func (l *Log) completeAs(original *Log) error {
	l.Configure(original.Config())
	end := original.Offsets().LogEnd
	if err := l.endAt(end); err != nil {
		return err
	}
	l.epochs.adopt(original.epochs)
	c := copier{from: original, to: l}
	if err := c.follow(original.Offsets()); err != nil {
		return err
	}
	if err := l.adoptProducers(original); err != nil {
		return err
	}
	if err := l.Sync(); err != nil {
		return err
	}
	return l.syncNames()
}

// adoptProducers takes over the producer state of original, which ends where l does, with a snapshot of it: batches that retention or compaction has removed cannot
// tell of their producers any more. Compaction goes on where it was.
func (l *Log) adoptProducers(original *Log) error {
	l.cleaned.Store(min(original.cleaned.Load(), l.logEnd.Load()))
	original.mu.Lock()
	state, guards := original.producers.copied(), original.guards
	original.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offline(); err != nil {
		return err
	}
	l.guards = guards
	l.producers.adopt(state, l.logEnd.Load())
	if err := l.producers.takeSnapshot(true); err != nil {
		return l.storageFailed("write of a producer snapshot", err)
	}
	l.dirUnsynced.Store(true)
	l.setUnstable()
	return nil
}

// syncNames makes durable what Sync leaves out where there is nothing to flush: the topic's id and the names of the files of a log without records.
func (l *Log) syncNames() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.flushMeta(); err != nil {
		return err
	}
	if !l.dirUnsynced.Swap(false) {
		return nil
	}
	if err := l.fs.SyncDir(l.folder.String()); err != nil {
		l.dirUnsynced.Store(true)
		return err
	}
	return nil
}

// endAt raises the log's end to end, where the log that it is a copy of ends: the batches before it may be gone.
func (l *Log) endAt(end int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offline(); err != nil {
		return err
	}
	if end <= l.logEnd.Load() {
		return nil
	}
	l.logEnd.Store(end)
	if _, err := l.roll(end, l.config.Load(), nowMs()); err != nil {
		return l.storageFailed("roll", err)
	}
	return nil
}

// adopt takes over the epochs of another cache, of the same log.
func (c *epochCache) adopt(other *epochCache) {
	other.mu.RLock()
	entries := append([]epochEntry(nil), other.entries...)
	other.mu.RUnlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = entries
	c.version++
}

// swap makes future the partition's log and has the folder of current deleted. After an error from the copy's dir current is still the log.
func (s *Store) swap(tp protocol.TopicPartition, current, future *hostedLog) error {
	began := time.Now()
	folder := future.dir.partitionDir(tp)
	if err := s.settleArrival(current); err != nil {
		s.failDir(current.dir, err)
		return err
	}
	if err := s.settleIn(future, folder); err != nil {
		s.failDir(future.dir, err)
		return err
	}
	s.mu.Lock()
	current.leaving = true
	s.logs[tp] = future
	delete(s.futures, tp)
	s.mu.Unlock()
	from := current.log.Dir()
	if err := s.moveToDelete(current); err != nil {
		current.log.fail(err)
		s.failDir(current.dir, err)
	} else {
		future.dir.worker.after(0, func() error {
			return errors.Join(s.forgetArrival(current.dir, future), s.checkpointCleaned(future.dir))
		})
	}
	s.logger.Info("replica has moved to another log dir", zap.Stringer("partition", tp), zap.String("from", from), zap.String("to", folder),
		zap.Int64("bytes", future.log.Size()), zap.Duration("appends waited", time.Since(began)))
	return nil
}

// settleArrival completes the move that may have brought h where it is, before it moves on: of two or three folders of one partition the newest must count. The file may
// have been removed by a run of the broker that was killed, and come back.
func (s *Store) settleArrival(h *hostedLog) error {
	s.settleVanished(h.dir)
	folder := h.log.Dir()
	if err := s.fs.Remove(filepath.Join(folder, arrivedName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fs.SyncDir(folder)
}

// settleIn gives the copy its final folder.
func (s *Store) settleIn(future *hostedLog, folder string) error {
	old := future.log.Dir()
	if err := writeFile(s.fs, filepath.Join(old, arrivedName), nil, true); err != nil {
		return err
	}
	if err := s.fs.SyncDir(old); err != nil {
		return err
	}
	if err := future.log.relocate(folder); err != nil {
		return err
	}
	return s.fs.SyncDir(future.dir.path)
}

// forgetArrival removes the file arrivedName once the old folder's new name is durable.
func (s *Store) forgetArrival(from *logDir, h *hostedLog) error {
	if err := s.fs.SyncDir(from.path); err != nil {
		s.failDir(from, err)
		return nil
	}
	err := s.fs.Remove(filepath.Join(h.log.Dir(), arrivedName))
	if errors.Is(err, fs.ErrNotExist) { // it has begun to move on
		err = nil
	}
	return h.dir.worker.ofLive(h.log, err)
}

// relocate renames the log's folder to dir. The log stays in service.
func (l *Log) relocate(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.offline(); err != nil {
		return err
	}
	if err := l.epochs.move(dir, func() error { return l.fs.Rename(l.folder.String(), dir) }); err != nil {
		return err
	}
	l.folder.path.Store(&dir)
	l.producers.moved(dir)
	return nil
}
