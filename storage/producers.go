package storage

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// retainedBatches is how many of a producer's last batches are remembered to recognise retries: the most that an idempotent producer has in flight.
const retainedBatches = 5

const (
	noProducerEpoch = -1
	noSequence      = -1
	noOffset        = -1
)

// ProducerState is what DescribeProducers tells of one producer of a partition.
type ProducerState struct {
	ProducerID            int64
	Epoch                 int16
	LastSequence          int32 // -1 if no data batch is known
	LastTimestamp         int64 // ms, of the last batch's records or the last marker, not of their arrival
	CoordinatorEpoch      int32 // of the last transaction marker, -1 none
	CurrentTxnStartOffset int64 // -1 none
}

// producerConfig is what the producer state of a log needs to know of the broker's config.
type producerConfig struct {
	expirationMs int64         // producer.id.expiration.ms
	expiration   *atomic.Int64 // the same as of now, instead of expirationMs; nil for a log without a Store
	verify       *atomic.Bool  // transaction.partition.verification.enable, as of now; nil: off
}

func (c *producerConfig) expiresAfter() int64 {
	if c.expiration != nil {
		return c.expiration.Load()
	}
	return c.expirationMs
}

func (c *producerConfig) verifies() bool { return c.verify != nil && c.verify.Load() }

// batchMetadata remembers one data batch of a producer.
type batchMetadata struct {
	lastSequence int32
	offsetDelta  int32 // last offset - first offset
	lastOffset   int64
	timestamp    int64 // the batch's max timestamp
}

func (b batchMetadata) firstOffset() int64 { return b.lastOffset - int64(b.offsetDelta) }

// firstSequence undoes record.Batch.LastSequence: sequences wrap from 2^31-1 to 0.
func (b batchMetadata) firstSequence() int32 {
	if b.lastSequence < b.offsetDelta {
		return int32(int64(b.lastSequence) - int64(b.offsetDelta) + 1<<31)
	}
	return b.lastSequence - b.offsetDelta
}

// producerEntry is the state of one producer (Kafka's ProducerStateEntry).
type producerEntry struct {
	id               int64
	epoch            int16
	coordinatorEpoch int32
	lastTimestamp    int64
	txnStart         int64 // first offset of the open transaction, noOffset none
	batches          [retainedBatches]batchMetadata
	n                int // of batches, oldest first

	pending   int  // 1 + index of the entry's change in producerStates.pending, 0 none
	tentative bool // made by check for a producer that was unknown: no state yet
}

func newProducerEntry(id int64) producerEntry {
	return producerEntry{id: id, epoch: noProducerEpoch, coordinatorEpoch: -1, lastTimestamp: record.NoTimestamp, txnStart: noOffset}
}

func (e *producerEntry) lastSequence() int32 {
	if e.n == 0 {
		return noSequence
	}
	return e.batches[e.n-1].lastSequence
}

// setEpoch drops the remembered batches when the epoch changes.
func (e *producerEntry) setEpoch(epoch int16) {
	if e.epoch != epoch {
		e.n, e.epoch = 0, epoch
	}
}

func (e *producerEntry) add(b batchMetadata) {
	if e.n == retainedBatches {
		copy(e.batches[:], e.batches[1:])
		e.n--
	}
	e.batches[e.n] = b
	e.n++
}

// merge puts the change u, made on top of e by an append, into e.
func (e *producerEntry) merge(u *producerEntry) {
	e.setEpoch(u.epoch)
	for _, b := range u.batches[:u.n] {
		e.add(b)
	}
	e.coordinatorEpoch, e.txnStart, e.lastTimestamp = u.coordinatorEpoch, u.txnStart, u.lastTimestamp
}

// duplicate returns the remembered batch with exactly b's sequence range and epoch.
func (e *producerEntry) duplicate(b record.Batch) (batchMetadata, bool) {
	if b.ProducerEpoch() != e.epoch {
		return batchMetadata{}, false
	}
	first, last := b.BaseSequence(), b.LastSequence()
	for _, m := range e.batches[:e.n] {
		if m.firstSequence() == first && m.lastSequence == last {
			return m, true
		}
	}
	return batchMetadata{}, false
}

// txn is one transaction on this log, open or ended.
type txn struct {
	producerID  int64
	firstOffset int64
	lastOffset  int64 // of its marker; noOffset while open
}

// completedTxn is a transaction that an appended marker ended.
type completedTxn struct {
	producerID  int64
	firstOffset int64
	lastOffset  int64 // of the marker
	aborted     bool
	lastStable  int64 // last stable offset after this completion, as the transaction index wants it; set by apply
}

// producerStates is the producer state of one log (Kafka's ProducerStateManager): who has appended what, which transactions are open, and the
// snapshots of it on disk. It is not safe for concurrent use: the log's mutex guards it.
//
// An append calls check for every batch, whose offsets are assigned already, and then either apply, once the bytes are written, or discard.
// A check that found a duplicate or an error has discarded by itself.
type producerStates struct {
	fs     vfs.FS
	dir    string
	tp     protocol.TopicPartition
	config producerConfig
	logger *zap.Logger

	entries      map[int64]*producerEntry // nil before the first
	verification map[int64]*verification  // nil before the first
	ongoing      []txn                    // by firstOffset
	unreplicated []txn                    // by firstOffset: ended, but the marker lies at or above the high watermark
	mapEnd       int64                    // the state is that of the log up to this offset, exclusive
	snapEnd      int64                    // mapEnd of the last snapshot
	snapUnsynced bool                     // the last snapshot that was written may not be on the disk
	snapshots    []int64

	pending   []pendingChange // of the append between check and apply
	started   []txn
	completed []completedTxn
}

// pendingChange is what the append in progress does to entry.
type pendingChange struct {
	entry   *producerEntry
	updated producerEntry // starts with no batches: only the append's own are in it

	transactional bool // the append holds a transactional batch that its verification was for
}

// newProducerStates returns the empty state of a log that starts at offset 0, and lists the snapshots in dir. load or truncateAndReload fills it.
func newProducerStates(fsys vfs.FS, dir string, tp protocol.TopicPartition, c producerConfig, logger *zap.Logger) (*producerStates, error) {
	p := &producerStates{fs: fsys, dir: dir, tp: tp, config: c, logger: logger}
	return p, p.listSnapshots()
}

// duplicateBatch tells what a retried batch was answered with at first.
type duplicateBatch struct {
	firstOffset, lastOffset, maxTimestamp int64
}

// check validates b, a batch with its offsets assigned, against the state and the batches checked before it in this append. Batches
// without a producer id pass. found says that the same batch was appended before (only for OriginClient): nothing is to be written.
func (p *producerStates) check(b record.Batch, origin Origin) (dup duplicateBatch, found bool, err error) {
	return p.checkTxn(b, origin, txnCheck{})
}

// txnCheck is what a transactional append brings beside its batch.
type txnCheck struct {
	guard   VerificationGuard // of the verification that preceded the append
	version int16             // of a marker: transaction.version, 0 unknown
}

func (p *producerStates) checkTxn(b record.Batch, origin Origin, t txnCheck) (dup duplicateBatch, found bool, err error) {
	id := b.ProducerID()
	if id < 0 {
		return dup, false, nil
	}
	if origin == OriginClient {
		if e := p.entries[id]; e != nil {
			if m, ok := e.duplicate(b); ok {
				p.discard()
				return duplicateBatch{m.firstOffset(), m.lastOffset, m.timestamp}, true, nil
			}
		}
	}
	if err := p.checkBatch(id, b, origin, t); err != nil {
		p.discard()
		return dup, false, err
	}
	return dup, false, nil
}

func (p *producerStates) checkBatch(id int64, b record.Batch, origin Origin, t txnCheck) error {
	transactional := b.IsTransactional()
	if transactional && (origin == OriginClient || origin == OriginCoordinator) && !p.hasOpenTxn(id, b.ProducerEpoch()) {
		if err := p.checkKnownEpoch(id, b.ProducerEpoch()); err != nil {
			return err
		}
		if p.config.verifies() && !b.IsControl() && !p.verified(id, t.guard) {
			return protocol.Errorf(protocol.InvalidTxnState, "Record was not part of an ongoing transaction")
		}
	}
	a := producerAppend{p: p, change: p.change(id), origin: origin, version: t.version}
	if transactional && !p.nextTxnVerified(id, b) {
		p.pending[a.change].transactional = true
	}
	if b.IsControl() {
		marker, ok, err := parseEndTxnMarker(b)
		if err != nil || !ok {
			return err
		}
		return a.marker(b, marker)
	}
	return a.data(b)
}

// change returns the index of the pending change of producer id.
func (p *producerStates) change(id int64) int {
	e := p.entries[id]
	if e == nil {
		fresh := newProducerEntry(id)
		e = &fresh
		e.tentative = true
		p.enter(e)
	}
	if e.pending == 0 {
		p.pending = append(p.pending, pendingChange{entry: e, updated: *e})
		e.pending = len(p.pending)
		p.pending[e.pending-1].updated.n = 0
	}
	return e.pending - 1
}

// discard forgets the append in progress.
func (p *producerStates) discard() {
	for i := range p.pending {
		e := p.pending[i].entry
		e.pending = 0
		if e.tentative {
			delete(p.entries, e.id)
		}
	}
	p.reset()
}

func (p *producerStates) reset() {
	clear(p.pending) // lets go of the entries
	p.pending, p.started, p.completed = p.pending[:0], p.started[:0], p.completed[:0]
}

// apply takes over what the checked batches change, now that they are in the log up to end (exclusive). It returns the transactions that ended in them,
// for the transaction index; the slice is valid until the next check.
func (p *producerStates) apply(end int64) []completedTxn {
	for i := range p.pending {
		c := &p.pending[i]
		c.entry.pending, c.entry.tentative = 0, false
		c.entry.merge(&c.updated)
		if c.transactional {
			delete(p.verification, c.entry.id)
		}
	}
	for _, t := range p.started {
		p.ongoing = insertTxn(p.ongoing, t)
	}
	for i := range p.completed {
		c := &p.completed[i]
		c.lastStable = p.lastStableAfter(c)
		p.complete(c)
	}
	completed := p.completed
	p.reset()
	p.mapEnd = end
	return completed
}

// lastStableAfter is where the first other open transaction begins, or the offset after the marker.
func (p *producerStates) lastStableAfter(c *completedTxn) int64 {
	for _, t := range p.ongoing {
		if t.producerID != c.producerID {
			return t.firstOffset
		}
	}
	return c.lastOffset + 1
}

func (p *producerStates) complete(c *completedTxn) {
	i, ok := findTxn(p.ongoing, c.firstOffset)
	if !ok {
		return
	}
	t := p.ongoing[i]
	t.lastOffset = c.lastOffset
	p.ongoing = slices.Delete(p.ongoing, i, i+1)
	p.unreplicated = insertTxn(p.unreplicated, t)
}

func findTxn(txns []txn, firstOffset int64) (int, bool) {
	return slices.BinarySearchFunc(txns, firstOffset, func(t txn, o int64) int { return cmp.Compare(t.firstOffset, o) })
}

func insertTxn(txns []txn, t txn) []txn {
	i, ok := findTxn(txns, t.firstOffset)
	if ok {
		txns[i] = t
		return txns
	}
	return slices.Insert(txns, i, t)
}

// firstUnstable returns the first offset of the earliest transaction that is open, or whose marker is not yet below the high watermark; -1 if there is none.
// The last stable offset is it (not below the log start) if it is below the high watermark, else the high watermark.
func (p *producerStates) firstUnstable() int64 {
	first := int64(noOffset)
	if len(p.ongoing) > 0 {
		first = p.ongoing[0].firstOffset
	}
	if len(p.unreplicated) > 0 && (first == noOffset || p.unreplicated[0].firstOffset < first) {
		first = p.unreplicated[0].firstOffset
	}
	return first
}

// enter makes a producer known.
func (p *producerStates) enter(e *producerEntry) {
	if p.entries == nil {
		p.entries = map[int64]*producerEntry{}
	}
	p.entries[e.id] = e
}

// highWatermarkAdvanced drops the ended transactions whose marker is below hw; firstUnstable may have changed after it.
func (p *producerStates) highWatermarkAdvanced(hw int64) {
	if len(p.unreplicated) > 0 {
		p.unreplicated = slices.DeleteFunc(p.unreplicated, func(t txn) bool { return t.lastOffset < hw })
	}
}

// copied returns a state of its own with the same producers and transactions, without files.
func (p *producerStates) copied() *producerStates {
	c := &producerStates{
		entries: make(map[int64]*producerEntry, len(p.entries)), verification: make(map[int64]*verification, len(p.verification)),
		ongoing: slices.Clone(p.ongoing), unreplicated: slices.Clone(p.unreplicated),
	}
	for id, e := range p.entries {
		if !e.tentative {
			own := *e
			own.pending = 0
			c.entries[id] = &own
		}
	}
	for id, v := range p.verification {
		own := *v
		c.verification[id] = &own
	}
	return c
}

// adopt takes over what copied returned of the same log, as of offset. The next snapshot is written even if there is one.
func (p *producerStates) adopt(c *producerStates, offset int64) {
	p.entries, p.verification, p.ongoing, p.unreplicated = c.entries, c.verification, c.ongoing, c.unreplicated
	p.mapEnd, p.snapEnd = offset, min(p.snapEnd, offset-1)
}

// advanceTo notes that the log reaches to offset without the state being changed by what lies between: batches without a producer id.
func (p *producerStates) advanceTo(offset int64) { p.mapEnd = offset }

// end is the offset up to which the state is that of the log.
func (p *producerStates) end() int64 { return p.mapEnd }

// empty reports whether no producer is known.
func (p *producerStates) empty() bool { return len(p.entries) == 0 }

// hasOpenTxn reports whether the producer has a transaction open here under exactly this epoch.
func (p *producerStates) hasOpenTxn(id int64, epoch int16) bool {
	e := p.entries[id]
	return e != nil && e.txnStart != noOffset && e.epoch == epoch
}

// list returns the producers by id (Log.Producers).
func (p *producerStates) list() []ProducerState {
	all := make([]ProducerState, 0, len(p.entries))
	for _, e := range p.entries {
		if e.tentative {
			continue
		}
		all = append(all, ProducerState{
			ProducerID: e.id, Epoch: e.epoch, LastSequence: e.lastSequence(), LastTimestamp: e.lastTimestamp,
			CoordinatorEpoch: e.coordinatorEpoch, CurrentTxnStartOffset: e.txnStart,
		})
	}
	slices.SortFunc(all, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return all
}

// expire drops the producers without an open transaction whose last record is as old as producer.id.expiration.ms, and verifications of that age.
func (p *producerStates) expire(now int64) {
	for id, e := range p.entries {
		if e.pending == 0 && p.expired(e, now) {
			delete(p.entries, id)
		}
	}
	p.expireVerifications(now)
}

func (p *producerStates) expired(e *producerEntry, now int64) bool {
	return e.txnStart == noOffset && now-e.lastTimestamp >= p.config.expiresAfter()
}
