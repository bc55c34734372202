package storage

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol/record"
)

// A flush that was asked for before a truncation must not make what is appended after it count as synced.
func TestFlushAfterTruncation(t *testing.T) {
	mem := vfs.NewMem()
	h := &testHost{}
	l := openHosted(t, mem, h, testConfig(1<<20), nil)
	for range 5 {
		mustAppend(t, l, plainBatch(t, 2, 1))
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := l.TruncateTo(4); err != nil {
		t.Fatal(err)
	}
	if err := l.flushTo(h.flushes[0]); err != nil {
		t.Fatal(err)
	}
	if p, _, _ := l.checkpoints(); p > 4 {
		t.Errorf("recovery point %d of a log that ends at 4", p)
	}
	mustAppend(t, l, plainBatch(t, 2, 1))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	for seed := range crashSeeds(t, 20) {
		again := openHosted(t, mem.Crash(seed), h, testConfig(1<<20), nil)
		if end := checkDense(t, again); end != 6 {
			t.Fatalf("seed %d: the log ends at %d", seed, end)
		}
	}
}

// A log that went out of service between an append and its fsync must not call the append durable.
func TestSyncOfALogThatFailed(t *testing.T) {
	l := openTestLog(t, vfs.NewMem(), testConfig(1<<20))
	mustAppend(t, l, plainBatch(t, 2, 1))
	l.fail(vfs.ErrInjected)
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.syncLocked(2); err == nil { // Sync, had it waited for its turn meanwhile
		t.Error("synced")
	}
	if p := l.syncedTo.Load(); p != 0 {
		t.Errorf("synced to %d", p)
	}
}

// A process that was killed leaves its writes to the system. If the machine stops after the next start, before all is synced, the log may lose its end, but not
// something in the middle.
func TestPowerLossAfterKill(t *testing.T) {
	eachSeed(t, 60, func(t *testing.T, seed int64) {
		mem := vfs.NewMem()
		l := openHosted(t, mem, &testHost{}, testConfig(300), nil)
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			mustAppend(t, l, plainBatch(t, 2, 1))
		}
		l.discard()
		l = openHosted(t, mem, &testHost{}, testConfig(300), nil)
		if end := checkDense(t, l); end != 16 {
			t.Fatalf("a kill lost something: the log ends at %d", end)
		}
		mustAppend(t, l, plainBatch(t, 2, 1))
		checkDense(t, openHosted(t, mem.Crash(seed), &testHost{}, testConfig(300), nil))
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if end := checkDense(t, openHosted(t, mem.Crash(seed), &testHost{}, testConfig(300), nil)); end != 18 {
			t.Errorf("what was synced after the kill is gone: the log ends at %d", end)
		}
	})
}

// Each stop leaves a snapshot of the producers. The next start removes those that no segment and no start needs any more.
func TestSnapshotsDoNotPileUp(t *testing.T) {
	mem := vfs.NewMem()
	for range 6 {
		l := openTestLog(t, mem, testConfig(300))
		for range 2 {
			mustAppend(t, l, plainBatch(t, 1, 1))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := OpenLog(mem, testDir, testPartition, testConfig(300), record.NewCodecs(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer l.discard()
	known := map[int64]bool{l.Offsets().LogEnd: true}
	for _, s := range l.view.Load().segments {
		known[s.base] = true
	}
	entries, err := mem.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if base, ok := strings.CutSuffix(filepath.Base(e.Name()), snapshotSuffix); ok {
			n++
			if offset, _ := snapshotOffset(e.Name()); !known[offset] {
				t.Errorf("snapshot %s of a log with the segments %s and the end %d", base, segmentBases(l), l.Offsets().LogEnd)
			}
		}
	}
	if n == 0 {
		t.Error("no snapshot at all")
	}
}
