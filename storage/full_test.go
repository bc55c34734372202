package storage

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// fillUp makes everything that needs room on f fail, as on a full disk, until remove is called. Of a write the first bytes still fit.
func fillUp(f *vfs.Faulty) (remove func()) {
	var all []func()
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpCreate, vfs.OpMkdir} {
		_, undo := f.Inject(vfs.Fault{Op: op, Err: syscall.ENOSPC, Partial: 20})
		all = append(all, undo)
	}
	return func() {
		for _, undo := range all {
			undo()
		}
	}
}

func TestFullDiskIsRefusedAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := vfs.NewFaulty(vfs.NewMem())
		o := storeOptions(t, f, nil, "/a")
		logged, lines := observer.New(zapcore.ErrorLevel)
		o.Logger = zap.New(logged)
		s := openStore(t, o)
		l := create(t, s, tpOf("t", 0), protocol.NewUUID())
		s.OnDirFailure(func(dir string, err error) { t.Errorf("%s failed: %v", dir, err) })
		produce(t, l, 18, 0) // the next ones need a new segment soon
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		before := contentOf(t, l)

		free := fillUp(f)
		for seq := range int32(40) {
			b := testBatch{id: 7, seq: 18, time: time.Now().UnixMilli()}.build(t)
			_, err := l.Append(b, AppendOptions{LeaderEpoch: 3, Origin: OriginClient, Now: time.Now().UnixMilli()})
			if protocol.CodeOf(err) != protocol.KafkaStorageError || !vfs.IsFull(err) {
				t.Fatalf("an append to a full disk: %v", err)
			}
			if _, err := s.Create(tpOf("new", seq), protocol.NewUUID(), testLogConfig()); protocol.CodeOf(err) != protocol.KafkaStorageError {
				t.Fatalf("a creation on a full disk: %v", err)
			}
		}
		if err := l.Roll(); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("a roll on a full disk: %v", err)
		}
		time.Sleep(5 * time.Minute) // checkpoints, retention
		if !bytes.Equal(contentOf(t, l), before) {
			t.Error("the log's content has changed")
		}
		if s.Dirs()[0].Offline != nil || len(s.Logs()) != 1 {
			t.Fatalf("the dir is offline: %v", s.Dirs()[0].Offline)
		}
		if n := lines.FilterMessageSnippet("log dir is full").Len(); n == 0 || n > 10 {
			t.Errorf("%d lines tell of the full disk", n)
		}

		free()
		for seq := range int32(40) {
			produce(t, l, 1, 18+seq)
		}
		if got := checkDense(t, l); got != 58 {
			t.Errorf("the log ends at %d", got)
		}
		create(t, s, tpOf("new", 0), protocol.NewUUID())
		if got := folders(t, f, "/a"); len(got) != 2 || strings.Contains(strings.Join(got, ""), ".") {
			t.Errorf("the folders are %v", got)
		}
		state := snapshotOf(s)
		closeStore(t, s)
		s = openStore(t, o)
		defer closeStore(t, s)
		if after := snapshotOf(s); !mapsAgree(state, after) {
			t.Errorf("after a restart %v, want %v", after, state)
		}
	})
}

func mapsAgree(a, b map[string]any) bool {
	for key, value := range a {
		if key != "dir /a" && b[key] != value {
			return false
		}
	}
	return len(a) == len(b)
}

// An aborted transaction whose index entry has no room is known all the same, and lastingly when there is room again.
func TestAbortedTransactionOnFullDisk(t *testing.T) {
	f := vfs.NewFaulty(vfs.NewMem())
	s := openStore(t, storeOptions(t, f, map[string]string{"transaction.partition.verification.enable": "false"}, "/a"))
	defer closeStore(t, s)
	l := create(t, s, tpOf("t", 0), protocol.NewUUID())
	_, free := f.Inject(vfs.Fault{Pattern: "*.txnindex", Op: vfs.OpCreate, Err: syscall.ENOSPC})
	aborted := func() int {
		t.Helper()
		l.AdvanceHighWatermark(l.Offsets().LogEnd)
		slice, list, err := l.ReadCommitted(0, l.Offsets().LastStable, 1<<20, true)
		if err != nil {
			t.Fatal(err)
		}
		slice.Release()
		return len(list)
	}
	for i, pid := range []int64{1, 2, 3} {
		if i == 2 {
			free()
		}
		mustAppend(t, l, testBatch{id: pid, txn: true, time: 1}.build(t))
		if _, err := l.Append(testMarker{id: pid, abort: true}.build(t), AppendOptions{LeaderEpoch: 3, Origin: OriginCoordinator, Now: 1}); err != nil {
			t.Fatal(err)
		}
		if got := aborted(); got != i+1 {
			t.Errorf("%d aborted transactions are known after %d", got, i+1)
		}
	}
	if err := l.Roll(); err != nil {
		t.Fatal(err)
	}
	if err := l.flushTo(l.Offsets().LogEnd); err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat("/a/t-0/00000000000000000000.txnindex"); err != nil || info.Size() != 3*txnEntrySize {
		t.Errorf("the file: %v, %v", info, err)
	}
}

// The log of the metadata, which is on its own, survives a full disk whole: what was refused is not in it, and what was not is.
func TestLogOnItsOwnOnFullDisk(t *testing.T) {
	m := vfs.NewMem()
	f := vfs.NewFaulty(m)
	l := openLogAt(t, f, "/l", testConfig(1000))
	mustAppend(t, l, plainBatch(t, 3, 1))
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	free := fillUp(f)
	for range 20 {
		if _, err := l.Append(plainBatch(t, 3, 1), AppendOptions{}); !vfs.IsFull(err) {
			t.Fatalf("an append to a full disk: %v", err)
		}
	}
	crashed := openLogAt(t, m.Crash(1), "/l", testConfig(1000))
	if got := checkDense(t, crashed); got != 3 {
		t.Errorf("after a crash it ends at %d", got)
	}
	crashed.discard()
	free()
	for range 20 {
		mustAppend(t, l, plainBatch(t, 3, 1))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLogAt(t, f, "/l", testConfig(1000))
	if got := checkDense(t, l); got != 63 {
		t.Errorf("it ends at %d", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
