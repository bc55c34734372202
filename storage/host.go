package storage

import (
	"sync/atomic"

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
	// flush asks for an fsync of all that was appended to l, and returns what to wait for; nil leaves it to l.
	flush(l *Log) *flushTicket
	// deleteLater removes files (full paths, already renamed to .deleted) after delayMs.
	deleteLater(l *Log, delayMs int64, paths ...string)
	// failed reports an I/O error on l's directory: the host takes the whole log dir offline and calls l.fail for its logs later.
	failed(l *Log, err error)
	// truncated is the exception: the log calls it without its mutex, after a truncation that lowered the recovery point, the log start or the end
	// of the last compaction, and it checkpoints all of them before it returns.
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
	host   host         // may be nil
	marked *atomic.Bool // set when the high watermark moves; may be nil

	buffers *buffers // nil: the log has its own

	fresh         bool  // just created: partition.metadata and the folder itself are not synced yet
	clean         bool  // the last stop was clean: nothing at all is recovered
	recoveryPoint int64 // first offset not known to be synced; 0 if unknown
	logStart      int64 // log start offset of the checkpoint; 0 if unknown
	highWatermark int64 // of the checkpoint; clamped to [log start, log end]; 0 if unknown
	cleaned       int64 // compacted up to here, of the checkpoint; 0 if unknown

	loading *loading // may be nil

	// recovering is called before indexes of the log from offset on are built anew that the recovery point calls good: after a crash it must be done again. May be nil.
	recovering func(offset int64) error

	producers producerConfig
}
