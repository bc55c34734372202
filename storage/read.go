package storage

import (
	"errors"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// Read returns whole batches from the one that contains offset, below upper (exclusive), at most max bytes, and of one segment; the first batch in full
// even if larger when atLeastOne. Offset outside [LogStart, LogEnd]: OffsetOutOfRange. An empty Slice (Len 0) at the end. It takes no lock of the writer.
func (l *Log) Read(offset, upper int64, max int, atLeastOne bool) (Slice, error) {
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	for {
		v := l.view.Load()
		s, err := l.readView(v, offset, upper, int64(max), atLeastOne, *scratch)
		if err == nil {
			return s, nil
		}
		if failure := l.offline(); failure != nil {
			return Slice{}, failure
		}
		if errors.Is(err, errViewMoved) {
			continue
		}
		return Slice{}, l.readFailed(err)
	}
}

// errViewMoved says that a truncation or deletion came between: try again with what is there now.
var errViewMoved = errors.New("segments changed")

// readFailed gives an error of a read its code: those of the disk take the log dir offline.
func (l *Log) readFailed(err error) error {
	if errors.Is(err, vfs.ErrGone) { // a slice that was held until its segment's files were removed
		return protocol.Errorf(protocol.KafkaStorageError, "read of %s: %w", l.tp, err)
	}
	var coded *protocol.Error
	var code protocol.Code
	if errors.As(err, &coded) || errors.As(err, &code) || errors.Is(err, ErrTruncated) {
		return err
	}
	return l.storageFailed("read", err)
}

func (l *Log) readView(v *view, offset, upper, limit int64, atLeastOne bool, scratch []byte) (Slice, error) {
	if err := l.offline(); err != nil {
		return Slice{}, err
	}
	// The cuts are loaded before the size, so that a cut after that is noticed; the size before written, so that all batches below size end at or
	// below it. The log's end does not tell that: the size may have an append already that the end, and the high watermark, do not have yet.
	active := v.active()
	seen, size := active.cuts.n.Load(), active.size.Load()
	written := l.written.Load()
	start, end := l.logStart.Load(), l.logEnd.Load()
	if err := l.inRange(offset, start, end); err != nil {
		return Slice{}, err
	}
	if offset >= min(upper, end) || limit <= 0 && !atLeastOne {
		return Slice{}, nil
	}
	for i := v.find(offset); i < len(v.segments); i++ {
		seg := v.segments[i]
		if seg.base >= upper {
			break
		}
		r := rangeOf{offset, upper, written, size, seen}
		if seg != active {
			r.next, r.seen = v.segments[i+1].base, seg.cuts.n.Load()
			r.size = seg.size.Load()
		}
		if !seg.acquire() {
			return Slice{}, errViewMoved
		}
		s, found, err := l.readSegment(seg, r, limit, atLeastOne, scratch)
		if err == nil && s.n > 0 {
			err = pin(seg.file)
		}
		if err == nil && s.Valid() != nil {
			if s.n > 0 {
				unpin(seg.file)
			}
			err = errViewMoved
		}
		if err != nil && (seg.gone.Load() || seg.cuts.n.Load() != s.seen || errors.Is(err, vfs.ErrGone)) {
			err = errViewMoved
		}
		if err != nil || s.n == 0 {
			l.release(seg)
		}
		if err != nil {
			return Slice{}, err
		}
		if found {
			if s.n == 0 {
				return Slice{}, nil
			}
			return s, nil
		}
	}
	return Slice{}, nil
}

func (l *Log) inRange(offset, start, end int64) error {
	if offset < start || offset > end {
		return protocol.Errorf(protocol.OffsetOutOfRange, "Received request for offset %d for partition %s, but we only have log segments from offset %d up to %d.",
			offset, l.tp, start, end)
	}
	return nil
}

// rangeOf says what of a segment a read may return: batches that hold offset or more, end below upper and stand below size. All the
// segment's batches below size end at or below next. seen is the number of cuts known when size was read.
type rangeOf struct{ offset, upper, next, size, seen int64 }

// readSegment finds the bytes. found is false if the segment has no batch at or above the offset. The slice carries seen even with an error.
func (l *Log) readSegment(seg *segment, r rangeOf, limit int64, atLeastOne bool, scratch []byte) (s Slice, found bool, err error) {
	s = Slice{log: l, seg: seg, seen: r.seen, next: min(r.upper, r.next)}
	first, found, err := seg.locate(r.offset, r.size, scratch)
	if err != nil || !found || first.lastOffset >= r.upper {
		return s, found, err
	}
	s.pos = first.pos
	end := r.size
	if r.upper < r.next {
		last, beyond, err := seg.locate(r.upper, r.size, scratch)
		if err != nil {
			return s, true, err
		}
		if beyond {
			end = last.pos
		}
	}
	if end-first.pos > limit {
		if end, s.next, err = seg.boundary(first.pos, first.pos+max(limit, 0), end, scratch); err != nil {
			return s, true, err
		}
		if end == first.pos && atLeastOne {
			end, s.next = first.end(), first.lastOffset+1
		}
	}
	s.n = max(0, end-s.pos)
	return s, true, nil
}

// AbortedTransaction is one transaction that a reader of committed data must skip.
type AbortedTransaction struct{ ProducerID, FirstOffset int64 }

// ReadCommitted is Read for a reader of committed data, who gives the last stable offset as upper: it returns also the aborted transactions that touch what the
// slice holds from offset on, whose records the reader must skip.
func (l *Log) ReadCommitted(offset, upper int64, max int, atLeastOne bool) (Slice, []AbortedTransaction, error) {
	for {
		s, err := l.Read(offset, upper, max, atLeastOne)
		if err != nil || s.n == 0 {
			return s, nil, err
		}
		v := l.view.Load()
		i := v.find(s.seg.base)
		if v.segments[i] == s.seg {
			aborted, err := abortedIn(v.segments[i:], offset, s.next)
			if err == nil {
				return s, aborted, nil
			}
			if !errors.Is(err, errViewMoved) {
				s.Release()
				return Slice{}, nil, l.readFailed(err)
			}
		}
		s.Release()
		if failure := l.offline(); failure != nil {
			return Slice{}, nil, failure
		}
	}
}

// AbortedTransactions returns all aborted transactions that touch [start, upper), for who reads the log by other means. OffsetOutOfRange if start is not in the log any more.
func (l *Log) AbortedTransactions(start, upper int64) ([]AbortedTransaction, error) {
	for {
		if err := l.offline(); err != nil {
			return nil, err
		}
		v := l.view.Load()
		aborted, err := abortedIn(v.segments[v.find(start):], start, upper)
		if outside := l.inRange(start, l.logStart.Load(), l.logEnd.Load()); outside != nil { // after the search: a segment may have gone before it
			return nil, outside
		}
		if err == nil {
			return aborted, nil
		}
		if !errors.Is(err, errViewMoved) {
			return nil, l.readFailed(err)
		}
	}
}

// abortedIn finds the aborted transactions that touch [start, upper) and whose markers are in the segments. errViewMoved if one of those that it looks into is going.
func abortedIn(segments []*segment, start, upper int64) ([]AbortedTransaction, error) {
	var out []AbortedTransaction
	for _, seg := range segments {
		entries, err := seg.aborted()
		if err != nil {
			return nil, err
		}
		for _, t := range entries {
			if t.lastOffset >= start && t.firstOffset < upper {
				out = append(out, AbortedTransaction{t.producerID, t.firstOffset})
			}
			if t.lastStable >= upper {
				return out, nil
			}
		}
	}
	return out, nil
}

// aborted reads the segment's transaction index.
func (s *segment) aborted() ([]abortedTxn, error) {
	if !s.acquire() {
		return nil, errViewMoved
	}
	entries, err := s.txns.all()
	if s.gone.Load() || errors.Is(err, vfs.ErrGone) { // the index may have lost its name before it was opened
		err = errViewMoved
	}
	return entries, errors.Join(err, s.release())
}
