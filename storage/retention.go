package storage

import (
	"time"

	"go.uber.org/zap"
)

// Retention applies cleanup.policy's retention as of now (UnifiedLog.deleteOldSegments): segments are examined oldest first and deleted whole, for
// lying below the log start offset, then for size, then for age; the latter two only with the policy delete. Nothing at or above
// the high watermark is deleted. The active segment is not exempt: it is rolled first. It returns the number of segments deleted.
//
// The Store calls it every log.retention.check.interval.ms.
func (l *Log) Retention(now time.Time) (segments int, err error) { return l.retain(now.UnixMilli()) }

func (l *Log) retain(now int64) (segments int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline() != nil {
		return 0, nil
	}
	rules := []func(config *LogConfig, now int64) (int, error){l.belowStart}
	config := l.config.Load()
	if config.Delete {
		rules = append(rules, l.oversize, l.outdated)
	}
	for _, rule := range rules {
		n, err := rule(config, now)
		if err != nil {
			return segments, l.storageFailed("retention", err)
		}
		if n == 0 {
			continue
		}
		if err := l.dropOldest(n); err != nil {
			return segments, err
		}
		segments += n
	}
	return segments, nil
}

// deletable counts the oldest segments for which breaches holds. next is nil for the active segment, which is deletable only if it is not empty.
func (l *Log) deletable(breaches func(seg, next *segment) (bool, error)) (int, error) {
	segments := l.view.Load().segments
	hw := l.highWatermark.Load()
	for i, seg := range segments {
		var next *segment
		end := l.logEnd.Load()
		if i+1 < len(segments) {
			next = segments[i+1]
			end = next.base
		} else if seg.size.Load() == 0 {
			return i, nil
		}
		if hw < end {
			return i, nil
		}
		if ok, err := breaches(seg, next); err != nil || !ok {
			return i, err
		}
	}
	return len(segments), nil
}

// belowStart counts the segments that end at or below the log start offset.
func (l *Log) belowStart(*LogConfig, int64) (int, error) {
	start := l.logStart.Load()
	return l.deletable(func(_, next *segment) (bool, error) { return next != nil && next.base <= start, nil })
}

// oversize counts the segments without which the log still holds retention.bytes.
func (l *Log) oversize(config *LogConfig, _ int64) (int, error) {
	if config.RetentionBytes < 0 {
		return 0, nil
	}
	excess := l.Size() - config.RetentionBytes
	return l.deletable(func(seg, _ *segment) (bool, error) {
		excess -= seg.size.Load()
		return excess >= 0, nil
	})
}

// outdated counts the segments whose largest timestamp (or, without any, time of last change) is older than retention.ms.
func (l *Log) outdated(config *LogConfig, now int64) (int, error) {
	if config.RetentionMs < 0 {
		return 0, nil
	}
	return l.deletable(func(seg, _ *segment) (bool, error) {
		largest, err := seg.largestTimestamp(l.fs)
		if err != nil {
			return false, err
		}
		if largest > now {
			l.logger.Warn("segment holds a timestamp in the future and is not deleted by time", zap.String("partition", l.tp.String()),
				zap.Int64("segment", seg.base), zap.Time("timestamp", time.UnixMilli(largest)))
		}
		return now-largest > config.RetentionMs, nil
	})
}
