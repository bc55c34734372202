package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ottla/ottla/protocol"
	"go.uber.org/zap"
)

// maxPreferences bounds what PreferDir remembers: the names come from clients.
const maxPreferences = 10_000

// FutureLog returns the copy of the partition's log that is being made in another dir, nil if there is none.
func (s *Store) FutureLog(tp protocol.TopicPartition) *Log {
	if h := s.future(tp); h != nil {
		return h.log
	}
	return nil
}

// FutureLogs returns all such copies in dirs that are online, in order of topic and partition.
func (s *Store) FutureLogs() []*Log {
	s.mu.Lock()
	logs := make([]*Log, 0, len(s.futures))
	for _, h := range s.futures {
		if h.dir.failure == nil {
			logs = append(logs, h.log)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(logs, func(a, b *Log) int { return comparePartitions(a.TopicPartition(), b.TopicPartition()) })
	return logs
}

func (s *Store) future(tp protocol.TopicPartition) *hostedLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.futures[tp]
}

// AnyDirOffline reports whether a log dir is out of use: a replica that is not found may be in it.
func (s *Store) AnyDirOffline() bool { return s.firstOffline() != "" }

// firstOffline is the path of a dir that is out of use, "" if there is none.
func (s *Store) firstOffline() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dirs {
		if d.failure != nil {
			return d.path
		}
	}
	return ""
}

// dirAt finds a dir by its path, which is taken as it is (LogManager.isLogDirOnline). Errors: LogDirNotFound if it is none of log.dirs, KafkaStorageError if it is offline.
func (s *Store) dirAt(path string) (*logDir, error) {
	for _, d := range s.dirs {
		if d.path != path {
			continue
		}
		if err := s.offline(d); err != nil {
			return nil, protocol.Errorf(protocol.KafkaStorageError, "Log directory %s is offline: %w", path, err)
		}
		return d, nil
	}
	return nil, protocol.Errorf(protocol.LogDirNotFound, "Log dir %s is not found in the config.", path)
}

// CheckDir tells whether a replica of tp may be moved to the dir at path. Errors: InvalidTopicException if the name of the copy's folder would be too
// long, LogDirNotFound, KafkaStorageError if the dir is offline.
func (s *Store) CheckDir(tp protocol.TopicPartition, path string) error {
	if len(futureFolder(tp)) > maxFolderNameSize {
		return protocol.Errorf(protocol.InvalidTopicException, "The topic name is too long.")
	}
	_, err := s.dirAt(path)
	return err
}

// PreferDir has the partition's log made in the dir at path, if it is created later.
func (s *Store) PreferDir(tp protocol.TopicPartition, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[tp] != nil {
		return
	}
	if _, known := s.preferred[tp]; known || len(s.preferred) < maxPreferences {
		s.preferred[tp] = path
	}
}

// placeFor is the dir for a new log of tp: the preferred one, else the one with the fewest logs; nil if none is online.
func (s *Store) placeFor(tp protocol.TopicPartition) *logDir {
	s.mu.Lock()
	path, ok := s.preferred[tp]
	delete(s.preferred, tp)
	s.mu.Unlock()
	if ok {
		if d, err := s.dirAt(path); err == nil {
			return d
		}
	}
	return s.roomiest()
}

// futureFolder names the folder of a copy that is being made. Unlike the other suffixed names it is never cut.
func futureFolder(tp protocol.TopicPartition) string {
	id := protocol.NewUUID()
	return tp.Topic + "-" + strconv.Itoa(int(tp.Partition)) + "." + hex.EncodeToString(id[:]) + futureSuffix
}

// createFuture makes an empty copy of h in d. Caller has claimed the partition.
func (s *Store) createFuture(h *hostedLog, d *logDir) error {
	tp := h.log.TopicPartition()
	if err := s.forget(d, tp); err != nil {
		return err
	}
	o := s.openOptions(d, tp, h.log.Config())
	o.dir = filepath.Join(d.path, futureFolder(tp))
	log, err := s.createIn(o, h.log.TopicID())
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.futures[tp] = &hostedLog{log: log, dir: d}
	s.mu.Unlock()
	d.worker.settle(log)
	return nil
}

// dropFuture takes the partition's copy out of service and has its folder deleted; nothing if there is none. Caller has claimed the partition.
func (s *Store) dropFuture(tp protocol.TopicPartition) {
	h := s.future(tp)
	if h == nil {
		return
	}
	s.mu.Lock()
	h.leaving = true
	s.mu.Unlock()
	if s.offline(h.dir) == nil {
		if err := s.moveToDelete(h); err != nil {
			s.failDir(h.dir, err)
		}
	}
	s.mu.Lock()
	delete(s.futures, tp)
	s.mu.Unlock()
}

// loadFuture opens a copy that was being made when the broker stopped. The folder is kept as it is if the copy cannot be opened.
func (s *Store) loadFuture(d *logDir, name string, defaults LogConfig, progress *loading) error {
	tp, _, _ := parseFolder(name)
	o := s.openOptions(d, tp, defaults)
	o.dir = filepath.Join(d.path, name)
	s.known(d, &o)
	o.loading = progress
	log, err := openLog(o)
	progress.logs.Add(-1)
	if err != nil {
		return fmt.Errorf("future log %s in %s: %w", tp, d.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.futures[tp]; other != nil {
		return fmt.Errorf("%w log dirs: a copy of %s is in %s and in %s; remove one", errUnusable, tp, other.dir.path, d.path)
	}
	s.futures[tp] = &hostedLog{log: log, dir: d}
	return nil
}

// settleMoves brings moves that a crash interrupted to their end, after all dirs are loaded: the replaced logs go, and so do copies of other topics' replicas;
// those of replicas that are not here any more are set aside. With a dir offline nobody can tell, and copies stay as they are.
func (s *Store) settleMoves() error {
	s.mu.Lock()
	replaced := s.replaced
	s.replaced = nil
	var arrived []*hostedLog
	for _, h := range s.logs {
		if h.arrived && h.dir.failure == nil {
			arrived = append(arrived, h)
		}
	}
	var orphans []*hostedLog
	for tp, h := range s.futures {
		if h.dir.failure == nil && (s.logs[tp] == nil || s.logs[tp].dir == h.dir || s.logs[tp].log.TopicID() != h.log.TopicID()) {
			orphans = append(orphans, h)
		}
	}
	s.mu.Unlock()
	for _, h := range replaced {
		s.logger.Info("replica had moved to another log dir; its old folder is deleted", zap.String("folder", h.log.Dir()))
		if err := errors.Join(s.moveToDelete(h), s.fs.SyncDir(h.dir.path)); err != nil {
			return err
		}
	}
	if s.AnyDirOffline() {
		return nil
	}
	if len(arrived) > 0 {
		s.settleVanished(nil)
	}
	for _, h := range arrived {
		if err := s.fs.Remove(filepath.Join(h.log.Dir(), arrivedName)); err != nil {
			return err
		}
	}
	for _, h := range orphans {
		how := s.moveAside
		if s.hosted(h.log.TopicPartition()) != nil { // it is of no use to anybody
			how = s.moveToDelete
		}
		s.logger.Warn("copy of a replica that is not here any more goes out of service", zap.String("folder", h.log.Dir()))
		if err := how(h); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.futures, h.log.TopicPartition())
		s.mu.Unlock()
	}
	return nil
}

// arrivedName is an empty file in the folder of a replica that has moved here, until the folder that it moved from is gone: of two folders of a partition it
// tells which one counts. Apache Kafka ignores it.
const arrivedName = ".moved-here"

// hasArrived reports whether the folder of tp in d has that file. There is none where there is one dir only.
func (s *Store) hasArrived(d *logDir, tp protocol.TopicPartition) (bool, error) {
	if len(s.dirs) == 1 {
		return false, nil
	}
	_, err := s.fs.Stat(filepath.Join(d.partitionDir(tp), arrivedName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
