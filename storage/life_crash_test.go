package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

const (
	lifeKeys  = 6 // keys of a lifeLog's records
	lifeBatch = 3 // most records of a batch
)

// lifeLog is what is known of one partition. A record's value is its stamp, its key the stamp modulo lifeKeys, its timestamp grows with the stamp.
type lifeLog struct {
	tp      protocol.TopicPartition
	id      protocol.UUID
	compact bool
	stamps  []uint32 // by offset: all that is appended, or just being appended
	start   int64    // the highest log start that was asked for
	synced  int64    // nothing below may be lost
}

// life does random things to the logs of a Store in two dirs. At many of the changes to the disk that this makes it opens what a power loss would leave.
type life struct {
	t     *testing.T
	rng   *rand.Rand
	disk  *stepFS
	o     Options
	store *Store
	moves map[protocol.TopicPartition]*owner

	mu      sync.Mutex // guards what follows, against the crashes: what a call is about to do is entered before it, what it has achieved after it
	logs    []lifeLog
	stamp   uint32
	op      string
	seed    uint64
	steps   map[string]uint64 // by what they do, so far
	crashes map[string]int    // by what was done
}

// The power fails at many steps of appends, rolls, retention, truncation, compaction, moves, deletion, stops and starts.
func TestPowerLossAtEveryStep(t *testing.T) {
	var mu sync.Mutex // guards what follows
	crashes, seeds := map[string]int{}, 0
	eachSeedInBubble(t, 70, func(t *testing.T, seed int64) {
		found := liveAndCrash(t, uint64(seed), vfs.NewMem())
		mu.Lock()
		defer mu.Unlock()
		seeds++
		for op, n := range found {
			crashes[op] += n
		}
	})
	for _, op := range []string{"append", "sync", "roll", "retain", "truncate", "compact", "move", "delete", "stop", "start", "start after kill", "wait"} {
		if crashes[op] == 0 && seeds >= 50 && !t.Failed() {
			t.Errorf("no crash while it did %q: %v", op, crashes)
		}
	}
}

func liveAndCrash(t *testing.T, seed uint64, m *vfs.Mem) map[string]int {
	f := &life{
		t: t, rng: rand.New(rand.NewPCG(seed, 21)), seed: seed, disk: &stepFS{Mem: m, all: true}, crashes: map[string]int{}, steps: map[string]uint64{},
		moves: map[protocol.TopicPartition]*owner{},
	}
	f.o = storeOptions(t, f.disk, map[string]string{
		"log.initial.task.delay.ms": "2000", "log.flush.offset.checkpoint.interval.ms": "3000", "log.retention.check.interval.ms": "5000",
		"log.cleaner.enable": "false", "log.segment.delete.delay.ms": "1000",
	}, "a", "b")
	f.o.Logger = zap.NewNop()
	for p := range int32(4) {
		f.logs = append(f.logs, lifeLog{tp: tpOf("t", p), id: protocol.NewUUID(), compact: p == 1})
	}
	f.disk.watch(f.step)
	f.open()
	for range 90 {
		if t.Failed() {
			break
		}
		f.act(f.rng.IntN(len(f.logs)))
		if f.rng.IntN(4) > 0 { // else the Store's own work goes on beside what comes next
			synctest.Wait()
		}
	}
	f.disk.watch(nil)
	closeStore(t, f.store)
	return f.crashes
}

// know changes what is known.
func (f *life) know(op string, fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op != "" {
		f.op = op
	}
	if fn != nil {
		fn()
	}
}

func (f *life) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("%s: %v", f.op, err)
	}
}

func (f *life) open() {
	f.store = openStore(f.t, f.o)
	f.check(f.store.SetClusterID("c"))
	for i := range f.logs {
		f.create(i)
	}
}

func (f *life) create(i int) *Log {
	c := &f.logs[i]
	config := testLogConfig()
	config.SegmentBytes, config.IndexIntervalBytes, config.Compact, config.Delete = 900, 100, c.compact, !c.compact
	config.FileDeleteDelayMs, config.MinCleanableDirtyRatio, config.RetentionMs = 1000, 0, -1
	l, err := f.store.Create(c.tp, c.id, config)
	f.check(err)
	l.Configure(config)
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
	f.moves[c.tp] = &owner{log: l}
	f.store.ResumeMove(c.tp, f.moves[c.tp].relocation())
	if end := l.Offsets().LogEnd; end != int64(len(c.stamps)) {
		f.t.Errorf("%s ends at %d and not %d", c.tp, end, len(c.stamps))
	}
	return l
}

// act does one random thing to one log, or to the Store.
func (f *life) act(i int) {
	c := &f.logs[i]
	switch n := f.rng.IntN(40); {
	case n < 29 && f.alone(c, n):
	case n < 31:
		f.compact(&f.logs[1])
	case n < 33:
		f.move(c)
	case n < 34:
		f.know("delete", func() { *c = lifeLog{tp: c.tp, id: protocol.NewUUID(), compact: c.compact} })
		f.check(f.store.Delete(c.tp))
		f.create(i)
	case n < 36:
		f.restart()
	default:
		f.know("wait", nil)
		time.Sleep(time.Duration(f.rng.IntN(8)) * time.Second)
	}
}

// alone does what excludes that the log is replaced meanwhile; false if it is nothing for this log.
func (f *life) alone(c *lifeLog, n int) bool {
	o := f.moves[c.tp]
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.log
	switch {
	case n < 20:
		f.append(c, l, 1+f.rng.IntN(6))
	case n < 23:
		end := l.Offsets().LogEnd
		f.know("sync", nil)
		f.check(l.Sync())
		f.know("", func() { c.synced = end })
	case n < 25:
		f.know("roll", nil)
		f.check(l.Roll())
	case n < 27 && !c.compact:
		f.retain(c, l)
	case n < 29 && !c.compact:
		to := max(l.Offsets().LogStart, l.Offsets().LogEnd-f.rng.Int64N(12))
		f.know("truncate", func() { c.synced = min(c.synced, max(0, to-lifeBatch+1)) }) // a batch that holds the offset goes as a whole
		f.check(l.TruncateTo(to))
		f.know("", func() { c.stamps = c.stamps[:l.Offsets().LogEnd] })
	default:
		return false
	}
	return true
}

func (f *life) append(c *lifeLog, l *Log, batches int) {
	for range batches {
		w := record.NewBuilder()
		f.know("append", func() {
			for range 1 + f.rng.IntN(lifeBatch) {
				f.stamp++
				c.stamps = append(c.stamps, f.stamp)
				value := binary.BigEndian.AppendUint32(nil, f.stamp)
				w.Add(int64(f.stamp)*10, []byte{byte(f.stamp % lifeKeys)}, append(value, make([]byte, f.rng.IntN(120))...))
			}
		})
		_, err := l.Append(finish(f.t, w), AppendOptions{LeaderEpoch: 1, Origin: OriginClient, Now: int64(f.stamp) * 10})
		f.check(err)
		l.AdvanceHighWatermark(l.Offsets().LogEnd)
	}
}

func (f *life) retain(c *lifeLog, l *Log) {
	o := l.Offsets()
	start := o.LogStart + f.rng.Int64N(o.LogEnd-o.LogStart+1)
	f.know("retain", func() { c.start = max(c.start, start); c.synced = max(c.synced, 0) })
	f.check(l.DeleteBefore(start))
	_, err := l.retain(int64(f.stamp) * 10)
	f.check(err)
}

// compact waits until the compacted log is not on the move: the cleaner leaves such logs alone.
func (f *life) compact(c *lifeLog) {
	synctest.Wait()
	l := f.moves[c.tp].current()
	f.know("compact", nil)
	f.check(l.Roll())
	d, err := l.dirtiness(int64(f.stamp) * 10)
	f.check(err)
	if !d.due() {
		return
	}
	_, err = newTestCompactor(f.o.Codecs, 1000).clean(context.Background(), d, int64(f.stamp)*10)
	f.check(err)
	f.check(f.store.checkpointCleaned(f.store.hosted(c.tp).dir))
}

// move sends the log to the other dir; appends and the rest go on meanwhile.
func (f *life) move(c *lifeLog) {
	to := "a"
	if f.moves[c.tp].current().Dir()[0] == 'a' {
		to = "b"
	}
	f.know("move", nil)
	f.check(f.store.Move(c.tp, to, f.moves[c.tp].relocation()))
	if f.rng.IntN(3) > 0 {
		synctest.Wait()
	}
}

func (f *life) restart() {
	if f.rng.IntN(2) == 0 {
		f.know("stop", nil)
		closeStore(f.t, f.store)
		f.know("start", func() {
			for i := range f.logs {
				f.logs[i].synced = int64(len(f.logs[i].stamps))
			}
		})
	} else {
		synctest.Wait()
		kill(f.t, f.store)
		f.know("start after kill", func() {
			for i := range f.logs {
				f.logs[i].start = max(f.logs[i].start, 0)
			}
		})
	}
	f.open()
}

var folderID = regexp.MustCompile(`\.[0-9a-f]{32}-`)

// step is called ahead of each change of the disk: now and then the power fails there. That depends on the seed, on what changes and how often it has, and not on the
// order in which goroutines come here or on random names.
func (f *life) step(what string) {
	kind := folderID.ReplaceAllString(what, "-")
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(kind)) // never fails
	f.mu.Lock()
	f.steps[kind]++
	chance := rand.New(rand.NewPCG(f.seed<<32+f.steps[kind], hash.Sum64()))
	if chance.IntN(50) > 0 {
		f.mu.Unlock()
		return
	}
	op := f.op
	f.crashes[op]++
	seed := chance.Int64()
	disk := f.disk.Crash(seed)
	logs := slices.Clone(f.logs)
	for i := range logs {
		logs[i].stamps = slices.Clone(logs[i].stamps)
	}
	f.mu.Unlock()
	if err := afterPowerLoss(f.t, f.o, disk, logs); err != nil {
		f.t.Errorf("%s, power lost before %q (%d): %v", op, what, seed, err)
	}
}

// afterPowerLoss opens what a crash has left, and once more after it was written to and killed.
func afterPowerLoss(t *testing.T, o Options, disk *vfs.Mem, logs []lifeLog) error {
	o.FS = disk
	for again := range 2 {
		s, err := Open(o)
		if err != nil {
			return err
		}
		defer kill(t, s)
		for _, d := range s.Dirs() {
			if d.Offline != nil {
				return d.Offline
			}
		}
		for i := range logs {
			c := &logs[i]
			l := s.Log(c.tp)
			if l == nil || l.TopicID() != c.id { // its creation, and perhaps the end of the one before, is lost
				if c.synced > 0 {
					return fmt.Errorf("%s is gone, %d were synced", c.tp, c.synced)
				}
				continue
			}
			if err := c.verify(l, o.Codecs); err != nil {
				return fmt.Errorf("%s (life %d): %w", c.tp, again, err)
			}
			if again == 0 {
				if err := c.writeOn(l); err != nil {
					return fmt.Errorf("%s: writing on: %w", c.tp, err)
				}
			}
		}
		kill(t, s)
	}
	return nil
}

// writeOn appends a record behind what is left.
func (c *lifeLog) writeOn(l *Log) error {
	c.stamps = append(c.stamps[:l.Offsets().LogEnd], 1<<30)
	w := record.NewBuilder()
	w.Add(10<<30, []byte{lifeKeys}, binary.BigEndian.AppendUint32(nil, 1<<30))
	b, err := w.Build(nil)
	if err != nil {
		return err
	}
	info, err := l.Append(b, AppendOptions{LeaderEpoch: 2, Origin: OriginClient, Now: 1})
	if err == nil && info.LastOffset != int64(len(c.stamps))-1 {
		err = fmt.Errorf("appended at %d", info.LastOffset)
	}
	c.synced = int64(len(c.stamps)) // a kill loses nothing
	return err
}

// verify checks that l holds a first part of what was written, with all that was synced, and that its indexes agree.
func (c *lifeLog) verify(l *Log, codecs *record.Codecs) error {
	o := l.Offsets()
	if o.LogStart > c.start || o.LogEnd < c.synced || o.LogEnd > int64(len(c.stamps)) || o.HighWatermark > o.LogEnd {
		return fmt.Errorf("%+v, but %d of %d were synced, and the start is %d", o, c.synced, len(c.stamps), c.start)
	}
	next, found := o.LogStart, []int64{}
	last := map[byte]int64{}
	for offset := o.LogStart; offset < o.LogEnd; offset++ {
		last[c.key(offset)] = offset
	}
	err := l.Batches(context.Background(), o.LogStart, func(b record.Batch) error {
		return codecs.Records(b, func(r *record.Record) error {
			switch {
			case r.Offset < o.LogStart:
				return nil
			case r.Offset != next && !c.compact || r.Offset < next:
				return fmt.Errorf("record %d where %d is next", r.Offset, next)
			case binary.BigEndian.Uint32(r.Value) != c.stamps[r.Offset]:
				return fmt.Errorf("record %d holds %d, want %d", r.Offset, binary.BigEndian.Uint32(r.Value), c.stamps[r.Offset])
			}
			next = r.Offset + 1
			found = append(found, r.Offset)
			if last[c.key(r.Offset)] == r.Offset {
				delete(last, c.key(r.Offset))
			}
			return nil
		})
	})
	if err == nil && (len(last) > 0 || next < o.LogEnd && !c.compact) {
		err = fmt.Errorf("read up to %d of %d, the last values of keys are missing at %v", next, o.LogEnd, last)
	}
	if err != nil {
		return err
	}
	return c.verifyIndexes(l, found)
}

func (c *lifeLog) key(offset int64) byte {
	if c.stamps[offset] == 1<<30 {
		return lifeKeys
	}
	return byte(c.stamps[offset] % lifeKeys)
}

// verifyIndexes looks the records up by offset and by time.
func (c *lifeLog) verifyIndexes(l *Log, found []int64) error {
	end := l.Offsets().LogEnd
	l.AdvanceHighWatermark(end)
	for i := 0; i < len(found); i += 1 + len(found)/12 {
		s, err := l.Read(found[i], end, 1, true)
		if err != nil {
			return err
		}
		head := make([]byte, min(s.Len(), maxHeaderSize))
		_, err = s.ReadAt(head, 0)
		s.Release()
		if h, ok := parseHeader(head, 0); err != nil || !ok || h.baseOffset > found[i] || h.lastOffset < found[i] {
			return fmt.Errorf("a read at %d finds the batch of %d to %d: %w", found[i], h.baseOffset, h.lastOffset, err)
		}
		at, ok, err := l.OffsetAtTime(int64(c.stamps[found[i]])*10, end)
		if err != nil || !ok || at.Offset != found[i] {
			return errors.Join(err, fmt.Errorf("the time of %d is at %d, %v, in %s", found[i], at.Offset, ok, describeSegments(l)))
		}
	}
	return nil
}

// describeSegments tells what a failure may be due to.
func describeSegments(l *Log) string {
	text := fmt.Sprintf("%s %+v", l.Dir(), l.Offsets())
	for _, seg := range l.view.Load().segments {
		text += fmt.Sprintf("; at %d %d bytes, times up to %+v in %d entries", seg.base, seg.size.Load(), seg.maxTimestamp(), seg.times.known())
	}
	return text
}
