package storage

import (
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// host is the owner of a log: it does the slow work that the log must not do on its append path. A log opened on its own
// (OpenLog) has a nil host: it flushes inline, deletes at once and keeps failures to itself. No method blocks or does I/O, so all may be called under
// the log's mutex; the host never calls back into the log from inside them.
type host interface {
	// flushLater asks for l.flushTo(offset) soon: the segments below offset were rolled and are not yet synced.
	flushLater(l *Log, offset int64)
	// deleteLater removes files (full paths, already renamed to .deleted) after delayMs.
	deleteLater(l *Log, delayMs int64, paths ...string)
	// failed reports an I/O error on l's directory: the host takes the whole log dir offline and calls l.fail for its logs later.
	failed(l *Log, err error)
	// truncated is the exception: the log calls it without its mutex, after a truncation that lowered the recovery point, and it writes the
	// recovery point checkpoint before it returns.
	truncated(l *Log) error
}

// openOptions is everything openLog needs to know. The Store fills it from its checkpoints; OpenLog with what is true of a log on its own.
type openOptions struct {
	fs     vfs.FS
	dir    string // the partition's folder, which exists
	tp     protocol.TopicPartition
	config LogConfig
	codecs *record.Codecs
	logger *zap.Logger
	host   host // may be nil

	fresh         bool  // just created: partition.metadata and the folder itself are not synced yet
	clean         bool  // the last stop was clean: nothing at all is recovered
	recoveryPoint int64 // first offset not known to be synced; 0 if unknown
	logStart      int64 // log start offset of the checkpoint; 0 if unknown
	highWatermark int64 // of the checkpoint; clamped to [log start, log end]; 0 if unknown

	producers producerConfig
}

// hosted is what the Store asks of its logs; *Log satisfies it. It stands here so that both sides read one list.
//
// Durability: the leader epoch cache (epochCache.flush) and partition.metadata (syncPartitionMetadata) are written lazily: the log must bring
// both to disk before it lets the recovery point pass any batch, so Sync, flushTo and Close do it first. That is what keeps the append path and
// topic creation free of fsync, and it loses nothing: everything above the recovery point is rebuilt from the batches.
type hosted interface {
	// flushTo syncs everything below offset (log, indexes, snapshots, epochs, metadata, then the folder) and advances the recovery point to it.
	flushTo(offset int64) error
	// flushMeta writes the epoch cache (epochCache.flush) and partition.metadata (syncPartitionMetadata, once for a fresh log) durably if they are
	// behind; cheap when they are not.
	flushMeta() error
	// unflushed returns how many messages were appended since the last flush and when that was (for flush.ms).
	unflushed() (messages int64, since int64)
	// checkpoints returns the recovery point, and the log start offset with raised true if it lies above the first segment's base
	// (only then it belongs in log-start-offset-checkpoint).
	checkpoints() (recoveryPoint, logStart int64, raised bool)
	// rename renames the log's folder to dir under the log's mutex (so that no roll meets the old name) and takes the log out of service: later
	// appends and reads answer KafkaStorageError, Slices handed out stay valid, and nothing is reported to the host any more. Also after Close.
	rename(dir string) error
	// fail takes the log offline: later calls answer KafkaStorageError with cause err. Files are closed when the last Slice is released.
	fail(err error)
	// discard closes the files without writing anything (the folder is about to be removed, or has failed).
	discard()
	// retain applies retention (retention.go).
	retain(now int64) (segments int, err error)
	// expireProducers drops idle producers (producers.expire under the log's mutex).
	expireProducers(now int64)
}
