package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// Create makes the partition's log, in the dir that was preferred (PreferDir) or else the one that holds the fewest, or returns the log that is there with the same topic id. A log with another
// topic id, or none, is set aside as -stray first. Nothing is synced before the log's first flush.
//
// Errors: KafkaStorageError when the log that is there is offline, or no dir is left; InvalidTopicException for the controller's own logs.
func (s *Store) Create(tp protocol.TopicPartition, topicID protocol.UUID, c LogConfig) (*Log, error) {
	if reservedTopic(tp.Topic) {
		return nil, protocol.Errorf(protocol.InvalidTopicException, "%s belongs to the controller", tp)
	}
	release, err := s.claim(tp)
	if err != nil {
		return nil, err
	}
	defer release()
	if h := s.hosted(tp); h != nil {
		if err := s.offline(h.dir); err != nil {
			return nil, protocol.Errorf(protocol.KafkaStorageError, "log of %s is offline: %w", tp, err)
		}
		if h.log.TopicID() == topicID {
			h.log.Configure(c)
			return h.log, nil
		}
		how := s.moveAside
		if h.log.TopicID().IsZero() && h.log.Offsets().LogEnd == 0 { // its creation did not reach the disk before a crash
			how = s.moveToDelete
		}
		if err := s.takeOut(h, how); err != nil {
			return nil, err
		}
	}
	d := s.placeFor(tp)
	if d == nil {
		return nil, protocol.Errorf(protocol.KafkaStorageError, "no log dir is online")
	}
	if err := s.nameable(d, tp); err != nil {
		return nil, err
	}
	log, err := s.create(d, tp, topicID, c)
	if err != nil {
		return nil, s.creationFailed(d, tp, err)
	}
	s.mu.Lock()
	s.logs[tp] = &hostedLog{log: log, dir: d}
	s.mu.Unlock()
	d.worker.settle(log)
	return log, nil
}

// creationFailed takes d offline, unless it is only full, and returns the error's form for the caller.
func (s *Store) creationFailed(d *logDir, tp protocol.TopicPartition, err error) error {
	err = fmt.Errorf("creation of %s in %s: %w", tp, d.path, err)
	s.failDir(d, err)
	return protocol.Errorf(protocol.KafkaStorageError, "%w", err)
}

func (s *Store) create(d *logDir, tp protocol.TopicPartition, topicID protocol.UUID, c LogConfig) (*Log, error) {
	if err := s.forget(d, tp); err != nil {
		return nil, err
	}
	s.settleVanished(d)
	folder := d.partitionDir(tp)
	if _, err := d.fs.Stat(folder); err == nil { // of a creation that failed halfway
		if err := d.fs.Rename(folder, filepath.Join(d.path, suffixedFolder(tp, straySuffix))); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	o := s.openOptions(d, tp, c)
	o.dir = folder
	return s.createIn(o, topicID)
}

// createIn makes a log in a new folder, o.dir. If there is no room for it the folder is removed again.
func (s *Store) createIn(o openOptions, topicID protocol.UUID) (l *Log, err error) {
	defer func() {
		if vfs.IsFull(err) {
			err = errors.Join(err, o.fs.RemoveAll(o.dir))
		}
	}()
	if err := o.fs.MkdirAll(o.dir); err != nil {
		return nil, err
	}
	if !topicID.IsZero() {
		if err := writePartitionMetadata(passing(o.fs), o.dir, topicID); err != nil {
			return nil, err
		}
	}
	o.fresh, o.clean = true, true
	return openLog(o)
}

// Delete takes the partition's log out of service and renames its folder to -delete at once; the folder is removed after file.delete.delay.ms. It is no
// error if there is no such log.
func (s *Store) Delete(tp protocol.TopicPartition) error {
	return s.remove(tp, s.moveToDelete)
}

func (s *Store) moveToDelete(h *hostedLog) error {
	delay := h.log.Config().FileDeleteDelayMs
	folder := filepath.Join(h.dir.path, suffixedFolder(h.log.TopicPartition(), deleteSuffix))
	if err := h.log.rename(folder); vfs.IsBusy(err) {
		s.logger.Warn("the folder of a removed log is in use, keeps its name for now and is removed later", zap.String("folder", h.log.Dir()), zap.Error(err))
		h.log.fail(errLogRemoved)
		s.renameLater(h.dir, h.log.TopicPartition(), h.log.Dir(), folder)
		return nil
	} else if err != nil {
		return err
	}
	h.dir.vanished.Store(true)
	h.dir.worker.clear(millis(delay), func() error { return h.dir.fs.RemoveAll(folder) }) // holds on to nothing of the log
	return nil
}

// renameLater gives the folder of a log that is out of service its name for deletion when nobody has it open any more, unless a new log of tp has taken its place, and set it aside,
// by then.
func (s *Store) renameLater(d *logDir, tp protocol.TopicPartition, folder, to string) {
	d.worker.after(busyDelay, func() error {
		release, err := s.claim(tp)
		if err != nil {
			return nil // the Store closes, and the next start sets it aside
		}
		defer release()
		for _, h := range []*hostedLog{s.hosted(tp), s.future(tp)} {
			if h != nil && h.log.Dir() == folder {
				return nil
			}
		}
		switch err := d.fs.Rename(folder, to); {
		case vfs.IsBusy(err):
			s.renameLater(d, tp, folder, to)
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		d.vanished.Store(true)
		d.worker.clear(0, func() error { return d.fs.RemoveAll(to) })
		return nil
	})
}

// SetAside takes the partition's log out of service and renames its folder to -stray, which is never removed. It is no error if there is no such log.
func (s *Store) SetAside(tp protocol.TopicPartition) error { return s.remove(tp, s.moveAside) }

func (s *Store) remove(tp protocol.TopicPartition, how func(h *hostedLog) error) error {
	release, err := s.claim(tp)
	if err != nil {
		return err
	}
	defer release()
	h := s.hosted(tp)
	if h == nil {
		return nil
	}
	return s.takeOut(h, how)
}

// takeOut removes h from the logs after how has done the disk's part.
func (s *Store) takeOut(h *hostedLog, how func(h *hostedLog) error) error {
	tp := h.log.TopicPartition()
	s.dropFuture(tp)
	if err := s.offline(h.dir); err != nil {
		return protocol.Errorf(protocol.KafkaStorageError, "log of %s is offline: %w", tp, err)
	}
	s.mu.Lock()
	h.leaving = true
	s.mu.Unlock()
	if err := how(h); err != nil {
		s.mu.Lock()
		h.leaving = h.log.offline() != nil
		s.mu.Unlock()
		s.failDir(h.dir, err)
		return protocol.Errorf(protocol.KafkaStorageError, "removal of %s: %w", tp, err)
	}
	s.mu.Lock()
	delete(s.logs, tp)
	s.mu.Unlock()
	return nil
}

func (s *Store) moveAside(h *hostedLog) error {
	folder := filepath.Join(h.dir.path, suffixedFolder(h.log.TopicPartition(), straySuffix))
	s.logger.Warn("replica is set aside", zap.String("partition", h.log.TopicPartition().String()),
		zap.Stringer("topic id", h.log.TopicID()), zap.String("folder", folder))
	if err := h.log.Close(); err != nil { // as complete as it can be: it is kept for people
		return err
	}
	if err := h.log.rename(folder); err != nil {
		return err
	}
	h.dir.vanished.Store(true)
	return nil
}

// settleVanished makes the removals in all dirs but except durable: a partition that is made or settles there must not meet, after a crash, an older folder of itself in
// another dir. Within one dir names change in order.
func (s *Store) settleVanished(except *logDir) {
	for _, d := range s.dirs {
		if d == except || s.offline(d) != nil || !d.vanished.Swap(false) {
			continue
		}
		if err := s.fs.SyncDir(d.path); err != nil {
			d.vanished.Store(true)
			s.failDir(d, err)
		}
	}
}

// suffixedFolder names the folder of a replica that goes out of service: the topic is cut so that the name is not too long for a file system.
func suffixedFolder(tp protocol.TopicPartition, suffix string) string {
	id := protocol.NewUUID()
	tail := "-" + strconv.Itoa(int(tp.Partition)) + "." + hex.EncodeToString(id[:]) + suffix
	return tp.Topic[:min(len(tp.Topic), maxFolderNameSize-len(tail))] + tail
}

// roomiest returns the online dir with the fewest logs, the first of them in log.dirs' order; nil if none is online.
func (s *Store) roomiest() *logDir {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirs) == 1 && s.dirs[0].failure == nil {
		return s.dirs[0]
	}
	count := map[*logDir]int{}
	for _, h := range s.logs {
		count[h.dir]++
	}
	for _, h := range s.futures {
		count[h.dir]++
	}
	var best *logDir
	for _, d := range s.dirs {
		if d.failure == nil && (best == nil || count[d] < count[best]) {
			best = d
		}
	}
	return best
}

func (s *Store) hosted(tp protocol.TopicPartition) *hostedLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs[tp]
}

// claim waits until nobody else changes tp's presence, and keeps others from it until release.
func (s *Store) claim(tp protocol.TopicPartition) (release func(), err error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, errClosed
		}
		busy := s.claimed[tp]
		if busy == nil {
			done := make(chan struct{})
			s.claimed[tp] = done
			s.running.Add(1) // Close waits for it
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.claimed, tp)
				s.mu.Unlock()
				close(done)
				s.running.Done()
			}, nil
		}
		s.mu.Unlock()
		<-busy
	}
}
