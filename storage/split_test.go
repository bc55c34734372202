package storage

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// wideLog writes the files of a log whose one segment spans offsets up to 3 * 2^31, as old versions of Kafka's compaction left them, with a torn end.
func wideLog(t *testing.T) (*vfs.Mem, []int64) {
	t.Helper()
	m := vfs.NewMem()
	if err := m.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	var content []byte
	var offsets []int64
	for i := range int64(9) {
		w := record.NewBuilder()
		w.Add(i, nil, []byte(fmt.Sprint("value ", i)))
		b := finished(t, w)
		offset := 7 + i*(math.MaxInt32/2-3)
		b.SetBaseOffset(offset)
		content, offsets = append(content, b...), append(offsets, offset)
	}
	if err := writeFile(m, file(0, logSuffix), append(content, content[:50]...), true); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncDir(testDir); err != nil {
		t.Fatal(err)
	}
	return m, offsets
}

func checkSplit(t *testing.T, fsys vfs.FS, offsets []int64) {
	t.Helper()
	l := openHosted(t, fsys, &testHost{}, testConfig(1<<20), nil)
	if got := fmt.Sprint(basesOf(t, contentOf(t, l))); got != fmt.Sprint(offsets) {
		t.Errorf("the log has offsets %s, want %v", got, offsets)
	}
	segments := l.view.Load().segments
	if len(segments) < 2 || segments[0].base != 0 {
		t.Errorf("segments %s", segmentBases(l))
	}
	for i, s := range segments[:len(segments)-1] {
		if end := segments[i+1].base - 1; s.size.Load() > 0 && end-s.base > math.MaxInt32+math.MaxInt32/2 {
			t.Errorf("segment %d spans up to %d", s.base, end)
		}
	}
	for _, offset := range offsets {
		s, err := l.Read(offset, math.MaxInt64, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		if got := basesOf(t, readAll(t, s)); got[0] != offset {
			t.Errorf("read at %d: %v", offset, got)
		}
	}
	mustAppend(t, l, plainBatch(t, 1, 1))
	l.discard()
}

func TestWideSegmentIsSplit(t *testing.T) {
	m, offsets := wideLog(t)
	checkSplit(t, m, offsets)
}

// The power fails at every step of the split: the next start finds the one segment or its parts, and all records.
func TestSplitSurvivesPowerLoss(t *testing.T) {
	crashes := 0
	for step := 0; ; step++ {
		m, offsets := wideLog(t)
		disk := &stepFS{Mem: m}
		var crashed *vfs.Mem
		n := 0
		disk.watch(func(string) {
			if n == step {
				crashed = m.Crash(int64(step))
			}
			n++
		})
		err := splitWide(disk, testDir, 0, zap.NewNop())
		disk.watch(nil)
		if err != nil {
			t.Fatal(err)
		}
		if crashed == nil {
			break
		}
		crashes++
		checkSplit(t, crashed, offsets)
	}
	if crashes < 10 {
		t.Errorf("%d crashes", crashes)
	}
}

// A disk that fails during a split leaves what a later start can use.
func TestFailedSplit(t *testing.T) {
	for _, f := range []vfs.Fault{{Op: vfs.OpCreate, Pattern: "*.cleaned"}, {Op: vfs.OpWrite, Pattern: "*.cleaned"}, {Op: vfs.OpSync, Pattern: "*.cleaned"},
		{Op: vfs.OpRename, Pattern: "*.swap", Skip: 1}, {Op: vfs.OpRename, Pattern: "*.log", Skip: 1}} {
		m, offsets := wideLog(t)
		faulty := vfs.NewFaulty(m)
		faulty.Inject(f)
		if err := splitWide(faulty, testDir, 0, zap.NewNop()); !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("%s: %v", f.Op, err)
		}
		checkSplit(t, m, offsets)
	}
}
