package storage

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// errCleaningAborted ends a pass over a log that was truncated, removed or closed meanwhile, or whose oldest segments went: it is no failure.
var errCleaningAborted = errors.New("the log has changed while it was compacted")

// dirtyLog is what a decision about compacting a log is made of (Kafka's LogToClean). Offsets and sizes are of one moment.
type dirtyLog struct {
	log              *Log
	view             *view
	firstDirty       int64 // what lies below was compacted before
	firstUncleanable int64 // the base of the first segment that must stay as it is
	clean, dirty     int64 // bytes of the segments that begin below firstDirty, and from there on below firstUncleanable
	truncations      int64 // of the log so far
	delay            int64 // ms since the oldest dirty record should have been compacted (max.compaction.lag.ms), 0 if it is not due
}

// ratio is the dirty share of what compaction may touch.
func (d *dirtyLog) ratio() float64 {
	if d.dirty == 0 {
		return 0
	}
	return float64(d.dirty) / float64(d.clean+d.dirty)
}

// due reports whether the log is to be compacted.
func (d *dirtyLog) due() bool {
	return d.dirty > 0 && (d.delay > 0 || d.ratio() > d.log.config.Load().MinCleanableDirtyRatio)
}

// dirtiness weighs the log as of now (LogCleanerManager.cleanableOffsets). Nothing from the last stable offset, the active segment or the first
// segment with a record younger than min.compaction.lag.ms on is cleanable.
func (l *Log) dirtiness(now int64) (dirtyLog, error) {
	truncations := l.truncations.Load() // before all else: what comes after it is noticed
	v := l.view.Load()
	d := dirtyLog{log: l, view: v, truncations: truncations}
	if len(v.segments) == 0 {
		return d, errCleaningAborted
	}
	config := l.config.Load()
	d.firstDirty = l.firstDirty(config)
	active := len(v.segments) - 1
	from := active
	if d.firstDirty < v.segments[active].base {
		from = v.find(d.firstDirty)
	}
	until := min(active, v.find(l.lastStable.Load()))
	if config.MinCompactionLagMs > 0 {
		for i := from; i < until; i++ {
			var largest int64
			err := v.segments[i].held(func() (err error) {
				largest, err = v.segments[i].largestTimestamp(l.fs)
				return err
			})
			if err != nil {
				return d, err
			}
			if largest > now-config.MinCompactionLagMs {
				until = i
			}
		}
	}
	d.firstUncleanable = v.segments[until].base
	for i, s := range v.segments[:active] {
		if s.base < d.firstDirty {
			d.clean += s.size.Load()
		}
		if i >= from && i < until {
			d.dirty += s.size.Load()
		}
	}
	if d.dirty > 0 && config.MaxCompactionLagMs < math.MaxInt64 {
		d.delay = l.compactionDelay(d.firstDirty, now-max(config.MaxCompactionLagMs, 0))
	}
	return d, nil
}

// firstDirty is where the last compaction ended; what cannot be is set to the log start.
func (l *Log) firstDirty(config *LogConfig) int64 {
	start, end := l.logStart.Load(), l.logEnd.Load()
	cleaned := l.cleaned.Load()
	if cleaned >= start && cleaned <= end {
		return cleaned
	}
	if cleaned > end || cleaned >= 0 && !config.Delete { // retention goes beyond it as a matter of course
		l.logger.Warn("checkpoint of compaction lies outside of the log and is reset to its start", zap.String("partition", l.tp.String()),
			zap.Int64("checkpoint", cleaned), zap.Int64("log start", start), zap.Int64("log end", end))
	}
	l.cleaned.CompareAndSwap(cleaned, start)
	return start
}

// compactionDelay is how long before due (ms) the first batch of the oldest dirty segment was made; 0 if it was later.
func (l *Log) compactionDelay(firstDirty, due int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offline() != nil {
		return 0
	}
	v := l.view.Load()
	earliest := int64(math.MaxInt64)
	for _, s := range v.segments[v.find(firstDirty):max(v.find(firstDirty), len(v.segments)-1)] {
		if t := l.firstTimestamp(s); t > 0 {
			earliest = min(earliest, t)
		}
	}
	return max(0, due-earliest)
}

// held runs fn with the segment pinned; errCleaningAborted if it is gone.
func (s *segment) held(fn func() error) error {
	if !s.acquire() {
		return errCleaningAborted
	}
	return errors.Join(fn(), s.release())
}

// CleanStats tells what one pass of compaction over a log did.
type CleanStats struct {
	Took, Indexing            time.Duration // of the pass, and of its first part, which finds the last offset of each key
	BytesRead, BytesWritten   int64         // of the second part
	BytesIndexed              int64         // read in the first part
	Records, RecordsKept      int64
	WithoutKey                int64 // records without a key, which are dropped
	SegmentsBefore, Segments  int
	BufferUtilization         float64 // share of the memory for keys that was used
	FirstDirty, NewFirstDirty int64
}

// compactor does the passes of one cleaner thread (Kafka's Cleaner). It owns its buffers and its map.
type compactor struct {
	keys     *offsetMap
	rewriter *record.Rewriter
	throttle *ioThrottle
	read     []byte
	write    []byte
}

func newCompactor(c *record.Codecs, memory int64, load float64, buffer int, throttle *ioThrottle) *compactor {
	buffer = max(buffer, scratchSize)
	return &compactor{
		keys: newOffsetMap(memory, load), rewriter: record.NewRewriter(c), throttle: throttle,
		read: make([]byte, buffer), write: make([]byte, 0, buffer),
	}
}

// pass is one compaction of one log.
type pass struct {
	*compactor
	ctx    context.Context
	log    *Log
	config LogConfig
	now    int64 // ms, when it began
	view   *view // as it began
	upper  int64 // no batch at or above is touched
	stats  CleanStats

	truncations   int64 // of the log when it began
	rest          []*segment
	unchecked     int // bytes since the last check that all this is still true
	legacyHorizon int64

	txns      cleanedTxns
	producers map[int64]lastRecord
	batch     batchRules
	judge     func([]record.RawRecord) // judges
}

// clean compacts d's log as of now (ms). An error other than ctx's and errCleaningAborted means that the log cannot be compacted, or that its disk has failed; what was replaced until
// then stays, and is a log that holds all it must.
func (c *compactor) clean(ctx context.Context, d dirtyLog, now int64) (CleanStats, error) {
	l := d.log
	p := &pass{
		compactor: c, ctx: ctx, log: l, config: *l.config.Load(), now: now, upper: d.firstUncleanable,
		truncations: d.truncations, view: d.view,
	}
	p.judge = p.judges
	began := time.Now()
	p.stats.FirstDirty = d.firstDirty
	err := p.run(d)
	p.stats.Took = time.Since(began)
	return p.stats, p.verdict(err)
}

func (p *pass) run(d dirtyLog) error {
	// All segments but the active one are synced first: the marks of those that may have lost their tails in a crash must be gone, for
	// compaction leaves such gaps on purpose.
	if err := p.log.flushTo(p.view.active().base); err != nil {
		return err
	}
	end, err := p.index(d.firstDirty)
	if err != nil {
		return err
	}
	if end <= d.firstDirty {
		return protocol.Errorf(protocol.InvalidRecord, "the first batch from offset %d on has more keys than the %d that log.cleaner.dedupe.buffer.size has room for",
			d.firstDirty, p.keys.limit)
	}
	p.stats.BufferUtilization = p.keys.utilization()
	if err := p.rewrite(d.firstDirty, end); err != nil {
		return err
	}
	p.stats.NewFirstDirty = end
	return p.log.cleanedTo(end, p.truncations)
}

// verdict gives an error its meaning: what a log that has changed answers says nothing.
func (p *pass) verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case p.ctx.Err() != nil:
		return p.ctx.Err()
	case p.log.offline() != nil || p.log.truncations.Load() != p.truncations || !p.current() || errors.Is(err, vfs.ErrGone):
		return errCleaningAborted
	}
	return err
}

// check ends the pass if it was told to stop or the log has changed; n bytes were read or written since the last call.
func (p *pass) check(n int) error {
	if err := p.throttle.wait(p.ctx, n); err != nil {
		return err
	}
	if p.unchecked += n; p.unchecked < 1<<20 {
		return nil
	}
	p.unchecked = 0
	if p.log.offline() != nil || !p.current() {
		return errCleaningAborted
	}
	return nil
}

// current reports whether the segments that are still to be replaced are those of the log.
func (p *pass) current() bool {
	if p.log.truncations.Load() != p.truncations {
		return false
	}
	_, ok := p.position()
	return ok
}

// position returns where in the log's list the segments stand that are still to be replaced.
func (p *pass) position() (at int, ok bool) {
	if len(p.rest) == 0 {
		return 0, true
	}
	v := p.log.view.Load()
	at = v.find(p.rest[0].base)
	if at+len(p.rest) >= len(v.segments) { // the active one is never among them
		return 0, false
	}
	for i, s := range p.rest {
		if v.segments[at+i] != s {
			return 0, false
		}
	}
	return at, true
}

// index fills the map with the keys from firstDirty on, and returns the offset up to which all are in it.
func (p *pass) index(firstDirty int64) (end int64, err error) {
	began := time.Now()
	p.keys.reset(p.upper - firstDirty)
	aborted, err := p.abortedTxns(firstDirty, p.upper)
	if err != nil {
		return 0, err
	}
	p.txns.begin(aborted)
	n := p.view.find(p.upper)
	p.rest = p.view.segments[:n]
	for i := p.view.find(firstDirty); i < n; i++ {
		full := false
		err := p.view.segments[i].held(func() (err error) {
			full, err = p.indexSegment(p.view.segments[i], firstDirty)
			return err
		})
		if err != nil {
			return 0, err
		}
		if full {
			break
		}
		p.keys.latest = p.view.segments[i+1].base - 1 // past what gaps the segment ends with
	}
	p.stats.Indexing = time.Since(began)
	return p.keys.latest + 1, nil
}

// errMapFull stops the walk over a batch whose keys do not fit.
var errMapFull = errors.New("the map of keys is full")

func (p *pass) indexSegment(seg *segment, firstDirty int64) (full bool, err error) {
	pos, err := p.indexedPosition(seg, firstDirty)
	if err != nil {
		return false, err
	}
	put := func(some []record.RawRecord) error {
		p.keys.look(some)
		for i := range some {
			if r := &some[i]; r.Key != nil && r.Offset >= firstDirty && !p.keys.put(i, r.Offset) {
				return errMapFull
			}
		}
		return nil
	}
	r := batchReader{file: seg.file, pos: pos, end: seg.size.Load(), buf: p.read}
	defer func() { p.read = keptBuffer(r.buf, p.read) }()
	for {
		h, b, err := r.next()
		if done, err := p.walked(seg, &h, b, err); done || err != nil {
			return false, err
		}
		p.stats.BytesIndexed += int64(h.size)
		switch {
		case h.magic < record.Magic2:
			err = p.rewriter.EachLegacy(b, put)
		case b.IsControl():
			_, err = p.txns.control(b)
		case p.txns.data(b): // aborted
		default:
			err = p.rewriter.Each(b, put)
		}
		if errors.Is(err, errMapFull) {
			return true, nil
		}
		if err != nil {
			return false, p.inSegment(seg, &h, err)
		}
		if h.lastOffset >= firstDirty {
			p.keys.latest = max(p.keys.latest, h.lastOffset)
		}
	}
}

func (p *pass) indexedPosition(seg *segment, offset int64) (int64, error) {
	scratch := p.log.scratch.get()
	defer p.log.scratch.put(scratch)
	sc, err := seg.walk(offset, seg.size.Load(), *scratch)
	return sc.pos, err
}

// walked judges what a reader has returned, and verifies the batch's checksum: what the disk has damaged must not get a new, valid one.
func (p *pass) walked(seg *segment, h *batchHeader, b record.Batch, err error) (done bool, _ error) {
	if isEnd(err) {
		return true, nil
	}
	if err != nil {
		return false, p.inSegment(seg, h, unexpectedEnd(err))
	}
	if err := checkEntry(h, b); err != nil {
		return false, p.inSegment(seg, h, err)
	}
	return false, p.check(h.size)
}

// inSegment says where an error was met.
func (p *pass) inSegment(seg *segment, h *batchHeader, err error) error {
	var coded *protocol.Error
	if !errors.As(err, &coded) {
		return err
	}
	return protocol.Errorf(coded.Code, "%s at position %d, offset %d: %w", seg.path(logSuffix), h.pos, h.baseOffset, err)
}

// modified is the time of a segment's last change, in ms.
func (p *pass) modified(seg *segment) (int64, error) {
	info, err := p.log.fs.Stat(seg.path(logSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errCleaningAborted
	}
	if err != nil {
		return 0, err
	}
	return info.ModTime().UnixMilli(), nil
}

// keptBuffer is what a reader's buffer becomes after one segment: one huge batch must not pin its memory.
func keptBuffer(used, own []byte) []byte {
	if cap(used) > 4*cap(own) && cap(used) > 8<<20 {
		return own
	}
	return used[:cap(used)]
}
