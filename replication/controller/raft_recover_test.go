package controller

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/zap"
)

// TestRecovery: two of three are gone for good; the third goes on alone with all that it has, and others join it anew, but not with what
// they had before.
func TestRecovery(t *testing.T) {
	for name, static := range map[string]map[string]string{"log": nil, "snapshots": {"metadata.log.max.record.bytes.between.snapshots": "2000"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { recovery(t, static) })
		})
	}
}

func recovery(t *testing.T, static map[string]string) {
	q := newQuorum(t, 3, static)
	q.startAll()
	defer q.stopAll()
	leader := q.leader(5 * time.Second)
	for range 50 {
		leader.must()
	}
	q.settled(5 * time.Second)
	_, epoch, _, _ := leader.Leader()
	cluster, end := leader.ClusterID(), leader.Log().Offsets().LogEnd
	for _, m := range q.members {
		m.stop()
	}
	last, returning := q.members[2], q.members[3]
	codecs := record.NewCodecs()
	defer codecs.Close()
	f := Folder{NodeID: 2, FS: last.fs, Dir: "/data", Codecs: codecs, Logger: zap.NewNop()}
	before, err := f.Inspect()
	if err != nil {
		t.Fatal(err)
	}
	if before.ClusterID != cluster || before.EndOffset < end || before.Committed > before.EndOffset || len(before.Voters) != 3 || before.LastTerm < uint64(epoch) {
		t.Errorf("before: %+v, the log ended at %d in epoch %d", before, end, epoch)
	}
	if again, err := f.Inspect(); err != nil || again.LastIndex != before.LastIndex || again.EndOffset != before.EndOffset {
		t.Errorf("a second look: %+v, %v", again, err)
	}
	if _, err := f.Recover(); err != nil {
		t.Fatal(err)
	}
	after, err := f.Inspect()
	if err != nil || after.Recovered != 1 || len(after.Voters) != 1 || after.Voters[0].ID != 2 || after.EndOffset != before.EndOffset {
		t.Errorf("after: %+v, %v", after, err)
	}
	q.voters = nil
	q.static = map[string]string{"controller.quorum.bootstrap.servers": address(2)}
	delete(q.members, 1)
	last.start()
	q.leader(time.Second)
	if got := last.must(); got != 51 {
		t.Errorf("the counter is %d, want 51", got)
	}
	if _, now, _, _ := last.Leader(); now <= epoch {
		t.Errorf("epoch %d does not follow epoch %d", now, epoch)
	}
	if last.ClusterID() != cluster {
		t.Errorf("cluster %s, want %s", last.ClusterID(), cluster)
	}
	// One that was left out is refused with what it has, and welcome without it.
	returning.start()
	q.await("the one that was left out is refused", time.Minute, func() bool { return len(returning.failed) > 0 })
	returning.stop()
	returning.fs = vfs.NewMem()
	returning.start()
	q.await("it follows again", 20*time.Second, func() bool { return returning.counter() == 51 })
	if code := returning.addVoter(t, last); code != 0 {
		t.Errorf("AddRaftVoter: %v", code)
	}
	q.settled(10 * time.Second)
}

func TestNothingToRecover(t *testing.T) {
	codecs := record.NewCodecs()
	defer codecs.Close()
	fs := vfs.NewMem()
	if _, err := (Folder{NodeID: 1, FS: fs, Dir: "/data", Codecs: codecs, Logger: zap.NewNop()}).Recover(); !errors.Is(err, ErrNoMetadata) {
		t.Errorf("recovery of an empty folder: %v", err)
	}
	if entries, err := fs.List("/"); err == nil && len(entries) > 0 {
		t.Errorf("it made %v", entries[0].Name())
	}
}
