package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// modelBatch is a batch as it must be in the log.
type modelBatch struct {
	bytes      []byte // with offsets and epoch
	times      []int64
	base, next int64
	epoch      int32
	producer   int64 // -1 none
	sequence   int32 // of the first record
}

// logModel is what a Log must be: all batches since offset 0 or the last reset, also those below start, which may or may not be there.
type logModel struct {
	batches    []modelBatch
	start, end int64
	hw         int64
	epoch      int32
	synced     int64 // a crash keeps all batches below
	deleted    int64 // the highest that start was: which epochs the log had below is forgotten
}

// cut drops the batches from offset on; one that holds offset goes as a whole.
func (m *logModel) cut(offset int64) {
	for n := len(m.batches); n > 0 && m.batches[n-1].next > offset; n-- {
		m.batches = m.batches[:n-1]
		m.end = min(offset, m.base(n-1, offset))
	}
	m.end = min(m.end, offset)
	m.start, m.hw, m.synced = min(m.start, m.end), min(m.hw, m.end), min(m.synced, m.end)
}

// base is where the n-th of the batches that were there began: the slice still has it behind its end.
func (m *logModel) base(n int, offset int64) int64 {
	if all := m.batches[:n+1]; all[n].base < offset {
		return all[n].base
	}
	return offset
}

func (m *logModel) reset(offset int64) {
	*m = logModel{start: offset, end: offset, hw: offset, synced: offset, deleted: offset, epoch: m.epoch}
}

// last is the producer's newest batch, nil if it has none.
func (m *logModel) last(producer int64) *modelBatch {
	for i := len(m.batches) - 1; i >= 0; i-- {
		if m.batches[i].producer == producer {
			return &m.batches[i]
		}
	}
	return nil
}

// lastBelow is where the last batch below offset ends: a gap at the log's end is no data.
func (m *logModel) lastBelow(offset int64) int64 {
	for i := len(m.batches) - 1; i >= 0; i-- {
		if m.batches[i].next <= offset {
			return m.batches[i].next
		}
	}
	return 0
}

// modelRun does random things to a log and to its model, and compares them.
type modelRun struct {
	t      *testing.T
	rng    *rand.Rand
	mem    *vfs.Mem
	hosted bool
	host   *modelHost
	config LogConfig
	log    *Log
	m      logModel
	done   []string // what was done, for the report of a failure
}

// modelHost does what a log asks for when the run says so, and keeps its checkpoints.
type modelHost struct {
	t        *testing.T
	mem      *vfs.Mem
	flushes  []int64
	deleted  []string
	recovery int64
	start    int64
}

func (h *modelHost) flushLater(_ *Log, offset int64) { h.flushes = append(h.flushes, offset) }
func (h *modelHost) flush(*Log) *flushTicket         { return nil }

func (h *modelHost) deleteLater(_ *Log, _ int64, paths ...string) {
	h.deleted = append(h.deleted, paths...)
}
func (h *modelHost) failed(_ *Log, err error) { h.t.Errorf("the disk failed: %v", err) }
func (h *modelHost) truncated(l *Log) error {
	h.checkpoint(l)
	return nil
}

func (h *modelHost) checkpoint(l *Log) {
	point, start, raised := l.checkpoints()
	h.recovery, h.start = point, 0
	if raised {
		h.start = start
	}
}

func TestLogAgainstModel(t *testing.T) {
	for _, hosted := range []bool{false, true} {
		t.Run(fmt.Sprint("hosted ", hosted), func(t *testing.T) {
			eachSeed(t, 100, func(t *testing.T, seed int64) {
				rng := rand.New(rand.NewPCG(uint64(seed), 11))
				r := &modelRun{t: t, rng: rng, mem: vfs.NewMem(), hosted: hosted, config: testConfig(900 + rng.IntN(2500))}
				r.config.IndexIntervalBytes = rng.IntN(500)
				r.config.Preallocate = rng.IntN(4) == 0
				if rng.IntN(3) == 0 {
					r.config.SegmentIndexBytes = 24 + rng.IntN(100)
				}
				r.host = &modelHost{t: t}
				r.open(false)
				defer func() { r.log.discard() }()
				for range 150 {
					r.step()
					r.compare()
				}
			})
		})
	}
}

func (r *modelRun) open(clean bool) {
	r.t.Helper()
	r.host.mem, r.host.flushes, r.host.deleted = r.mem, nil, nil
	if !r.hosted {
		r.log = openTestLog(r.t, r.mem, r.config)
		return
	}
	r.log = openHosted(r.t, r.mem, r.host, r.config, func(o *openOptions) {
		o.producers.expirationMs = math.MaxInt64 // the records are old
		o.clean, o.recoveryPoint, o.logStart, o.highWatermark = clean, r.host.recovery, r.host.start, r.m.hw
	})
}

func (r *modelRun) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err, r.story())
	}
}

func (r *modelRun) note(format string, a ...any) { r.done = append(r.done, fmt.Sprintf(format, a...)) }

// story is what was done last.
func (r *modelRun) story() string { return strings.Join(r.done[max(0, len(r.done)-40):], "; ") }

// step does one random thing.
func (r *modelRun) step() {
	switch n := r.rng.IntN(40); {
	case n < 12:
		r.append(-1)
	case n < 22:
		r.append(int64(r.rng.IntN(3)))
	case n < 24:
		r.retry()
	case n == 24:
		r.note("roll")
		r.must(r.log.Roll())
	case n == 25:
		r.note("sync")
		r.must(r.log.Sync())
		r.m.synced = r.m.end
	case n == 26:
		r.m.epoch++
		r.note("epoch %d", r.m.epoch)
	case n < 30:
		r.m.hw = max(r.m.hw, min(r.m.end, r.m.start+r.rng.Int64N(r.m.end-r.m.start+1)))
		r.note("high watermark %d", r.m.hw)
		r.log.AdvanceHighWatermark(r.m.hw)
	case n == 30:
		r.deleteBefore()
	case n == 31:
		r.retain()
	case n == 32:
		r.background()
	case n == 33 && r.rng.IntN(2) == 0:
		r.truncate()
	case n == 34 && r.rng.IntN(4) == 0:
		to := max(0, r.m.end+r.rng.Int64N(40)-20)
		r.note("reset to %d", to)
		r.must(r.log.ResetTo(to))
		r.m.reset(to)
	case n == 35 && r.rng.IntN(2) == 0:
		r.note("reopen")
		r.must(r.log.Close())
		r.host.checkpoint(r.log)
		r.m.synced = r.m.end
		r.reopen(true)
	case n == 36 && r.rng.IntN(2) == 0:
		r.note("kill")
		r.log.discard()
		r.reopen(false)
	case n == 37 && r.rng.IntN(2) == 0:
		r.crash()
	default:
		r.read()
	}
}

func (r *modelRun) batch(producer int64, sequence int32) modelBatch {
	w := record.NewBuilder()
	if producer >= 0 {
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = producer, 0, sequence
	}
	b := modelBatch{producer: producer, sequence: sequence, epoch: r.m.epoch}
	for range 1 + r.rng.IntN(3) {
		at := 1000 + int64(len(r.done))*10 + r.rng.Int64N(300) // out of order now and then
		b.times = append(b.times, at)
		w.Add(at, nil, bytes.Repeat([]byte{byte(r.rng.Uint32())}, r.rng.IntN(200)))
	}
	b.bytes = finished(r.t, w)
	return b
}

// append adds a batch as a leader does, or one that a leader made, with a gap before it.
func (r *modelRun) append(producer int64) {
	b := r.batch(producer, 0)
	o := AppendOptions{LeaderEpoch: r.m.epoch, Now: 1}
	if last := r.m.last(producer); producer >= 0 && last != nil {
		b = r.batch(producer, last.sequence+int32(len(last.times)))
	}
	b.base = r.m.end
	if r.rng.IntN(8) == 0 {
		o.Origin = OriginReplication
		if r.rng.IntN(2) == 0 {
			b.base += r.rng.Int64N(5)
		}
		record.Batch(b.bytes).SetBaseOffset(b.base)
		record.Batch(b.bytes).SetLeaderEpoch(b.epoch)
	}
	b.next = b.base + int64(len(b.times))
	r.note("append of producer %d at %d to %d", producer, b.base, b.next)
	info, err := r.log.Append(b.bytes, o)
	r.must(err)
	if info.Duplicate || info.FirstOffset != b.base || info.LastOffset != b.next-1 {
		r.t.Fatalf("append to [%d, %d) answered %+v", b.base, b.next, info)
	}
	r.m.batches = append(r.m.batches, b)
	r.m.end = b.next
}

// retry sends a batch again: the producer's last one is recognised always, one before it may be.
func (r *modelRun) retry() {
	if len(r.m.batches) == 0 {
		return
	}
	b := r.m.batches[r.rng.IntN(len(r.m.batches))]
	if b.producer < 0 || b.base < max(r.firstBase(), r.m.start) {
		return
	}
	last := r.m.last(b.producer)
	r.note("retry of producer %d, sequence %d, the last is %d", b.producer, b.sequence, last.sequence)
	again := bytes.Clone(b.bytes)
	info, err := r.log.Append(again, AppendOptions{LeaderEpoch: r.m.epoch, Now: 1})
	switch {
	case err == nil && info.Duplicate && info.FirstOffset == b.base && info.LastOffset == b.next-1:
	case errors.Is(err, protocol.OutOfOrderSequenceNumber) && b.sequence != last.sequence:
	default:
		r.t.Fatalf("retry of [%d, %d): %+v, %v", b.base, b.next, info, err)
	}
}

func (r *modelRun) firstBase() int64 { return r.log.view.Load().segments[0].base }

func (r *modelRun) deleteBefore() {
	if r.m.hw <= r.m.start {
		return
	}
	to := r.m.start + r.rng.Int64N(r.m.hw-r.m.start+1)
	r.note("delete before %d", to)
	r.must(r.log.DeleteBefore(to))
	r.m.start = max(r.m.start, to)
}

// retain keeps about half of the log. What it deletes is the log's decision; that it is whole segments below the high watermark is checked.
func (r *modelRun) retain() {
	config := r.config
	config.RetentionBytes = r.log.Size() / 2
	r.log.Configure(config)
	size := r.log.Size()
	n, err := r.log.retain(1 << 40)
	r.must(err)
	r.log.Configure(r.config)
	start := r.log.Offsets().LogStart
	r.note("retention of %d segments up to %d", n, start)
	if start < r.m.start || start > max(r.m.hw, r.m.start) || n == 0 && start != r.m.start {
		r.t.Fatalf("retention deleted %d segments up to %d, of a log in [%d, %d) with high watermark %d", n, start, r.m.start, r.m.end, r.m.hw)
	}
	if r.firstBase() >= r.m.start && n > 0 && r.log.Size() < size/2 && r.m.start < start {
		below := r.m.start > 0 // segments below the start count as well
		if !below {
			r.t.Fatalf("retention left %d of %d bytes", r.log.Size(), size)
		}
	}
	r.m.start = start
}

// background does some of what the host was asked for.
func (r *modelRun) background() {
	for _, offset := range r.host.flushes {
		r.note("flush to %d", offset)
		r.must(r.log.flushTo(offset))
		r.m.synced = max(r.m.synced, min(offset, r.m.end))
	}
	for _, path := range r.host.deleted {
		if err := r.mem.Remove(path); !errors.Is(err, fs.ErrNotExist) { // another segment of that base may have gone since
			r.must(err)
		}
	}
	r.host.flushes, r.host.deleted = nil, nil
	if r.rng.IntN(2) == 0 {
		r.note("checkpoint")
		r.host.checkpoint(r.log)
	}
}

func (r *modelRun) truncate() {
	to := max(0, r.m.end-r.rng.Int64N(12))
	if r.rng.IntN(6) == 0 {
		to = r.rng.Int64N(r.m.end + 1)
	}
	first := r.firstBase()
	r.note("truncate to %d", to)
	r.must(r.log.TruncateTo(to))
	switch {
	case to >= r.m.end:
	case to <= first:
		r.m.reset(to)
	default:
		r.m.cut(to)
	}
}

func (r *modelRun) reopen(clean bool) {
	r.open(clean)
	end := r.log.Offsets().LogEnd
	if end != r.m.end && end != r.m.lastBelow(r.m.end) {
		r.t.Fatalf("the log ends at %d; it ended at %d\n%s", end, r.m.end, r.story())
	}
	r.restarted(end)
}

// crash loses power. What is left must be a first part of the log with all that was synced.
func (r *modelRun) crash() {
	seed := r.rng.Int64()
	r.note("crash %d", seed)
	r.mem = r.mem.Crash(seed)
	r.log.discard()
	r.open(false)
	end := r.log.Offsets().LogEnd
	if synced := r.m.lastBelow(r.m.synced); end < synced || end > r.m.end {
		r.t.Fatalf("the log ends at %d; it ended at %d and was synced to %d\n%s", end, r.m.end, r.m.synced, r.story())
	}
	r.restarted(end)
}

// restarted makes the model follow what a start may change: the end, the start, which was perhaps not on disk, and the high watermark.
func (r *modelRun) restarted(end int64) {
	o := r.log.Offsets()
	if o.LogStart > r.m.start || o.LogStart > o.LogEnd {
		r.t.Fatalf("after a start %+v; the log started at %d\n%s", o, r.m.start, r.story())
	}
	for n := len(r.m.batches); n > 0 && r.m.batches[n-1].next > end; n-- {
		r.m.batches = r.m.batches[:n-1]
	}
	if n := len(r.m.batches); n > 0 && r.m.batches[n-1].next < end && end != r.m.end && r.log.view.Load().active().base != end {
		gap := r.m.batches[n-1].next
		r.t.Fatalf("the log ends at %d where nothing ends; the last batch does at %d\n%s", end, gap, r.story())
	}
	r.m.end, r.m.start, r.m.hw, r.m.synced = end, o.LogStart, o.HighWatermark, min(r.m.synced, end)
}

// compare checks the marks, the epochs and the producers.
func (r *modelRun) compare() {
	r.t.Helper()
	if want := (Offsets{r.m.start, r.m.hw, r.m.hw, r.m.end}); r.log.Offsets() != want {
		r.t.Fatalf("offsets %+v, want %+v\n%s", r.log.Offsets(), want, r.story())
	}
	point, _, _ := r.log.checkpoints()
	if point > r.m.end || r.log.syncedTo.Load() > r.m.end {
		r.t.Fatalf("recovery point %d, synced to %d of a log that ends at %d\n%s", point, r.log.syncedTo.Load(), r.m.end, r.story())
	}
	known := map[int64]bool{}
	for _, p := range r.log.Producers() {
		known[p.ProducerID] = true
		last := r.m.last(p.ProducerID)
		if last == nil || p.LastSequence != last.sequence+int32(len(last.times))-1 {
			r.t.Fatalf("producer %+v, want the last sequence of %+v\n%s", p, last, r.story())
		}
	}
	for id := range int64(3) {
		if last := r.m.last(id); last != nil && last.base >= max(r.firstBase(), r.m.start) && !known[id] {
			r.t.Fatalf("producer %d is forgotten; its last batch is at %d\n%s", id, last.base, r.story())
		}
	}
	for i, b := range r.m.batches {
		if r.m.deleted = max(r.m.deleted, r.m.start); b.base < r.m.deleted {
			continue
		}
		if got := r.log.EpochOf(b.base); got != b.epoch {
			r.t.Fatalf("offset %d has epoch %d, want %d\n%s", b.base, got, b.epoch, r.story())
		}
		if i+1 == len(r.m.batches) || r.m.batches[i+1].epoch > b.epoch {
			end := r.m.end
			if i+1 < len(r.m.batches) {
				end = r.m.batches[i+1].base
			}
			if e, o := r.log.EndOffsetForEpoch(b.epoch); e != b.epoch || o != end {
				r.t.Fatalf("epoch %d ends at (%d, %d), want %d\n%s", b.epoch, e, o, end, r.story())
			}
		}
	}
}

// read compares a random read, and a search by time.
func (r *modelRun) read() {
	offset := max(0, r.m.start-1) + r.rng.Int64N(r.m.end-r.m.start+3)
	upper, limit, whole := r.m.hw, r.rng.IntN(2000), r.rng.IntN(2) == 0
	if r.rng.IntN(2) == 0 {
		upper = r.m.end
	}
	s, err := r.log.Read(offset, upper, limit, whole)
	if offset < r.m.start || offset > r.m.end {
		if !errors.Is(err, protocol.OffsetOutOfRange) {
			r.t.Fatalf("read at %d of [%d, %d]: %v", offset, r.m.start, r.m.end, err)
		}
		return
	}
	r.must(err)
	got := readAll(r.t, s)
	var want []byte
	for _, b := range r.m.batches {
		if b.next <= offset || b.next > upper || len(want)+len(b.bytes) > limit && (len(want) > 0 || !whole) {
			if len(want) > 0 {
				break
			}
			if b.next > offset {
				break
			}
			continue
		}
		want = append(want, b.bytes...)
	}
	if !bytes.HasPrefix(want, got) || len(got) == 0 && len(want) > 0 {
		r.t.Fatalf("read at %d below %d, at most %d (%v): %d bytes, want %d, or the part in the first segment\n%s", offset, upper, limit, whole, len(got), len(want), r.story())
	}
	r.searchTime()
}

func (r *modelRun) searchTime() {
	ts := 1000 + r.rng.Int64N(int64(len(r.done)*10+400))
	t, ok, err := r.log.OffsetAtTime(ts, math.MaxInt64)
	r.must(err)
	for _, b := range r.m.batches {
		for i, at := range b.times {
			if offset := b.base + int64(i); offset >= r.m.start && at >= ts {
				if !ok || t.Offset != offset || t.Timestamp != at {
					r.t.Fatalf("time %d is found at %+v, %v, want %d\n%s", ts, t, ok, offset, r.story())
				}
				return
			}
		}
	}
	if ok {
		r.t.Fatalf("time %d is found at %+v, and not there\n%s", ts, t, r.story())
	}
}
