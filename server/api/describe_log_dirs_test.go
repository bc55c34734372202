package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"

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

// hostingNode is broker 1, in memory, with the replicas that records place on it.
func hostingNode(t *testing.T, records ...schema.MetadataRecord) *Node {
	t.Helper()
	values, codecs := config.Defaults(), record.NewCodecs()
	store, err := storage.Open(storage.Options{
		FS: vfs.NewMem(), Dirs: []string{"/data"}, NodeID: 1, Config: values, Codecs: codecs, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SetClusterID(testCluster); err != nil {
		t.Fatal(err)
	}
	image := imageOf(t, records...)
	n, _ := imageNode(t, image, nil)
	n.Store = store
	n.Replicas = replication.NewManager(replication.Options{NodeID: 1, Store: store, Codecs: codecs, Config: n.Config, Logger: zap.NewNop()})
	t.Cleanup(func() {
		n.Replicas.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		codecs.Close()
	})
	n.Replicas.Apply(metadata.Difference(metadata.Empty(), image))
	return n
}

// placed are the records of a topic that broker 1 leads alone.
func placed(name string, id protocol.UUID, partitions int) []schema.MetadataRecord {
	out := []schema.MetadataRecord{&schema.TopicRecord{Name: name, TopicID: id}}
	for p := range partitions {
		out = append(out, &schema.PartitionRecord{
			PartitionID: int32(p), TopicID: id, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1, Directories: make([]protocol.UUID, 1),
		})
	}
	return out
}

// appendOne appends a batch of one record of a producer and returns its size on disk.
func appendOne(t *testing.T, n *Node, topic string, partition int32, producer int64, sequence int32) int64 {
	t.Helper()
	p, err := n.Replicas.Partition(topic, partition)
	if err != nil {
		t.Fatal(err)
	}
	w := record.NewBuilder()
	w.ProducerID, w.ProducerEpoch, w.BaseSequence = producer, 3, sequence
	w.Add(1700000000000, nil, []byte("value"))
	b, err := w.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(b, replication.ProduceOptions{Acks: 1, Origin: storage.OriginClient, ProduceVersion: 9, LeaderEpoch: -1}); err != nil {
		t.Fatal(err)
	}
	return int64(len(b))
}

// compatibility 11.5
func TestDescribeLogDirs(t *testing.T) {
	n := hostingNode(t, append(placed("b", uid(2), 2), placed("a", uid(1), 1)...)...)
	size := appendOne(t, n, "b", 1, -1, -1)
	whole := fmt.Sprintf("a-0:0 b-0:0 b-1:%d", size)
	for _, test := range []struct {
		name  string
		asked []kmsg.DescribeLogDirsRequestTopic
		want  string
	}{
		{"null topics are all", nil, whole},
		{"no topics are none", []kmsg.DescribeLogDirsRequestTopic{}, ""},
		{"no partitions are none", []kmsg.DescribeLogDirsRequestTopic{{Topic: "a"}}, ""},
		{"what is not here is left out", []kmsg.DescribeLogDirsRequestTopic{
			{Topic: "b", Partitions: []int32{1, 9}}, {Topic: "gone", Partitions: []int32{0}},
		}, fmt.Sprintf("b-1:%d", size)},
	} {
		for version := int16(0); version <= 5; version++ {
			req := kmsg.NewPtrDescribeLogDirsRequest()
			req.Version, req.Topics = version, test.asked
			resp := ask[*kmsg.DescribeLogDirsResponse](t, n, "PLAINTEXT", req)
			if len(resp.Dirs) != 1 || resp.Dirs[0].Dir != "/data" || resp.Dirs[0].ErrorCode != 0 || resp.ErrorCode != 0 {
				t.Fatalf("%s, v%d: %+v", test.name, version, resp)
			}
			var got []string
			for _, topic := range resp.Dirs[0].Topics {
				for _, p := range topic.Partitions {
					if p.OffsetLag != 0 || p.IsFuture {
						t.Errorf("%s-%d: %+v", topic.Topic, p.Partition, p)
					}
					got = append(got, fmt.Sprintf("%s-%d:%d", topic.Topic, p.Partition, p.Size))
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%s, v%d: %v, want %s", test.name, version, got, test.want)
			}
			if dir := n.Store.Dirs()[0]; version >= 4 && (resp.Dirs[0].TotalBytes != dir.Total || resp.Dirs[0].UsableBytes != dir.Usable) {
				t.Errorf("v%d: %d of %d bytes, want %d of %d", version, resp.Dirs[0].UsableBytes, resp.Dirs[0].TotalBytes, dir.Usable, dir.Total)
			}
		}
	}
}

func TestDescribeLogDirOffline(t *testing.T) {
	n := hostingNode(t, placed("a", uid(1), 1)...)
	all := func(protocol.TopicPartition) bool { return true }
	got := describeLogDir(storage.Dir{Path: "/data", Offline: errors.New("disk"), Total: 5, Usable: 4}, replicasIn(n.Store), all)
	if got.ErrorCode != int16(protocol.KafkaStorageError) || len(got.Topics) != 0 || got.TotalBytes != -1 || got.UsableBytes != -1 {
		t.Errorf("%+v", got)
	}
	if got := describeLogDir(storage.Dir{Path: "/other"}, replicasIn(n.Store), all); len(got.Topics) != 0 {
		t.Errorf("another directory: %+v", got)
	}
}
