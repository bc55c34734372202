package metadata

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// followed is a metadata log in memory and what its observer published.
type followed struct {
	t      *testing.T
	fs     vfs.FS
	dir    string
	codecs *record.Codecs
	log    *storage.Log
	wake   chan struct{}

	// Touched by the observer's goroutine; read after synctest.Wait.
	deltas []*Delta
	failed error
}

func newFollowed(t *testing.T) *followed {
	f := &followed{t: t, fs: vfs.NewMem(), dir: filepath.FromSlash("/data/__cluster_metadata-0"), codecs: newCodecs(t), wake: make(chan struct{}, 1)}
	tp := protocol.TopicPartition{Topic: protocol.ClusterMetadataTopic}
	log, err := storage.OpenLog(f.fs, f.dir, tp, storage.LogConfigOf(config.Defaults().Topic(nil)), f.codecs, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	f.log = log
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *followed) observe() *Observer {
	ob := NewObserver(ObserverOptions{
		Log: f.log, FS: f.fs, Codecs: f.codecs, Wake: f.wake, Logger: zap.NewNop(),
		Publish:   func(d *Delta) { f.deltas = append(f.deltas, d) },
		OnFailure: func(err error) { f.failed = err },
	})
	f.t.Cleanup(ob.Close)
	synctest.Wait()
	return ob
}

// append writes batches at the log's end, and wakes the observer as a controller does.
func (f *followed) append(batches ...record.Batch) {
	f.t.Helper()
	for _, b := range batches {
		if _, err := f.log.Append(b, storage.AppendOptions{Origin: storage.OriginReplication, LeaderEpoch: b.LeaderEpoch()}); err != nil {
			f.t.Fatal(err)
		}
	}
	f.log.AdvanceHighWatermark(f.log.Offsets().LogEnd)
	select {
	case f.wake <- struct{}{}:
	default:
	}
	synctest.Wait()
}

func (f *followed) writeCheckpoint(image *Image) {
	f.t.Helper()
	content, err := AppendCheckpoint(nil, image, CheckpointOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	file, err := f.fs.Create(filepath.Join(f.dir, CheckpointID{image.Offset() + 1, image.Epoch()}.FileName()))
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(content, 0); err != nil {
		f.t.Fatal(err)
	}
}

// published shows the offsets and topics of the deltas so far, and forgets them.
func (f *followed) published() string {
	var out []string
	for _, d := range f.deltas {
		out = append(out, strings.TrimSpace(strings.Join([]string{itoa(d.Image.Offset()), names(d.Image.Topics())}, ":")))
	}
	f.deltas = nil
	return strings.Join(out, " | ")
}

func itoa(n int64) string { return CheckpointID{EndOffset: n}.FileName()[17:20] }

func topicAt(name string, id byte) schema.MetadataRecord {
	return &schema.TopicRecord{Name: name, TopicID: uid(id)}
}

func TestObserverPublishesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollowed(t)
		f.append(batchOf(t, 0, topicAt("a", 1)), batchOf(t, 1, topicAt("b", 2)), controlBatch(t, 2))
		ob := f.observe()
		if got := f.published(); got != "002:a b" {
			t.Errorf("first: %s", got)
		}
		f.append(batchOf(t, 3, topicAt("c", 3)), batchOf(t, 4, &schema.NoOpRecord{}))
		if got := f.published(); got != "003:a b c | 004:a b c" {
			t.Errorf("then: %s", got)
		}
		f.append(batchOf(t, 5, &schema.BeginTransactionRecord{}, topicAt("d", 4)))
		if got := f.published(); got != "" || ob.Image().Offset() != 4 {
			t.Errorf("in a transaction: %s, offset %d", got, ob.Image().Offset())
		}
		f.append(batchOf(t, 7, &schema.EndTransactionRecord{}))
		if got := f.published(); got != "007:a b c d" || ob.Image().Topic("d") == nil {
			t.Errorf("after it: %s", got)
		}
		if f.failed != nil {
			t.Error(f.failed)
		}
	})
}

func TestObserverOfAnEmptyLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollowed(t)
		ob := f.observe()
		if len(f.deltas) != 1 || f.deltas[0].Image.Offset() != -1 || changes(f.deltas[0]) != "" {
			t.Errorf("published %d", len(f.deltas))
		}
		ob.Close()
		f.append(batchOf(t, 0, topicAt("a", 1)))
		if len(f.deltas) != 1 {
			t.Error("published after Close")
		}
	})
}

// The first delta holds everything, whether it came from a checkpoint or from the log.
func TestObserverStartsFromTheNewestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollowed(t)
		old, _ := with(t, Empty(), topicAt("stale", 9))
		f.writeCheckpoint(old)
		image, _ := with(t, Empty(), topicAt("a", 1), topicAt("b", 2), topicAt("c", 3))
		f.writeCheckpoint(image)
		f.append(batchOf(t, 0, topicAt("x", 7)), batchOf(t, 1, topicAt("y", 8)), batchOf(t, 2, topicAt("z", 9)), batchOf(t, 3, topicAt("d", 4)))
		f.observe()
		d := f.deltas[0]
		if got := f.published(); got != "003:a b c d" || len(d.Topics) != 4 || !d.Topics[uid(1)].Created {
			t.Errorf("published %s, %s", got, changes(d))
		}
	})
}

// A log that was cut below what the observer has read goes on from a checkpoint, with the difference.
func TestObserverCatchesUpByCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFollowed(t)
		f.append(batchOf(t, 0, topicAt("a", 1)), batchOf(t, 1, topicAt("b", 2)))
		f.observe()
		f.published()
		image, _ := with(t, Empty(), topicAt("b", 2), topicAt("c", 3), &schema.NoOpRecord{}, &schema.NoOpRecord{}, &schema.NoOpRecord{})
		f.writeCheckpoint(image)
		if err := f.log.ResetTo(5); err != nil {
			t.Fatal(err)
		}
		f.append(batchOf(t, 5, topicAt("d", 4)))
		deltas := slices.Clone(f.deltas)
		if got := f.published(); got != "004:b c | 005:b c d" {
			t.Fatalf("published %s, failure %v", got, f.failed)
		}
		if first := deltas[0]; first.Deleted[uid(1)] == nil || len(first.Topics) != 1 || !first.Topics[uid(3)].Created || first.Before.Offset() != 1 {
			t.Errorf("by checkpoint: %s", changes(first))
		}
	})
}

func TestObserverFails(t *testing.T) {
	for name, spoil := range map[string]func(f *followed){
		"a record that does not fit": func(f *followed) {
			f.append(batchOf(f.t, 1, &schema.RemoveTopicRecord{TopicID: uid(5)}))
		},
		"a gap": func(f *followed) {
			if err := f.log.ResetTo(50); err != nil {
				f.t.Fatal(err)
			}
			f.append(batchOf(f.t, 50, topicAt("b", 2)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFollowed(t)
				f.append(batchOf(t, 0, topicAt("a", 1)))
				ob := f.observe()
				f.published()
				spoil(f)
				if f.failed == nil || f.published() != "" || ob.Image().Offset() != 0 {
					t.Errorf("failure %v, image at %d", f.failed, ob.Image().Offset())
				}
				f.append(batchOf(t, f.log.Offsets().LogEnd, topicAt("c", 3)))
				if f.published() != "" {
					t.Error("published after the failure")
				}
			})
		})
	}
}
