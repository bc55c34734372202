package datadir

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	ottla "github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
)

// readBytes is how much of a log is read at once: less than the logs here hold, more than most of their batches.
const readBytes = 16 << 10

// leaderEpoch is the epoch of the leader that Describe plays, above all others; it writes nothing under it.
const leaderEpoch = 1 << 20

// Describe reads all logs of a store, as their leader would serve them once all they hold is committed.
func Describe(ctx context.Context, s *storage.Store, codecs *ottla.Codecs) (Partitions, error) {
	found := Partitions{}
	for _, l := range s.Logs() {
		l.AssignEpoch(leaderEpoch)
		l.AdvanceHighWatermark(l.Offsets().LogEnd)
		p, err := describe(ctx, l, codecs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.TopicPartition(), err)
		}
		found[l.TopicPartition().String()] = p
	}
	return found, nil
}

// logReader walks one log.
type logReader struct {
	log    *storage.Log
	codecs *ottla.Codecs
	p      Partition

	aborted    []storage.AbortedTransaction
	open       map[int64]bool // producers in an aborted transaction
	timestamps []int64
	epochs     []int32
}

func describe(ctx context.Context, l *storage.Log, codecs *ottla.Codecs) (Partition, error) {
	o := l.Offsets()
	r := &logReader{log: l, codecs: codecs, open: map[int64]bool{}, p: Partition{LogStart: o.LogStart, LastStable: o.LastStable, LogEnd: o.LogEnd}}
	var err error
	if o.LastStable > o.LogStart {
		if r.aborted, err = l.AbortedTransactions(o.LogStart, o.LastStable); err != nil {
			return Partition{}, err
		}
	}
	slices.SortFunc(r.aborted, func(a, b storage.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	for _, a := range r.aborted {
		r.p.Aborted = append(r.p.Aborted, abortedLine(a.ProducerID, a.FirstOffset))
	}
	sort.Strings(r.p.Aborted)
	if err := r.readAll(ctx); err != nil {
		return Partition{}, err
	}
	for _, s := range l.Producers() {
		r.p.Producers = append(r.p.Producers, producerLine(s.ProducerID, s.Epoch, s.LastSequence, s.LastTimestamp, s.CoordinatorEpoch, s.CurrentTxnStartOffset))
	}
	sort.Strings(r.p.Producers)
	for _, epoch := range r.epochs {
		of, end := l.EndOffsetForEpoch(epoch)
		r.p.Epochs = appendEpoch(r.p.Epochs, epoch, of, end, true)
	}
	for _, asked := range askedTimes(r.timestamps) {
		at, ok, err := l.OffsetAtTime(asked, math.MaxInt64)
		if err != nil {
			return Partition{}, err
		}
		if !ok {
			at.Offset, at.Timestamp = o.LogEnd, -1
		}
		r.p.Times = append(r.p.Times, timeLine(asked, at.Offset, at.Timestamp))
	}
	return r.p, nil
}

// readAll reads the log in pieces, as fetches do.
func (r *logReader) readAll(ctx context.Context) error {
	sum := sha256.New()
	for offset := r.p.LogStart; offset < r.p.LogEnd; {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := r.log.Read(offset, r.p.LogEnd, readBytes, true)
		if err != nil {
			return err
		}
		b := make([]byte, s.Len())
		_, err = s.ReadAt(b, 0)
		s.Release()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(b) == 0 {
			return fmt.Errorf("nothing to read at %d of %d", offset, r.p.LogEnd)
		}
		sum.Write(b)
		r.p.Bytes += len(b)
		for len(b) > 0 {
			var batch ottla.Batch
			if batch, b, err = ottla.NextBatch(b); err != nil {
				return err
			}
			if err := r.batch(batch); err != nil {
				return fmt.Errorf("batch at %d: %w", batch.BaseOffset(), err)
			}
			offset = batch.NextOffset()
		}
	}
	r.p.Digest = fmt.Sprintf("%x", sum.Sum(nil))
	return nil
}

func (r *logReader) batch(b ottla.Batch) error {
	if err := b.Check(); err != nil {
		return err
	}
	committed := r.visible(b)
	line := record{
		producerID: b.ProducerID(), producerEpoch: b.ProducerEpoch(), leaderEpoch: b.LeaderEpoch(), codec: uint8(b.Codec()),
		appendTime: b.TimestampType() == ottla.LogAppendTime, transactional: b.IsTransactional(), control: b.IsControl(),
	}
	return r.codecs.Records(b, func(k *ottla.Record) error {
		if k.Offset < r.p.LogStart {
			return nil
		}
		line.offset, line.timestamp, line.key, line.value, line.headers = k.Offset, k.Timestamp, k.Key, k.Value, nil
		for _, h := range k.Headers {
			line.headers = append(line.headers, header{h.Key, h.Value})
		}
		r.p.Records = append(r.p.Records, line.String())
		r.timestamps = append(r.timestamps, k.Timestamp)
		if committed {
			r.p.Committed = append(r.p.Committed, k.Offset)
		}
		if !slices.Contains(r.epochs, b.LeaderEpoch()) {
			r.epochs = append(r.epochs, b.LeaderEpoch())
		}
		if own := r.log.EpochOf(k.Offset); own != b.LeaderEpoch() && own >= 0 { // unknown where a crash undid a DeleteRecords
			return fmt.Errorf("epoch %d of offset %d, the batch has %d", own, k.Offset, b.LeaderEpoch())
		}
		return nil
	})
}

// visible reports whether a client that reads committed data returns the batch's records, by the rules of Kafka's consumer.
func (r *logReader) visible(b ottla.Batch) bool {
	for len(r.aborted) > 0 && r.aborted[0].FirstOffset <= b.LastOffset() {
		r.open[r.aborted[0].ProducerID] = true
		r.aborted = r.aborted[1:]
	}
	if b.IsControl() {
		delete(r.open, b.ProducerID()) // a commit is of a producer without an aborted transaction
		return false
	}
	return b.LastOffset() < r.p.LastStable && (!b.IsTransactional() || !r.open[b.ProducerID()])
}
