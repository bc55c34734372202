package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	lockName          = ".lock"
	cleanShutdownName = ".kafka_cleanshutdown"
)

// logDir is one entry of log.dirs.
type logDir struct {
	path    string
	fs      *vfs.Bounded  // the Store's, with few open files
	reserve *vfs.Reserved // the Store's, with room for a stop and a start
	id      protocol.UUID
	unlock  func() error // nil if the lock was not taken
	clean   bool         // the stop before this start left the mark
	epoch   int64        // broker epoch of the mark, -1 unknown
	worker  *dirWorker

	vanished atomic.Bool // a partition's folder has lost its name since the dir was last synced: after a crash it may be back

	marked  atomic.Bool // a high watermark has moved since the last checkpoint of them
	flusher *flusher
	volume  vfs.Volume // of flusher, nil if there is none

	meta    metaProperties // what is in the file, zero if there is none; guarded by Store.mu
	failure error          // why the dir is offline; guarded by Store.mu
	full    time.Time      // when it was last told that the disk is full; guarded by Store.mu

	// checkpointing serializes the writers of the dir's checkpoints: it is held across their I/O, nothing else waits for it.
	checkpointing  sync.Mutex
	recoveryPoints offsets // as in the files; guarded by checkpointing
	logStarts      offsets
	highWatermarks offsets
	cleaned        offsets
}

// letGo releases the lock and the volume, if they were taken.
func (d *logDir) letGo() (err error) {
	if d.volume != nil {
		err = d.volume.Close()
	}
	if d.unlock != nil {
		err = errors.Join(err, d.unlock())
	}
	return err
}

// cleanShutdown is the content of the mark of a clean stop. Marks of brokers before Kafka 3.7 are empty.
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// readCleanShutdown reports whether dir has the mark, and the broker epoch in it (-1 if it does not tell).
func readCleanShutdown(fsys vfs.FS, dir string) (clean bool, epoch int64, err error) {
	data, err := fsys.ReadFile(filepath.Join(dir, cleanShutdownName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, -1, nil
	}
	if err != nil {
		return false, -1, err
	}
	mark := cleanShutdown{BrokerEpoch: -1}
	if json.Unmarshal(data, &mark) != nil {
		return true, -1, nil
	}
	return true, mark.BrokerEpoch, nil
}

// removeCleanShutdown removes the mark for good: from here on a crash must look like one.
func removeCleanShutdown(fsys vfs.FS, dir string) error {
	if err := fsys.Remove(filepath.Join(dir, cleanShutdownName)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

func writeCleanShutdown(fsys vfs.FS, dir string, epoch int64) error {
	data, err := json.Marshal(cleanShutdown{BrokerEpoch: epoch})
	if err != nil {
		return err
	}
	if err := writeFile(fsys, filepath.Join(dir, cleanShutdownName), data, true); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// openDir makes, locks and identifies the dir at path. An error means that the broker must not start; a disk that fails only takes the dir offline.
func (s *Store) openDir(path string) (*logDir, error) {
	d := &logDir{path: path, reserve: vfs.NewReserved(s.fs, filepath.Join(path, reserveName), s.reserveOf(path)), epoch: -1}
	err := s.take(d)
	d.fs = vfs.NewBounded(d.reserve, s.openFiles, d.volume)
	d.flusher = newFlusher(d.fs, d.volume)
	return d, err
}

// take does the part of openDir on the disk, and opens the dir's volume.
func (s *Store) take(d *logDir) error {
	err := d.reserve.MkdirAll(d.path)
	if err == nil {
		_, err = s.fs.List(d.path)
	}
	if err != nil {
		d.failure = err
		return nil
	}
	if d.unlock, err = d.reserve.Lock(filepath.Join(d.path, lockName)); err != nil {
		if d.unlock = nil; errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("log dir %s is in use by another Ottla or Apache Kafka broker: %w", d.path, err)
		}
		d.failure = err
		return nil
	}
	switch volume, err := s.fs.OpenVolume(d.path); {
	case err == nil:
		d.volume = vfs.Distrustful(volume)
	case !errors.Is(err, vfs.ErrNoVolumeSync):
		d.failure = err
		return nil
	}
	m, ok, err := readMetaProperties(s.fs, d.path)
	switch {
	case errors.Is(err, errUnusable):
		return err
	case err != nil:
		d.failure = err
		return nil
	case ok && m.nodeID != s.nodeID:
		return fmt.Errorf("%w log dir %s: it belongs to node %d, but node.id is %d", errUnusable, d.path, m.nodeID, s.nodeID)
	}
	d.meta, d.id = m, m.directoryID
	if d.id.IsZero() {
		d.id = protocol.NewUUID()
	}
	return nil
}

// checkIdentities compares the dirs with each other and returns the cluster id they agree on, "" if none has one.
func checkIdentities(dirs []*logDir) (clusterID string, err error) {
	var named *logDir
	ids := map[protocol.UUID]*logDir{}
	for _, d := range dirs {
		if d.failure != nil {
			continue
		}
		if other := ids[d.id]; other != nil {
			return "", fmt.Errorf("%w log dirs: %s and %s have the same directory.id %s", errUnusable, other.path, d.path, d.id)
		}
		ids[d.id] = d
		switch {
		case d.meta.clusterID == "":
		case named == nil:
			named = d
		case named.meta.clusterID != d.meta.clusterID:
			return "", fmt.Errorf("%w log dirs: %s belongs to cluster %s, but %s to cluster %s", errUnusable, named.path, named.meta.clusterID, d.path, d.meta.clusterID)
		}
	}
	if named == nil {
		return "", nil
	}
	return named.meta.clusterID, nil
}

// previousEpoch is the broker epoch that all dirs' marks agree on, -1 if they do not all have it.
func previousEpoch(dirs []*logDir) int64 {
	epoch := int64(-1)
	for i, d := range dirs {
		if d.failure != nil || !d.clean || d.epoch < 0 || i > 0 && d.epoch != epoch {
			return -1
		}
		epoch = d.epoch
	}
	return epoch
}

// readCheckpoints reads d's checkpoints. One that cannot be understood counts as empty: it costs time (recovery from the start, high watermarks from the
// log start), not data.
func (s *Store) readCheckpoints(d *logDir) error {
	for name, to := range map[string]*offsets{
		recoveryPointCheckpoint: &d.recoveryPoints, logStartCheckpoint: &d.logStarts, replicationCheckpoint: &d.highWatermarks,
		cleanerCheckpoint: &d.cleaned,
	} {
		data, err := s.fs.ReadFile(filepath.Join(d.path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if *to, err = parseOffsets(data); err != nil {
			s.logger.Warn("checkpoint is malformed and counts as empty", zap.String("dir", d.path), zap.String("file", name), zap.Error(err))
			*to = offsets{}
		}
	}
	return nil
}

// checkpointRecoveryPoints writes the recovery points of d's logs, if they have changed.
func (s *Store) checkpointRecoveryPoints(d *logDir) error {
	return s.checkpoint(d, recoveryPointCheckpoint, &d.recoveryPoints, func(l *Log) (int64, bool) {
		point, _, _ := l.checkpoints()
		return point, true
	})
}

// known gives o what the dir's mark and checkpoints know of its log, and returns up to where that is compacted.
func (s *Store) known(d *logDir, o *openOptions) (cleaned int64) {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	o.clean, o.recoveryPoint, o.logStart, o.highWatermark = d.clean, d.recoveryPoints[o.tp], d.logStarts[o.tp], d.highWatermarks[o.tp]
	o.recovering = func(offset int64) error { return s.lowerRecoveryPoint(d, o.tp, offset) }
	return d.cleaned[o.tp]
}

// lowerRecoveryPoint makes durable that nothing of tp's log from offset on counts as synced any more. Error: of the disk.
func (s *Store) lowerRecoveryPoint(d *logDir, tp protocol.TopicPartition, offset int64) error {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	now := maps.Clone(d.recoveryPoints)
	now[tp] = offset
	if err := replaceFile(d.reserve, filepath.Join(d.path, recoveryPointCheckpoint), now.format()); err != nil {
		return err
	}
	d.recoveryPoints = now
	return nil
}

// checkpointLogStarts writes the log start offsets of d's logs that lie within their first segments, if they have changed.
func (s *Store) checkpointLogStarts(d *logDir) error {
	return s.checkpoint(d, logStartCheckpoint, &d.logStarts, func(l *Log) (int64, bool) {
		_, start, raised := l.checkpoints()
		return start, raised
	})
}

// checkpointHighWatermarks writes the high watermarks of d's logs, if they have changed.
func (s *Store) checkpointHighWatermarks(d *logDir) error {
	return s.checkpoint(d, replicationCheckpoint, &d.highWatermarks, func(l *Log) (int64, bool) { return l.Offsets().HighWatermark, true })
}

// checkpointMovedWatermarks writes the high watermarks if one has moved since they were written: of idle logs nothing is asked.
func (s *Store) checkpointMovedWatermarks(d *logDir) error {
	if !d.marked.Swap(false) {
		return nil
	}
	err := s.checkpointHighWatermarks(d)
	if err != nil {
		d.marked.Store(true)
	}
	return err
}

// checkpointCleaned writes up to where d's logs are compacted, if that has changed.
func (s *Store) checkpointCleaned(d *logDir) error {
	return s.checkpoint(d, cleanerCheckpoint, &d.cleaned, func(l *Log) (int64, bool) {
		cleaned := l.cleaned.Load()
		return cleaned, cleaned > 0
	})
}

// checkpoint writes the file name with what of gives for each of d's logs, unless was, the file's content, is the same.
func (s *Store) checkpoint(d *logDir, name string, was *offsets, of func(l *Log) (offset int64, listed bool)) error {
	d.checkpointing.Lock()
	defer d.checkpointing.Unlock()
	now := offsets{}
	for _, h := range s.hostedIn(d) { // asked for under the lock: a writer that comes later knows the newer set
		if offset, listed := of(h.log); listed {
			now[h.log.TopicPartition()] = offset
		}
	}
	if maps.Equal(*was, now) {
		return nil
	}
	if err := replaceFile(d.reserve, filepath.Join(d.path, name), now.format()); err != nil {
		return err
	}
	*was = now
	return nil
}

// checkpointAll writes all checkpoints of d that have changed.
func (s *Store) checkpointAll(d *logDir) error {
	return errors.Join(s.checkpointRecoveryPoints(d), s.checkpointLogStarts(d), s.checkpointHighWatermarks(d), s.checkpointCleaned(d))
}

// forget makes sure that d's checkpoints say nothing of tp, whose log is gone, before a new log takes its name: they would claim that the
// new log's bytes are synced, or committed.
func (s *Store) forget(d *logDir, tp protocol.TopicPartition) error {
	d.checkpointing.Lock()
	stale := d.recoveryPoints[tp] > 0 || d.logStarts[tp] > 0 || d.highWatermarks[tp] > 0 || d.cleaned[tp] > 0
	d.checkpointing.Unlock()
	if !stale {
		return nil
	}
	return s.checkpointAll(d)
}
