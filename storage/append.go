package storage

import (
	"errors"
	"math"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"go.uber.org/zap"
)

// Origin says who appends (Kafka's AppendOrigin).
type Origin uint8

// The origins. Offsets and leader epochs are assigned by the log for all but OriginReplication.
const (
	OriginClient      Origin = iota // a producer: sequence numbers are checked, duplicates recognised
	OriginCoordinator               // a group, transaction or share coordinator, or a transaction marker
	OriginReplication               // a follower: takes what the leader has
	OriginRaftLeader                // the metadata quorum
)

// AppendOptions says how Append treats its batches.
type AppendOptions struct {
	LeaderEpoch int32 // stamped into batches of client, coordinator and raft origins
	Origin      Origin
	Now         int64 // ms

	// Deferred leaves it to the caller to wait for the fsync that flush.messages asks for: AppendInfo.Flush.
	Deferred bool

	Guard              VerificationGuard // of the verification that preceded a transactional append (StartVerification)
	TransactionVersion int16             // of a transaction marker: transaction.version, 0 unknown
}

// AppendInfo tells what an append did.
type AppendInfo struct {
	FirstOffset, LastOffset int64
	LogStartOffset          int64
	MaxTimestamp            int64
	Duplicate               bool // of one of the producer's last five batches: offsets and MaxTimestamp are the original's
	Flush                   Flush

	unflushed int64 // messages, with these, that no flush had begun to sync
}

// ErrUnexpectedOffset is the error of a replicated batch that does not continue the log (Kafka's UnexpectedAppendOffsetException and
// OffsetsOutOfOrderException).
var ErrUnexpectedOffset = errors.New("batch does not continue the log")

// Append writes whole, already validated batches with one write. For all origins but OriginReplication offsets and leader epoch are assigned here, in place;
// OriginReplication keeps them. b is not kept. It rolls before the write where that is due, and returns after fsync if flush.messages says so, unless that is deferred.
//
// Errors carry Kafka's code: MessageTooLarge, RecordListTooLarge, those of the producer state (sequence, epoch, transaction), KafkaStorageError. After an
// error nothing of b is in the log, except after a failed fsync.
func (l *Log) Append(b []byte, o AppendOptions) (AppendInfo, error) {
	l.mu.Lock()
	info, err := l.appendAll(b, o)
	l.mu.Unlock()
	unflushed := info.unflushed
	info.unflushed = 0
	if every := l.config.Load().FlushMessages; err != nil || every <= 0 || unflushed < every {
		return info, err
	}
	info.Flush = l.flush(info.LastOffset + 1)
	if o.Deferred {
		return info, nil
	}
	return info, info.Flush.Wait()
}

// appendAll appends b, in several writes if a leader with larger segments sent more than fits one.
func (l *Log) appendAll(b []byte, o AppendOptions) (AppendInfo, error) {
	if err := l.offline(); err != nil {
		return AppendInfo{}, err
	}
	limit := l.config.Load().SegmentBytes
	if o.Origin != OriginReplication || len(b) <= limit {
		return l.append(b, o)
	}
	var all AppendInfo
	for first := true; len(b) > 0; first = false {
		n := 0
		for n < len(b) {
			batch, _, err := record.Split(b[n:])
			if err != nil {
				return AppendInfo{}, protocol.Errorf(protocol.CorruptMessage, "malformed batch for %s: %w", l.tp, err)
			}
			if n > 0 && n+len(batch) > limit {
				break
			}
			n += len(batch)
		}
		info, err := l.append(b[:n], o)
		if err != nil {
			return AppendInfo{}, err
		}
		if first {
			all = info
		}
		all.unflushed = info.unflushed
		all.LastOffset, all.MaxTimestamp = info.LastOffset, max(all.MaxTimestamp, info.MaxTimestamp)
		b = b[n:]
	}
	return all, nil
}

// appendPlan is what the first walk over an append's batches finds.
type appendPlan struct {
	info     AppendInfo
	messages int64
	legacy   bool // some batch has magic 0 or 1: its first offset is not known
}

func (l *Log) append(b []byte, o AppendOptions) (AppendInfo, error) {
	plan, err := l.plan(b, o)
	if err != nil || plan.info.Duplicate || len(b) == 0 {
		return plan.info, err
	}
	config := l.config.Load()
	seg, err := l.maybeRoll(len(b), &plan, config, o.Now)
	if err != nil {
		l.producers.discard()
		return AppendInfo{}, l.storageFailed("roll", err)
	}
	start := seg.size.Load()
	if err := l.write(seg, b, start); err != nil {
		l.producers.discard()
		return AppendInfo{}, err
	}
	l.noteBatches(seg, b, start, config)
	end := plan.info.LastOffset + 1
	for _, t := range l.producers.apply(end) {
		if !t.aborted {
			continue
		}
		if err := seg.txns.append(abortedTxn{t.producerID, t.firstOffset, t.lastOffset, t.lastStable}); err != nil {
			l.shut(err) // batch and producer state are ahead of the index: only recovery brings them together
			return AppendInfo{}, l.storageFailed("write of the transaction index", err)
		}
	}
	l.written.Store(end) // before the size: see readView
	seg.size.Store(start + int64(len(b)))
	seg.fileEnd = max(seg.fileEnd, start+int64(len(b)))
	l.setUnstable()
	l.logEnd.Store(end)
	plan.info.unflushed = l.sinceFlush.Add(plan.messages)
	return plan.info, nil
}

// plan assigns or checks offsets, and checks sizes and the producer state. After an error or a duplicate nothing is pending in the producer state.
func (l *Log) plan(b []byte, o AppendOptions) (p appendPlan, err error) {
	config := l.config.Load()
	next := l.logEnd.Load()
	p.info = AppendInfo{FirstOffset: next, LastOffset: next - 1, LogStartOffset: l.logStart.Load(), MaxTimestamp: record.NoTimestamp}
	if o.Origin != OriginReplication && len(b) > config.SegmentBytes {
		return p, protocol.Errorf(protocol.RecordListTooLarge, "Message batch size is %d bytes in append to partition %s, which exceeds the maximum configured segment size of %d.",
			len(b), l.tp, config.SegmentBytes)
	}
	for first := true; len(b) > 0; first = false {
		batch, rest, err := record.Split(b)
		var h batchHeader
		if err == nil {
			h, err = l.admit(batch, next, o, config)
		}
		if err != nil {
			l.producers.discard()
			return p, err
		}
		if h.magic == record.Magic2 {
			dup, found, err := l.producers.checkTxn(batch, o.Origin, txnCheck{o.Guard, o.TransactionVersion})
			if err != nil {
				return p, err
			}
			if found {
				p.info.FirstOffset, p.info.LastOffset, p.info.MaxTimestamp = dup.firstOffset, dup.lastOffset, dup.maxTimestamp
				p.info.Duplicate = true
				if l.syncedTo.Load() <= dup.lastOffset { // the answer waits for the original's fsync
					p.info.unflushed = 1
				}
				return p, nil
			}
		} else {
			p.legacy = true
		}
		if first {
			p.info.FirstOffset = h.baseOffset
		}
		p.info.LastOffset, p.info.MaxTimestamp = h.lastOffset, max(p.info.MaxTimestamp, h.maxTimestamp)
		p.messages += h.lastOffset - h.baseOffset + 1
		next, b = h.lastOffset+1, rest
	}
	return p, nil
}

// admit gives one batch its offsets and epoch, or checks those that a leader gave it.
func (l *Log) admit(b record.Batch, next int64, o AppendOptions, config *LogConfig) (batchHeader, error) {
	if o.Origin == OriginReplication {
		h, ok := parseHeader(b[:min(len(b), maxHeaderSize)], 0)
		if !ok {
			return h, protocol.Errorf(protocol.CorruptMessage, "malformed batch for %s", l.tp)
		}
		if h.baseOffset < next {
			return h, &protocol.Error{Code: protocol.UnknownServerError, Cause: ErrUnexpectedOffset,
				Message: ErrUnexpectedOffset.Error() + ": " + l.tp.String()}
		}
		return h, nil
	}
	if len(b) < maxHeaderSize || b.Magic() != record.Magic2 || b.LastOffsetDelta() < 0 {
		return batchHeader{}, protocol.Errorf(protocol.CorruptMessage, "malformed batch for %s", l.tp)
	}
	if len(b) > config.MaxMessageBytes {
		return batchHeader{}, protocol.Errorf(protocol.MessageTooLarge,
			"The record batch size in the append to %s is %d bytes which exceeds the maximum configured value of %d.", l.tp, len(b), config.MaxMessageBytes)
	}
	b.SetBaseOffset(next)
	b.SetLeaderEpoch(o.LeaderEpoch)
	h, _ := parseHeader(b[:maxHeaderSize], 0)
	return h, nil
}

// write puts b at the segment's end, or leaves the segment as it was.
func (l *Log) write(seg *segment, b []byte, at int64) error {
	var err error
	if seg.offsets.crowded() {
		err = seg.offsets.flush()
	}
	if err == nil && seg.times.crowded() {
		err = seg.times.flush()
	}
	if err == nil {
		_, err = seg.file.WriteAt(b, at)
	}
	if err == nil {
		return nil
	}
	if cut := seg.file.Truncate(at); cut != nil {
		l.logger.Error("append failed and what it wrote cannot be removed; the log goes offline",
			zap.String("path", seg.path(logSuffix)), zap.Error(err), zap.NamedError("truncate", cut))
		l.shut(err)
	}
	seg.sure.Store(false)
	seg.fileEnd = at
	return l.storageFailed("append", err)
}

// noteBatches enters what was written into the indexes and the leader epochs.
func (l *Log) noteBatches(seg *segment, b []byte, pos int64, config *LogConfig) {
	latest := l.epochs.latest()
	maxEntries := config.SegmentIndexBytes / offsetEntrySize
	for len(b) > 0 {
		h, _ := parseHeader(b[:min(len(b), maxHeaderSize)], pos)
		seg.noteBatch(&h, config.IndexIntervalBytes, maxEntries)
		if h.leaderEpoch > latest {
			l.epochs.assign(h.leaderEpoch, h.baseOffset)
			latest = h.leaderEpoch
		}
		pos += int64(h.size)
		b = b[h.size:]
	}
}

// maybeRoll returns the segment for an append of n bytes, a new one where that is due (LogSegment.shouldRoll).
func (l *Log) maybeRoll(n int, p *appendPlan, config *LogConfig, now int64) (*segment, error) {
	seg := l.view.Load().active()
	if !l.shouldRoll(seg, n, p, config, now) {
		return seg, nil
	}
	// Kafka names the new segment by the first offset of the batches; here it is the end of the log, which is the same but for a follower whose leader's log has
	// a gap. So a segment that begins above the end of the one before tells recovery that something was lost.
	base := l.logEnd.Load()
	if p.info.LastOffset-base > math.MaxInt32 {
		base = p.info.FirstOffset
		if p.legacy {
			base = max(base, p.info.LastOffset-math.MaxInt32)
		}
	}
	return l.roll(base, config, now)
}

func (l *Log) shouldRoll(seg *segment, n int, p *appendPlan, config *LogConfig, now int64) bool {
	size := seg.size.Load()
	if size > int64(config.SegmentBytes)-int64(n) || p.info.LastOffset-seg.base > math.MaxInt32 {
		return true
	}
	if size == 0 {
		return false
	}
	if seg.offsets.known() >= config.SegmentIndexBytes/offsetEntrySize || seg.times.known() >= config.SegmentIndexBytes/timeEntrySize-1 {
		return true
	}
	age := config.maxSegmentMs() - seg.jitter
	if first := l.firstTimestamp(seg); first >= 0 {
		return p.info.MaxTimestamp-first > age
	}
	return now-seg.created > age
}

func (l *Log) firstTimestamp(seg *segment) int64 {
	if seg.firstTime >= 0 {
		return seg.firstTime
	}
	scratch := l.scratch.get()
	defer l.scratch.put(scratch)
	return seg.firstTimestamp(*scratch)
}
