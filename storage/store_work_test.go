package storage

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/storage/vfs"
)

// inBubble runs fn with a Store on a memory dir, once for each system's rules, in a synctest bubble and closes it.
func inBubble(t *testing.T, settings map[string]string, fn func(t *testing.T, m *vfs.Mem, s *Store)) {
	t.Helper()
	eachRulesInBubble(t, func(t *testing.T, m *vfs.Mem) {
		s := openStore(t, storeOptions(t, m, settings, "a"))
		fn(t, m, s)
		closeStore(t, s)
	})
}

func sleep(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func checkpointed(t *testing.T, fsys vfs.FS, name string) offsets {
	t.Helper()
	o, err := readOffsets(fsys, "a/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestCheckpointsAreWrittenAtTheirIntervals(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		tp := tpOf("t", 0)
		l := create(t, s, tp, protocol.NewUUID())
		produce(t, l, 5, 0)
		if err := l.DeleteBefore(2); err != nil {
			t.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		sleep(4 * time.Second)
		if got := checkpointed(t, m, replicationCheckpoint); len(got) != 0 {
			t.Errorf("high watermarks after 4 s: %v", got)
		}
		sleep(2 * time.Second)
		if got := checkpointed(t, m, replicationCheckpoint); got[tp] != 5 {
			t.Errorf("high watermarks after 6 s: %v", got)
		}
		sleep(20 * time.Second)
		if got := checkpointed(t, m, recoveryPointCheckpoint); len(got) != 0 {
			t.Errorf("recovery points after 26 s: %v", got)
		}
		sleep(5 * time.Second)
		point, _, _ := l.checkpoints()
		if got := checkpointed(t, m, recoveryPointCheckpoint); got[tp] != point || point == 0 {
			t.Errorf("recovery points after 31 s: %v, the log's is %d", got, point)
		}
		if got := checkpointed(t, m, logStartCheckpoint); got[tp] != 2 {
			t.Errorf("log starts after 31 s: %v", got)
		}
	})
}

// A checkpoint that has not changed is not written again: idle partitions cost no fsync.
func TestIdleStoreWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		s := openStore(t, storeOptions(t, faulty, nil, "a"))
		for p := range int32(20) {
			produce(t, create(t, s, tpOf("t", p), protocol.NewUUID()), 1, 0)
		}
		sleep(2 * time.Minute)
		for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir, vfs.OpCreate, vfs.OpWrite, vfs.OpRename} {
			faulty.Inject(vfs.Fault{Op: op}) // any would take the dir offline
		}
		sleep(20 * time.Minute)
		if err := s.Dirs()[0].Offline; err != nil {
			t.Errorf("an idle store wrote: %v", err)
		}
		kill(t, s)
	})
}

func TestDeletedFoldersAreRemovedLater(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 5, 0)
		pinned, err := l.Read(0, 5, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(tpOf("t", 0)); err != nil {
			t.Fatal(err)
		}
		deleted := func() (n int) {
			for _, name := range names(t, m, "a") {
				if tp, suffix, ok := parseFolder(name); ok && suffix == deleteSuffix && tp == tpOf("t", 0) {
					n++
				}
			}
			return n
		}
		if deleted() != 1 || has(t, m, "a/t-0") || s.Log(tpOf("t", 0)) != nil {
			t.Errorf("right after delete: %v", names(t, m, "a"))
		}
		if _, err := l.Append(testBatch{id: 7, seq: 5}.build(t), AppendOptions{}); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("append to a deleted log: %v", err)
		}
		buf := make([]byte, pinned.Len())
		if _, err := pinned.ReadAt(buf, 0); err != nil {
			t.Errorf("a slice that was out: %v", err)
		}
		pinned.Release()
		sleep(time.Minute - time.Second)
		if deleted() != 1 {
			t.Error("removed too early")
		}
		sleep(2 * time.Second)
		if deleted() != 0 {
			t.Errorf("not removed: %v", names(t, m, "a"))
		}
		if err := s.Delete(tpOf("t", 0)); err != nil {
			t.Errorf("delete of nothing: %v", err)
		}
	})
}

func TestLeftoverDeletedFoldersAreRemovedAtStart(t *testing.T) {
	eachRulesInBubble(t, func(t *testing.T, m *vfs.Mem) {
		o := storeOptions(t, m, nil, "a")
		s := openStore(t, o)
		produce(t, create(t, s, tpOf("t", 0), protocol.NewUUID()), 5, 0)
		if err := s.Delete(tpOf("t", 0)); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		before := names(t, m, "a")
		s = openStore(t, o)
		synctest.Wait()
		for _, name := range names(t, m, "a") {
			if _, _, ok := parseFolder(name); ok {
				t.Errorf("%s is still there, before it was %v", name, before)
			}
		}
		closeStore(t, s)
	})
}

// What the checkpoints said of a deleted log must not be believed of a new one with its name.
func TestRecreatedPartitionStartsAtNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		tp, other := tpOf("t", 0), tpOf("u", 0)
		for _, l := range []*Log{create(t, s, tp, protocol.NewUUID()), create(t, s, other, protocol.NewUUID())} {
			produce(t, l, 5, 0)
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		sleep(40 * time.Second)
		if got := checkpointed(t, m, replicationCheckpoint); got[tp] != 5 {
			t.Fatalf("checkpoint %v", got)
		}
		if err := s.Delete(tp); err != nil {
			t.Fatal(err)
		}
		produce(t, create(t, s, tp, protocol.NewUUID()), 2, 0)
		for _, name := range []string{replicationCheckpoint, recoveryPointCheckpoint} {
			if got := checkpointed(t, m, name); got[tp] != 0 || got[other] == 0 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// A new log's folder is durable soon after its creation, without the creation having waited for it.
func TestNewFoldersSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem()
		s := openStore(t, storeOptions(t, m, nil, "a"))
		id := protocol.NewUUID()
		create(t, s, tpOf("t", 0), id)
		sleep(2 * settleDelay)
		for seed := range int64(5) {
			if got, err := readPartitionMetadata(m.Crash(seed), "a/t-0"); err != nil || got != id {
				t.Errorf("seed %d: %v, %v", seed, got, err)
			}
		}
		closeStore(t, s)
	})
}

func TestCreationSyncsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		s := openStore(t, storeOptions(t, faulty, nil, "a"))
		var hits []func() int
		var removes []func()
		for _, op := range []vfs.Op{vfs.OpSync, vfs.OpSyncDir} {
			h, remove := faulty.Inject(vfs.Fault{Op: op})
			hits, removes = append(hits, h), append(removes, remove)
		}
		for p := range int32(10) {
			create(t, s, tpOf("t", p), protocol.NewUUID()).AssignEpoch(1)
		}
		if n := hits[0]() + hits[1](); n != 0 {
			t.Errorf("%d syncs", n)
		}
		for _, remove := range removes {
			remove()
		}
		closeStore(t, s)
	})
}

func TestIdleProducersExpire(t *testing.T) {
	inBubble(t, map[string]string{"producer.id.expiration.ms": "3600000"}, func(t *testing.T, m *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 1, 0)
		sleep(59 * time.Minute)
		if len(l.Producers()) != 1 {
			t.Error("expired too early")
		}
		sleep(15 * time.Minute)
		if got := l.Producers(); len(got) != 0 {
			t.Errorf("not expired: %+v", got)
		}
	})
}

// producer.id.expiration.ms counts from the next check on when it changes, and those that are about to load see it, too.
func TestExpirationChangesLive(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 1, 0)
		sleep(time.Hour)
		if len(l.Producers()) != 1 {
			t.Error("expired before a day has passed")
		}
		s.Reconfigure(config.Defaults().WithDynamic(map[string]string{"producer.id.expiration.ms": "60000"}, nil))
		sleep(11 * time.Minute) // producer.id.expiration.check.interval.ms
		if got := l.Producers(); len(got) != 0 {
			t.Errorf("not expired: %+v", got)
		}
	})
}

// The checkpoint of high watermarks is written when one has moved, and not looked at otherwise.
func TestIdleHighWatermarksCostNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 3, 0)
		sleep(11 * time.Second)
		d := s.dirs[0]
		if d.highWatermarks[l.tp] != l.Offsets().HighWatermark || d.marked.Load() {
			t.Fatalf("checkpointed %v, marked %v", d.highWatermarks, d.marked.Load())
		}
		sleep(time.Minute)
		if d.marked.Load() {
			t.Error("marked while nothing happened")
		}
		produce(t, l, 1, 3) // within the 5 s until the next look
		if !d.marked.Load() {
			t.Error("not marked after an append")
		}
	})
}

func TestFlushMs(t *testing.T) {
	inBubble(t, map[string]string{"log.flush.scheduler.interval.ms": "1000"}, func(t *testing.T, m *vfs.Mem, s *Store) {
		c := testLogConfig()
		c.FlushMs = 10_000
		l, err := s.Create(tpOf("t", 0), protocol.NewUUID(), c)
		if err != nil {
			t.Fatal(err)
		}
		produce(t, l, 1, 0)
		sleep(25 * time.Second)
		if n, _ := l.unflushed(); n != 1 {
			t.Errorf("%d messages wait before the scheduler's first run", n)
		}
		sleep(10 * time.Second)
		if n, _ := l.unflushed(); n != 0 {
			t.Errorf("%d messages still wait", n)
		}
	})
}

// Rolled segments are synced in the background, and the recovery point follows.
func TestRolledSegmentsAreFlushed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		produce(t, l, 60, 0)
		synctest.Wait()
		point, _, _ := l.checkpoints()
		if base := l.view.Load().active().base; point != base || base == 0 {
			t.Errorf("recovery point %d, active segment %d", point, base)
		}
	})
}

func TestDirWorkerOrder(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *vfs.Mem, s *Store) {
		var done []int
		w := s.dirs[0].worker
		for i, delay := range []time.Duration{3, 1, 2, 0, 1} {
			w.after(delay*time.Second, func() error {
				done = append(done, i)
				return nil
			})
		}
		sleep(time.Second)
		w.after(time.Hour, func() error {
			t.Error("run after Close")
			return nil
		})
		sleep(5 * time.Second)
		if want := []int{3, 1, 4, 2, 0}; !slices.Equal(done, want) {
			t.Errorf("got %v, want %v", done, want)
		}
	})
}

// With one of background.threads a job waits for another, of another dir too; with two it does not.
func TestBackgroundThreads(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *vfs.Mem, s *Store) {
		threads := func(n string) {
			s.Reconfigure(config.Defaults().WithDynamic(map[string]string{"background.threads": n}, nil))
		}
		threads("1")
		release, done := make(chan struct{}), 0
		go s.inBackground(func() { <-release })
		synctest.Wait()
		go s.inBackground(func() { done++ })
		synctest.Wait()
		if done != 0 || s.background.Waiting() != 1 {
			t.Errorf("%d done, %d wait", done, s.background.Waiting())
		}
		threads("2")
		synctest.Wait()
		if done != 1 {
			t.Error("the second waits although there is room")
		}
		close(release)
		synctest.Wait()
	})
}
