package runtime

import (
	"context"

	"github.com/ottla/ottla/protocol/record"
)

// Log is the led partition that a shard writes to. Its methods are safe for concurrent use.
type Log interface {
	// Append appends one batch as leader of epoch and returns the offset of its last record. It keeps nothing of batch. Errors carry
	// their Kafka code: NotLeaderOrFollower, FencedLeaderEpoch, NotEnoughReplicas, KafkaStorageError; for transactional batches also
	// InvalidTxnState, InvalidProducerEpoch, TransactionCoordinatorFenced.
	Append(epoch int32, batch []byte, txn TxnAppend) (lastOffset int64, err error)
	// Writable tells, without writing, whether an append at epoch would be refused now: NotLeaderOrFollower, FencedLeaderEpoch,
	// NotEnoughReplicas; nil otherwise.
	Writable(epoch int32) error
	// HighWatermark is the offset below which records are committed.
	HighWatermark() int64
	// LogEndOffset is the offset that the next append gets.
	LogEndOffset() int64
	// OnCommit calls fn after the high watermark moved, and with -1 once leadership ends. fn does not block; it may be called
	// from Append and from several goroutines. cancel stops it; a call may still be under way.
	OnCommit(fn func(highWatermark int64)) (cancel func())
	// Load calls fn for every batch from the log's start to its end, in order. A batch is valid only during the call.
	Load(ctx context.Context, fn func(record.Batch) error) error
	// MaxMessageBytes is the largest batch that the partition takes, in bytes (max.message.bytes).
	MaxMessageBytes() int
}
