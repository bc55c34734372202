package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// openLog loads the log in o.dir, or starts one if the folder holds none (Kafka's LogLoader).
func openLog(o openOptions) (*Log, error) {
	l := &Log{fs: o.fs, folder: newFolder(o.dir), tp: o.tp, codecs: o.codecs, logger: o.logger, host: o.host, marked: o.marked, firstUnstable: noOffset, fullySynced: math.MaxInt64}
	if l.buffers = o.buffers; l.buffers == nil {
		l.buffers = newBuffers()
	}
	l.config.Store(l.configOf(o.config))
	l.metaSynced.Store(o.clean && !o.fresh) // what a killed process wrote may not be durable
	l.lastFlush.Store(nowMs())
	err := l.load(o)
	if err == nil {
		return l, nil
	}
	if v := l.view.Load(); v != nil {
		for _, s := range v.segments {
			l.release(s)
		}
	}
	return nil, fmt.Errorf("loading %s: %w", o.dir, err)
}

func (l *Log) load(o openOptions) error {
	topicID, err := readPartitionMetadata(l.fs, o.dir)
	if err != nil {
		return err
	}
	l.topicID.Store(&topicID)
	for {
		err := l.loadSegments(o)
		var wide *wideSegment
		if !errors.As(err, &wide) {
			return err
		}
		for _, s := range l.view.Load().segments {
			l.release(s)
		}
		l.view.Store(nil)
		l.fullySynced = math.MaxInt64
		if err := splitWide(l.fs, o.dir, wide.base, l.logger); err != nil {
			return err
		}
	}
}

// loadSegments loads all but the topic's id. Error: *wideSegment for a segment that must be split first.
func (l *Log) loadSegments(o openOptions) (err error) {
	if err := finishReplacements(l.fs, o.dir, l.logger); err != nil {
		return err
	}
	if l.epochs, err = newEpochCache(passing(l.fs), o.dir); err != nil {
		return err
	}
	if l.producers, err = newProducerStates(passing(l.fs), o.dir, o.tp, o.producers, l.logger); err != nil {
		return err
	}
	names, err := listSegments(l.fs, o.dir)
	if err != nil {
		return err
	}
	recoverFrom, err := l.openSegments(names, o)
	if err != nil {
		return err
	}
	bases := make([]int64, len(names))
	for i, n := range names {
		bases[i] = n.base
	}
	if err := l.producers.removeStraySnapshots(bases); err != nil {
		return err
	}
	end, err := l.findEnd(recoverFrom, names, o)
	if err != nil {
		return err
	}
	return l.settle(end, o)
}

// settle derives everything else from the segments, which end at end.
func (l *Log) settle(end int64, o openOptions) error {
	if end < o.logStart {
		l.logger.Warn("log ends below its start offset; it starts anew there", zap.String("dir", l.Dir()), zap.Int64("end", end), zap.Int64("start", o.logStart))
		if err := l.replaceAll(o.logStart); err != nil {
			return err
		}
		end = o.logStart
	}
	v := l.view.Load()
	start := max(o.logStart, v.segments[0].base)
	l.logStart.Store(start)
	l.written.Store(end)
	l.logEnd.Store(end)
	l.settleBelow(end)
	if l.cleaned.Store(noOffset); o.cleaned > 0 && o.cleaned <= end { // else what followed was lost, and maybe more
		l.cleaned.Store(o.cleaned)
	}
	l.epochs.truncateFromEnd(end)
	l.epochs.truncateFromStart(start)
	point := min(o.recoveryPoint, end) // perhaps below the first segment: the deletion of those before it may not be durable
	if o.clean {
		point = end
	}
	l.syncMu.Lock()
	l.recoveryPoint.Store(point)
	l.syncedTo.Store(point)
	l.fullySynced = min(l.fullySynced, v.segments[v.find(point)].base) // recovery may have begun below
	if l.fullySynced < v.segments[v.find(point)].base {
		l.recoveryPoint.Store(l.fullySynced)
		l.syncedTo.Store(l.fullySynced)
	}
	l.syncMu.Unlock()
	_, snapshots := l.producers.latestSnapshot()
	if o.clean && !snapshots && l.producers.end() < end { // from a broker that kept none: nothing is known, and all of it was synced
		l.producers.advanceTo(end)
		if err := l.producers.takeSnapshot(false); err != nil {
			return err
		}
	} else if err := l.rebuildProducers(nowMs()); err != nil {
		return err
	}
	hw := min(max(o.highWatermark, start), end)
	l.producers.highWatermarkAdvanced(hw)
	l.offMu.Lock()
	defer l.offMu.Unlock()
	l.firstUnstable = l.producers.firstUnstable()
	l.storeHighWatermark(hw)
	return nil
}

// segmentFiles says which files of a segment exist.
type segmentFiles struct {
	base                   int64
	index, timeIndex, txns bool
	unsynced               bool // the segment before may have lost its tail
}

// note says that the segment has the file.
func (s *segmentFiles) note(suffix string) {
	switch suffix {
	case indexSuffix:
		s.index = true
	case timeIndexSuffix:
		s.timeIndex = true
	case txnIndexSuffix:
		s.txns = true
	case unsyncedSuffix:
		s.unsynced = true
	}
}

// listSegments finds the segments of a folder, ascending, and removes the indexes that belong to none.
func listSegments(fsys vfs.FS, dir string) ([]segmentFiles, error) {
	entries, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	var out []segmentFiles
	for _, e := range entries {
		if base, ok := segmentBase(e.Name(), logSuffix); ok && !e.IsDir() {
			out = append(out, segmentFiles{base: base})
		}
	}
	for _, e := range entries {
		suffix := filepath.Ext(e.Name())
		base, ok := segmentBase(e.Name(), suffix)
		if !ok || e.IsDir() {
			continue
		}
		i, found := slices.BinarySearchFunc(out, base, func(s segmentFiles, b int64) int { return cmp.Compare(s.base, b) })
		if !found && slices.Contains([]string{indexSuffix, timeIndexSuffix, txnIndexSuffix, unsyncedSuffix}, suffix) {
			if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
		if !found {
			continue
		}
		out[i].note(suffix)
	}
	return out, nil
}

// openSegments opens all segments and returns the index of the first that must be recovered, len if none. A folder without any gets one.
func (l *Log) openSegments(names []segmentFiles, o openOptions) (recoverFrom int, err error) {
	now := nowMs()
	config := l.config.Load()
	if len(names) == 0 {
		seg, err := createSegment(l.fs, l.folder, o.logStart, config, now)
		if err != nil {
			return 0, err
		}
		seg.jitter = segmentJitter(config)
		l.dirUnsynced.Store(true)
		l.view.Store(&view{[]*segment{seg}})
		return 1, nil
	}
	v := &view{}
	recoverFrom = len(names)
	for i, n := range names {
		seg, err := openSegment(l.fs, l.folder, n.base, now)
		if err != nil {
			return 0, err
		}
		if o.clean {
			seg.synced = seg.size.Load()
			seg.sure.Store(true)
		}
		v.segments = append(v.segments, seg)
		l.view.Store(v)
		whole, err := seg.checkIndexes(n)
		if err != nil {
			return 0, err
		}
		if !whole {
			l.logger.Warn("index is missing or corrupt and is built anew, with those of the later segments", zap.String("path", seg.path(logSuffix)))
			recoverFrom = min(recoverFrom, i)
		}
		switch { // a mark stays until the segment before is synced: recovery only reads what the system may still lose
		case n.unsynced && i > 0:
			recoverFrom = min(recoverFrom, i-1)
		case n.unsynced:
			if err := l.removeMark(n.base); err != nil {
				return 0, err
			}
		}
	}
	if !o.clean {
		recoverFrom = min(recoverFrom, v.find(o.recoveryPoint))
	}
	v.active().jitter = segmentJitter(config)
	return recoverFrom, nil
}

// checkIndexes reports whether a segment's indexes can be trusted; a time index that is missing beside an offset index is made, empty, as Kafka does.
func (s *segment) checkIndexes(n segmentFiles) (whole bool, err error) {
	if !n.txns {
		s.txns.checked = true
	} else if _, err := s.txns.all(); errors.Is(err, errCorruptTxnIndex) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if n.index && !n.timeIndex {
		return true, s.times.create()
	}
	return n.index, nil
}

// findEnd recovers what must be, and returns the offset at which the log ends.
func (l *Log) findEnd(recoverFrom int, names []segmentFiles, o openOptions) (int64, error) {
	v := l.view.Load()
	end := v.active().base
	if recoverFrom >= len(v.segments) && len(names) > 0 {
		var err error
		if end, err = l.endOfActive(); err == nil {
			return end, nil
		}
		l.logger.Warn("last segment is not whole although the last stop was clean", zap.String("path", v.active().path(logSuffix)), zap.Error(err))
		recoverFrom = len(v.segments) - 1
	}
	if recoverFrom >= len(v.segments) {
		return end, nil
	}
	return l.recover(recoverFrom, names, o)
}

// endOfActive walks the last segment from its last index entry, and makes it ready for appends.
func (l *Log) endOfActive() (int64, error) {
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	seg := l.view.Load().active()
	if err := seg.loadMax(*scratch); err != nil {
		return 0, err
	}
	if _, err := seg.offsets.lookup(*scratch, seg.base); err != nil { // opens it
		return 0, err
	}
	pos, _, err := seg.offsets.before(*scratch, math.MaxInt64)
	if err != nil {
		return 0, err
	}
	if size := seg.size.Load(); pos > 0 && pos >= size {
		return 0, protocol.Errorf(protocol.CorruptMessage, "the offset index points to position %d, the segment has %d bytes", pos, size)
	}
	end := seg.base
	sc := scanner{file: seg.file, pos: pos, end: seg.size.Load(), buf: *scratch}
	for {
		h, err := sc.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, err
		}
		end = h.lastOffset + 1
	}
	seg.sinceIndex = int(seg.size.Load() - pos)
	return end, seg.rescanMax(*scratch)
}

// rebuildProducers makes the producer state that of the log's end, from the newest snapshot and the batches after it.
func (l *Log) rebuildProducers(now int64) error {
	start, end := l.logStart.Load(), l.logEnd.Load()
	if err := l.producers.truncateAndReload(start, end, now); err != nil {
		return err
	}
	if l.producers.end() < end {
		if err := l.replayProducers(l.producers.end(), end); err != nil {
			return err
		}
		l.producers.advanceTo(end)
	}
	return l.producers.takeSnapshot(false)
}

// replayProducers applies the batches in [from, to) to the producer state.
func (l *Log) replayProducers(from, to int64) error {
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	v := l.view.Load()
	var buf []byte
	for i := v.find(from); i < len(v.segments) && v.segments[i].base < to; i++ {
		seg := v.segments[i]
		sc, err := seg.walk(from, seg.size.Load(), *scratch)
		if err != nil {
			return err
		}
		r := batchReader{file: seg.file, pos: sc.pos, end: seg.size.Load(), buf: buf}
		for {
			h, b, err := r.next()
			if errors.Is(err, io.EOF) || err == nil && h.lastOffset >= to {
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", seg.path(logSuffix), err)
			}
			if h.lastOffset >= from {
				l.replayBatch(&h, b)
			}
		}
		buf = r.buf
	}
	return nil
}

// replayBatch applies one batch of the log to the producer state, and returns the transactions that it ends.
func (l *Log) replayBatch(h *batchHeader, b record.Batch) []completedTxn {
	if h.magic == record.Magic2 && b.HasProducerID() {
		if _, _, err := l.producers.check(b, OriginReplication); err != nil {
			l.logger.Warn("batch in the log contradicts the producer state", zap.String("dir", l.Dir()), zap.Int64("offset", h.baseOffset), zap.Error(err))
		}
	}
	return l.producers.apply(h.lastOffset + 1)
}

// OpenLog opens one log outside a Store (raft log, metadata log, tests); the folder is made if it is missing. Such a log syncs each segment before the next one
// begins, and keeps beside its segments what a Store keeps for its logs: its start offset and the mark of a clean stop. After an unclean one
// the last segment is recovered.
func OpenLog(fsys vfs.FS, dir string, tp protocol.TopicPartition, c LogConfig, codecs *record.Codecs, logger *zap.Logger) (*Log, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	o := openOptions{fs: fsys, dir: dir, tp: tp, config: c, codecs: codecs, logger: logger, fresh: true, producers: producerConfig{expirationMs: math.MaxInt64}}
	alone, err := loadStandalone(&o)
	if err != nil {
		return nil, err
	}
	l, err := openLog(o)
	if err != nil {
		return nil, err
	}
	l.alone = alone
	l.metaSynced.Store(o.clean)
	if err := l.afterRecovery(o.clean); err != nil {
		return nil, err
	}
	return l, nil
}

// afterRecovery makes a log on its own durable, so that all but the last segment are.
func (l *Log) afterRecovery(clean bool) error {
	if clean {
		return nil
	}
	l.syncMu.Lock()
	err := l.syncLocked(l.logEnd.Load())
	l.syncMu.Unlock()
	if err != nil {
		l.discard()
	}
	return err
}

// finishReplacements removes deleted files and brings replacements of segments that a crash interrupted to their end (LogLoader.removeTempFilesAndCollectSwapFiles).
func finishReplacements(fsys vfs.FS, dir string, logger *zap.Logger) error {
	entries, err := fsys.List(dir)
	if err != nil {
		return err
	}
	firstCleaned := int64(math.MaxInt64)
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasSuffix(name, ".checkpoint"+deletedSuffix): // of Kafka's metadata log, which looks after it
			continue
		case strings.HasSuffix(name, deletedSuffix):
		case strings.HasSuffix(name, cleanedSuffix):
			if base, ok := numberOf(name); ok {
				firstCleaned = min(firstCleaned, base)
			}
		default:
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return finishSwaps(fsys, dir, firstCleaned, logger)
}

// numberOf is the number that a segment file's name begins with.
func numberOf(name string) (int64, bool) {
	digits, _, _ := strings.Cut(name, ".")
	return segmentBase(digits, "")
}

// finishSwaps puts the completed replacements in the place of the segments that they cover. Those at or above firstCleaned are of a split that was not
// complete, and go.
func finishSwaps(fsys vfs.FS, dir string, firstCleaned int64, logger *zap.Logger) error {
	entries, err := fsys.List(dir)
	if err != nil {
		return err
	}
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	var swaps []string
	for _, e := range entries {
		base, ok := numberOf(e.Name())
		if !ok || !strings.HasSuffix(e.Name(), swapSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if base >= firstCleaned {
			if err := fsys.Remove(path); err != nil {
				return err
			}
			continue
		}
		swaps = append(swaps, path)
		if !strings.HasSuffix(e.Name(), logSuffix+swapSuffix) {
			continue
		}
		end, err := endOfFile(fsys, path, base)
		if err != nil {
			return err
		}
		low, high = min(low, base), max(high, end)
	}
	if len(swaps) == 0 {
		return nil
	}
	for _, e := range entries {
		base, ok := numberOf(e.Name())
		switch filepath.Ext(e.Name()) {
		case logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix:
		default:
			ok = false
		}
		if !ok || base < low || base >= high {
			continue
		}
		logger.Info("segment file was replaced", zap.String("path", filepath.Join(dir, e.Name())))
		if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	for _, path := range swaps {
		if err := fsys.Rename(path, strings.TrimSuffix(path, swapSuffix)); err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}

// endOfFile is the offset after the last batch of a .log file, base if it has none.
func endOfFile(fsys vfs.FS, path string, base int64) (int64, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	sc := scanner{file: f, end: size, buf: make([]byte, scratchSize)}
	for end := base; ; {
		h, err := sc.next()
		if err != nil {
			return end, nil // the files were whole when they became a swap: what is behind is for recovery
		}
		end = h.lastOffset + 1
	}
}
