package storage

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/goleak"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
)

// storeOptions opens dirs of fsys as node 1; settings are broker configs.
func storeOptions(t testing.TB, fsys vfs.FS, settings map[string]string, dirs ...string) Options {
	t.Helper()
	values, err := config.FromStatic(settings)
	if err != nil {
		t.Fatal(err)
	}
	codecs := record.NewCodecs()
	t.Cleanup(codecs.Close)
	return Options{FS: fsys, Dirs: dirs, NodeID: 1, Config: values, Codecs: codecs, Logger: zaptest.NewLogger(t, zaptest.Level(zapcore.ErrorLevel))}
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// kill ends a Store as SIGKILL does: all that was written is in the files, nothing else is done.
func kill(t testing.TB, s *Store) {
	t.Helper()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	for _, d := range s.dirs {
		if d.unlock != nil {
			if err := d.unlock(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if m, ok := s.fs.(interface{ CloseAll() }); ok {
		m.CloseAll()
	}
}

func tpOf(topic string, partition int32) protocol.TopicPartition {
	return protocol.TopicPartition{Topic: topic, Partition: partition}
}

// testLogConfig has small segments.
func testLogConfig() LogConfig {
	c := LogConfigOf(config.Defaults().Topic(nil))
	c.SegmentBytes = 2000
	return c
}

func create(t testing.TB, s *Store, tp protocol.TopicPartition, id protocol.UUID) *Log {
	t.Helper()
	l, err := s.Create(tp, id, testLogConfig())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// produce appends n records, each in a batch of its own, of producer 7 from sequence seq on, and commits them.
func produce(t testing.TB, l *Log, n int, seq int32) {
	t.Helper()
	for i := range n {
		b := testBatch{id: 7, seq: seq + int32(i), time: time.Now().UnixMilli()}.build(t)
		if _, err := l.Append(b, AppendOptions{LeaderEpoch: 3, Origin: OriginClient, Now: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	l.AdvanceHighWatermark(l.Offsets().LogEnd)
}

// snapshotOf is all of a Store's state that a restart must bring back.
func snapshotOf(s *Store) map[string]any {
	state := map[string]any{"cluster": s.ClusterID()}
	for _, d := range s.Dirs() {
		state["dir "+d.Path] = fmt.Sprint(d.ID, d.Offline)
	}
	for _, l := range s.Logs() {
		state[l.TopicPartition().String()] = fmt.Sprint(l.TopicID(), l.Offsets(), l.Producers(), l.LatestEpoch(), l.Size(), l.epochs.show())
	}
	return state
}

func names(t testing.TB, fsys vfs.FS, dir string) []string {
	t.Helper()
	entries, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func has(t testing.TB, fsys vfs.FS, path string) bool {
	t.Helper()
	return slices.Contains(names(t, fsys, filepath.Dir(path)), filepath.Base(path))
}

func TestCleanRestartBringsEverythingBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a", "b")
	s := openStore(t, o)
	if err := s.SetClusterID("cluster"); err != nil {
		t.Fatal(err)
	}
	s.SetBrokerEpoch(42)
	id := protocol.NewUUID()
	for p := range int32(5) {
		l := create(t, s, tpOf("t", p), id)
		if p > 0 { // an epoch without data is dropped when a log is loaded
			l.AssignEpoch(1)
		}
		produce(t, l, int(10*p), 0)
	}
	if err := s.Log(tpOf("t", 4)).DeleteBefore(13); err != nil {
		t.Fatal(err)
	}
	want := snapshotOf(s)
	if s.PreviousBrokerEpoch() != -1 {
		t.Error("a first start has no previous epoch")
	}
	closeStore(t, s)
	for _, dir := range []string{"a", "b"} {
		if !has(t, m, dir+"/"+cleanShutdownName) || has(t, m, dir+"/"+lockName) || !has(t, m, dir+"/"+metaPropertiesName) {
			t.Errorf("%s holds %v", dir, names(t, m, dir))
		}
	}
	for seed := range int64(5) {
		c := m.Crash(seed) // a power loss after a clean stop takes nothing
		o.FS = c
		s := openStore(t, o)
		if got := snapshotOf(s); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
		if s.PreviousBrokerEpoch() != 42 || has(t, c, "a/"+cleanShutdownName) {
			t.Errorf("epoch %d, dir holds %v", s.PreviousBrokerEpoch(), names(t, c, "a"))
		}
		produce(t, s.Log(tpOf("t", 3)), 1, 30)
		closeStore(t, s)
	}
}

func TestRestartAfterKill(t *testing.T) { eachRules(t, testRestartAfterKill) }

func testRestartAfterKill(t *testing.T, m *vfs.Mem) {
	o := storeOptions(t, m, map[string]string{"replica.high.watermark.checkpoint.interval.ms": "1000000"}, "a")
	s := openStore(t, o)
	if err := s.SetClusterID("cluster"); err != nil {
		t.Fatal(err)
	}
	l := create(t, s, tpOf("t", 0), protocol.NewUUID())
	produce(t, l, 20, 0)
	s.onlineDirs(s.checkpointHighWatermarks)()
	produce(t, l, 5, 20)
	create(t, s, tpOf("empty", 0), protocol.NewUUID())
	want := snapshotOf(s)
	kill(t, s)

	s = openStore(t, o)
	if s.PreviousBrokerEpoch() != -1 {
		t.Error("an unclean stop has no epoch")
	}
	l = s.Log(tpOf("t", 0))
	if got := l.Offsets(); got.LogEnd != 25 || got.HighWatermark != 20 {
		t.Errorf("offsets %+v: the high watermark is the checkpoint's", got)
	}
	l.AdvanceHighWatermark(25)
	if got := snapshotOf(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for seq := int32(20); seq < 25; seq++ { // recovery replays them: all five are recognised
		info, err := l.Append(testBatch{id: 7, seq: seq}.build(t), AppendOptions{Origin: OriginClient})
		if err != nil || !info.Duplicate || info.FirstOffset != int64(seq) {
			t.Errorf("retry of sequence %d: %+v, %v", seq, info, err)
		}
	}
	produce(t, l, 1, 25)
	closeStore(t, s)
}

// After a clean stop only the last batch is remembered, as the snapshot holds no more.
func TestProducersAfterCleanRestart(t *testing.T) {
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a")
	s := openStore(t, o)
	produce(t, create(t, s, tpOf("t", 0), protocol.NewUUID()), 7, 0)
	closeStore(t, s)
	s = openStore(t, o)
	defer closeStore(t, s)
	l := s.Log(tpOf("t", 0))
	for seq, want := range map[int32]protocol.Code{6: protocol.None, 5: protocol.OutOfOrderSequenceNumber, 9: protocol.OutOfOrderSequenceNumber} {
		info, err := l.Append(testBatch{id: 7, seq: seq}.build(t), AppendOptions{Origin: OriginClient})
		if protocol.CodeOf(err) != want || err == nil && !info.Duplicate {
			t.Errorf("sequence %d: %+v, %v, want %v", seq, info, err, want)
		}
	}
	produce(t, l, 1, 7)
}

func TestHighWatermarkCheckpointIsClamped(t *testing.T) {
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a")
	s := openStore(t, o)
	produce(t, create(t, s, tpOf("t", 0), protocol.NewUUID()), 3, 0)
	closeStore(t, s)
	if err := writeFile(m, "a/"+replicationCheckpoint, []byte("0\n1\nt 0 99\n"), true); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	defer closeStore(t, s)
	if got := s.Log(tpOf("t", 0)).Offsets(); got.HighWatermark != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestMalformedCheckpointsCountAsEmpty(t *testing.T) {
	m := vfs.NewMem()
	o := storeOptions(t, m, nil, "a")
	s := openStore(t, o)
	produce(t, create(t, s, tpOf("t", 0), protocol.NewUUID()), 3, 0)
	closeStore(t, s)
	for _, name := range []string{recoveryPointCheckpoint, logStartCheckpoint, replicationCheckpoint} {
		if err := writeFile(m, "a/"+name, []byte("garbage"), true); err != nil {
			t.Fatal(err)
		}
	}
	o.Logger = zaptest.NewLogger(t)
	s = openStore(t, o)
	defer closeStore(t, s)
	if got, want := s.Log(tpOf("t", 0)).Offsets(), (Offsets{LogEnd: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCreateReturnsTheLogThatIsThere(t *testing.T) {
	eachRules(t, testCreateReturnsTheLogThatIsThere)
}

func testCreateReturnsTheLogThatIsThere(t *testing.T, m *vfs.Mem) {
	s := openStore(t, storeOptions(t, m, nil, "a"))
	defer closeStore(t, s)
	id := protocol.NewUUID()
	l := create(t, s, tpOf("t", 0), id)
	if create(t, s, tpOf("t", 0), id) != l || s.Log(tpOf("t", 0)) != l || l.TopicID() != id || s.Log(tpOf("t", 1)) != nil {
		t.Error("not the same log")
	}
	if got, err := readPartitionMetadata(m, "a/t-0"); err != nil || got != id {
		t.Errorf("partition.metadata: %v, %v", got, err)
	}
	for _, topic := range []string{RaftTopic, protocol.ClusterMetadataTopic} {
		if _, err := s.Create(tpOf(topic, 0), id, testLogConfig()); protocol.CodeOf(err) != protocol.InvalidTopicException {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

func TestPartitionsSpreadOverDirs(t *testing.T) {
	m := vfs.NewMem()
	s := openStore(t, storeOptions(t, m, nil, "a", "b", "c"))
	defer closeStore(t, s)
	count := map[string]int{}
	for p := range int32(7) {
		count[filepath.Dir(create(t, s, tpOf("t", p), protocol.NewUUID()).Dir())]++
	}
	if want := map[string]int{"a": 3, "b": 2, "c": 2}; !maps.Equal(count, want) {
		t.Errorf("got %v", count)
	}
	var order []string
	for _, l := range s.Logs() {
		order = append(order, l.TopicPartition().String())
	}
	if got := strings.Join(order, " "); got != "t-0 t-1 t-2 t-3 t-4 t-5 t-6" {
		t.Errorf("got %s", got)
	}
}

// A log with another topic id, or none, is kept under another name, and a new one takes its place.
func TestStrayLogs(t *testing.T) { eachRules(t, testStrayLogs) }

func testStrayLogs(t *testing.T, m *vfs.Mem) {
	o := storeOptions(t, m, nil, "a")
	s := openStore(t, o)
	for p := range int32(3) {
		produce(t, create(t, s, tpOf("t", p), protocol.NewUUID()), 3, 0)
	}
	closeStore(t, s)
	if err := m.Remove("a/t-1/" + partitionMetadataName); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	newID := protocol.NewUUID()
	for p := range int32(2) {
		if l := create(t, s, tpOf("t", p), newID); l.TopicID() != newID || l.Offsets().LogEnd != 0 {
			t.Errorf("%s is not new: %+v", l.TopicPartition(), l.Offsets())
		}
	}
	if err := s.SetAside(tpOf("t", 2)); err != nil || s.Log(tpOf("t", 2)) != nil {
		t.Errorf("set aside: %v", err)
	}
	if err := s.SetAside(tpOf("t", 2)); err != nil {
		t.Errorf("again: %v", err)
	}
	closeStore(t, s)
	stray := 0
	for _, name := range names(t, m, "a") {
		tp, suffix, ok := parseFolder(name)
		if !ok || suffix != straySuffix {
			continue
		}
		stray++
		if !has(t, m, "a/"+name+"/00000000000000000003.snapshot") {
			t.Errorf("%v: %s is not complete", tp, name)
		}
	}
	if stray != 3 {
		t.Errorf("%d stray folders in %v", stray, names(t, m, "a"))
	}
	s = openStore(t, o)
	defer closeStore(t, s)
	if len(s.Logs()) != 2 {
		t.Errorf("stray folders were loaded: %v", s.Logs())
	}
}

func TestFolderNames(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef"
	for name, want := range map[string]string{
		"t-0": "t-0", "a.b-c_d-12": "a.b-c_d-12", "__consumer_offsets-49": "__consumer_offsets-49",
		"t-0." + id + "-delete": "t-0 -delete", "a.b-3." + id + "-stray": "a.b-3 -stray", "t-0." + id + "-future": "t-0 -future",
		"t": "", "-0": "", "t-": "", "t-x": "", "lost+found": "", "t-0-delete": "", "t-0.-delete": "", "delete": "", "": "", "t-delete": "",
	} {
		tp, suffix, ok := parseFolder(name)
		got := ""
		if ok {
			got = strings.TrimSpace(tp.String() + " " + suffix)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	long := tpOf(strings.Repeat("x", protocol.MaxTopicNameLength), 100)
	for _, suffix := range []string{deleteSuffix, straySuffix} {
		name := suffixedFolder(long, suffix)
		if tp, got, ok := parseFolder(name); len(name) != maxFolderNameSize || !ok || got != suffix || tp.Partition != 100 {
			t.Errorf("%s (%d): %v %q %v", name, len(name), tp, got, ok)
		}
	}
}
