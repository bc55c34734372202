package storage

import (
	"testing"

	"github.com/ottla/ottla/storage/vfs"
)

// A log on its own writes its epochs when a segment ends, not with each sync: after a crash they are those of the batches all the same.
func TestEpochsOfALogOnItsOwnSurviveACrash(t *testing.T) {
	at := func(epoch int32) AppendOptions { return AppendOptions{LeaderEpoch: epoch, Origin: OriginCoordinator} }
	for name, tc := range map[string]struct {
		change func(t *testing.T, l *Log)
		want   map[int64]int32 // epochs by offset
	}{
		"new epochs in the only segment": {func(*testing.T, *Log) {}, map[int64]int32{0: 1, 3: 1, 4: 2, 7: 2}},
		"a segment has ended": {func(t *testing.T, l *Log) {
			if err := l.Roll(); err != nil {
				t.Fatal(err)
			}
			mustAppendAs(t, l, at(4))
		}, map[int64]int32{3: 1, 4: 2, 7: 2, 8: 4}},
		"the epoch was truncated away and came again": {func(t *testing.T, l *Log) {
			if err := l.epochs.flush(); err != nil { // the file knows what is cut off
				t.Fatal(err)
			}
			if err := l.TruncateTo(2); err != nil {
				t.Fatal(err)
			}
			mustAppendAs(t, l, at(2))
		}, map[int64]int32{1: 1, 2: 2, 3: 2}},
		"the log began anew": {func(t *testing.T, l *Log) {
			if err := l.epochs.flush(); err != nil {
				t.Fatal(err)
			}
			if err := l.ResetTo(3); err != nil {
				t.Fatal(err)
			}
			mustAppendAs(t, l, at(2))
		}, map[int64]int32{2: -1, 3: 2, 4: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			l := openTestLog(t, mem, testConfig(1<<20))
			for _, epoch := range []int32{1, 1, 2, 2} {
				mustAppendAs(t, l, at(epoch))
			}
			tc.change(t, l)
			if err := l.Sync(); err != nil {
				t.Fatal(err)
			}
			again := openTestLog(t, mem.Crash(1), testConfig(1<<20))
			if got, want := again.Offsets().LogEnd, l.Offsets().LogEnd; got != want {
				t.Errorf("the log ends at %d, want %d", got, want)
			}
			for offset, want := range tc.want {
				if got := again.EpochOf(offset); got != want {
					t.Errorf("epoch of offset %d is %d, want %d", offset, got, want)
				}
			}
		})
	}
}

// mustAppendAs appends two records.
func mustAppendAs(t *testing.T, l *Log, o AppendOptions) {
	t.Helper()
	if _, err := l.Append(plainBatch(t, 2, 1000), o); err != nil {
		t.Fatal(err)
	}
}
