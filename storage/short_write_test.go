package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// shortRun does random things to a log and a compacted log on a disk of which now and then a write ends early, with an error.
type shortRun struct {
	t     *testing.T
	rng   *rand.Rand
	mem   *vfs.Mem
	disk  *vfs.Faulty
	o     Options
	store *Store
	logs  []lifeLog
	stamp uint32

	hits  func() int // of the fault that was injected last
	heal  func()     // takes it away
	short int        // writes so far
}

// Whatever file a short write hits, and whether the disk is full or broken: what was refused leaves no trace, what was acknowledged is there, now and after a kill, and a
// disk that was only full goes on.
func TestShortWrites(t *testing.T) {
	var seeds, short atomic.Int64
	eachSeedInBubble(t, 100, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		r := &shortRun{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 31)), mem: mem, disk: vfs.NewFaulty(mem), hits: func() int { return 0 }, heal: func() {}}
		r.o = storeOptions(t, r.disk, map[string]string{
			"log.initial.task.delay.ms": "2000", "log.flush.offset.checkpoint.interval.ms": "3000", "log.cleaner.enable": "false",
		}, "a")
		r.o.Logger = zap.NewNop()
		for p := range int32(2) {
			r.logs = append(r.logs, lifeLog{tp: tpOf("t", p), id: protocol.NewUUID(), compact: p == 1})
		}
		r.open()
		for range 120 {
			if r.act(&r.logs[r.rng.IntN(2)]); t.Failed() {
				break
			}
			if r.store.Dirs()[0].Offline != nil || r.rng.IntN(40) == 0 {
				r.restart()
			}
		}
		r.restart()
		closeStore(t, r.store)
		seeds.Add(1)
		short.Add(int64(r.short))
	})
	if short.Load() < 3*seeds.Load() {
		t.Errorf("%d writes were short in %d runs", short.Load(), seeds.Load())
	}
}

func (r *shortRun) open() {
	r.store = openStore(r.t, r.o)
	if err := r.store.SetClusterID("c"); err != nil {
		r.t.Fatal(err)
	}
	for i := range r.logs {
		c := &r.logs[i]
		config := testLogConfig()
		config.SegmentBytes, config.IndexIntervalBytes, config.Compact, config.Delete = 900, 100, c.compact, !c.compact
		config.MinCleanableDirtyRatio, config.RetentionMs = 0, -1
		l, err := r.store.Create(c.tp, c.id, config)
		if err != nil {
			r.t.Fatal(err)
		}
		l.Configure(config)
		c.synced = int64(len(c.stamps)) // a kill loses nothing
		if err := c.verify(l, r.o.Codecs); err != nil {
			r.t.Errorf("%s: %v", c.tp, err)
		}
	}
}

// restart kills the process, or stops it in order if the disk is in order.
func (r *shortRun) restart() {
	r.short += r.hits()
	r.heal()
	r.hits, r.heal = func() int { return 0 }, func() {}
	if r.store.Dirs()[0].Offline == nil && r.rng.IntN(2) == 0 {
		closeStore(r.t, r.store)
	} else {
		synctest.Wait()
		kill(r.t, r.store)
	}
	r.open()
}

func (r *shortRun) act(c *lifeLog) {
	l := r.store.Log(c.tp)
	switch n := r.rng.IntN(24); {
	case n < 14:
		r.append(c, l)
	case n < 16:
		r.permit(l.Sync())
	case n < 17:
		r.permit(l.Roll())
	case n < 19 && c.compact:
		r.compact(l)
	case n < 20:
		time.Sleep(time.Duration(r.rng.IntN(4)) * time.Second)
	default:
		r.injure()
	}
}

// injure has writes end early from some moment on, a few times.
func (r *shortRun) injure() {
	r.short += r.hits()
	r.heal()
	pattern := []string{"", "*.log", "*.index", "*.timeindex", "*.snapshot", "*checkpoint*", "*.cleaned"}[r.rng.IntN(7)]
	err := []error{syscall.ENOSPC, syscall.EIO}[r.rng.IntN(2)]
	r.hits, r.heal = r.disk.Inject(vfs.Fault{
		Op: vfs.OpWrite, Pattern: pattern, Skip: r.rng.IntN(4), Count: 1 + r.rng.IntN(3), Partial: r.rng.IntN(150), Err: err,
	})
}

// permit takes an error of the disk as it comes, but no other.
func (r *shortRun) permit(err error) {
	r.t.Helper()
	if err == nil || protocol.CodeOf(err) == protocol.KafkaStorageError || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		return
	}
	r.t.Errorf("unexpected: %v", err)
}

func (r *shortRun) append(c *lifeLog, l *Log) {
	w := record.NewBuilder()
	before := len(c.stamps)
	for range 1 + r.rng.IntN(lifeBatch) {
		r.stamp++
		c.stamps = append(c.stamps, r.stamp)
		value := binary.BigEndian.AppendUint32(nil, r.stamp)
		w.Add(int64(r.stamp)*10, []byte{byte(r.stamp % lifeKeys)}, append(value, make([]byte, r.rng.IntN(120))...))
	}
	info, err := l.Append(finish(r.t, w), AppendOptions{LeaderEpoch: 1, Origin: OriginClient, Now: int64(r.stamp) * 10})
	if err != nil {
		c.stamps = c.stamps[:before]
		r.permit(err)
	} else if info.FirstOffset != int64(before) || info.LastOffset != int64(len(c.stamps))-1 {
		r.t.Errorf("%s: appended at %d to %d, the log ended at %d", c.tp, info.FirstOffset, info.LastOffset, before)
	}
	if end := l.Offsets().LogEnd; end != int64(len(c.stamps)) {
		r.t.Errorf("%s ends at %d, want %d (%v)", c.tp, end, len(c.stamps), err)
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
}

func (r *shortRun) compact(l *Log) {
	now := int64(r.stamp) * 10
	r.permit(l.Roll())
	d, err := l.dirtiness(now)
	if err != nil || !d.due() {
		r.permit(err)
		return
	}
	_, err = newTestCompactor(r.o.Codecs, 1000).clean(context.Background(), d, now)
	if !errors.Is(err, errCleaningAborted) { // the log has gone offline
		r.permit(err)
	}
}
