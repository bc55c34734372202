package server

import (
	"context"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/storage"
)

// coordinatorLog is a led partition of an internal topic as a coordinator's shard sees it.
type coordinatorLog struct{ *replication.Partition }

var _ runtime.Log = coordinatorLog{}

// openCoordinatorLog returns a function that finds the hosted partitions of an internal topic.
func openCoordinatorLog(m *replication.Manager, topic string) func(partition int32) (runtime.Log, error) {
	return func(partition int32) (runtime.Log, error) {
		p, err := m.Partition(topic, partition)
		if err != nil {
			return nil, err
		}
		return coordinatorLog{p}, nil
	}
}

// Append implements runtime.Log: coordinators write with acks=all.
func (l coordinatorLog) Append(epoch int32, batch []byte, txn runtime.TxnAppend) (int64, error) {
	result, err := l.Partition.Append(batch, replication.ProduceOptions{
		Acks: -1, Origin: storage.OriginCoordinator, LeaderEpoch: epoch,
		Guard: storage.VerificationGuard(txn.Guard), TransactionVersion: txn.Version,
	})
	if err == nil && result.LastOffset < 0 {
		return -1, protocol.UnknownServerError
	}
	return result.LastOffset, err
}

// HighWatermark implements runtime.Log.
func (l coordinatorLog) HighWatermark() int64 { return l.Log().Offsets().HighWatermark }

// LogEndOffset implements runtime.Log.
func (l coordinatorLog) LogEndOffset() int64 { return l.Log().Offsets().LogEnd }

// Load implements runtime.Log.
func (l coordinatorLog) Load(ctx context.Context, fn func(record.Batch) error) error {
	next := int64(-1)
	return l.WithLog(func(log *storage.Log) error {
		return log.Batches(ctx, max(next, log.Offsets().LogStart), func(b record.Batch) error {
			next = b.NextOffset()
			return fn(b)
		})
	})
}

// MaxMessageBytes implements runtime.Log.
func (l coordinatorLog) MaxMessageBytes() int { return l.Log().Config().MaxMessageBytes }
