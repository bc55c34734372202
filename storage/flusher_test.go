package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// flushedLogs makes n logs whose appends return when they are durable.
func flushedLogs(t testing.TB, s *Store, n, segmentBytes int) []*Log {
	t.Helper()
	config := testLogConfig()
	config.FlushMessages, config.SegmentBytes = 1, segmentBytes
	logs := make([]*Log, n)
	for p := range logs {
		l := s.Log(tpOf("t", int32(p)))
		if l == nil {
			l = create(t, s, tpOf("t", int32(p)), protocol.NewUUID())
		}
		l.Configure(config)
		logs[p] = l
	}
	return logs
}

// The power fails while many partitions wait for their fsyncs, by file and by volume: what was acknowledged before is there after it.
func TestAcknowledgedSurvivesPowerLoss(t *testing.T) {
	for seed := range int64(16) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 11))
			disk := &stepFS{Mem: vfs.NewMem()}
			partitions := []int{3, volumeFrom + 8}[seed%2]
			acked := make([]atomic.Int64, partitions)
			for life := range 3 {
				o := storeOptions(t, disk, nil, "a")
				o.Logger = zap.NewNop()
				s := openStore(t, o)
				logs := flushedLogs(t, s, partitions, 3000)
				for p, l := range logs {
					if at := l.Offsets(); at.LogEnd < acked[p].Load() {
						t.Fatalf("seed %d, life %d: partition %d ends at %d, %d was acknowledged", seed, life, p, at.LogEnd, acked[p].Load())
					}
					acked[p].Store(l.Offsets().LogEnd)
					if c := l.Committable(); c != l.Offsets().LogEnd {
						t.Fatalf("committable %d of %d after a start", c, l.Offsets().LogEnd)
					}
				}
				var crash *vfs.Mem
				promised := make([]int64, partitions)
				steps, at := 0, 200+rng.IntN(3000)
				var mu sync.Mutex
				disk.watch(func(string) {
					mu.Lock()
					defer mu.Unlock()
					if steps++; steps == at {
						for p := range acked {
							promised[p] = acked[p].Load()
						}
						crash = disk.Crash(seed*10 + int64(life))
					}
				})
				var all sync.WaitGroup
				for p, l := range logs {
					all.Go(func() {
						for i := range 40 {
							info, err := l.Append(plainBatch(t, 1+i%2, 1), AppendOptions{Now: time.Now().UnixMilli()})
							if err != nil {
								t.Error(err)
								return
							}
							if c := l.Committable(); c <= info.LastOffset {
								t.Errorf("acknowledged %d, committable below %d", info.LastOffset, c)
							}
							acked[p].Store(info.LastOffset + 1)
						}
					})
				}
				all.Wait()
				disk.watch(nil)
				if crash == nil {
					crash = disk.Crash(seed)
					for p := range acked {
						promised[p] = acked[p].Load()
					}
				}
				kill(t, s)
				for p := range acked {
					acked[p].Store(promised[p])
				}
				disk = &stepFS{Mem: crash}
			}
		})
	}
}

// A Produce waits for several partitions at once, and the fsync that fails is told to those whose records it was to write.
func TestFailedFlush(t *testing.T) {
	for _, n := range []int{1, 5, volumeFrom + 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				faulty := vfs.NewFaulty(vfs.NewMem())
				o := storeOptions(t, faulty, nil, "a", "b")
				o.Logger = zap.NewNop()
				s := openStore(t, o)
				failed := make(chan string, 1)
				s.OnDirFailure(func(dir string, _ error) { failed <- dir })
				logs := flushedLogs(t, s, 2*n, 1<<20)
				for _, l := range logs {
					mustAppend(t, l, plainBatch(t, 1, 1))
				}
				bad := logs[0]
				dir := bad.host.(*dirWorker).dir
				volume, _ := faulty.Inject(vfs.Fault{Op: vfs.OpVolume, Path: dir.path})
				file, _ := faulty.Inject(vfs.Fault{Op: vfs.OpSync, Path: bad.Dir(), Pattern: "*.log", Count: 1})
				flushes := make([]Flush, len(logs))
				for i, l := range logs {
					info, err := l.Append(plainBatch(t, 1, 1), AppendOptions{Deferred: true})
					if err == nil && !info.Flush.Pending() || err != nil && l.host != bad.host { // the dir may be offline by now
						t.Errorf("append: %v, pending %v", err, info.Flush.Pending())
					}
					flushes[i] = info.Flush
				}
				for i, l := range logs {
					err := flushes[i].Wait()
					if l == bad && !errors.Is(err, protocol.KafkaStorageError) {
						t.Errorf("flush of the file that failed: %v", err)
					}
					if l != bad && l.host != bad.host && (err != nil || l.Committable() != 2) {
						t.Errorf("%s in the other dir: %v, committable %d", l.tp, err, l.Committable())
					}
					if err == nil && flushes[i].Pending() && l.syncedTo.Load() != 2 {
						t.Errorf("%s is acknowledged and synced to %d", l.tp, l.syncedTo.Load())
					}
				}
				if name := <-failed; name != dir.path {
					t.Errorf("dir %s failed", name)
				}
				synctest.Wait()
				if file() != 1 {
					t.Errorf("%d files and %d volumes failed", file(), volume())
				}
				if _, err := bad.Append(plainBatch(t, 1, 1), AppendOptions{}); !errors.Is(err, protocol.KafkaStorageError) {
					t.Errorf("append after it: %v", err)
				}
				_ = s.Close()
			})
		})
	}
}

// Without an fsync of its own a log's new records are not committed; those of before are.
func TestCommittable(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		mustAppend(t, l, plainBatch(t, 3, 1))
		if c := l.Committable(); c != 3 {
			t.Errorf("committable %d", c)
		}
		config := l.Config()
		config.FlushMessages = 1
		l.Configure(config)
		if c := l.Committable(); c != 3 {
			t.Errorf("committable %d after flush.messages was set", c)
		}
		info, err := l.Append(plainBatch(t, 2, 1), AppendOptions{Deferred: true})
		if err != nil {
			t.Fatal(err)
		}
		if c := l.Committable(); c != 3 && l.syncedTo.Load() < 5 {
			t.Errorf("committable %d with %d synced", c, l.syncedTo.Load())
		}
		if err := info.Flush.Wait(); err != nil || l.Committable() != 5 {
			t.Errorf("%v, committable %d", err, l.Committable())
		}
		if err := l.TruncateTo(4); err != nil {
			t.Fatal(err)
		}
		if c := l.Committable(); c > l.Offsets().LogEnd {
			t.Errorf("committable %d beyond the end %d", c, l.Offsets().LogEnd)
		}
	})
}

// Logs that wait for flush.ms are synced together.
func TestFlushMsOfManyLogs(t *testing.T) {
	inBubble(t, map[string]string{"log.flush.scheduler.interval.ms": "1000"}, func(t *testing.T, _ *vfs.Mem, s *Store) {
		var logs []*Log
		for p := range int32(volumeFrom * 2) {
			l := create(t, s, tpOf("t", p), protocol.NewUUID())
			config := l.Config()
			config.FlushMs = 500
			l.Configure(config)
			mustAppend(t, l, plainBatch(t, 2, 1))
			logs = append(logs, l)
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		for _, l := range logs {
			if n, _ := l.unflushed(); n != 0 || l.syncedTo.Load() != 2 {
				t.Fatalf("%s: %d messages are not flushed, synced to %d", l.tp, n, l.syncedTo.Load())
			}
		}
	})
}

// The sync of a volume that others fill is given up, and tried again less and less often.
func TestSyncChoice(t *testing.T) {
	var c syncChoice
	if c.volume(volumeFrom - 1) {
		t.Error("a volume for few files")
	}
	c.tookFiles(10, 10*time.Millisecond)
	if !c.volume(volumeFrom) {
		t.Fatal("no volume for many files")
	}
	c.tookVolume(volumeFrom, time.Second)
	tries := []int{}
	for round := 1; len(tries) < 4; round++ {
		if c.volume(volumeFrom) {
			tries = append(tries, round)
			c.tookVolume(volumeFrom, time.Second)
		}
	}
	if fmt.Sprint(tries) != "[9 26 59 124]" {
		t.Errorf("tried in rounds %v", tries)
	}
	for !c.volume(volumeFrom) {
	}
	c.tookVolume(volumeFrom, time.Millisecond)
	for range measureEvery - 2 {
		if !c.volume(volumeFrom) {
			break
		}
		c.tookVolume(volumeFrom, time.Millisecond)
	}
	if c.rounds < 5 {
		t.Errorf("%d rounds", c.rounds)
	}
}
