package storage

import (
	"errors"
	"io"
	"io/fs"
	"math"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"go.uber.org/zap"
)

// recover checks the batches of all segments from the from-th on, builds their indexes, epochs and the producer state anew, and cuts the log at the first batch that is
// not whole (LogSegment.recover, LogLoader.recoverLog). It returns the offset at which the log ends. What the records hold is not looked at.
func (l *Log) recover(from int, names []segmentFiles, o openOptions) (end int64, err error) {
	v := l.view.Load()
	left := len(v.segments) - from
	o.loading.recovering(left)
	defer func() { o.loading.recovering(-left) }()
	first := v.segments[from]
	l.fullySynced = first.base
	start := max(o.logStart, v.segments[0].base)
	if o.recovering != nil && from < v.find(o.recoveryPoint) {
		if err := o.recovering(first.base); err != nil {
			return 0, err
		}
	}
	if err := l.producersAt(first.base, start); err != nil {
		return 0, err
	}
	known := l.epochs.truncateFromEnd(first.base)
	end = first.base
	for i := from; i < len(v.segments); i++ {
		seg := v.segments[i]
		torn, err := l.lostTail(v.segments[max(i-1, 0)], names[i], end)
		if err != nil {
			return 0, err
		}
		if i > from && torn {
			l.logger.Warn("the end of a segment was lost in a crash; the segments after it are removed", zap.String("path", v.segments[i-1].path(logSuffix)),
				zap.Int64("end offset", end), zap.Int64("next segment", seg.base))
			return end, l.dropRecovered(v, i)
		}
		var lost int64
		if end, lost, err = l.recoverSegment(seg, end, known, o.loading); err != nil {
			// Without its index it is recovered again, even below the recovery point.
			return 0, errors.Join(err, ignoreMissing(l.fs.Remove(seg.path(indexSuffix))))
		}
		left--
		o.loading.recovering(-1)
		if i+1 < len(v.segments) || lost > 0 {
			if err := l.producers.takeSnapshot(false); err != nil {
				return 0, err
			}
		}
		if lost > 0 {
			return end, l.dropRecovered(v, i+1)
		}
		if i+1 < len(v.segments) {
			if err := seg.finish(); err != nil {
				return 0, err
			}
		}
	}
	return end, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// lostTail reports whether before, which ends at end, lost its tail before it was synced, so that the segment next does not follow it.
func (l *Log) lostTail(before *segment, next segmentFiles, end int64) (bool, error) {
	if !next.unsynced || next.base <= end {
		return false, nil
	}
	size, err := l.markedSize(next.base)
	return before.size.Load() < size, err
}

// producersAt makes the producer state that of offset.
func (l *Log) producersAt(offset, start int64) error {
	if err := l.producers.truncateAndReload(start, offset, nowMs()); err != nil {
		return err
	}
	if l.producers.end() >= offset {
		return nil
	}
	if err := l.replayProducers(l.producers.end(), offset); err != nil {
		return err
	}
	l.producers.advanceTo(offset)
	return nil
}

// dropRecovered removes the segments from the n-th on, which follow a cut. What precedes is made durable first: the cut must not undo itself.
func (l *Log) dropRecovered(v *view, n int) error {
	if err := l.dropNewest(v.segments[n:]); err != nil {
		return err
	}
	last := v.segments[n-1]
	last.jitter = segmentJitter(l.config.Load())
	l.view.Store(&view{v.segments[:n:n]})
	for _, seg := range v.segments[n:] {
		l.release(seg)
	}
	return last.syncFiles(true)
}

// recoverSegment checks one segment and builds what belongs to it anew. last is where the segment before ends, known are the epochs that the checkpoint has for the
// segment. It returns the offset after the last good batch, and how many bytes it cut off.
func (l *Log) recoverSegment(seg *segment, last int64, known []epochEntry, loading *loading) (end, lost int64, err error) {
	if err := errors.Join(seg.offsets.create(), seg.times.create(), seg.txns.reset()); err != nil {
		return 0, 0, err
	}
	seg.times.end = timestampOffset{record.NoTimestamp, seg.base}
	seg.setMaxTimestamp(seg.times.end)
	seg.sinceIndex, seg.firstTime = 0, record.NoTimestamp
	config := l.config.Load()
	maxEntries := config.SegmentIndexBytes / offsetEntrySize
	end = seg.base
	size := seg.size.Load()
	r := batchReader{file: seg.file, end: size}
	for {
		if err := loading.ended(); err != nil {
			return 0, 0, err
		}
		good := r.pos
		h, b, err := r.next()
		if err == nil {
			err = checkRecovered(&h, b, end)
		}
		if errors.Is(err, io.EOF) {
			return end, 0, nil
		}
		if errors.Is(err, protocol.CorruptMessage) {
			return end, size - good, l.cutTail(seg, good, end, err)
		}
		if err != nil {
			return 0, 0, err
		}
		if h.lastOffset-seg.base > math.MaxInt32 {
			return 0, 0, &wideSegment{seg.base}
		}
		seg.noteBatch(&h, config.IndexIntervalBytes, maxEntries)
		if seg.offsets.crowded() || seg.times.crowded() {
			if err := errors.Join(seg.offsets.flush(), seg.times.flush()); err != nil {
				return 0, 0, err
			}
		}
		if h.leaderEpoch > l.epochs.latest() {
			l.recoverEpochs(known, h.leaderEpoch, last, h.baseOffset)
		}
		for _, t := range l.replayBatch(&h, b) {
			if !t.aborted {
				continue
			}
			if err := seg.txns.append(abortedTxn{t.producerID, t.firstOffset, t.lastOffset, t.lastStable}); err != nil {
				return 0, 0, err
			}
		}
		end = h.lastOffset + 1
		last = end
	}
}

// recoverEpochs takes in the epochs up to the one of the batch at offset, which follows one that ends at last. Compaction may have removed the first batches of
// an epoch, or all: the checkpoint knows better where it starts if that lies between the two batches.
func (l *Log) recoverEpochs(known []epochEntry, epoch int32, last, offset int64) {
	for _, e := range known {
		if e.epoch > l.epochs.latest() && e.epoch <= epoch && e.startOffset >= last && e.startOffset <= offset {
			l.epochs.assign(e.epoch, e.startOffset)
		}
	}
	if epoch > l.epochs.latest() {
		l.epochs.assign(epoch, offset)
	}
}

// checkRecovered verifies that a batch is whole and continues the log at end.
func checkRecovered(h *batchHeader, b record.Batch, end int64) error {
	if err := checkEntry(h, b); err != nil {
		return err
	}
	if h.baseOffset < end {
		return protocol.Errorf(protocol.CorruptMessage, "batch at offset %d where the log has reached %d", h.baseOffset, end)
	}
	return nil
}

// cutTail removes what follows the last good batch.
func (l *Log) cutTail(seg *segment, good, end int64, why error) error {
	size := seg.size.Load()
	l.logger.Warn("cut the torn end off a segment", zap.String("path", seg.path(logSuffix)), zap.Int64("end offset", end),
		zap.Int64("position", good), zap.Int64("bytes cut", size-good), zap.NamedError("found", why))
	if err := seg.file.Truncate(good); err != nil {
		return err
	}
	seg.sure.Store(false)
	seg.synced = min(seg.synced, good)
	seg.size.Store(good)
	seg.fileEnd = good
	return nil
}
