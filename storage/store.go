package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/threads"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// Options is what a Store is opened with.
type Options struct {
	FS     vfs.FS
	Dirs   []string // log.dirs
	NodeID int32
	Config config.Values // logs on disk start with Config.Topic(nil) until Configure tells their topics' own
	Codecs *record.Codecs
	Logger *zap.Logger

	// Context, if not nil, ends Open before its time when it ends: what is being recovered then is recovered again by the next start.
	Context context.Context

	// OpenFiles is how many files of logs are open at most, but for those in use: idle ones are closed, and opened again when needed. 0 derives it from what the process may
	// have open (RLIMIT_NOFILE).
	OpenFiles int

	// ReserveBytes is how much room is kept in each dir, in a file, for a stop and a start while the disk is full.
	ReserveBytes int64
}

// Store owns the log dirs of one broker: their locks, meta.properties, checkpoints and clean-shutdown marks, the logs in them, and the background work
// (retention, flush, checkpoints, delayed deletion, expiry of producers).
//
// Lock order: a Log's own mutex, then Store.mu. No method of a Log is called, and no I/O done, under Store.mu.
// What changes the set of logs first claims the partition (Store.claim), so that partitions do not wait for each other's disk work.
type Store struct {
	fs           vfs.FS // of what is not a log's: those are in logDir.fs
	config       config.Values
	nodeID       int32
	codecs       *record.Codecs
	logger       *zap.Logger
	dirs         []*logDir // in the order of log.dirs
	epoch        atomic.Int64
	openFiles    int // per dir
	reserveBytes int64
	prevEp       int64
	ctx          context.Context // ends when Close begins
	starting     context.Context // ends a load before its time; nil never
	stop         context.CancelFunc
	running      sync.WaitGroup // the background goroutines
	background   *threads.Pool  // background.threads: their jobs hold one each
	cleaner      *cleaner       // nil with log.cleaner.enable=false
	mover        *mover
	buffers      *buffers
	scrub        scrubber
	verify       atomic.Bool  // transaction.partition.verification.enable
	expiration   atomic.Int64 // producer.id.expiration.ms

	mu        sync.Mutex // guards what follows and the fields of logDir that say so
	logs      map[protocol.TopicPartition]*hostedLog
	futures   map[protocol.TopicPartition]*hostedLog    // copies of logs on their way to another dir
	preferred map[protocol.TopicPartition]string        // dirs for logs that are not there yet
	replaced  []*hostedLog                              // loaded logs that had moved to another dir; settleMoves takes them
	claimed   map[protocol.TopicPartition]chan struct{} // closed when the claim ends
	clusterID string
	onFailure []func(dir string, err error)
	closed    bool
}

// hostedLog is a log and the dir that it is in.
type hostedLog struct {
	log     *Log
	dir     *logDir
	arrived bool // its folder had arrivedName when it was loaded: another dir may have an older folder of the partition
	leaving bool // its folder is being renamed: what fails meanwhile for the old name says nothing of the disk; guarded by Store.mu
}

// Dir describes one log dir.
type Dir struct {
	Path          string
	ID            protocol.UUID // directory.id
	Offline       error         // nil while it is in use
	Total, Usable int64         // bytes of the volume, -1 unknown
}

// errClosed answers calls on a Store that is closed.
var errClosed = protocol.Errorf(protocol.KafkaStorageError, "the log manager is closed")

// ClusterID returns the cluster id that the dirs belong to, "" until known.
func (s *Store) ClusterID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clusterID
}

// SetClusterID writes meta.properties (version 1) into every dir that has none, on first start; it refuses, with an error that names both, when the dirs
// belong to another cluster.
func (s *Store) SetClusterID(id string) error {
	s.mu.Lock()
	known := s.clusterID
	s.mu.Unlock()
	if id == "" {
		return errors.New("the cluster id is empty")
	}
	if known != "" && known != id {
		return fmt.Errorf("the log dirs belong to cluster %s, but the cluster's id is %s", known, id)
	}
	for _, d := range s.dirs {
		if s.offline(d) != nil {
			continue
		}
		if err := s.identify(d, id); err != nil {
			s.failDir(d, err)
			return err
		}
	}
	s.mu.Lock()
	s.clusterID = id
	s.mu.Unlock()
	return nil
}

// identify completes d's meta.properties for the cluster.
func (s *Store) identify(d *logDir, clusterID string) error {
	s.mu.Lock()
	m := metaProperties{version: 1, clusterID: clusterID, nodeID: s.nodeID, directoryID: d.id}
	same := d.meta == m
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := writeMetaProperties(d.reserve, d.path, m); err != nil {
		return err
	}
	s.mu.Lock()
	d.meta = m
	s.mu.Unlock()
	return nil
}

// Dirs describes the log dirs in the order of log.dirs.
func (s *Store) Dirs() []Dir {
	dirs := make([]Dir, 0, len(s.dirs))
	for _, d := range s.dirs {
		one := Dir{Path: d.path, ID: d.id, Offline: s.offline(d), Total: -1, Usable: -1}
		if one.Offline == nil {
			if total, usable, err := s.fs.Usage(d.path); err == nil {
				one.Total, one.Usable = total, usable
			}
		}
		dirs = append(dirs, one)
	}
	return dirs
}

// Log returns the partition's log, nil if there is none here. A log whose dir has failed answers KafkaStorageError to everything.
func (s *Store) Log(tp protocol.TopicPartition) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.logs[tp]; h != nil {
		return h.log
	}
	return nil
}

// Logs returns the logs of all dirs that are online, in order of topic and partition.
func (s *Store) Logs() []*Log {
	hosted := s.online()
	slices.SortFunc(hosted, func(a, b *hostedLog) int { return comparePartitions(a.log.TopicPartition(), b.log.TopicPartition()) })
	logs := make([]*Log, len(hosted))
	for i, h := range hosted {
		logs[i] = h.log
	}
	return logs
}

// online returns the logs of all dirs that are online.
func (s *Store) online() []*hostedLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	logs := make([]*hostedLog, 0, len(s.logs))
	for _, h := range s.logs {
		if h.dir.failure == nil {
			logs = append(logs, h)
		}
	}
	return logs
}

// OnDirFailure adds fn to what is called, in a goroutine of its own, when a log dir fails after Open; the dir's logs are offline by then.
func (s *Store) OnDirFailure(fn func(dir string, err error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onFailure = append(s.onFailure, fn)
}

// SetBrokerEpoch says under which epoch the broker is registered; the clean-shutdown mark carries it to the next start.
func (s *Store) SetBrokerEpoch(epoch int64) { s.epoch.Store(epoch) }

// PreviousBrokerEpoch returns the broker epoch of the last clean stop; -1 if the last stop was not clean in every dir, or the dirs disagree.
func (s *Store) PreviousBrokerEpoch() int64 { return s.prevEp }

// Close stops the background work, closes every log (which flushes it and leaves a producer snapshot), writes the checkpoints and the clean-shutdown
// marks, and releases the locks. A dir that fails in this is left without its mark: the next start recovers it.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	s.holdReserves(false)
	return s.eachDir(s.closeDir)
}

// eachDir runs fn for all dirs at the same time.
func (s *Store) eachDir(fn func(d *logDir) error) error {
	errs := make([]error, len(s.dirs))
	var all sync.WaitGroup
	for i, d := range s.dirs {
		all.Go(func() { errs[i] = fn(d) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (s *Store) closeDir(d *logDir) (err error) {
	defer func() { err = errors.Join(err, d.letGo()) }()
	if s.offline(d) != nil {
		for _, h := range s.hostedIn(d) {
			h.log.discard()
		}
		return nil
	}
	if err := s.closeLogs(d); err != nil {
		return fmt.Errorf("close of log dir %s was not clean: %w", d.path, err)
	}
	if err := s.checkpointAll(d); err != nil {
		return fmt.Errorf("close of log dir %s was not clean: %w", d.path, err)
	}
	return writeCleanShutdown(d.reserve, d.path, s.epoch.Load())
}

// hostedIn returns all logs of d, failed or not, and the copies that are being made in it.
func (s *Store) hostedIn(d *logDir) []*hostedLog {
	s.mu.Lock()
	defer s.mu.Unlock()
	var logs []*hostedLog
	for _, set := range []map[protocol.TopicPartition]*hostedLog{s.logs, s.futures} {
		for _, h := range set {
			if h.dir == d {
				logs = append(logs, h)
			}
		}
	}
	return logs
}

func (s *Store) recoveryThreads() int {
	return max(1, s.config.Int("num.recovery.threads.per.data.dir"))
}

// parallel calls fn for every item from n goroutines and returns the errors of all.
func parallel[T any](n int, items []T, fn func(T) error) error {
	var (
		next atomic.Int64
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for range min(n, len(items)) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(items)); i = next.Add(1) - 1 {
				if err := fn(items[i]); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// offline returns why d is out of use, nil if it is not.
func (s *Store) offline(d *logDir) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return d.failure
}

// failDir takes d and its logs offline and tells who asked to know. Only the first failure counts. A disk that is full has not failed: see noSpace. Neither has one on which another
// program has a file open.
func (s *Store) failDir(d *logDir, err error) {
	if vfs.IsBusy(err) {
		s.logger.Error("a file is in use by another program", zap.String("dir", d.path), zap.Error(err))
		return
	}
	if vfs.IsFull(err) {
		s.noSpace(d, err)
		return
	}
	s.mu.Lock()
	if d.failure != nil || s.closed {
		s.mu.Unlock()
		return
	}
	d.failure = err
	listeners := slices.Clone(s.onFailure)
	s.running.Add(1) // Close has not begun: it sets closed before it waits
	s.mu.Unlock()
	go func() {
		defer s.running.Done()
		s.logger.Error("log dir failed; its replicas are offline", zap.String("dir", d.path), zap.Error(err))
		for _, h := range s.hostedIn(d) {
			h.log.fail(err)
		}
		for _, fn := range listeners {
			fn(d.path, err)
		}
	}()
}

// partitionDir is the folder of tp in d.
func (d *logDir) partitionDir(tp protocol.TopicPartition) string {
	return filepath.Join(d.path, tp.String())
}
