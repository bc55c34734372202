package parity

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/integration/process"
)

// TestMoves compares servers with two log dirs each.
func TestMoves(t *testing.T) {
	libs, err := process.KafkaJars("../clients/java/4.3.1")
	if err != nil {
		t.Fatal(err)
	}
	own := func() ([]string, []string) {
		dirs := []string{t.TempDir(), t.TempDir()}
		return dirs, append(slices.Clone(settings), "log.dirs="+strings.Join(dirs, ","))
	}
	kafka, ottla := server{name: "Apache Kafka"}, server{name: "Ottla"}
	var lines []string
	kafka.dirs, lines = own()
	kafka.addr = process.StartKafka(t, libs, nil, lines...)
	ottla.dirs, lines = own()
	broker := process.New(t, ottlaSettings(lines)...)
	broker.Start(t)
	ottla.addr = broker.Addr
	compareAreas(t, kafka, ottla, []area{{"MoveRefusals", moveRefusals}, {"Moves", moves}}, nil)
}

// destination is where partitions are to go.
func destination(dir, topic string, partitions ...int32) kmsg.AlterReplicaLogDirsRequestDir {
	t := kmsg.AlterReplicaLogDirsRequestDirTopic{Topic: topic, Partitions: partitions}
	return kmsg.AlterReplicaLogDirsRequestDir{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{t}}
}

// alterDirs asks for moves; the order of the answer's topics and partitions is that of a hash map.
func (cl *client) alterDirs(version int16, label string, dirs ...kmsg.AlterReplicaLogDirsRequestDir) {
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	req.Version, req.Dirs = version, dirs
	ask[*kmsg.AlterReplicaLogDirsResponse](cl, label, req, func(_ server, answer kmsg.Response) {
		r := answer.(*kmsg.AlterReplicaLogDirsResponse)
		slices.SortFunc(r.Topics, func(a, b kmsg.AlterReplicaLogDirsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		for _, t := range r.Topics {
			slices.SortFunc(t.Partitions, func(a, b kmsg.AlterReplicaLogDirsResponseTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
		}
	})
}

// dirsOf asks where the partitions of a topic are.
func dirsOf(topic string, partitions ...int32) *kmsg.DescribeLogDirsRequest {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version = 4
	t := kmsg.NewDescribeLogDirsRequestTopic()
	t.Topic, t.Partitions = topic, partitions
	req.Topics = append(req.Topics, t)
	return req
}

// placed puts the dirs in the server's order, and leaves of a copy only whether records are missing.
func placed(s server, answer kmsg.Response) {
	r := answer.(*kmsg.DescribeLogDirsResponse)
	slices.SortFunc(r.Dirs, func(a, b kmsg.DescribeLogDirsResponseDir) int {
		return cmp.Compare(slices.Index(s.dirs, a.Dir), slices.Index(s.dirs, b.Dir))
	})
	for _, d := range r.Dirs {
		for _, t := range d.Topics {
			slices.SortFunc(t.Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int {
				return cmp.Compare(a.Partition, b.Partition)
			})
			for i := range t.Partitions {
				if p := &t.Partitions[i]; p.IsFuture {
					p.Size, p.OffsetLag = 0, min(p.OffsetLag, 1)
				}
			}
		}
	}
}

// place moves partition 0 of a topic to the server's dir i and waits until it is there; nothing of it is compared.
func (cl *client) place(topic string, i int) {
	dir := cl.server.dirs[i]
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	req.Version, req.Dirs = 2, []kmsg.AlterReplicaLogDirsRequestDir{destination(dir, topic, 0)}
	cl.send("to its place", req).read()
	cl.arrived(topic, i)
}

// arrived waits until partition 0 of a topic is in the server's dir i and nowhere else.
func (cl *client) arrived(topic string, i int) {
	until(cl, topic+" is in its place", dirsOf(topic, 0), func(r *kmsg.DescribeLogDirsResponse) bool {
		var at []string
		for _, d := range r.Dirs {
			if len(d.Topics) > 0 {
				at = append(at, d.Dir)
			}
		}
		return slices.Equal(at, cl.server.dirs[i:i+1])
	})
}

// throttle sets how many bytes a second moves may copy, and waits until the broker says so.
func (cl *client) throttle(rate string) {
	const key = "replica.alter.log.dirs.io.max.bytes.per.second"
	ask[*kmsg.IncrementalAlterConfigsResponse](cl, "throttle", incremental(1, kmsg.ConfigResourceTypeBroker, "1", set(key, rate)))
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", ConfigNames: []string{key}}}
	until(cl, "throttled", req, func(r *kmsg.DescribeConfigsResponse) bool {
		return len(r.Resources[0].Configs) == 1 && *r.Resources[0].Configs[0].Value == rate
	})
}

func moveRefusals(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("stays", 2)
	long := strings.Repeat("n", 215) // with what a copy's folder adds, too long for a file system
	cl.createTopic(long, 1)
	cl.place("stays", 0)
	home, away := c.server.dirs[0], c.server.dirs[1]
	for _, v := range versions(1, 2) {
		cl.alterDirs(v, "nothing")
		cl.alterDirs(v, "no topics", kmsg.AlterReplicaLogDirsRequestDir{Dir: away})
		cl.alterDirs(v, "no partitions", destination(away, "stays"))
		cl.alterDirs(v, "where it is", destination(home, "stays", 0))
		cl.alterDirs(v, "where it is, with a slash", destination(home+"/", "stays", 0))
		cl.alterDirs(v, "where it is, the long way", destination(home+"/../"+filepath.Base(home), "stays", 0))
		cl.alterDirs(v, "a dir that is not there", destination("/nowhere", "stays", 0))
		cl.alterDirs(v, "a dir that is none of the broker's", destination(filepath.Dir(home), "stays", 0))
		cl.alterDirs(v, "a relative dir", destination("data", "stays", 0))
		cl.alterDirs(v, "an empty dir", destination("", "stays", 0))
		cl.alterDirs(v, "no such partition", destination(away, "stays", 7, -1))
		cl.alterDirs(v, "no such topic", destination(away, "absent", 0), destination("/nowhere", "absent too", 0))
		cl.alterDirs(v, "an invalid topic", destination(away, "a b", 0), destination(away, "", 0))
		cl.alterDirs(v, "a name that is too long", destination(away, long, 0))
		cl.alterDirs(v, "the metadata", destination(away, "__cluster_metadata", 0))
		cl.alterDirs(v, "twice in one list", destination(home, "stays", 0, 0))
		cl.alterDirs(v, "twice in one dir", destination(home, "stays", 0), destination(home, "stays", 0))
		cl.alterDirs(v, "first elsewhere", destination(away, "stays", 0), destination(home, "stays", 0))
		cl.alterDirs(v, "first nowhere", destination("/nowhere", "stays", 0), destination(home, "stays", 0))
		cl.alterDirs(v, "some of each", destination(home, "stays", 0, 9), destination("/nowhere", "absent", 1))
		ask[*kmsg.DescribeLogDirsResponse](cl, "it stayed", dirsOf("stays", 0), placed)
	}
}

// moves follows a replica whose move is held up, goes on, is cancelled, and whose topic is deleted.
func moves(c *conversation) {
	cl := c.dial("parity")
	id := cl.createTopic("moves", 1, "segment.bytes=1048576")
	cl.place("moves", 0)
	value := strings.Repeat("0123456789", 60_000)
	for i := range 6 { // several times what is copied at once
		cl.put("moves", of(c.now.UnixMilli(), fmt.Sprint(i, value)))
	}
	describe := func(label string) {
		for _, v := range versions(1, 4) {
			req := dirsOf("moves", 0)
			req.Version = v
			ask[*kmsg.DescribeLogDirsResponse](cl, label, req, placed)
		}
	}
	ends := func(label string) {
		for _, at := range []int64{-1, -2} {
			ask[*kmsg.ListOffsetsResponse](cl, label, listOffsets(7, 0, "moves", 0, at))
		}
		ask[*kmsg.FetchResponse](cl, label, fetch(12, "moves", id, 6))
	}
	home, away := c.server.dirs[0], c.server.dirs[1]
	describe("before")
	cl.throttle("1")
	cl.alterDirs(2, "held up", destination(away, "moves", 0))
	describe("held up")
	cl.alterDirs(2, "held up, again", destination(away, "moves", 0))
	describe("held up, again")
	cl.put("moves", of(c.now.UnixMilli(), "while it moves"))
	ends("while it moves")
	cl.alterDirs(2, "to nowhere meanwhile", destination("/nowhere", "moves", 0))
	describe("to nowhere meanwhile")
	cl.alterDirs(2, "cancelled", destination(home, "moves", 0))
	describe("cancelled")
	ends("cancelled")
	cl.alterDirs(2, "held up once more", destination(away, "moves", 0))
	describe("held up once more")
	cl.throttle("1000000000")
	cl.arrived("moves", 1)
	describe("moved")
	ends("moved")
	cl.put("moves", of(c.now.UnixMilli(), "after the move"))
	ends("after the move")
	cl.place("moves", 0)
	describe("back")
	cl.throttle("1")
	cl.alterDirs(2, "held up before the deletion", destination(away, "moves", 0))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 5, 10_000
	req.TopicNames = []string{"moves"}
	ask[*kmsg.DeleteTopicsResponse](cl, "deleted while it moves", req)
	until(cl, "it is gone", dirsOf("moves", 0), func(r *kmsg.DescribeLogDirsResponse) bool {
		return !slices.ContainsFunc(r.Dirs, func(d kmsg.DescribeLogDirsResponseDir) bool { return len(d.Topics) > 0 })
	})
	cl.alterDirs(2, "what is gone", destination(away, "moves", 0))
}
