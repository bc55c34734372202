package storage

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// refuse checks that Open fails with an error that says all of want.
func refuse(t *testing.T, o Options, want ...string) {
	t.Helper()
	s, err := Open(o)
	if err == nil {
		closeStore(t, s)
		t.Errorf("opened; want an error about %q", want)
		return
	}
	for _, part := range want {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not mention %q", err, part)
		}
	}
}

func TestClusterIdentity(t *testing.T) {
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a")
	s := openStore(t, o)
	if s.ClusterID() != "" || has(t, m, "a/"+metaPropertiesName) {
		t.Error("a new dir belongs to no cluster yet")
	}
	if err := s.SetClusterID("one"); err != nil || s.ClusterID() != "one" {
		t.Fatal(err)
	}
	if err := s.SetClusterID("one"); err != nil {
		t.Error(err)
	}
	if err := s.SetClusterID("two"); err == nil || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("another cluster's id: %v", err)
	}
	id := s.Dirs()[0].ID
	closeStore(t, s)

	other := o
	other.NodeID = 2
	refuse(t, other, "node 1", "node.id is 2")
	o.Dirs = []string{"a", "b"} // a new dir joins the others
	s = openStore(t, o)
	dirs := s.Dirs()
	if s.ClusterID() != "one" || dirs[0].ID != id || dirs[1].ID == id || dirs[1].ID.IsZero() {
		t.Errorf("cluster %q, %+v", s.ClusterID(), dirs)
	}
	closeStore(t, s)
	if got, ok, err := readMetaProperties(m, "b"); err != nil || !ok || got != (metaProperties{1, "one", 1, dirs[1].ID}) {
		t.Errorf("got %+v, %v, %v", got, ok, err)
	}
	write := func(m vfs.FS, dir string, p metaProperties) {
		if err := writeMetaProperties(m, dir, p); err != nil {
			t.Fatal(err)
		}
	}
	write(m, "b", metaProperties{1, "two", 1, dirs[1].ID})
	refuse(t, o, "cluster one", "cluster two")
	write(m, "b", metaProperties{1, "one", 1, id})
	refuse(t, o, "same directory.id", id.String())
	if err := writeFile(m, "b/"+metaPropertiesName, []byte("version=9\n"), true); err != nil {
		t.Fatal(err)
	}
	refuse(t, o, "b/meta.properties", "9")
}

// A dir of a broker that used ZooKeeper gets a directory.id and the new form.
func TestOldMetaPropertiesAreRewritten(t *testing.T) {
	m := vfs.NewMem()
	if err := m.MkdirAll("a"); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(m, "a/"+metaPropertiesName, []byte("#\nversion=0\nbroker.id=1\ncluster.id=old\n"), true); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, storeOptions(t, m, nil, "a"))
	defer closeStore(t, s)
	if got, _, err := readMetaProperties(m, "a"); err != nil || got != (metaProperties{1, "old", 1, s.Dirs()[0].ID}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDirInUseIsRefused(t *testing.T) {
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS(), "mem": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := "a"
			if name == "os" {
				dir = t.TempDir()
			}
			o := storeOptions(t, fsys, nil, dir)
			s := openStore(t, o)
			refuse(t, o, dir, "in use")
			create(t, s, tpOf("t", 0), protocol.NewUUID())
			closeStore(t, s)
			refuse(t, storeOptions(t, fsys, nil, dir, dir+"/."), "twice")
			s = openStore(t, o)
			if len(s.Logs()) != 1 || s.PreviousBrokerEpoch() != -1 {
				t.Error("the refused opens disturbed the first")
			}
			closeStore(t, s)
		})
	}
}

// Whatever stops Open leaves the mark of the clean stop and no lock behind.
func TestFailedOpenChangesNothing(t *testing.T) {
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a", "b")
	s := openStore(t, o)
	s.SetBrokerEpoch(5)
	create(t, s, tpOf("t", 0), protocol.NewUUID())
	closeStore(t, s)
	if err := m.MkdirAll("b/lost+found"); err != nil {
		t.Fatal(err)
	}
	refuse(t, o, "lost+found", "not in the form of topic-partition")
	if err := m.Remove("b/lost+found"); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	defer closeStore(t, s)
	if s.PreviousBrokerEpoch() != 5 {
		t.Errorf("previous epoch %d", s.PreviousBrokerEpoch())
	}
}

func TestPartitionInTwoDirsIsRefused(t *testing.T) {
	m := vfs.NewMem()
	for _, dir := range []string{"a/t-0", "b/t-0"} {
		if err := m.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	refuse(t, storeOptions(t, m, nil, "a", "b"), "t-0", "a", "b")
}

// Folders that are not the Store's, and plain files, stay as they are.
func TestForeignEntriesAreIgnored(t *testing.T) {
	m := vfs.NewMem()
	foreign := []string{"__cluster_metadata-0", "__raft-0", "remote-log-index-cache", "t-1.0123456789abcdef0123456789abcdef-future", "t-2.0123456789abcdef0123456789abcdef-stray"}
	for _, name := range foreign {
		if err := m.MkdirAll("a/" + name); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(m, "a/"+name+"/00000000000000000000.log", []byte("not ours"), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeFile(m, "a/plain file", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, storeOptions(t, m, nil, "a"))
	if len(s.Logs()) != 0 {
		t.Errorf("loaded %v", s.Logs())
	}
	closeStore(t, s)
	for _, name := range foreign {
		if data, err := m.ReadFile("a/" + name + "/00000000000000000000.log"); err != nil || string(data) != "not ours" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if !has(t, m, "a/plain file") {
		t.Error("the plain file is gone")
	}
}

// The broker epoch of the last stop is known only if all dirs tell the same.
func TestPreviousBrokerEpoch(t *testing.T) {
	for _, c := range []struct {
		marks [2]string
		want  int64
	}{
		{[2]string{`{"version":0,"brokerEpoch":7}`, `{"version":0,"brokerEpoch":7}`}, 7},
		{[2]string{`{"version":0,"brokerEpoch":7}`, `{"version":0,"brokerEpoch":8}`}, -1},
		{[2]string{`{"version":0,"brokerEpoch":7}`, ""}, -1},
		{[2]string{"garbage", "garbage"}, -1},
	} {
		m := vfs.NewMem()
		for i, dir := range []string{"a", "b"} {
			if err := m.MkdirAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := writeFile(m, dir+"/"+cleanShutdownName, []byte(c.marks[i]), true); err != nil {
				t.Fatal(err)
			}
		}
		s := openStore(t, storeOptions(t, m, nil, "a", "b"))
		if got := s.PreviousBrokerEpoch(); got != c.want || !s.dirs[0].clean || !s.dirs[1].clean {
			t.Errorf("%q: got %d, want %d", c.marks, got, c.want)
		}
		kill(t, s)
	}
}

// One dir's failure takes its logs offline; the rest goes on, and the next start recovers only the failed dir.
func TestDirFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := vfs.NewFaulty(vfs.NewMem())
		o := storeOptions(t, faulty, nil, "a", "b")
		o.Logger = zap.NewNop()
		s := openStore(t, o)
		var failed []string
		s.OnDirFailure(func(dir string, err error) {
			if !errors.Is(err, vfs.ErrInjected) {
				t.Errorf("cause %v", err)
			}
			failed = append(failed, dir)
		})
		inA, inB := create(t, s, tpOf("t", 0), protocol.NewUUID()), create(t, s, tpOf("t", 1), protocol.NewUUID())
		produce(t, inA, 3, 0)
		produce(t, inB, 3, 0)
		_, remove := faulty.Inject(vfs.Fault{Op: vfs.OpWrite, Path: "a/", Pattern: "*.log"})
		appendTo := func(l *Log) error {
			_, err := l.Append(testBatch{id: 7, seq: 3}.build(t), AppendOptions{Origin: OriginClient})
			return err
		}
		if err := appendTo(inA); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("append to the failing dir: %v", err)
		}
		synctest.Wait()
		remove() // a disk that comes back does not bring the dir back
		if err := appendTo(inA); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("append after the failure: %v", err)
		}
		if _, err := inA.Read(0, 3, 100, true); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("read after the failure: %v", err)
		}
		if err := appendTo(inB); err != nil {
			t.Errorf("append to the other dir: %v", err)
		}
		if !slices.Equal(failed, []string{"a"}) {
			t.Errorf("told of failures of %v", failed)
		}
		if dirs := s.Dirs(); dirs[0].Offline == nil || dirs[1].Offline != nil {
			t.Errorf("got %+v", dirs)
		}
		if got := s.Logs(); !reflect.DeepEqual(got, []*Log{inB}) || s.Log(tpOf("t", 0)) != inA {
			t.Errorf("logs %v", got)
		}
		if _, err := s.Create(tpOf("t", 0), inA.TopicID(), testLogConfig()); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("create of an offline log: %v", err)
		}
		if l := create(t, s, tpOf("t", 2), protocol.NewUUID()); !strings.HasPrefix(l.Dir(), "b") {
			t.Errorf("new log in %s", l.Dir())
		}
		closeStore(t, s)
		s = openStore(t, o)
		if s.dirs[0].clean || !s.dirs[1].clean || len(s.Logs()) != 3 || s.Log(tpOf("t", 0)).Offsets().LogEnd != 3 {
			t.Errorf("a clean %v, b clean %v, %d logs", s.dirs[0].clean, s.dirs[1].clean, len(s.Logs()))
		}
		closeStore(t, s)
	})
}

func TestDirThatCannotBeReadAtStart(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpMkdir, vfs.OpList, vfs.OpReadFile, vfs.OpOpen} {
		m := vfs.NewMem()
		o := storeOptions(t, m, nil, "one", "two")
		o.Logger = zap.NewNop()
		s := openStore(t, o)
		for p := range int32(2) {
			produce(t, create(t, s, tpOf("t", p), protocol.NewUUID()), 3, 0)
		}
		closeStore(t, s)
		faulty := vfs.NewFaulty(m)
		faulty.Inject(vfs.Fault{Op: op, Path: "one"})
		o.FS = faulty
		s = openStore(t, o)
		if dirs := s.Dirs(); !errors.Is(dirs[0].Offline, vfs.ErrInjected) || dirs[1].Offline != nil {
			t.Errorf("%s: %+v", op, dirs)
		}
		if logs := s.Logs(); len(logs) != 1 || logs[0].TopicPartition() != tpOf("t", 1) {
			t.Errorf("%s: %v", op, logs)
		}
		closeStore(t, s)
		faulty.Inject(vfs.Fault{Op: op, Path: "two"})
		refuse(t, o, "no log dir is usable", "one", "two")
	}
}
