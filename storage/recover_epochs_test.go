package storage

import (
	"path/filepath"
	"testing"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// replicated appends one batch of n records at offset, as a follower does; what lies between has been compacted away.
func replicated(t *testing.T, l *Log, offset int64, epoch int32, n int) {
	t.Helper()
	b := plainBatch(t, n, offset)
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(epoch)
	if _, err := l.Append(b, AppendOptions{Origin: OriginReplication}); err != nil {
		t.Fatal(err)
	}
}

// After a crash an epoch starts where the checkpoint says and not at the first batch that compaction has left of it, as long as the batches allow it.
func TestRecoveryKeepsEpochsThatCompactionHasThinned(t *testing.T) {
	for name, c := range map[string]struct{ checkpoint, want string }{
		"thinned and gone":   {"0\n4\n0 0\n1 10\n2 15\n3 20\n", "0\n4\n0 0\n1 10\n2 15\n3 20\n"},
		"nothing known":      {"0\n0\n", "0\n2\n0 0\n3 30\n"},
		"in another's batch": {"0\n3\n0 0\n2 5\n3 20\n", "0\n2\n0 0\n3 20\n"},
		"behind the batch":   {"0\n3\n0 0\n1 12\n3 31\n", "0\n3\n0 0\n1 12\n3 30\n"},
		"above the batch's":  {"0\n3\n0 0\n3 20\n4 25\n", "0\n2\n0 0\n3 20\n"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			config := testConfig(1 << 20)
			l := openTestLog(t, mem, config)
			replicated(t, l, 0, 0, 10)
			replicated(t, l, 30, 3, 2)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(testDir, epochCheckpointName)
			if err := writeFile(mem, path, []byte(c.checkpoint), true); err != nil {
				t.Fatal(err)
			}
			if err := mem.Remove(filepath.Join(testDir, cleanShutdownName)); err != nil {
				t.Fatal(err)
			}
			l = openTestLog(t, mem, config)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if got := string(mustRead(t, mem, path)); got != c.want {
				t.Errorf("epochs %q, want %q", got, c.want)
			}
		})
	}
}

// The same over the border of two segments: the epoch began while the first was written.
func TestRecoveryKeepsEpochsAcrossSegments(t *testing.T) {
	mem := vfs.NewMem()
	h := &testHost{}
	l := openHosted(t, mem, h, testConfig(1<<20), nil)
	replicated(t, l, 0, 0, 10)
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	replicated(t, l, 40, 2, 3)
	l.discard()
	if err := writeFile(mem, filepath.Join(testDir, epochCheckpointName), []byte("0\n2\n0 0\n2 12\n"), true); err != nil {
		t.Fatal(err)
	}
	l = openHosted(t, mem, h, testConfig(1<<20), func(o *openOptions) { o.fresh = false })
	if epoch, end := l.EndOffsetForEpoch(0); epoch != 0 || end != 12 {
		t.Errorf("epoch %d ends at %d", epoch, end)
	}
	if err := l.Batches(t.Context(), 0, func(record.Batch) error { return nil }); err != nil {
		t.Fatal(err)
	}
}
