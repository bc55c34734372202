package storage

import (
	"context"
	"errors"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// Log is one replica's log: segments in Kafka's format (Kafka's UnifiedLog and LocalLog). It is safe for concurrent use.
//
// mu is the writer's: it is held across the write of an append, a roll and a truncation, and guards the producer state and all that segments
// leave to "the log's writer". Readers take the list of segments from view and pin the segment they read; they never take mu.
// syncMu is held across fsync and guards recovery point and what counts as synced. offMu guards the high watermark, and
// is never held across I/O. Lock order: mu, syncMu, offMu.
type Log struct {
	fs     vfs.FS
	folder *folder
	tp     protocol.TopicPartition
	codecs *record.Codecs
	logger *zap.Logger
	host   host // nil for a log on its own
	alone  *standalone
	marked *atomic.Bool // of the log's dir, set when the high watermark moves; nil for a log on its own

	*buffers

	config  atomic.Pointer[LogConfig]
	topicID atomic.Pointer[protocol.UUID]
	failure atomic.Pointer[failure] // set once: the log answers nothing any more
	lost    atomic.Pointer[failure] // set once: an fsync has failed, and nothing that is not synced yet counts as durable ever after
	quiet   atomic.Bool             // the folder is going: errors are no sign of a bad disk
	view    atomic.Pointer[view]    // stored under mu
	epochs  *epochCache

	mu          sync.Mutex
	producers   *producerStates // guarded by mu
	guards      VerificationGuard
	sinceFlush  atomic.Int64 // messages appended since the last flush
	lastFlush   atomic.Int64 // ms
	dirUnsynced atomic.Bool  // names in the folder changed since it was synced
	metaSynced  atomic.Bool  // partition.metadata is durable

	awaited *flushTicket // guarded by the mutex of its dir's flusher

	syncMu        sync.Mutex
	syncedTo      atomic.Int64 // all batches below are durable; stored under syncMu
	recoveryPoint atomic.Int64 // recovery starts with the segment that contains it; stored under syncMu
	fullySynced   int64        // segments with a base below it are durable with their indexes; guarded by syncMu

	settled  atomic.Int64 // what lies below is as good as synced: it was there when the log was opened, or when flush.messages became 1; stored under offMu
	logStart atomic.Int64 // stored under mu
	logEnd   atomic.Int64 // stored under mu
	written  atomic.Int64 // all batches below the active segment's size end at or below it: an append raises it before the size, and that before logEnd; stored under mu

	cleaned     atomic.Int64 // compacted up to here, -1 never; stored under mu, but for what firstDirty corrects
	truncations atomic.Int64 // so far; stored under mu

	offMu         sync.Mutex
	highWatermark atomic.Int64 // stored under offMu
	lastStable    atomic.Int64 // stored under offMu
	firstUnstable int64        // guarded by offMu; -1 none
}

// view is the list of segments at one moment, ascending by base offset; the last one is active. It is never empty and never changed.
type view struct{ segments []*segment }

// find returns the index of the segment that offset falls into; 0 if it is below all.
func (v *view) find(offset int64) int {
	return max(0, sort.Search(len(v.segments), func(i int) bool { return v.segments[i].base > offset })-1)
}

func (v *view) active() *segment { return v.segments[len(v.segments)-1] }

// failure is why a log does not answer any more.
type failure struct{ err error }

var (
	errLogClosed  = errors.New("the log is closed")
	errLogRemoved = errors.New("the replica was removed")
)

// buffers are what logs share, all of a Store together: one of each of ten thousand logs would be the most of their memory.
type buffers struct {
	scratch bufferPool                // of scratchSize, for lookups
	copies  bufferPool                // of copySize, for copying
	config  atomic.Pointer[LogConfig] // of the log that was configured last: the next one may have the same
}

// configOf returns a LogConfig equal to c that is not changed any more.
func (b *buffers) configOf(c LogConfig) *LogConfig {
	if last := b.config.Load(); last != nil && *last == c {
		return last
	}
	b.config.Store(&c)
	return &c
}

func newBuffers() *buffers {
	return &buffers{scratch: bufferPool{size: scratchSize}, copies: bufferPool{size: copySize}}
}

// bufferPool keeps buffers of one size.
type bufferPool struct {
	size int
	pool sync.Pool
}

func (p *bufferPool) get() *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, p.size)
	return &b
}

func (p *bufferPool) put(b *[]byte) { p.pool.Put(b) }

// TopicPartition is the partition that the log is a replica of.
func (l *Log) TopicPartition() protocol.TopicPartition { return l.tp }

// TopicID is the topic's id, zero if the folder has none (partition.metadata).
func (l *Log) TopicID() protocol.UUID { return *l.topicID.Load() }

// Dir is the path of the log's folder.
func (l *Log) Dir() string { return l.folder.String() }

// Config returns the configuration in force.
func (l *Log) Config() LogConfig { return *l.config.Load() }

// Configure replaces the configuration: it counts from the next append on.
func (l *Log) Configure(c LogConfig) {
	if c.FlushMessages == 1 && l.config.Load().FlushMessages != 1 { // what was committed without an fsync stays so
		l.settleBelow(l.logEnd.Load())
	}
	l.config.Store(l.configOf(c))
}

// settleBelow raises what counts as written without an fsync.
func (l *Log) settleBelow(offset int64) {
	l.offMu.Lock()
	defer l.offMu.Unlock()
	l.settled.Store(max(l.settled.Load(), offset))
}

// Offsets are the four marks of a log; LogStart <= LastStable <= HighWatermark <= LogEnd but for the moment of a truncation. LogEnd is the offset that the
// next record gets; reads of committed data end below HighWatermark, those of committed transactions below LastStable.
type Offsets struct{ LogStart, HighWatermark, LastStable, LogEnd int64 }

// Offsets returns the marks. It takes no lock: each is loaded after the ones that it bounds.
func (l *Log) Offsets() Offsets {
	o := Offsets{LogStart: l.logStart.Load(), LastStable: l.lastStable.Load()}
	o.HighWatermark = l.highWatermark.Load()
	o.LogEnd = l.logEnd.Load()
	return o
}

// AdvanceHighWatermark raises (never lowers) the high watermark, clamped to [LogStart, LogEnd]; reports whether it moved.
func (l *Log) AdvanceHighWatermark(hw int64) bool {
	l.offMu.Lock()
	hw = min(max(hw, l.logStart.Load()), l.logEnd.Load())
	if hw <= l.highWatermark.Load() {
		l.offMu.Unlock()
		return false
	}
	transactions := l.firstUnstable >= 0
	if !transactions {
		l.storeHighWatermark(hw)
	}
	l.offMu.Unlock()
	if transactions {
		l.mu.Lock()
		l.settleTransactions(hw)
		l.mu.Unlock()
	}
	return true
}

// settleTransactions raises the high watermark to hw, which ends the wait of transactions whose markers lie below it. Caller holds mu.
func (l *Log) settleTransactions(hw int64) {
	hw = min(hw, l.logEnd.Load())
	l.producers.highWatermarkAdvanced(max(hw, l.highWatermark.Load()))
	l.offMu.Lock()
	defer l.offMu.Unlock()
	l.firstUnstable = l.producers.firstUnstable()
	l.storeHighWatermark(max(hw, l.highWatermark.Load()))
}

// storeHighWatermark stores hw and what the last stable offset is with it. Caller holds offMu.
func (l *Log) storeHighWatermark(hw int64) {
	if l.marked != nil && hw != l.highWatermark.Load() {
		defer func() {
			if !l.marked.Load() {
				l.marked.Store(true)
			}
		}()
	}
	stable := hw
	if l.firstUnstable >= 0 {
		stable = min(hw, max(l.firstUnstable, l.logStart.Load()))
	}
	if hw >= l.highWatermark.Load() {
		l.highWatermark.Store(hw)
		l.lastStable.Store(stable)
		return
	}
	l.lastStable.Store(stable)
	l.highWatermark.Store(hw)
}

// setUnstable follows a change of the producer state. Caller holds mu.
func (l *Log) setUnstable() {
	first := l.producers.firstUnstable()
	l.offMu.Lock()
	defer l.offMu.Unlock()
	if first != l.firstUnstable {
		l.firstUnstable = first
		l.storeHighWatermark(l.highWatermark.Load())
	}
}

// LatestEpoch is the highest leader epoch of the log, -1 if it has none.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// EpochOf is the leader epoch that offset was written under, -1 if unknown.
func (l *Log) EpochOf(offset int64) int32 { return l.epochs.epochOf(offset) }

// EndOffsetForEpoch is LeaderEpochFileCache.endOffsetFor: the largest known epoch that is not above epoch, and the offset where it
// ends; (-1, -1) if undefined.
func (l *Log) EndOffsetForEpoch(epoch int32) (endEpoch int32, endOffset int64) {
	return l.epochs.endOffsetFor(epoch, l.logEnd.Load())
}

// AssignEpoch notes that epoch starts at the log's end (on becoming leader).
func (l *Log) AssignEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs.assign(epoch, l.logEnd.Load())
}

// Producers lists the known producers by id (DescribeProducers).
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.list()
}

// StartVerification returns the guard under which a transactional append of the producer must be verified first (KIP-890), or the zero guard if
// its transaction is open here and needs none; InvalidProducerEpoch if the epoch is an old one. now is in ms. epochBump says that the client ends every
// transaction with a new epoch (transaction.version 2).
func (l *Log) StartVerification(producerID int64, epoch int16, sequence int32, epochBump bool, now int64) (VerificationGuard, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.offline(); err != nil {
		return 0, err
	}
	l.guards++
	return l.producers.startVerification(producerID, epoch, sequence, epochBump, l.guards, now)
}

func (l *Log) expireProducers(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.expire(now)
}

// Size is the bytes of all segments' batches.
func (l *Log) Size() int64 {
	var n int64
	for _, s := range l.view.Load().segments {
		n += s.size.Load()
	}
	return n
}

// Offline returns why the log answers nothing any more, as KafkaStorageError: it was closed or removed, or its log dir has failed. Nil while it is in service.
func (l *Log) Offline() error { return l.offline() }

// offline returns the error of a log that was closed, has failed or is gone.
func (l *Log) offline() error {
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// shut makes every later call answer KafkaStorageError because of err; false if that was so already. The log lets go of its segments: their files are
// closed when the last slice is released. Caller holds mu.
func (l *Log) shut(err error) bool {
	if !l.refuse(err) {
		return false
	}
	l.letGo()
	return true
}

// refuse is shut without letting go of the segments.
func (l *Log) refuse(err error) bool {
	storageErr := &protocol.Error{Code: protocol.KafkaStorageError, Message: "log " + l.tp.String() + " is offline: " + err.Error(), Cause: err}
	return l.failure.CompareAndSwap(nil, &failure{storageErr})
}

func (l *Log) letGo() {
	for _, s := range l.view.Load().segments {
		l.release(s)
	}
}

func (l *Log) release(s *segment) {
	if err := s.release(); err != nil {
		l.logger.Warn("closing segment failed", zap.String("path", s.path(logSuffix)), zap.Error(err))
	}
}

// fail takes the log offline: later calls answer KafkaStorageError with cause err.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut(err)
}

// discard closes the files without writing anything.
func (l *Log) discard() { l.fail(errLogClosed) }

// rename renames the log's folder to dir and takes the log out of service: it answers nothing any more but the slices that are out. It waits for the append and
// the flush that are under way: a new log may take the name at once, and nothing of the old one may land in its folder.
func (l *Log) rename(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.quiet.Store(true)
	if err := l.epochs.move(dir, func() error { return l.fs.Rename(l.folder.String(), dir) }); err != nil {
		return err
	}
	l.folder.path.Store(&dir)
	l.producers.moved(dir)
	l.shut(errLogRemoved)
	return nil
}

// storageFailed reports an I/O error to the host and returns it as KafkaStorageError.
func (l *Log) storageFailed(what string, err error) error {
	if l.host != nil && !l.quiet.Load() {
		l.host.failed(l, err)
	}
	return &protocol.Error{Code: protocol.KafkaStorageError, Message: what + " failed for " + l.tp.String(), Cause: err}
}

// checkpoints returns what the store writes to its checkpoint files.
func (l *Log) checkpoints() (recoveryPoint, logStart int64, raised bool) {
	logStart = l.logStart.Load()
	segments := l.view.Load().segments // none after a reset that failed
	return l.recoveryPoint.Load(), logStart, len(segments) > 0 && logStart > segments[0].base
}

// Batches calls fn for every batch from offset (the one containing it) to the log's end at the call, reading through one reused buffer: b is valid
// during the call only. It stops at fn's error, at ctx's end, or with OffsetOutOfRange. Entries of magic 0 and 1 are passed as they are.
func (l *Log) Batches(ctx context.Context, offset int64, fn func(b record.Batch) error) error {
	end := l.logEnd.Load()
	var buf []byte
	for offset < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := l.batchesOf(offset, end, &buf, fn)
		if err != nil {
			return err
		}
		if next <= offset {
			return nil // nothing is left below end: compaction has removed it
		}
		offset = next
	}
	return nil
}

// batchesReadSize is how much Batches reads at a time.
const batchesReadSize = 256 << 10

// batchesOf passes one read's worth of batches to fn and returns the offset after them.
func (l *Log) batchesOf(offset, end int64, buf *[]byte, fn func(record.Batch) error) (int64, error) {
	s, err := l.Read(offset, end, batchesReadSize, true)
	if err != nil {
		return 0, err
	}
	defer s.Release()
	if cap(*buf) < s.Len() {
		*buf = make([]byte, max(s.Len(), batchesReadSize))
	}
	rest := (*buf)[:s.Len()]
	if n, err := s.ReadAt(rest, 0); n < len(rest) {
		return 0, l.readFailed(err)
	}
	for len(rest) > 0 {
		h, ok := parseHeader(rest[:min(len(rest), maxHeaderSize)], 0)
		if !ok || h.size > len(rest) {
			return 0, protocol.Errorf(protocol.CorruptMessage, "no valid record batch behind offset %d of %s", offset, l.tp)
		}
		if err := fn(record.Batch(rest[:h.size:h.size])); err != nil {
			return 0, err
		}
		offset, rest = h.lastOffset+1, rest[h.size:]
	}
	return offset, nil
}
