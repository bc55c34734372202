package replication

import (
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
)

// diskHost is a host over disks that can fail.
func diskHost(t *testing.T, fs vfs.FS, dirs ...string) *host {
	t.Helper()
	values, codecs := config.Defaults(), record.NewCodecs()
	store, err := storage.Open(storage.Options{FS: fs, Dirs: dirs, NodeID: self, Config: values, Codecs: codecs, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, store: store, image: metadata.Empty()}
	h.Manager = NewManager(Options{
		NodeID: self, Store: store, Codecs: codecs, Config: func() config.Values { return values }, Logger: zap.NewNop(),
	})
	return h
}

func (h *host) stop(codecs *record.Codecs) {
	h.t.Helper()
	h.Close()
	if err := h.store.Close(); err != nil {
		h.t.Error(err)
	}
	codecs.Close()
}

func TestPartitionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := diskHost(t, vfs.NewMem(), "/a", "/b")
		defer h.stop(h.o.Codecs)
		p := h.topic("t", nil)
		h.append(p, "a", "b")
		tp := p.TopicPartition()
		for tp, want := range map[protocol.TopicPartition]protocol.Code{
			tp: protocol.None, {Topic: "t", Partition: 1}: protocol.UnknownTopicOrPartition, {Topic: "u"}: protocol.UnknownTopicOrPartition,
		} {
			if err := h.MoveTo(tp, "/b"); protocol.CodeOf(err) != want {
				t.Errorf("%s: %v, want %v", tp, err, want)
			}
		}
		synctest.Wait()
		if got := p.Log().Dir(); got != "/b/t-0" {
			t.Errorf("the log is in %s", got)
		}
		if got := h.append(p, "c"); got.BaseOffset != 2 {
			t.Errorf("the next append went to %+v", got)
		}
		if at := p.Log().Offsets(); at.HighWatermark != 3 {
			t.Errorf("offsets are %+v", at)
		}
		if low, err := p.DeleteRecords(1); err != nil || low != 1 {
			t.Errorf("deleted up to %d, %v", low, err)
		}
	})
}

func TestCreationIsTriedAgainWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := vfs.NewFaulty(vfs.NewMem())
		h := diskHost(t, f, "/a")
		defer h.stop(h.o.Codecs)
		_, free := f.Inject(vfs.Fault{Op: vfs.OpCreate, Err: syscall.ENOSPC})
		id := protocol.NewUUID()
		h.change(
			&schema.TopicRecord{Name: "t", TopicID: id},
			&schema.PartitionRecord{TopicID: id, Replicas: []int32{self}, ISR: []int32{self}, Leader: self})
		if _, err := h.Partition("t", 0); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("on a full disk: %v", err)
		}
		free()
		if _, err := h.Partition("t", 0); protocol.CodeOf(err) != protocol.KafkaStorageError {
			t.Errorf("too soon: %v", err)
		}
		time.Sleep(2 * time.Second)
		p, err := h.Partition("t", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.append(p, "a"); got.BaseOffset != 0 {
			t.Errorf("appended at %+v", got)
		}
	})
}

// With a log dir offline at the start, a log that is not found is not made anew: it is in there.
func TestLogInOfflineDirIsNotMadeAnew(t *testing.T) {
	f := vfs.NewFaulty(vfs.NewMem())
	h := diskHost(t, f, "/a", "/b")
	for _, name := range []string{"one", "two", "three"} {
		h.append(h.topic(name, nil), "a")
	}
	image := h.image
	h.stop(h.o.Codecs)

	_, repair := f.Inject(vfs.Fault{Op: vfs.OpList, Path: "/b"})
	h = diskHost(t, f, "/a", "/b")
	h.image = image
	h.Apply(metadata.Difference(metadata.Empty(), image))
	offline := 0
	for _, name := range []string{"one", "two", "three"} {
		switch p, err := h.Partition(name, 0); {
		case err == nil && (p.Log().Offsets().LogEnd != 1 || !strings.HasPrefix(p.Log().Dir(), "/a/")):
			t.Errorf("%s is in %s and ends at %d", name, p.Log().Dir(), p.Log().Offsets().LogEnd)
		case err != nil && protocol.CodeOf(err) != protocol.KafkaStorageError:
			t.Errorf("%s: %v", name, err)
		case err != nil:
			offline++
		}
	}
	if offline != 1 {
		t.Errorf("%d partitions are offline, want the one in /b", offline)
	}
	if p := h.topic("new", nil); !strings.HasPrefix(p.Log().Dir(), "/a/") {
		t.Errorf("a new topic went to %s", p.Log().Dir())
	}
	h.stop(h.o.Codecs)

	repair()
	h = diskHost(t, f, "/a", "/b")
	h.image = image
	h.Apply(metadata.Difference(metadata.Empty(), image))
	for _, name := range []string{"one", "two", "three"} {
		if p, err := h.Partition(name, 0); err != nil || p.Log().Offsets().LogEnd != 1 {
			t.Errorf("%s after the repair: %v", name, err)
		}
	}
	h.stop(h.o.Codecs)
}
