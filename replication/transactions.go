package replication

import (
	"context"
	"slices"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage"
)

// TxnSupport is what a client's request says of transactions by its version (Kafka's TransactionSupportedOperation, KIP-890).
type TxnSupport uint8

const (
	// TxnDefaultError clients do not know TransactionAbortable: InvalidTxnState takes its place.
	TxnDefaultError TxnSupport = iota
	// TxnAbortableError clients know it.
	TxnAbortableError
	// TxnAddPartition clients do not add partitions to transactions: writing to one adds it. Their epoch is another one in every transaction.
	TxnAddPartition
)

// ProduceTxnSupport is the support of a Produce version.
func ProduceTxnSupport(version int16) TxnSupport { return txnSupport(version, 11, 12) }

// OffsetCommitTxnSupport is the support of a TxnOffsetCommit version.
func OffsetCommitTxnSupport(version int16) TxnSupport { return txnSupport(version, 4, 5) }

func txnSupport(version, abortable, add int16) TxnSupport {
	switch {
	case version >= add:
		return TxnAddPartition
	case version >= abortable:
		return TxnAbortableError
	default:
		return TxnDefaultError
	}
}

// TxnPartitions are partitions that records of a transaction are about to be written to.
type TxnPartitions struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Partitions      []protocol.TopicPartition
	Add             bool // add them to the transaction; else only look whether they are part of it
}

// Verifier asks transaction coordinators about partitions (Kafka's AddPartitionsToTxnManager). Safe for concurrent use.
type Verifier interface {
	// VerifyTxn returns what the coordinator said of each partition, in their order, or one code for all of them: CoordinatorNotAvailable, NetworkException.
	// It waits for the coordinator until ctx ends.
	VerifyTxn(ctx context.Context, t TxnPartitions) ([]protocol.Code, protocol.Code)
}

// SetVerifier says who is asked. It is called once, before the first VerifyTxn.
func (m *Manager) SetVerifier(v Verifier) { m.verifier = v }

// TxnVerification is the verification of one request's transactional records before they are appended (KIP-890).
type TxnVerification struct {
	TransactionalID string
	ProducerID      int64
	ProducerEpoch   int16
	Support         TxnSupport
	Retry           bool // try again for a while where the producer's last transaction is still being ended, besides while the coordinator moves
	Partitions      []TxnPartition
}

// TxnPartition is one partition of a TxnVerification.
type TxnPartition struct {
	protocol.TopicPartition
	Sequence int32 // of the first record; -1 none

	// Guard and Err are what VerifyTxn found: either Err is set, or Guard is what the append must bring.
	Guard storage.VerificationGuard
	Err   error
}

// VerifiesTxn reports whether transactional records of clients with this support need a verification (transaction.partition.verification.enable). Those who
// add partitions by writing to them always do.
func (m *Manager) VerifiesTxn(s TxnSupport) bool {
	return s == TxnAddPartition || m.o.Config().Bool("transaction.partition.verification.enable")
}

// StartVerification returns the guard under which records of a producer are to be verified before they are appended here, or the zero guard if its transaction is
// open here already. Errors: NotLeaderOrFollower, InvalidProducerEpoch, KafkaStorageError.
func (p *Partition) StartVerification(producerID int64, epoch int16, sequence int32, s TxnSupport) (storage.VerificationGuard, error) {
	if err := p.CheckEpoch(-1); err != nil {
		return 0, err
	}
	var guard storage.VerificationGuard
	err := p.WithLog(func(log *storage.Log) (err error) {
		guard, err = log.StartVerification(producerID, epoch, sequence, s == TxnAddPartition, time.Now().UnixMilli())
		return err
	})
	return guard, err
}

// VerifyTxn finds out, for every partition of v, under which guard its records may be appended: it asks the transaction's coordinator where the transaction is not
// open in a partition yet. It may wait. Errors of partitions are the coordinator's, in terms that producers know.
func (m *Manager) VerifyTxn(ctx context.Context, v *TxnVerification) {
	c := m.o.Config()
	longest := min(c.Duration("add.partitions.to.txn.retry.backoff.max.ms"), c.Duration("request.timeout.ms"))
	// Kafka waits for its whole backoff each time, while markers take a fraction of it.
	backoff, wait := c.Duration("add.partitions.to.txn.retry.backoff.ms"), time.Millisecond
	for start := time.Now(); ; wait *= 2 {
		late := time.Since(start) >= longest // a coordinator that was asked in time and died over it has a successor by now
		m.verifyOnce(ctx, v)
		if late || !slices.ContainsFunc(v.Partitions, v.passes) {
			break
		}
		select {
		case <-time.After(min(wait, backoff)):
		case <-ctx.Done():
			return
		}
	}
	for i := range v.Partitions {
		if p := &v.Partitions[i]; p.Err != nil {
			p.Guard, p.Err = 0, producerError(p.Err, v.Support)
		}
	}
}

// passes reports whether what is wrong with a partition will be well in a moment. A coordinator moves in milliseconds, and clients would wait for their whole backoff; Kafka's brokers tell them.
func (v *TxnVerification) passes(p TxnPartition) bool {
	switch protocol.CodeOf(p.Err) { //nolint:exhaustive // the others stay
	case protocol.ConcurrentTransactions:
		return v.Retry && v.Support == TxnAddPartition
	case protocol.NotCoordinator, protocol.CoordinatorLoadInProgress, protocol.CoordinatorNotAvailable, protocol.NetworkException:
		return true
	}
	return false
}

// verifyOnce sets the guards, and the errors as the partitions and the coordinator tell them.
func (m *Manager) verifyOnce(ctx context.Context, v *TxnVerification) {
	ask := TxnPartitions{
		TransactionalID: v.TransactionalID, ProducerID: v.ProducerID, ProducerEpoch: v.ProducerEpoch, Add: v.Support == TxnAddPartition,
		Partitions: make([]protocol.TopicPartition, 0, len(v.Partitions)),
	}
	for i := range v.Partitions {
		p := &v.Partitions[i]
		if p.Guard, p.Err = m.startVerification(p, v); p.Guard != 0 && p.Err == nil {
			ask.Partitions = append(ask.Partitions, p.TopicPartition)
		}
	}
	if len(ask.Partitions) == 0 {
		return
	}
	codes, all := m.verifier.VerifyTxn(ctx, ask)
	at := 0
	for i := range v.Partitions {
		p := &v.Partitions[i]
		if p.Guard == 0 || p.Err != nil {
			continue
		}
		code := all
		if code == protocol.None {
			code = codes[at]
		}
		if at++; code != protocol.None {
			p.Err = code
		}
	}
}

func (m *Manager) startVerification(p *TxnPartition, v *TxnVerification) (storage.VerificationGuard, error) {
	partition, err := m.Partition(p.Topic, p.Partition)
	if err != nil {
		return 0, err
	}
	return partition.StartVerification(v.ProducerID, v.ProducerEpoch, p.Sequence, v.Support)
}

// producerError puts a coordinator's error in terms that producers of the support know.
func producerError(err error, s TxnSupport) error {
	switch code := protocol.CodeOf(err); {
	case code == protocol.ProducerFenced:
		return protocol.InvalidProducerEpoch
	case code == protocol.TransactionAbortable && s == TxnDefaultError:
		return protocol.InvalidTxnState
	default:
		return err
	}
}

// ProduceVerificationError is what Produce answers for an error of VerifyTxn. Those that older clients would not retry become NotEnoughReplicas, for which
// they try again without asking for metadata. The errors with a message are those for which Kafka sends one.
func ProduceVerificationError(err error, s TxnSupport) error {
	switch code := protocol.CodeOf(err); {
	case code == protocol.InvalidTxnState:
		return protocol.Errorf(code, "Partition was not added to the transaction")
	case code == protocol.NetworkException, code == protocol.CoordinatorLoadInProgress, code == protocol.CoordinatorNotAvailable,
		code == protocol.NotCoordinator, code == protocol.ConcurrentTransactions && s != TxnAddPartition:
		return protocol.Errorf(protocol.NotEnoughReplicas,
			"Unable to verify the partition has been added to the transaction. Underlying error: %s", code)
	default:
		return code
	}
}

// TxnMarker is the end of a producer's transaction.
type TxnMarker struct {
	ProducerID         int64
	ProducerEpoch      int16
	CoordinatorEpoch   int32
	Commit             bool
	TransactionVersion int16 // transaction.version under which it was decided, 0 unknown
}

// AppendMarker ends a transaction here, with acks=all, and returns where the marker is. Errors: NotLeaderOrFollower, NotEnoughReplicas, InvalidProducerEpoch,
// TransactionCoordinatorFenced, KafkaStorageError.
func (p *Partition) AppendMarker(m TxnMarker) (ProduceResult, error) {
	b := record.NewBuilder()
	b.ProducerID, b.ProducerEpoch = m.ProducerID, m.ProducerEpoch
	b.AddEndTxnMarker(time.Now().UnixMilli(), record.EndTxnMarker{Commit: m.Commit, CoordinatorEpoch: m.CoordinatorEpoch})
	batch, err := b.Build(p.o.Codecs)
	if err != nil {
		return ProduceResult{}, err
	}
	return p.Append(batch, ProduceOptions{
		Acks: -1, Origin: storage.OriginCoordinator, LeaderEpoch: -1, TransactionVersion: m.TransactionVersion,
	})
}
