package runtime

import (
	"fmt"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// Producer is whose transaction an operation's records belong to.
type Producer struct {
	ID    int64
	Epoch int16
	Guard uint64 // of the verification that preceded the operation (KIP-890); 0: none was needed
}

// Marker is the end of a producer's transaction in one partition.
type Marker struct {
	ProducerID         int64
	ProducerEpoch      int16
	CoordinatorEpoch   int32 // of the transaction coordinator that decided
	Commit             bool
	TransactionVersion int16 // transaction.version under which it was decided, 0 unknown
}

// TxnAppend is what a transactional batch or a marker tells the log beside its bytes. It is zero for other batches.
type TxnAppend struct {
	Guard   uint64 // Producer.Guard
	Version int16  // Marker.TransactionVersion
}

// Complete appends the end of a transaction to partition's log, as WriteHere does, and applies it through ReplayMarker. done is called exactly once, in the shard's
// loop if that runs: with nil when the marker is committed, else with the reason: NotCoordinator, CoordinatorLoadInProgress,
// RequestTimedOut, an append's error (Kafka's scheduleTransactionCompletion).
func (r *Runtime[S]) Complete(partition int32, m Marker, done func(error)) {
	r.queue(partition, true, func(s *slot[S]) { s.complete(m, done) }, done)
}

func (s *slot[S]) complete(m Marker, done func(error)) {
	env := s.env()
	then := func(_ Env, err error) { done(err) }
	if err := s.log.Writable(s.currentEpoch()); err != nil {
		s.refuse(env, then, err)
		return
	}
	b := s.txnBuilder(m.ProducerID, m.ProducerEpoch)
	b.Codec = record.CodecNone
	b.AddEndTxnMarker(env.Now.UnixMilli(), record.EndTxnMarker{Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch})
	s.appendAlone(env, b, TxnAppend{Version: m.TransactionVersion}, then, func(offset int64) error {
		return s.shard.ReplayMarker(offset, m.ProducerID, m.ProducerEpoch, m.Commit)
	})
}

// acceptTxn writes a result's records as one transactional batch.
func (s *slot[S]) acceptTxn(env Env, r Result) {
	if err := s.admit(&r); err != nil {
		s.refuse(env, r.Then, err)
		return
	}
	b := s.txnBuilder(r.Producer.ID, r.Producer.Epoch)
	b.Codec, b.Control, b.BaseSequence = s.rt.o.Codec, false, 0 // as Kafka's coordinators write it
	now := env.Now.UnixMilli()
	for i := range r.Records {
		b.Add(now, r.Records[i].Key, r.Records[i].Value)
	}
	s.appendAlone(env, b, TxnAppend{Guard: r.Producer.Guard}, r.Then, func(offset int64) error {
		for i := range r.Records {
			if err := s.shard.Replay(offset+int64(i), r.Producer.ID, r.Producer.Epoch, r.Records[i].Key, r.Records[i].Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// refuse answers an operation that was not written.
func (s *slot[S]) refuse(env Env, then func(Env, error), err error) {
	s.runThen(then, env, err)
	if lostLeadership(err) {
		s.restart(err)
	}
}

func (s *slot[S]) txnBuilder(producerID int64, epoch int16) *record.Builder {
	if s.txnBatch == nil {
		s.txnBatch = record.NewBuilder()
		s.txnBatch.Transactional = true
	}
	s.txnBatch.Reset()
	s.txnBatch.ProducerID, s.txnBatch.ProducerEpoch = producerID, epoch
	return s.txnBatch
}

// appendAlone writes b behind the open batch and then has apply change the shard, which is given b's first offset. The write comes first, because the log may
// refuse a producer that was fenced: such a refusal leaves the shard as it is.
func (s *slot[S]) appendAlone(env Env, b *record.Builder, txn TxnAppend, then func(Env, error), apply func(offset int64) error) {
	broken, err := s.writeAlone(b, txn, apply)
	switch {
	case broken:
		s.runThen(then, env, err)
		s.restart(err)
	case err != nil:
		s.refuse(env, then, err)
	default:
		s.park(env, then)
	}
}

// writeAlone does the work of appendAlone. broken says that the shard may differ from the log.
func (s *slot[S]) writeAlone(b *record.Builder, txn TxnAppend, apply func(offset int64) error) (broken bool, err error) {
	if err := s.write(); err != nil {
		return true, err
	}
	b.BaseOffset = s.next
	data, err := b.Build(s.rt.o.Codecs)
	if err != nil {
		return false, err
	}
	last, err := s.log.Append(s.currentEpoch(), data, txn)
	if err != nil {
		code := protocol.CodeOf(err)
		return code == protocol.KafkaStorageError || code == protocol.UnknownServerError, err
	}
	first := s.next
	if s.next += int64(b.Len()); last != s.next-1 {
		return true, fmt.Errorf("the transactional batch ends at offset %d in the log, not at %d", last, s.next-1)
	}
	panicked := s.guard(func() {
		if err = apply(first); err != nil {
			err = fmt.Errorf("replay of a transactional record: %w", err)
		}
	})
	if panicked != nil {
		err = panicked
	}
	return err != nil, err
}
