package storage

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
)

// unsyncedSuffix marks a file, named by a segment's base, that stands while the segment before it may not be durable yet: it is made before the segment, and
// removed once the one before is synced. It holds the size of the one before. If after a crash that is smaller, then its tail was lost, and what follows is not the log
// any more; without the mark, compaction or a truncation has left the gap. Apache Kafka ignores such files.
const unsyncedSuffix = ".unsynced"

// Roll closes the active segment and starts a new one at the log's end; nothing if the active segment is empty (retention, and the raft log's snapshots).
func (l *Log) Roll() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offline(); err != nil {
		return err
	}
	if l.view.Load().active().size.Load() == 0 {
		return nil
	}
	if _, err := l.roll(l.logEnd.Load(), l.config.Load(), nowMs()); err != nil {
		return l.storageFailed("roll", err)
	}
	return nil
}

// roll finishes the active segment and makes a new one at base. An active segment that is empty and has the same base is replaced. Caller holds mu.
func (l *Log) roll(base int64, config *LogConfig, now int64) (*segment, error) {
	v := l.view.Load()
	old := v.active()
	kept := v.segments
	if old.base == base { // empty: its index was full for a smaller limit, or the append does not fit relative offsets
		kept = kept[:len(kept)-1]
	} else if err := l.finishActive(old, base); err != nil {
		return nil, err
	}
	if l.host != nil && old.base != base {
		size := binary.BigEndian.AppendUint64(nil, uint64(old.size.Load()))
		if err := writeFile(passing(l.fs), l.folder.join(segmentName(base)+unsyncedSuffix), size, false); err != nil {
			return nil, err
		}
	}
	seg, err := createSegment(l.fs, l.folder, base, config, now)
	if err != nil {
		return nil, err
	}
	seg.jitter = segmentJitter(config)
	l.dirUnsynced.Store(true)
	l.view.Store(&view{append(kept[:len(kept):len(kept)], seg)})
	if old.base == base {
		l.release(old)
	} else if l.host != nil {
		l.host.flushLater(l, base)
	}
	return seg, nil
}

// finishActive brings the active segment into its last form before a segment at base follows it. A log on its own has nobody to flush later, and no
// recovery point but that the segments before the last are durable.
func (l *Log) finishActive(old *segment, base int64) error {
	if err := old.finish(); err != nil {
		return err
	}
	if l.producers.end() < base {
		l.producers.advanceTo(base)
	}
	if err := l.producers.takeSnapshot(false); err != nil {
		return err
	}
	if l.host == nil {
		return l.syncRolled(base)
	}
	return nil
}

// segmentJitter is how much earlier than segment.ms a segment is rolled.
func segmentJitter(config *LogConfig) int64 {
	if n := min(config.SegmentJitterMs, config.SegmentMs); n > 0 {
		return rand.Int64N(n)
	}
	return 0
}

// Sync makes all that was appended before the call durable and advances the recovery point.
func (l *Log) Sync() error { return l.syncBelow(l.logEnd.Load()) }

// syncBelow makes everything below offset durable. Callers that come while another's fsync runs are served by the next one together.
func (l *Log) syncBelow(offset int64) error {
	if err := l.offline(); err != nil {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.syncedTo.Load() >= offset {
		return nil
	}
	return l.syncLocked(l.logEnd.Load())
}

// flushTo makes everything below offset durable, and the segments that are finished with their indexes (the store's work after a roll).
func (l *Log) flushTo(offset int64) error {
	if err := l.offline(); err != nil {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.syncedTo.Load() >= offset && l.fullySynced >= l.view.Load().active().base {
		return nil
	}
	return l.syncLocked(max(offset, l.syncedTo.Load()))
}

// syncRolled is flushTo for the active segment, which is finished but not yet followed by the one at base. Caller holds mu.
func (l *Log) syncRolled(base int64) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(base); err != nil {
		return err
	}
	if err := l.flushMeta(); err != nil {
		return err
	}
	if err := l.view.Load().active().syncFiles(true); err != nil {
		return err
	}
	if err := l.syncedUpTo(base); err != nil {
		return err
	}
	l.fullySynced = base
	l.recoveryPoint.Store(base)
	return nil
}

// syncLocked makes everything below offset durable. Caller holds syncMu.
func (l *Log) syncLocked(offset int64) error {
	if lost := l.lost.Load(); lost != nil {
		return l.syncFailed(lost.err)
	}
	v := l.view.Load()
	offset = min(offset, l.logEnd.Load()) // what a truncation has removed since the flush was asked for may come again, unsynced
	messages := l.sinceFlush.Load()
	if l.alone == nil {
		if err := l.epochs.flushBelow(l.logEnd.Load()); err != nil { // of a full disk, say: it is written anew the next time, and no record was lost
			return l.storageFailed("write of the leader epochs", err)
		}
	}
	if err := l.syncSegments(v, offset); err != nil {
		return l.syncFailed(err)
	}
	l.syncedBelow(offset, v.active().base, messages)
	return nil
}

// syncedBelow raises the marks after a sync of everything below offset; base is that of the segment that was active. Caller holds syncMu.
func (l *Log) syncedBelow(offset, base, messages int64) {
	l.fullySynced = max(l.fullySynced, min(base, offset))
	l.syncedTo.Store(max(l.syncedTo.Load(), offset))
	// A recovery point at the very end of the active segment would, once the segment is rolled there, call its unsynced indexes good.
	point := offset
	if point > base {
		point = max(base, offset-1)
	}
	l.recoveryPoint.Store(max(l.recoveryPoint.Load(), point))
	l.sinceFlush.Add(-messages)
	l.lastFlush.Store(nowMs())
}

func (l *Log) syncSegments(v *view, offset int64) error {
	// A log on its own always recovers its last segment, epochs included: they are behind until the next one begins.
	if l.alone == nil || !l.metaSynced.Load() {
		if err := l.flushMeta(); err != nil {
			return err
		}
	}
	for i := v.find(l.fullySynced); i < len(v.segments) && v.segments[i].base < offset; i++ {
		seg := v.segments[i]
		if !seg.acquire() {
			if err := l.offline(); err != nil {
				return err
			}
			continue // deleted meanwhile
		}
		last := i == len(v.segments)-1
		err := seg.syncFiles(!last)
		if err == nil && !last {
			err = l.syncedUpTo(v.segments[i+1].base)
		}
		l.release(seg)
		if err != nil {
			return err
		}
	}
	if l.dirUnsynced.Swap(false) {
		if err := l.fs.SyncDir(l.folder.String()); err != nil {
			l.dirUnsynced.Store(true)
			return err
		}
	}
	return nil
}

// syncedUpTo completes the work on the segments below the one at base.
func (l *Log) syncedUpTo(base int64) error {
	if err := syncSnapshot(passing(l.fs), l.folder.String(), base); err != nil {
		return err
	}
	return l.removeMark(base)
}

// markedSize is the size that the unsynced mark of the segment at base tells of the one before: more than any if the mark itself was not written in full.
func (l *Log) markedSize(base int64) (int64, error) {
	b, err := l.fs.ReadFile(l.folder.join(segmentName(base) + unsyncedSuffix))
	if err != nil {
		return 0, err
	}
	if len(b) == 8 {
		if size := int64(binary.BigEndian.Uint64(b)); size > 0 {
			return size, nil
		}
	}
	return math.MaxInt64, nil
}

// removeMark removes the unsynced mark of the segment at base, if it has one: nothing before it is in danger any more.
func (l *Log) removeMark(base int64) error {
	if err := l.fs.Remove(l.folder.join(segmentName(base) + unsyncedSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// flushMeta writes the epoch cache and partition.metadata durably if they are behind; cheap when they are not.
func (l *Log) flushMeta() error {
	if err := l.epochs.flushBelow(l.logEnd.Load()); err != nil {
		return err
	}
	if l.metaSynced.Load() {
		return nil
	}
	unsynced := l.dirUnsynced.Swap(false) // the folder is synced here
	if err := syncPartitionMetadata(passing(l.fs), l.folder.String()); err != nil {
		if unsynced {
			l.dirUnsynced.Store(true)
		}
		return err
	}
	l.metaSynced.Store(true)
	return nil
}

// unflushed returns how many messages were appended since the last flush and when that was (ms).
func (l *Log) unflushed() (messages, since int64) { return l.sinceFlush.Load(), l.lastFlush.Load() }
