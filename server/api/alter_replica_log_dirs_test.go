package api

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/record"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
	"github.com/ottla/ottla/storage/vfs"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// jbod is broker 1 with two log dirs and a topic of two partitions; the topic "far" is on broker 2.
type jbod struct {
	*hosting
	disks *vfs.Faulty
}

func newJBOD(t *testing.T) *jbod {
	t.Helper()
	values, codecs, disks := config.Defaults(), record.NewCodecs(), vfs.NewFaulty(vfs.NewMem())
	store, err := storage.Open(storage.Options{
		FS: disks, Dirs: []string{"/a", "/b"}, NodeID: 1, Config: values, Codecs: codecs, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	j := &jbod{hosting: &hosting{t: t, codecs: codecs}, disks: disks}
	j.image.Store(metadata.Empty())
	settings := func() config.Values { return values }
	manager := replication.NewManager(replication.Options{NodeID: 1, Store: store, Codecs: codecs, Config: settings, Logger: zap.NewNop()})
	j.Node = &Node{
		NodeID: 1, ClusterID: testCluster, Config: settings, Image: j.image.Load, Replicas: manager, Store: store,
		Sessions: NewSessions(10), Routes: NewRoutes(Table()), Logger: zap.NewNop(),
	}
	t.Cleanup(func() {
		manager.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	j.topic("t", 1, 2, nil)
	j.change(&schema.TopicRecord{Name: "far", TopicID: uid(2)}, partitionRecord(2, 0, 2, 0, 2))
	return j
}

// move asks for moves and returns the codes, as topic-partition=code.
func (j *jbod) move(version int16, dir string, tps ...string) map[string]protocol.Code {
	j.t.Helper()
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	req.Version = version
	d := kmsg.AlterReplicaLogDirsRequestDir{Dir: dir}
	for _, name := range tps {
		tp, ok := protocol.ParseTopicPartition(name)
		if !ok {
			j.t.Fatal(name)
		}
		d.Topics = append(d.Topics, kmsg.AlterReplicaLogDirsRequestDirTopic{Topic: tp.Topic, Partitions: []int32{tp.Partition}})
	}
	req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{d}
	codes := map[string]protocol.Code{}
	for _, topic := range call[*kmsg.AlterReplicaLogDirsResponse](j.hosting, req).Topics {
		for _, p := range topic.Partitions {
			codes[fmt.Sprint(topic.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
		}
	}
	return codes
}

// describe lists what DescribeLogDirs says, as "dir topic-partition size lag future".
func (j *jbod) describe() string {
	j.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version = 4
	var all []string
	for _, d := range call[*kmsg.DescribeLogDirsResponse](j.hosting, req).Dirs {
		for _, topic := range d.Topics {
			for _, p := range topic.Partitions {
				all = append(all, fmt.Sprint(d.Dir, " ", topic.Topic, "-", p.Partition, " ", p.OffsetLag, " ", p.IsFuture))
			}
		}
	}
	return strings.Join(all, ", ")
}

func TestAlterReplicaLogDirs(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		synctest.Test(t, func(t *testing.T) {
			j := newJBOD(t)
			for i := range 3 {
				if at := j.produce("t", batchOf(t, "some", "records")); at != int64(2*i) {
					t.Fatalf("produced at %d", at)
				}
			}
			if got, want := j.describe(), "/a t-0 0 false, /b t-1 0 false"; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
			got := j.move(version, "/b", "t-0", "t-1", "t-7", "far-0", "nowhere-0", strings.Repeat("x", 240)+"-0")
			want := map[string]protocol.Code{
				"t-0": protocol.None, "t-1": protocol.None, "t-7": protocol.UnknownTopicOrPartition, "far-0": protocol.ReplicaNotAvailable,
				"nowhere-0": protocol.UnknownTopicOrPartition, strings.Repeat("x", 240) + "-0": protocol.InvalidTopicException,
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
			synctest.Wait()
			if got, want := j.describe(), "/b t-0 0 false, /b t-1 0 false"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := j.move(version, "/c", "t-0")["t-0"]; got != protocol.LogDirNotFound {
				t.Errorf("to a folder that is no log dir: %v", got)
			}
			if at := j.produce("t", batchOf(t, "more")); at != 6 {
				t.Errorf("after the move the next offset is %d", at)
			}
			if dir := j.Store.Log(protocol.TopicPartition{Topic: "t"}).Dir(); dir != "/b/t-0" {
				t.Errorf("the record went to %s", dir)
			}
			j.topic("nowhere", 3, 1, nil) // for which /b was asked before
			if got := j.describe(); !strings.Contains(got, "/b nowhere-0") {
				t.Errorf("the new topic is not where it was asked for: %s", got)
			}
		})
	}
}

// A disk that fails takes its partitions offline, and nothing else.
func TestFailedLogDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJBOD(t)
		write := func(partition int32) protocol.Code {
			t.Helper()
			resp := call[*kmsg.ProduceResponse](j.hosting, produceTo(9, "t", 1, partition, batchOf(t, "a")))
			return protocol.Code(resp.Topics[0].Partitions[0].ErrorCode)
		}
		for partition := range int32(2) {
			if code := write(partition); code != 0 {
				t.Fatal(code)
			}
		}
		j.disks.Inject(vfs.Fault{Op: vfs.OpWrite, Path: "/b/", Err: syscall.EIO})
		if code := write(1); code != protocol.KafkaStorageError {
			t.Errorf("the write that fails: %v", code)
		}
		synctest.Wait()
		for partition, want := range []protocol.Code{protocol.None, protocol.KafkaStorageError} {
			if code := write(int32(partition)); code != want {
				t.Errorf("partition %d afterwards: %v, want %v", partition, code, want)
			}
			code := j.move(2, "/a", fmt.Sprint("t-", partition))[fmt.Sprint("t-", partition)]
			if code != want {
				t.Errorf("a move of partition %d to where one is: %v, want %v", partition, code, want)
			}
		}
		if code := j.move(2, "/b", "t-0")["t-0"]; code != protocol.KafkaStorageError {
			t.Errorf("a move to the failed dir: %v", code)
		}
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version = 4
		dirs := call[*kmsg.DescribeLogDirsResponse](j.hosting, req).Dirs
		if len(dirs) != 2 || dirs[0].ErrorCode != 0 || len(dirs[0].Topics) != 1 || protocol.Code(dirs[1].ErrorCode) != protocol.KafkaStorageError {
			t.Errorf("%+v", dirs)
		}
		j.topic("new", 4, 3, nil)
		if got := j.describe(); strings.Count(got, "/a new-") != 3 {
			t.Errorf("new partitions: %s", got)
		}
	})
}
