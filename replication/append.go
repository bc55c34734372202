package replication

import (
	"context"
	"math"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
)

// ProduceOptions says how one append is to be done.
type ProduceOptions struct {
	Acks           int16 // -1 checks min.insync.replicas before the append
	Origin         storage.Origin
	ProduceVersion int16 // of the client's request; zstd needs 7
	LeaderEpoch    int32 // the epoch the caller leads in, -1 for whatever is current

	// Deferred leaves it to the caller to wait for the fsync that flush.messages asks for, with WaitFlushed, if ProduceResult.Flushing says so.
	Deferred bool

	Guard              storage.VerificationGuard // of a transactional batch that was verified (StartVerification)
	TransactionVersion int16                     // of a transaction marker: transaction.version, 0 unknown
}

// ProduceResult is where an append went.
type ProduceResult struct {
	BaseOffset, LastOffset int64
	LogAppendTime          int64 // ms; -1 for CreateTime
	LogStartOffset         int64

	term      int32 // of the leadership that it was appended in
	committed bool  // at once
	flush     storage.Flush
	log       *storage.Log // that flush is of
}

// Flushing reports whether the append is to be waited for with WaitFlushed.
func (r *ProduceResult) Flushing() bool { return r.flush.Pending() }

// Committed reports whether the append was committed at once. Else WaitCommitted waits for it.
func (r *ProduceResult) Committed() bool { return r.committed }

// maxDecompressedBytes bounds what one batch may decompress to, as Kafka 4.4's max.decompressed.message.bytes does by default.
const maxDecompressedBytes = math.MaxInt32 - 8

// Append validates b, the records of one partition, and appends them as the partition's leader. It patches b in place and
// keeps nothing of it. A batch that repeats one of its producer's last five succeeds with the offsets it got then.
//
// Errors: NotLeaderOrFollower, FencedLeaderEpoch, NotEnoughReplicas (acks -1), a *record.ValidationError with the records
// at fault, and the log's own (sequence, producer epoch, sizes, KafkaStorageError).
func (p *Partition) Append(b []byte, o ProduceOptions) (ProduceResult, error) {
	size := len(b)
	result, err := p.append(b, o)
	if o.Origin == storage.OriginClient {
		p.traffic.appended(size, &result, err)
	}
	return result, err
}

func (p *Partition) append(b []byte, o ProduceOptions) (ProduceResult, error) {
	result := ProduceResult{BaseOffset: -1, LastOffset: -1, LogAppendTime: -1, LogStartOffset: -1}
	now := time.Now().UnixMilli()
	settings := p.Log().Config()
	if o.Origin == storage.OriginClient {
		// Leadership is checked before the work of validation, and again under the lock that holds it still.
		if err := p.CheckEpoch(o.LeaderEpoch); err != nil {
			return result, err
		}
		batch, err := p.o.Codecs.Validate(b, p.validation(settings, o, now))
		if err != nil {
			result.LogStartOffset = p.Log().Offsets().LogStart
			return result, err
		}
		b = batch
	}
	info, by, err := p.appendAsLeader(b, o, settings, now)
	if err != nil {
		return result, err
	}
	p.waiters.appended()
	if by.moved {
		p.waiters.committed(p.Log().Offsets().HighWatermark)
	}
	result = ProduceResult{
		BaseOffset: info.FirstOffset, LastOffset: info.LastOffset, LogAppendTime: -1, LogStartOffset: info.LogStartOffset,
		term: by.term, committed: by.highWatermark > info.LastOffset,
	}
	if info.Duplicate || settings.TimestampType == record.LogAppendTime {
		result.LogAppendTime = info.MaxTimestamp
	}
	if !info.Flush.Pending() {
		return result, nil
	}
	if result.flush, result.log = info.Flush, by.log; o.Deferred {
		return result, nil
	}
	return result, p.WaitFlushed(&result)
}

// WaitFlushed returns when the records of an append are durable, if flush.messages asks for that; until then they are not committed. Error: KafkaStorageError.
func (p *Partition) WaitFlushed(r *ProduceResult) error {
	if !r.Flushing() {
		return nil
	}
	err := p.WithLog(func(log *storage.Log) error {
		if log == r.log {
			return r.flush.Wait()
		}
		return log.Flush().Wait() // moved to another dir meanwhile, with all it had
	})
	if err != nil {
		return err
	}
	p.advance()
	return nil
}

// appendedBy is how a leader stood when it appended.
type appendedBy struct {
	log           *storage.Log
	term          int32
	highWatermark int64 // after the append
	moved         bool  // by it
}

// appendAsLeader holds the role still over the write, so that no append of an old epoch follows an election.
func (p *Partition) appendAsLeader(b []byte, o ProduceOptions, c storage.LogConfig, now int64) (storage.AppendInfo, appendedBy, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	by := appendedBy{log: p.Log(), term: p.state.term}
	if err := p.checkEpoch(o.LeaderEpoch); err != nil {
		return storage.AppendInfo{}, by, err
	}
	if o.Acks == -1 && p.state.belowMinISR(c.MinInSyncReplicas) {
		return storage.AppendInfo{}, by, protocol.Errorf(protocol.NotEnoughReplicas,
			"The size of the current ISR : %d is insufficient to satisfy the min.isr requirement of %d for partition %s",
			len(p.state.isr), p.state.effectiveMinISR(c.MinInSyncReplicas), p.tp)
	}
	info, err := by.log.Append(b, storage.AppendOptions{
		LeaderEpoch: p.state.leaderEpoch, Origin: o.Origin, Now: now, Guard: o.Guard, TransactionVersion: o.TransactionVersion, Deferred: true,
	})
	if err == nil {
		by.moved = !info.Duplicate && p.advanceHighWatermark(now)
		by.highWatermark = by.log.Offsets().HighWatermark
	}
	return info, by, err
}

func (p *Partition) validation(c storage.LogConfig, o ProduceOptions, now int64) record.Validation {
	return record.Validation{
		Partition:       p.tp,
		Now:             now,
		TimestampType:   c.TimestampType,
		BeforeMaxMs:     c.TimestampBeforeMaxMs,
		AfterMaxMs:      c.TimestampAfterMaxMs,
		Compacted:       c.Compact,
		Codec:           c.Codec,
		Level:           c.CodecLevel,
		MaxMessageBytes: c.MaxMessageBytes,
		ProduceVersion:  o.ProduceVersion,
		MaxDecompressed: maxDecompressedBytes,
	}
}

// WaitCommitted waits until all of an append is below the high watermark. Errors: RequestTimedOut at ctx's deadline, ctx's error when it is cancelled,
// NotLeaderOrFollower if leadership was lost meanwhile, even if it came back, NotEnoughReplicasAfterAppend if it is committed, but by fewer replicas than
// min.insync.replicas asks for.
func (p *Partition) WaitCommitted(ctx context.Context, r *ProduceResult) error {
	if committed, err := p.commitState(r); committed || err != nil {
		return err
	}
	w := p.waiters.awaitCommit(r.LastOffset)
	defer p.waiters.forget(w)
	// An advance or a lost leadership between the first look and the registration woke nobody: look again.
	if committed, err := p.commitState(r); committed || err != nil {
		return err
	}
	select {
	case err := <-w.done:
		if err == nil {
			_, err = p.commitState(r)
		}
		return err
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded {
			return protocol.RequestTimedOut
		}
		return ctx.Err()
	}
}

// commitState reports whether an append is committed, or why it never will be as far as this leader can tell (Partition.checkEnoughReplicasReachOffset).
func (p *Partition) commitState(r *ProduceResult) (committed bool, err error) {
	minISR := p.Log().Config().MinInSyncReplicas
	p.mu.RLock()
	defer p.mu.RUnlock()
	switch {
	case p.state.term != r.term:
		return false, protocol.NotLeaderOrFollower
	case p.Log().Offsets().HighWatermark <= r.LastOffset:
		return false, p.checkEpoch(-1)
	case p.state.maximalISRBelow(minISR):
		return true, protocol.NotEnoughReplicasAfterAppend
	}
	return true, nil
}

// OnCommit calls fn after each move of the high watermark, and with -1 when leadership ends. fn must not block and may be
// called from several goroutines; cancel stops it (a call may still be under way).
func (p *Partition) OnCommit(fn func(highWatermark int64)) (cancel func()) {
	return p.waiters.listen(fn)
}
