package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
)

// eachRules runs a test on a disk in memory by the rules of Unix, and on one by those of Windows.
func eachRules(t *testing.T, test func(t *testing.T, m *vfs.Mem)) {
	t.Helper()
	t.Run("unix", func(t *testing.T) { test(t, vfs.NewMem()) })
	t.Run("windows", func(t *testing.T) { test(t, vfs.NewWindowsMem()) })
}

// eachRulesInBubble is eachRules with the time of testing/synctest.
func eachRulesInBubble(t *testing.T, test func(t *testing.T, m *vfs.Mem)) {
	t.Helper()
	eachRules(t, func(t *testing.T, m *vfs.Mem) {
		synctest.Test(t, func(t *testing.T) { test(t, m) })
	})
}

// Appends, rolls, retention, truncation, compaction, moves, deletion, stops, kills and starts by the rules of Windows: nothing may be refused because of a file of our own that is
// open.
func TestLifeByTheRulesOfWindows(t *testing.T) {
	eachSeedInBubble(t, 12, func(t *testing.T, seed int64) { liveAndCrash(t, uint64(seed), vfs.NewWindowsMem()) })
}

// onlyFolder is the path of the folder in dir whose name ends with suffix, "" if there is none.
func onlyFolder(t *testing.T, m *vfs.Mem, dir, suffix string) string {
	t.Helper()
	for _, name := range names(t, m, dir) {
		if strings.HasSuffix(name, suffix) {
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// A slice on its way to a slow client is in nobody's way: after its topic and the files are gone it answers an error, and the dir stays online.
func TestSliceOfRemovedFilesByTheRulesOfWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewWindowsMem()
		s := openStore(t, storeOptions(t, m, nil, "a"))
		defer closeStore(t, s)
		tp := tpOf("t", 0)
		l := create(t, s, tp, protocol.NewUUID())
		produce(t, l, 5, 0)
		slice, err := l.Read(0, 5, 1000, true)
		if err != nil {
			t.Fatal(err)
		}
		defer slice.Release()
		if err := s.Delete(tp); err != nil {
			t.Fatal(err)
		}
		again := create(t, s, tp, protocol.NewUUID())
		produce(t, again, 2, 0)
		b := make([]byte, slice.Len())
		if _, err := slice.ReadAt(b, 0); err != nil {
			t.Errorf("before the files go: %v", err)
		}
		sleep(2 * time.Minute)
		if _, err := slice.ReadAt(b, 0); !errors.Is(err, vfs.ErrGone) {
			t.Errorf("after the files have gone: %v", err)
		}
		if left := onlyFolder(t, m, "a", deleteSuffix); left != "" || s.Dirs()[0].Offline != nil {
			t.Errorf("left: %q; offline: %v", left, s.Dirs()[0].Offline)
		}
		if end := checkDense(t, again); end != 2 {
			t.Errorf("the new log ends at %d", end)
		}
	})
}

// Another program has a file of a topic open. The topic is deleted all the same, may be made again once the file is closed, and its old folder goes.
func TestDeletionWhileAnotherProgramReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewWindowsMem()
		s := openStore(t, storeOptions(t, m, nil, "a"))
		defer closeStore(t, s)
		tp, other := tpOf("t", 0), tpOf("other", 0)
		produce(t, create(t, s, tp, protocol.NewUUID()), 5, 0)
		log := create(t, s, other, protocol.NewUUID())
		read := func(path string) (end func()) {
			f, err := m.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		end := read(filepath.Join("a/t-0", segmentName(0)+logSuffix))
		if err := s.Delete(tp); err != nil || s.Log(tp) != nil {
			t.Fatalf("deletion: %v", err)
		}
		if _, err := s.Create(tp, protocol.NewUUID(), testLogConfig()); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("a new topic while the old folder has its name: %v", err)
		}
		sleep(3 * time.Minute)
		end()
		sleep(2 * time.Minute)
		if got := strings.Join(folders(t, m, "a"), " "); got != "other-0" {
			t.Errorf("folders %s", got)
		}

		again := create(t, s, tp, protocol.NewUUID()) // and now it has one of the folder that is to be removed
		if err := s.Delete(tp); err != nil {
			t.Fatal(err)
		}
		end = read(filepath.Join(onlyFolder(t, m, "a", deleteSuffix), segmentName(0)+logSuffix))
		sleep(5 * time.Minute)
		end()
		sleep(2 * time.Minute)
		if got := strings.Join(folders(t, m, "a"), " "); got != "other-0" || again.offline() == nil {
			t.Errorf("folders %s", got)
		}
		if s.Dirs()[0].Offline != nil {
			t.Error(s.Dirs()[0].Offline)
		}
		produce(t, log, 1, 0)
	})
}

// The old folder of a topic that could not be renamed is set aside by a new log of it, which the later removal leaves alone.
func TestFolderInUseGivesWayToANewLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewWindowsMem()
		s := openStore(t, storeOptions(t, m, nil, "a"))
		defer closeStore(t, s)
		tp := tpOf("t", 0)
		create(t, s, tp, protocol.NewUUID())
		f, err := m.Open(filepath.Join("a/t-0", segmentName(0)+logSuffix))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Delete(tp), f.Close()); err != nil {
			t.Fatal(err)
		}
		l := create(t, s, tp, protocol.NewUUID())
		produce(t, l, 3, 0)
		sleep(5 * time.Minute)
		if end := checkDense(t, l); end != 3 || !has(t, m, "a/t-0") || onlyFolder(t, m, "a", straySuffix) == "" {
			t.Errorf("the new log ends at %d; folders %v", end, folders(t, m, "a"))
		}
	})
}

// Names that the file system cannot keep are refused, and cost neither the dir nor a log that is there.
func TestNamesThatWindowsCannotKeep(t *testing.T) {
	m := vfs.NewWindowsMem()
	s := openStore(t, storeOptions(t, m, nil, "a"))
	defer closeStore(t, s)
	l := create(t, s, tpOf("Orders", 0), protocol.NewUUID())
	produce(t, l, 3, 0)
	for _, topic := range []string{"orders", "ORDERS", "con.x", "Nul.", "com1.a.b", "LPT9.log"} {
		if _, err := s.Create(tpOf(topic, 0), protocol.NewUUID(), testLogConfig()); protocol.CodeOf(err) != protocol.InvalidTopicException {
			t.Errorf("%s: %v", topic, err)
		}
	}
	for _, topic := range []string{"con", "nul", "con-x.y", "com", "com10.x", "comx.y", "console.log", "orders2"} {
		create(t, s, tpOf(topic, 0), protocol.NewUUID())
	}
	create(t, s, tpOf("orders", 1), protocol.NewUUID()) // another folder
	if end := checkDense(t, l); end != 3 || s.Dirs()[0].Offline != nil || onlyFolder(t, m, "a", straySuffix) != "" {
		t.Errorf("the log ends at %d; offline: %v; folders %v", end, s.Dirs()[0].Offline, folders(t, m, "a"))
	}
	unix := openStore(t, storeOptions(t, vfs.NewMem(), nil, "a"))
	defer closeStore(t, unix)
	for _, topic := range []string{"Orders", "orders", "con.x"} {
		create(t, unix, tpOf(topic, 0), protocol.NewUUID())
	}
}
