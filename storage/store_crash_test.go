package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// crashLog is one partition under test and what its writer knows of it.
type crashLog struct {
	tp     protocol.TopicPartition
	id     protocol.UUID
	next   int32        // the sequence that the next record gets; records have offset = sequence = value
	synced atomic.Int64 // log end of the last Sync that returned
}

// write appends one to three records per batch for a while, with a Sync now and then.
func (c *crashLog) write(t *testing.T, l *Log, rng *rand.Rand, batches int) {
	for range batches {
		w := record.NewBuilder()
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = int64(c.tp.Partition), 0, c.next
		for range 1 + rng.IntN(3) {
			value := binary.BigEndian.AppendUint32(nil, uint32(c.next))
			w.Add(time.Now().UnixMilli(), nil, append(value, make([]byte, rng.IntN(600))...))
			c.next++
		}
		info, err := l.Append(finish(t, w), AppendOptions{LeaderEpoch: 1, Origin: OriginClient, Now: time.Now().UnixMilli()})
		if err != nil {
			t.Errorf("%s: %v", c.tp, err)
			return
		}
		if rng.IntN(8) == 0 {
			if err := l.Sync(); err != nil {
				t.Errorf("%s: %v", c.tp, err)
				return
			}
			c.synced.Store(info.LastOffset + 1)
		}
		if rng.IntN(10) == 0 {
			l.AdvanceHighWatermark(info.LastOffset)
		}
		if rng.IntN(20) == 0 {
			time.Sleep(time.Duration(rng.IntN(7)) * time.Second) // background work comes in between
		}
	}
}

// verify checks that l holds a first part of what was written, with all that was synced, and lets the writer go on from there.
func (c *crashLog) verify(t *testing.T, l *Log, codecs *record.Codecs) {
	t.Helper()
	offsets := l.Offsets()
	if offsets.LogStart != 0 || offsets.LogEnd < c.synced.Load() || offsets.LogEnd > int64(c.next) || offsets.HighWatermark > offsets.LogEnd || l.TopicID() != c.id {
		t.Errorf("%s: %+v, but %d of %d were synced; topic id %v", c.tp, offsets, c.synced.Load(), c.next, l.TopicID())
	}
	next := int64(0)
	err := l.Batches(context.Background(), 0, func(b record.Batch) error {
		return codecs.Records(b, func(r *record.Record) error {
			if r.Offset != next || int64(binary.BigEndian.Uint32(r.Value)) != next {
				return fmt.Errorf("record %d holds %x, want %d", r.Offset, r.Value[:4], next)
			}
			next++
			return nil
		})
	})
	if err != nil || next != offsets.LogEnd {
		t.Errorf("%s: read up to %d of %d: %v", c.tp, next, offsets.LogEnd, err)
	}
	if p := l.Producers(); offsets.LogEnd > 0 && (len(p) != 1 || int64(p[0].LastSequence) != offsets.LogEnd-1) {
		t.Errorf("%s: ends at %d, producers %+v", c.tp, offsets.LogEnd, p)
	}
	if epoch := l.EpochOf(max(0, offsets.LogEnd-1)); offsets.LogEnd > 0 && epoch != 1 {
		t.Errorf("%s: epoch %d", c.tp, epoch)
	}
	c.next = int32(offsets.LogEnd)
	c.synced.Store(min(c.synced.Load(), offsets.LogEnd))
}

// Power is lost at random moments while several partitions are written, several times in the life of each disk.
func TestStoreSurvivesPowerLoss(t *testing.T) {
	eachSeedInBubble(t, 24, storeCrashRun)
}

func storeCrashRun(t *testing.T, seed int64) {
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	m := vfs.NewMem()
	var logs []*crashLog
	for p := range int32(4) {
		logs = append(logs, &crashLog{tp: tpOf("t", p), id: protocol.NewUUID()})
	}
	for life := range 6 {
		o := storeOptions(t, m, map[string]string{"log.initial.task.delay.ms": "3000", "log.flush.offset.checkpoint.interval.ms": "4000"}, "a", "b")
		o.Logger = zap.NewNop()
		s := openStore(t, o)
		crash := vfs.NewMem()
		var all sync.WaitGroup
		for _, c := range logs {
			l := s.Log(c.tp)
			switch {
			case l != nil && l.TopicID() == c.id:
				c.verify(t, l, o.Codecs)
			case c.synced.Load() > 0:
				t.Fatalf("life %d: %s is gone, %d records were synced", life, c.tp, c.synced.Load())
			default: // its creation was lost
				c.next = 0
			}
			l = create(t, s, c.tp, c.id)
			if config := l.Config(); c.tp.Partition%2 == 0 { // batches across pages of the disk, which a crash loses one by one
				config.SegmentBytes = 15_000
				l.Configure(config)
			}
			l.AssignEpoch(1)
			own := rand.New(rand.NewPCG(uint64(seed), uint64(life*10)+uint64(c.tp.Partition)))
			all.Go(func() { c.write(t, l, own, 10+own.IntN(80)) })
		}
		moment := time.Duration(rng.IntN(30)) * time.Second
		var synced []int64
		time.Sleep(moment)
		if life%2 == 0 {
			synctest.Wait() // else in the middle of whatever runs now
		}
		for _, c := range logs {
			synced = append(synced, c.synced.Load())
		}
		switch life % 3 {
		case 0, 1:
			crash = m.Crash(seed*10 + int64(life))
			all.Wait()
			kill(t, s)
			for i, c := range logs {
				c.synced.Store(synced[i]) // what came after the moment is not promised
			}
		case 2: // a clean stop, then the power fails
			all.Wait()
			closeStore(t, s)
			for _, c := range logs {
				c.synced.Store(int64(c.next))
			}
			crash = m.Crash(seed*10 + int64(life))
		}
		m = crash
		if t.Failed() {
			return
		}
	}
}

// The same with the process killed: nothing that was written is lost, synced or not.
func TestStoreSurvivesKill(t *testing.T) {
	eachSeedInBubble(t, 10, func(t *testing.T, seed int64) {
		m := vfs.NewMem()
		logs := []*crashLog{{tp: tpOf("t", 0), id: protocol.NewUUID()}, {tp: tpOf("t", 1), id: protocol.NewUUID()}}
		for life := range 4 {
			o := storeOptions(t, m, nil, "a")
			o.Logger = zap.NewNop()
			s := openStore(t, o)
			for _, c := range logs {
				l := create(t, s, c.tp, c.id)
				c.synced.Store(int64(c.next))
				c.verify(t, l, o.Codecs)
				c.write(t, l, rand.New(rand.NewPCG(uint64(seed), uint64(life))), 40)
			}
			kill(t, s)
		}
	})
}

// After a crash no folder of the Store's own making stops the next start.
func TestCrashDuringCreateAndDelete(t *testing.T) {
	eachSeedInBubble(t, 40, func(t *testing.T, seed int64) {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		m := vfs.NewMem()
		for range 4 {
			o := storeOptions(t, m, nil, "a")
			o.Logger = zap.NewNop()
			s := openStore(t, o)
			if s.Dirs()[0].Offline != nil {
				t.Fatalf("seed %d: %v", seed, s.Dirs()[0].Offline)
			}
			if err := s.SetClusterID("c"); err != nil {
				t.Fatal(err)
			}
			for range rng.IntN(15) {
				tp := tpOf("t", int32(rng.IntN(4)))
				switch rng.IntN(4) {
				case 0:
					if err := s.Delete(tp); err != nil {
						t.Fatal(err)
					}
				case 1:
					time.Sleep(time.Duration(rng.IntN(90)) * time.Second)
				default:
					l := create(t, s, tp, protocol.NewUUID())
					produce(t, l, rng.IntN(20), 0)
				}
			}
			crash := m.Crash(seed)
			kill(t, s)
			m = crash
		}
		for _, name := range names(t, m, "a") {
			if strings.HasSuffix(name, ".tmp") {
				continue
			}
			if _, _, ok := parseFolder(name); !ok && !strings.Contains(name, "checkpoint") && name != metaPropertiesName && name != lockName {
				t.Errorf("seed %d: %s", seed, name)
			}
		}
	})
}
