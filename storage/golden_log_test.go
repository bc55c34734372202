package storage

import (
	"bytes"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
)

// goldenDir puts an archive's partition folders into memory, and returns the files by their paths below the log dir.
func goldenDir(t *testing.T, archive string) (*vfs.Mem, map[string][]byte) {
	t.Helper()
	mem := vfs.NewMem()
	files := map[string][]byte{}
	dataDirFiles(t, archive, func(name string) bool { return strings.Contains(name, "/") }, func(name string, data []byte) {
		files[name] = data
		if err := mem.MkdirAll(filepath.Join("/data", path.Dir(name))); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(mem, filepath.Join("/data", name), data, true); err != nil {
			t.Fatal(err)
		}
	})
	return mem, files
}

// lives reports whether name is a file of a log that is in service, with the suffix.
func lives(name, suffix string) bool {
	_, ok := segmentBase(path.Base(name), suffix)
	return ok
}

// trimmed is the content of an index without the zeros that a running broker keeps behind it.
func trimmed(b []byte, entry int) []byte {
	for len(b) >= entry && bytes.Equal(b[len(b)-entry:], make([]byte, entry)) {
		b = b[:len(b)-entry]
	}
	return b
}

// TestGoldenLogs opens the logs that Apache Kafka left, after a clean stop and after none, and verifies that all batches are there, and that nothing of
// the files is changed but what recovery and a clean stop do.
func TestGoldenLogs(t *testing.T) {
	for _, archive := range []string{cleanDataDir, runningDataDir} {
		mem, files := goldenDir(t, archive)
		dirs := map[string]bool{}
		for name := range files {
			dirs[path.Dir(name)] = true
		}
		if len(dirs) < 8 {
			t.Fatalf("%s: %d partitions", archive, len(dirs))
		}
		for _, dir := range slices.Sorted(maps.Keys(dirs)) {
			t.Run(archive+"/"+dir, func(t *testing.T) { goldenLog(t, mem, files, dir, archive == cleanDataDir) })
		}
	}
}

func goldenLog(t *testing.T, mem *vfs.Mem, files map[string][]byte, dir string, clean bool) {
	tp, ok := protocol.ParseTopicPartition(dir)
	if !ok {
		t.Fatal("not a partition")
	}
	h := &testHost{}
	l := openHosted(t, mem, h, testConfig(1<<30), func(o *openOptions) {
		o.dir, o.tp, o.clean, o.fresh = filepath.Join("/data", dir), tp, clean, false
		o.config.IndexIntervalBytes = 4096
	})
	if l.TopicID().IsZero() {
		t.Error("no topic id")
	}
	var kafka, ours []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Dir(name) == dir && lives(name, logSuffix) {
			kafka = append(kafka, files[name]...)
		}
	}
	if err := l.Batches(t.Context(), l.Offsets().LogStart, func(b record.Batch) error {
		ours = append(ours, b...)
		return b.Check()
	}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kafka, ours) {
		t.Errorf("read %d bytes of %d", len(ours), len(kafka))
	}
	copied := copyLog(t, l, tp)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if path.Dir(name) != dir {
			continue
		}
		got, err := mem.ReadFile(filepath.Join("/data", name))
		switch {
		case strings.HasSuffix(name, deletedSuffix):
			if err == nil {
				t.Errorf("%s is left", name)
			}
		case lives(name, indexSuffix):
			if want = trimmed(want, offsetEntrySize); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %x, want %x, %v", name, got, want, err)
			}
		case lives(name, timeIndexSuffix):
			if want = trimmed(want, timeEntrySize); err != nil || !bytes.HasPrefix(got, want) || len(got) > len(want)+timeEntrySize {
				t.Errorf("%s: %x, want %x, %v", name, got, want, err)
			}
		case len(kafka) == 0 && (lives(name, snapshotSuffix) || path.Base(name) == epochCheckpointName):
			// Kafka, too, drops at load the epochs that begin at the end, and the snapshots at the start.
		case err != nil || !bytes.Equal(got, want):
			t.Errorf("%s changed: %d and %d bytes, %v", name, len(got), len(want), err)
		}
	}
	if len(h.failures) > 0 {
		t.Error(h.failures)
	}
	if len(kafka) > 0 && !strings.HasPrefix(dir, "comp") { // that has a past that the copy has not
		compareCopy(t, copied, files, dir)
	}
}

// copyLog replicates the log into a new one as a follower would, and closes that.
func copyLog(t *testing.T, l *Log, tp protocol.TopicPartition) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	config := testConfig(1 << 30)
	config.IndexIntervalBytes = 4096
	follower := openLogAt(t, mem, testDir, config)
	if err := l.Batches(t.Context(), l.Offsets().LogStart, func(b record.Batch) error {
		_, err := follower.Append(b, AppendOptions{Origin: OriginReplication})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	return mem
}

// compareCopy verifies that what our log writes for Kafka's batches is what Kafka wrote.
func compareCopy(t *testing.T, mem *vfs.Mem, files map[string][]byte, dir string) {
	t.Helper()
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		want, ok := files[dir+"/"+segmentName(0)+suffix]
		if !ok {
			continue
		}
		got := mustRead(t, mem, file(0, suffix))
		switch suffix {
		case indexSuffix:
			want = trimmed(want, offsetEntrySize)
		case timeIndexSuffix: // one that was not closed lacks the last entry
			if want = trimmed(want, timeEntrySize); bytes.HasPrefix(got, want) {
				want = got
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s%s: our copy has %x, Kafka %x", dir, suffix, got[:min(len(got), 100)], want[:min(len(want), 100)])
		}
	}
	if got, want := mustRead(t, mem, filepath.Join(testDir, epochCheckpointName)), files[dir+"/"+epochCheckpointName]; !bytes.Equal(got, want) {
		t.Errorf("%s: epochs %q, Kafka %q", dir, got, want)
	}
}
