package storage

import (
	"errors"
	"io"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// TimestampOffset is a record found by its timestamp (ms).
type TimestampOffset struct {
	Offset, Timestamp int64
	LeaderEpoch       int32 // -1 unknown
}

// OffsetAtTime finds the first record with timestamp >= ts (ms), in offset order, from the log start on and below upper; ok false if none.
func (l *Log) OffsetAtTime(ts, upper int64) (t TimestampOffset, ok bool, err error) {
	if err := l.offline(); err != nil {
		return t, false, err
	}
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	for _, seg := range l.view.Load().segments {
		if seg.base >= upper {
			break
		}
		err := l.pinned(seg, func() error {
			largest, err := seg.indexedMax(*scratch)
			if err != nil || largest.timestamp < ts {
				return err
			}
			t, ok, err = l.searchTime(seg, ts, *scratch)
			return err
		})
		if err != nil {
			return t, false, err
		}
		if ok {
			return t, t.Offset < upper, nil
		}
	}
	return t, false, nil
}

// pinned runs fn with the segment held; a segment that is gone is left out.
func (l *Log) pinned(seg *segment, fn func() error) error {
	if !seg.acquire() {
		return l.offline()
	}
	seen := seg.cuts.n.Load()
	err := fn()
	l.release(seg)
	if err == nil || seg.gone.Load() || seg.cuts.n.Load() != seen || errors.Is(err, vfs.ErrGone) { // what a truncation or deletion took meanwhile is not to be found
		return nil
	}
	if failure := l.offline(); failure != nil {
		return failure
	}
	return l.readFailed(err)
}

// searchTime finds the first record of the segment with timestamp >= ts.
func (l *Log) searchTime(seg *segment, ts int64, scratch []byte) (t TimestampOffset, ok bool, err error) {
	from, err := seg.times.lookup(scratch, ts-1)
	if err != nil {
		return t, false, err
	}
	start := l.logStart.Load()
	sc, err := seg.walk(max(from.offset, start), seg.size.Load(), scratch)
	if err != nil {
		return t, false, err
	}
	for {
		h, err := sc.next()
		if err == io.EOF { //nolint:errorlint // next returns it bare
			return t, false, nil
		}
		if err != nil {
			return t, false, err
		}
		if h.maxTimestamp < ts || h.lastOffset < start {
			continue
		}
		t, ok, err = l.firstAtTime(seg, &h, ts, start)
		if ok || err != nil {
			return t, ok, err
		}
	}
}

var errFound = errors.New("found")

// firstAtTime looks into one batch for the first record with timestamp >= ts, at or above start.
func (l *Log) firstAtTime(seg *segment, h *batchHeader, ts, start int64) (t TimestampOffset, ok bool, err error) {
	if h.magic < record.Magic2 { // a message, or a wrapper whose own time and offset are those of its last message
		return TimestampOffset{h.lastOffset, h.maxTimestamp, h.leaderEpoch}, true, nil
	}
	b := make([]byte, h.size)
	if _, err := seg.file.ReadAt(b, h.pos); err != nil {
		return t, false, err
	}
	err = l.codecs.Records(record.Batch(b), func(r *record.Record) error {
		if r.Timestamp < ts || r.Offset < start {
			return nil
		}
		t, ok = TimestampOffset{r.Offset, r.Timestamp, h.leaderEpoch}, true
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return t, ok, err
}

// MaxTimestamp is the first record with the highest timestamp below upper; ok false if there is no record with a timestamp. As in
// Kafka it may lie below the log start while its segment is there.
func (l *Log) MaxTimestamp(upper int64) (t TimestampOffset, ok bool, err error) {
	if err := l.offline(); err != nil {
		return t, false, err
	}
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	best := timestampOffset{timestamp: record.NoTimestamp}
	var in *segment
	v, end := l.view.Load(), l.logEnd.Load()
	for i, seg := range v.segments {
		if seg.base >= upper {
			break
		}
		whole := upper >= end
		if i+1 < len(v.segments) {
			whole = upper >= v.segments[i+1].base
		}
		err := l.pinned(seg, func() error {
			largest, err := seg.indexedMax(*scratch)
			if err == nil && (!whole || largest.offset >= upper) && largest.timestamp > best.timestamp {
				largest, err = maxBelow(seg, upper, *scratch)
			}
			if err == nil && largest.timestamp > best.timestamp {
				best, in = largest, seg
			}
			return err
		})
		if err != nil {
			return t, false, err
		}
	}
	if in == nil {
		return t, false, nil
	}
	err = l.pinned(in, func() error {
		h, found, err := in.locate(best.offset, in.size.Load(), *scratch)
		if err != nil || !found {
			return err
		}
		t, ok, err = l.firstAtTime(in, &h, best.timestamp, 0)
		return err
	})
	return t, ok, err
}

// maxBelow walks a segment for the largest timestamp of the batches that end below upper.
func maxBelow(seg *segment, upper int64, scratch []byte) (timestampOffset, error) {
	largest := timestampOffset{record.NoTimestamp, seg.base}
	sc := scanner{file: seg.file, end: seg.size.Load(), buf: scratch}
	for {
		h, err := sc.next()
		if err == io.EOF || err == nil && h.lastOffset >= upper { //nolint:errorlint // next returns it bare
			return largest, nil
		}
		if err != nil {
			return largest, err
		}
		if h.maxTimestamp > largest.timestamp {
			largest = timestampOffset{h.maxTimestamp, h.lastOffset}
		}
	}
}

// indexedMax is the segment's largest timestamp: of an older segment its time index tells, which is read when first asked for.
func (s *segment) indexedMax(scratch []byte) (timestampOffset, error) {
	if t := s.maxTimestamp(); t.timestamp >= 0 || s.size.Load() == 0 {
		return t, nil
	}
	t, err := s.times.largest(scratch)
	if err == nil && t.timestamp >= 0 {
		s.setMaxTimestamp(t)
	}
	return t, err
}
