package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/threads"
	"go.uber.org/zap"
)

// RaftTopic names the log of the metadata quorum: like Kafka's metadata log, its folder lies in a log dir but belongs to the controller.
const RaftTopic = "__raft"

// Suffixes of the folders of replicas that are not in service.
const (
	deleteSuffix = "-delete"
	futureSuffix = "-future"
	straySuffix  = "-stray"
)

const (
	remoteIndexCache  = "remote-log-index-cache" // of Kafka's tiered storage
	maxFolderNameSize = 255
)

// Open locks the dirs, loads every log in them (recovering those of a dir whose last stop was not clean) and starts the background work.
//
// It fails when a dir is in use, belongs to another node or cluster, holds a folder that is no partition's, or when a partition is in two dirs; and
// when no dir is left. A dir that cannot be read is only taken offline, see Dirs.
func Open(o Options) (*Store, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		fs: o.FS, config: o.Config, nodeID: o.NodeID, codecs: o.Codecs, logger: o.Logger, ctx: ctx, stop: stop, starting: o.Context, buffers: newBuffers(),
		logs: map[protocol.TopicPartition]*hostedLog{}, claimed: map[protocol.TopicPartition]chan struct{}{},
		futures: map[protocol.TopicPartition]*hostedLog{}, preferred: map[protocol.TopicPartition]string{},
	}
	s.background = threads.New(o.Config.Int("background.threads"))
	s.epoch.Store(-1)
	s.verify.Store(o.Config.Bool("transaction.partition.verification.enable"))
	s.expiration.Store(o.Config.Int64("producer.id.expiration.ms"))
	if o.Config.Bool("log.cleaner.enable") {
		s.cleaner = newCleaner(s)
	}
	s.openFiles, s.reserveBytes = openFilesPerDir(o), o.ReserveBytes
	err := s.openDirs(o.Dirs)
	if err == nil {
		err = s.load()
	}
	if err == nil {
		err = s.settleMoves()
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, s.abandon())
	}
	s.holdReserves(true)
	s.mover = newMover(s)
	s.scrub.store = s
	s.startWork()
	return s, nil
}

func (s *Store) openDirs(paths []string) error {
	seen := map[string]bool{}
	for _, path := range paths {
		if path = filepath.Clean(path); seen[path] {
			return fmt.Errorf("log dir %s is given twice", path)
		}
		seen[path] = true
		d, err := s.openDir(path)
		s.dirs = append(s.dirs, d)
		if err != nil {
			return err
		}
		d.worker = newDirWorker(s, d)
	}
	var err error
	if s.clusterID, err = checkIdentities(s.dirs); err != nil || s.clusterID == "" {
		return err
	}
	for _, d := range s.dirs {
		if d.failure == nil {
			if err := s.identify(d, s.clusterID); err != nil {
				d.failure = err
			}
		}
	}
	return nil
}

// load reads all dirs at the same time.
func (s *Store) load() error {
	if err := s.eachDir(func(d *logDir) error {
		err := s.offline(d)
		if err == nil {
			err = s.loadDir(d)
		}
		if err == nil || errors.Is(err, errUnusable) || errors.Is(err, errLoadingEnded) {
			return err
		}
		s.logger.Error("log dir is offline", zap.String("dir", d.path), zap.Error(err))
		s.mu.Lock()
		d.failure = err
		s.mu.Unlock()
		return nil
	}); err != nil {
		return err
	}
	s.prevEp = previousEpoch(s.dirs)
	var causes []error
	for _, d := range s.dirs {
		if d.failure == nil {
			return nil
		}
		causes = append(causes, fmt.Errorf("log dir %s: %w", d.path, d.failure))
	}
	return fmt.Errorf("no log dir is usable: %w", errors.Join(causes...))
}

// loadDir loads d's logs. errUnusable means that the broker must not start, another error that the dir's disk fails.
func (s *Store) loadDir(d *logDir) error {
	began := time.Now()
	partitions, copies, err := s.scanDir(d)
	if err != nil {
		return err
	}
	if d.clean, d.epoch, err = readCleanShutdown(s.fs, d.path); err != nil {
		return err
	}
	if err := s.readCheckpoints(d); err != nil {
		return err
	}
	d.vanished.Store(!d.clean)
	if d.clean {
		if err := removeCleanShutdown(d.reserve, d.path); err != nil {
			return err
		}
	}
	defaults := LogConfigOf(s.config.Topic(nil))
	progress := &loading{ctx: s.starting}
	progress.logs.Store(int64(len(partitions) + len(copies)))
	defer progress.report(s.logger, d.path, d.clean)()
	err = parallel(s.recoveryThreads(), partitions, func(tp protocol.TopicPartition) error {
		o := s.openOptions(d, tp, defaults)
		o.cleaned, o.loading = s.known(d, &o), progress
		if err := progress.ended(); err != nil {
			return err
		}
		log, err := openLog(o)
		progress.logs.Add(-1)
		if err != nil {
			return fmt.Errorf("log %s in %s: %w", tp, d.path, err)
		}
		arrived, err := s.hasArrived(d, tp)
		if err != nil {
			return err
		}
		return s.adopt(&hostedLog{log: log, dir: d, arrived: arrived})
	})
	if err != nil {
		return err
	}
	if err := parallel(s.recoveryThreads(), copies, func(name string) error { return s.loadFuture(d, name, defaults, progress) }); err != nil {
		return err
	}
	message, level := "loaded log dir", zap.InfoLevel
	switch {
	case len(partitions) == 0:
		level = zap.DebugLevel
	case !d.clean:
		message = "recovered log dir, whose last stop was not clean"
	}
	s.logger.Log(level, message, zap.String("dir", d.path), zap.Int("logs", len(partitions)), zap.Duration("took", time.Since(began)))
	return nil
}

// adopt enters a loaded log. Of a partition in two dirs the one that has moved counts; if none has, people must choose.
func (s *Store) adopt(h *hostedLog) error {
	tp := h.log.TopicPartition()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch other := s.logs[tp]; {
	case other == nil || h.arrived && !other.arrived:
		if other != nil {
			s.replaced = append(s.replaced, other)
		}
	case other.arrived && !h.arrived:
		s.replaced = append(s.replaced, h)
		return nil
	default:
		return fmt.Errorf("%w log dirs: %s is in %s and in %s; remove the one that is known to be older", errUnusable, tp, other.dir.path, h.dir.path)
	}
	s.logs[tp] = h
	return nil
}

// scanDir lists the partitions whose folders are in d, and the folders of copies, and has the folders of deleted ones removed. Plain files are nobody's
// business.
func (s *Store) scanDir(d *logDir) (partitions []protocol.TopicPartition, copies []string, err error) {
	entries, err := s.fs.List(d.path)
	if err != nil {
		return nil, nil, err
	}
	var leftover []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || name == remoteIndexCache {
			continue
		}
		tp, suffix, ok := parseFolder(name)
		switch {
		case !ok:
			return nil, nil, fmt.Errorf("%w log dir %s: found directory %q, which is not in the form of topic-partition or topic-partition.uniqueId-delete "+
				"(if marked for deletion); a log directory should only contain Kafka topic data", errUnusable, d.path, name)
		case suffix == deleteSuffix:
			leftover = append(leftover, filepath.Join(d.path, name))
		case suffix == futureSuffix && len(s.dirs) > 1:
			copies = append(copies, name)
		case suffix != "":
			s.logger.Warn("replica is set aside and not loaded", zap.String("folder", filepath.Join(d.path, name)))
		case !reservedTopic(tp.Topic):
			partitions = append(partitions, tp)
		}
	}
	for _, path := range leftover {
		d.worker.clear(0, func() error { return d.fs.RemoveAll(path) })
	}
	return partitions, copies, nil
}

// parseFolder reads the name of a replica's folder: topic-partition, and if it is not in service .<id> and a suffix.
func parseFolder(name string) (tp protocol.TopicPartition, suffix string, ok bool) {
	for _, known := range []string{deleteSuffix, futureSuffix, straySuffix} {
		if !strings.HasSuffix(name, known) {
			continue
		}
		dot := strings.LastIndexByte(name, '.')
		if id := strings.TrimSuffix(name, known); dot < 0 || len(id) <= dot+1 {
			return tp, "", false
		}
		name, suffix = name[:dot], known
		break
	}
	tp, ok = protocol.ParseTopicPartition(name)
	return tp, suffix, ok
}

// reservedTopic names the logs in a log dir that are not the Store's.
func reservedTopic(name string) bool {
	return name == protocol.ClusterMetadataTopic || name == RaftTopic
}

// openOptions is what all of d's logs are opened with.
func (s *Store) openOptions(d *logDir, tp protocol.TopicPartition, c LogConfig) openOptions {
	return openOptions{
		fs: d.fs, dir: d.partitionDir(tp), tp: tp, config: c, codecs: s.codecs, logger: s.logger, host: d.worker, marked: &d.marked, buffers: s.buffers,
		producers: producerConfig{expiration: &s.expiration, verify: &s.verify},
	}
}

// abandon undoes a failed Open: nothing is flushed, and dirs that were cleanly stopped are so again.
func (s *Store) abandon() error {
	return s.eachDir(func(d *logDir) error {
		for _, h := range s.hostedIn(d) {
			h.log.discard()
		}
		var err error
		if d.clean && s.offline(d) == nil {
			err = writeCleanShutdown(d.reserve, d.path, d.epoch)
		}
		return errors.Join(err, d.letGo())
	})
}
