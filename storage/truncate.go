package storage

import (
	"slices"

	"github.com/ottla/ottla/protocol"
	"go.uber.org/zap"
)

// TruncateTo drops everything from offset on (UnifiedLog.truncateTo). A batch that holds offset but begins below it goes as a whole; the log then ends
// where it began. High watermark and recovery point are lowered, the producer state is rebuilt. It is durable on return: after a crash a log either has all that
// was cut off, or a first part of it, or nothing. If the log ends at or below offset, only an epoch goes that has no batch: this broker led in it, but appended nothing.
func (l *Log) TruncateTo(offset int64) error {
	return l.cut(func() error {
		switch {
		case offset >= l.logEnd.Load():
			l.epochs.truncateFromEnd(l.logEnd.Load())
			return nil
		case offset < l.view.Load().segments[0].base:
			return l.replaceAll(max(offset, 0))
		}
		return l.truncateTo(offset)
	})
}

// ResetTo drops everything and starts the log anew at offset (UnifiedLog.truncateFullyAndStartAt).
func (l *Log) ResetTo(offset int64) error {
	return l.cut(func() error { return l.replaceAll(offset) })
}

// cut runs a truncation under mu, and has the marks that it lowered checkpointed: after a crash a mark above must not claim, or hide, what is appended here later.
func (l *Log) cut(truncate func() error) error {
	point, start, cleaned := l.recoveryPoint.Load(), l.logStart.Load(), l.cleaned.Load()
	l.mu.Lock()
	err := l.offline()
	if err == nil {
		err = truncate()
		if err == nil && l.alone != nil && l.logStart.Load() < start {
			err = l.alone.saveStart(l)
		}
		if err != nil {
			l.shut(err) // the parts do not fit any more: only loading brings them together
			err = l.storageFailed("truncate", err)
		}
	}
	l.mu.Unlock()
	lower := l.recoveryPoint.Load() < point || l.logStart.Load() < start || l.cleaned.Load() < cleaned
	if err != nil || l.host == nil || !lower {
		return err
	}
	if err := l.host.truncated(l); err != nil {
		return l.storageFailed("checkpoint after a truncation", err)
	}
	return nil
}

func (l *Log) truncateTo(offset int64) error {
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	v := l.view.Load()
	keep := len(v.segments)
	for keep > 1 && v.segments[keep-1].base > offset {
		keep--
	}
	last := v.segments[keep-1]
	position, end, err := cutPoint(last, offset, *scratch)
	if err != nil {
		return err
	}
	l.lowerMarks(end)
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.view.Store(&view{v.segments[:keep:keep]})
	err = l.dropNewest(v.segments[keep:])
	for _, seg := range v.segments[keep:] {
		l.release(seg)
	}
	if err != nil {
		return err
	}
	if err := last.cutTo(position, offset, *scratch, nowMs()); err != nil {
		return err
	}
	if err := last.syncFiles(true); err != nil {
		return err
	}
	l.syncedTo.Store(min(l.syncedTo.Load(), end))
	l.recoveryPoint.Store(min(l.recoveryPoint.Load(), max(last.base, end-1)))
	l.fullySynced = min(l.fullySynced, last.base)
	l.epochs.truncateFromEnd(end)
	if l.logStart.Load() > end {
		l.logStart.Store(end)
	}
	if err := l.rebuildProducers(nowMs()); err != nil {
		return err
	}
	l.producers.highWatermarkAdvanced(l.highWatermark.Load()) // transactions that had ended before are found again by the rebuild
	l.setUnstable()
	return nil
}

// cutPoint returns where in the segment the batches from offset on begin, and the offset at which the log ends without them.
func cutPoint(seg *segment, offset int64, scratch []byte) (position, end int64, err error) {
	h, found, err := seg.locate(offset, seg.size.Load(), scratch)
	if err != nil {
		return 0, 0, err
	}
	if !found {
		return seg.size.Load(), offset, nil
	}
	return h.pos, min(offset, h.baseOffset), nil
}

// lowerMarks brings the log's end down to end, and what must not lie above it: readers see the marks before the bytes go.
func (l *Log) lowerMarks(end int64) {
	l.uncleanedFrom(end)
	l.offMu.Lock()
	defer l.offMu.Unlock()
	if l.highWatermark.Load() > end {
		l.storeHighWatermark(end)
	}
	l.settled.Store(min(l.settled.Load(), end))
	l.logEnd.Store(end)
}

// dropNewest removes the files of segments, the newest first, so that a crash leaves a log without a hole. The caller takes the segments out of the view, before
// or after, and lets go of them.
func (l *Log) dropNewest(segments []*segment) error {
	if len(segments) == 0 {
		return nil
	}
	for _, seg := range slices.Backward(segments) {
		seg.cuts.add(0)
		if err := l.removeFiles(seg); err != nil {
			return err
		}
	}
	return l.fs.SyncDir(l.folder.String())
}

// removeFiles marks a segment's files deleted, with the producer snapshot of its base, and hands them to the host; a log on its own removes them at once.
func (l *Log) removeFiles(seg *segment) error {
	seg.gone.Store(true)
	paths, err := seg.markDeleted(l.fs)
	if err == nil && l.host != nil {
		err = l.removeMark(seg.base)
	}
	if err != nil {
		return err
	}
	if snapshot, ok := l.producers.detachSnapshot(seg.base); ok {
		if err := l.fs.Rename(snapshot, snapshot+deletedSuffix); err != nil {
			l.logger.Warn("producer snapshot cannot be removed", zap.String("path", snapshot), zap.Error(err))
		} else {
			paths = append(paths, snapshot+deletedSuffix)
		}
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

func (l *Log) replaceAll(offset int64) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.restartMarks(offset)
	old, config := l.view.Load().segments, l.config.Load()
	below := offset < old[0].base
	var seg *segment
	var err error
	if below { // first of all: a crash must not leave a log that has forgotten at which offset it is
		seg, err = createSegment(l.fs, l.folder, offset, config, nowMs())
	}
	if err == nil {
		err = l.dropNewest(old)
	}
	if err == nil && !below {
		seg, err = createSegment(l.fs, l.folder, offset, config, nowMs())
	}
	if err != nil {
		return err
	}
	seg.jitter = segmentJitter(config)
	l.view.Store(&view{[]*segment{seg}})
	for _, seg := range old {
		l.release(seg)
	}
	l.epochs.clear()
	if err := l.producers.resetTo(offset); err != nil {
		return err
	}
	l.syncedTo.Store(offset)
	l.recoveryPoint.Store(offset)
	l.fullySynced = offset
	l.sinceFlush.Store(0)
	if err := l.fs.SyncDir(l.folder.String()); err != nil {
		return err
	}
	if l.alone == nil {
		return nil
	}
	if err := l.epochs.flush(); err != nil {
		return err
	}
	return l.alone.saveStart(l)
}

// restartMarks makes the marks those of an empty log at offset, so that no reader looks for a segment any more.
func (l *Log) restartMarks(offset int64) {
	l.uncleanedFrom(offset)
	l.logStart.Store(offset)
	l.offMu.Lock()
	defer l.offMu.Unlock()
	l.settled.Store(offset)
	l.logEnd.Store(offset)
	l.firstUnstable = noOffset
	l.storeHighWatermark(offset)
}

// DeleteBefore raises the log start offset (DeleteRecords, and a follower that learns its leader's); OffsetOutOfRange beyond the high watermark. What lies
// below is not readable any more; segments that lie wholly below are deleted by retention, or at once if the log is on its own.
func (l *Log) DeleteBefore(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offline(); err != nil {
		return err
	}
	if hw := l.highWatermark.Load(); offset > hw {
		return protocol.Errorf(protocol.OffsetOutOfRange, "Cannot increment the log start offset to %d of partition %s since it is larger than the high watermark %d", offset, l.tp, hw)
	}
	if offset <= l.logStart.Load() {
		return nil
	}
	l.raiseStart(offset)
	if l.alone == nil {
		return nil
	}
	if err := l.alone.saveStart(l); err != nil {
		return l.storageFailed("checkpoint of the log start offset", err)
	}
	v, n := l.view.Load(), 0
	for n+1 < len(v.segments) && v.segments[n+1].base <= offset {
		n++
	}
	return l.dropOldest(n)
}

// raiseStart moves the log start offset up to offset. Caller holds mu.
func (l *Log) raiseStart(offset int64) {
	l.logStart.Store(offset)
	l.epochs.truncateFromStart(offset)
	l.producers.logStartAdvanced(offset)
	l.offMu.Lock()
	defer l.offMu.Unlock()
	l.firstUnstable = l.producers.firstUnstable()
	l.storeHighWatermark(max(l.highWatermark.Load(), offset))
}

// dropOldest deletes the first n segments; if that is all of them, the active one is rolled first. The log then starts at the first that is left, unless it starts
// above that already. Caller holds mu.
func (l *Log) dropOldest(n int) error {
	v := l.view.Load()
	if n == len(v.segments) {
		if v.active().size.Load() == 0 {
			n--
		} else if _, err := l.roll(l.logEnd.Load(), l.config.Load(), nowMs()); err != nil {
			return l.storageFailed("roll", err)
		}
		v = l.view.Load()
	}
	if n == 0 {
		return nil
	}
	first := v.segments[n].base
	if first > l.logStart.Load() {
		l.raiseStart(first) // before the segments go: whoever misses one finds that its offset is out of range
	}
	l.view.Store(&view{v.segments[n:]})
	var err error
	for _, seg := range v.segments[:n] {
		if err == nil {
			err = l.removeFiles(seg)
		}
		l.release(seg)
	}
	if err == nil && l.host != nil {
		err = l.removeMark(first)
	}
	l.dirUnsynced.Store(true) // they may come back after a crash, unsynced, and the recovery point must not have passed them
	if err != nil {
		return l.storageFailed("delete of a segment", err)
	}
	return nil
}
