package parity

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopic is a topic of a CreateTopics request; configs are key=value pairs, without = a null value.
func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, replicas
	for _, pair := range configs {
		k, v, set := strings.Cut(pair, "=")
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		if c.Name = k; set {
			c.Value = &v
		}
		t.Configs = append(t.Configs, c)
	}
	return t
}

func assigned(t kmsg.CreateTopicsRequestTopic, partitions map[int32][]int32) kmsg.CreateTopicsRequestTopic {
	for p, replicas := range partitions {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = p, replicas
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	}
	slices.SortFunc(t.ReplicaAssignment, func(a, b kmsg.CreateTopicsRequestTopicReplicaAssignment) int {
		return cmp.Compare(a.Partition, b.Partition)
	})
	return t
}

func create(version int16, validate bool, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis, req.ValidateOnly, req.Topics = version, 15000, validate, topics
	return req
}

func createdByName(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.CreateTopicsResponse)
	slices.SortStableFunc(r.Topics, func(a, b kmsg.CreateTopicsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	for _, t := range r.Topics {
		slices.SortFunc(t.Configs, func(a, b kmsg.CreateTopicsResponseTopicConfig) int { return cmp.Compare(a.Name, b.Name) })
	}
}

func createTopics(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(2, 7) {
		name := "made-" + string(rune('0'+v))
		ask[*kmsg.CreateTopicsResponse](cl, "validated only", create(v, true, newTopic(name, 2, 1, "retention.ms=5000")), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "made", create(v, false, newTopic(name, 2, 1, "retention.ms=5000", "cleanup.policy=compact,delete", "max.message.bytes=2000")), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "made again", create(v, false, newTopic(name, 2, 1)), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "defaults", create(v, false, newTopic(name+"-defaults", -1, -1)), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "none", create(v, false), createdByName)
	}
	manual := newTopic("made-manual", -1, -1)
	topics := []kmsg.CreateTopicsRequestTopic{
		newTopic("", 1, 1), newTopic(".", 1, 1), newTopic("..", 1, 1), newTopic("a b", 1, 1), newTopic("ä", 1, 1),
		newTopic(strings.Repeat("y", 249), 1, 1), newTopic(strings.Repeat("y", 250), 1, 1),
		newTopic("made_2", 1, 1), newTopic("made.2", 1, 1), newTopic("made.2_", 1, 1),
		newTopic("made-p", 0, 1), newTopic("made-p", -2, 1), newTopic("made-p", 1, 0), newTopic("made-p", 1, -2), newTopic("made-p", 1, 2), newTopic("made-p", 0, 0),
		newTopic("__consumer_offsets_x", 1, 1), newTopic("__cluster_metadata", 1, 1), newTopic("made-p", 2147483647, 1),
		newTopic("made-c", 1, 1, "nonsense=1"), newTopic("made-c", 1, 1, "retention.ms=x"), newTopic("made-c", 1, 1, "retention.ms=-2"), newTopic("made-c", 1, 1, "retention.ms"),
		newTopic("made-c", 1, 1, "cleanup.policy=x"), newTopic("made-c", 1, 1, "cleanup.policy="), newTopic("made-c", 1, 1, "cleanup.policy=delete,compact,delete"),
		newTopic("made-c", 1, 1, "compression.type=brotli"), newTopic("made-c", 1, 1, "segment.bytes=13"), newTopic("made-c", 1, 1, "min.cleanable.dirty.ratio=1.5"),
		newTopic("made-c", 1, 1, "message.timestamp.type=Never"), newTopic("made-c", 1, 1, "preallocate=maybe"), newTopic("made-c", 1, 1, "max.message.bytes=-1"),
		newTopic("made-c", 1, 1, "message.format.version=2.8"), newTopic("made-c", 1, 1, "follower.replication.throttled.replicas=x"),
		newTopic("made-c", 1, 1, "compression.gzip.level=10"), newTopic("made-c", 1, 1, "compression.zstd.level=99"), newTopic("made-c", 1, 1, "min.insync.replicas=0"),
		newTopic("made-c", 1, 1, "unclean.leader.election.enable=TRUE"), newTopic("made-c", 1, 1, "remote.storage.enable=true"), newTopic("made-c", 1, 1, "min.compaction.lag.ms=10", "max.compaction.lag.ms=5"),
		newTopic("made-c", 1, 1, "retention.ms=1000", "local.retention.ms=2000"), newTopic("made-c", 1, 1, "=x"), newTopic("made-c", 1, 1, "segment.bytes= 2000000 "),
		newTopic("made-c", 1, 1, "retention.ms=1", "retention.ms=2"), newTopic("made-c", 1, 1, "segment.bytes=3000000000"), newTopic("made-c", 1, 1, "index.interval.bytes=-1"),
		newTopic("made-c", 1, 1, "leader.replication.throttled.replicas=*"), newTopic("made-c", 1, 1, "leader.replication.throttled.replicas=0:1,1:1"), newTopic("made-c", 1, 1, "segment.ms=0"),
		assigned(manual, map[int32][]int32{0: {1}, 1: {1}}), assigned(manual, map[int32][]int32{0: {1}, 2: {1}}), assigned(manual, map[int32][]int32{1: {1}}), assigned(manual, map[int32][]int32{-1: {1}}),
		assigned(manual, map[int32][]int32{0: {1, 1}}), assigned(manual, map[int32][]int32{0: {7}}), assigned(manual, map[int32][]int32{0: {}}), assigned(manual, map[int32][]int32{0: {-1}}),
		assigned(newTopic("made-manual", 1, -1), map[int32][]int32{0: {1}}), assigned(newTopic("made-manual", -1, 1), map[int32][]int32{0: {1}}), assigned(newTopic("made-manual", 0, 0), map[int32][]int32{0: {1}}),
	}
	for _, v := range []int16{2, 5, 7} {
		for _, topic := range topics {
			label := shown(topic)
			ask[*kmsg.CreateTopicsResponse](cl, label[:min(150, len(label))], create(v, true, topic), createdByName)
		}
	}
	twice := create(7, false, newTopic("made-twice", 1, 1), newTopic("made-once", 1, 1), newTopic("made-twice", 2, 1))
	ask[*kmsg.CreateTopicsResponse](cl, "the same twice", twice, createdByName)
	ask[*kmsg.CreateTopicsResponse](cl, "collide with each other", create(7, false, newTopic("made.x", 1, 1), newTopic("made_x", 1, 1)), createdByName)
	ask[*kmsg.CreateTopicsResponse](cl, "manual", create(7, false, assigned(manual, map[int32][]int32{0: {1}, 1: {1}, 2: {1}})), createdByName)
	ask[*kmsg.CreateTopicsResponse](cl, "bad beside good", create(6, false, newTopic("made-good", 1, 1), newTopic("a b", 1, 1), newTopic("made-bad", 0, 1)), createdByName)
	until(cl, "all are there", metadata(12, "made-good"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 0 })
	ask[*kmsg.MetadataResponse](cl, "all of them", metadata(12), byTopic)
}

func deleteRequest(version int16, names ...string) *kmsg.DeleteTopicsRequest {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = version, 15000, names
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

func deletedByName(_ server, answer kmsg.Response) {
	name := func(t kmsg.DeleteTopicsResponseTopic) string {
		if t.Topic == nil {
			return ""
		}
		return *t.Topic
	}
	r := answer.(*kmsg.DeleteTopicsResponse)
	slices.SortStableFunc(r.Topics, func(a, b kmsg.DeleteTopicsResponseTopic) int {
		return cmp.Or(cmp.Compare(name(a), name(b)), cmp.Compare(a.ErrorCode, b.ErrorCode))
	})
}

func deleteTopics(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(1, 6) {
		name := "gone-" + string(rune('0'+v))
		cl.createTopic(name, 1)
		ask[*kmsg.DeleteTopicsResponse](cl, "known and unknown", deleteRequest(v, name, "nowhere", "a b", ""), deletedByName)
		ask[*kmsg.DeleteTopicsResponse](cl, "again", deleteRequest(v, name), deletedByName)
		ask[*kmsg.DeleteTopicsResponse](cl, "none", deleteRequest(v), deletedByName)
		until(cl, "it is gone", metadata(12, name), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 3 })
	}
	id := cl.createTopic("gone-id", 1)
	for _, row := range []struct {
		label  string
		topics []kmsg.DeleteTopicsRequestTopic
	}{
		{"unknown id", []kmsg.DeleteTopicsRequestTopic{{TopicID: [16]byte{1, 2, 3}}}},
		{"null name and no id", []kmsg.DeleteTopicsRequestTopic{{}}},
		{"name and id", []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("gone-id"), TopicID: id}}},
		{"name twice", []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("gone-id")}, {Topic: ptr("gone-id")}}},
		{"id twice", []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {TopicID: id}}},
		{"by name and by id", []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {Topic: ptr("gone-id")}}},
		{"id", []kmsg.DeleteTopicsRequestTopic{{TopicID: id}}},
		{"id again", []kmsg.DeleteTopicsRequestTopic{{TopicID: id}}},
	} {
		req := deleteRequest(6)
		req.Topics = row.topics
		ask[*kmsg.DeleteTopicsResponse](cl, row.label, req, deletedByName)
	}
	again := cl.createTopic("gone-id", 1)
	if again == id {
		c.abort("the recreated topic has the old id")
	}
}

func createPartitions(c *conversation) {
	cl := c.dial("parity")
	cl.createTopic("grow", 2)
	grow := func(topic string, count int32, assignments ...[]int32) kmsg.CreatePartitionsRequestTopic {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = topic, count
		for _, replicas := range assignments {
			a := kmsg.NewCreatePartitionsRequestTopicAssignment()
			a.Replicas = replicas
			t.Assignment = append(t.Assignment, a)
		}
		return t
	}
	for _, v := range versions(0, 3) {
		for _, validate := range []bool{true, false} {
			for _, topics := range [][]kmsg.CreatePartitionsRequestTopic{
				{grow("nowhere", 3)}, {grow("", 3)}, {grow("grow", 2)}, {grow("grow", 1)}, {grow("grow", 0)}, {grow("grow", -1)},
				{grow("grow", 100, []int32{1})}, {grow("grow", 100, []int32{7})}, {grow("grow", 100, []int32{1}, []int32{1})},
				{grow("grow", 90), grow("grow", 91)}, {},
			} {
				req := kmsg.NewPtrCreatePartitionsRequest()
				req.Version, req.TimeoutMillis, req.ValidateOnly, req.Topics = v, 15000, validate, topics
				ask[*kmsg.CreatePartitionsResponse](cl, shown(topics), req, grownByName)
			}
		}
		count := 3 + 2*int32(v)
		for _, topic := range []kmsg.CreatePartitionsRequestTopic{
			grow("grow", count, []int32{7}), grow("grow", count, []int32{1, 1}), grow("grow", count, []int32{}), grow("grow", count), grow("grow", count+1, []int32{1}),
		} {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Version, req.TimeoutMillis, req.Topics = v, 15000, []kmsg.CreatePartitionsRequestTopic{topic}
			ask[*kmsg.CreatePartitionsResponse](cl, shown(topic), req, grownByName)
		}
	}
	until(cl, "it has grown", metadata(12, "grow"), func(r *kmsg.MetadataResponse) bool { return len(r.Topics[0].Partitions) == 10 })
	ask[*kmsg.MetadataResponse](cl, "grown", metadata(12, "grow"), byTopic)
}

func grownByName(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.CreatePartitionsResponse)
	slices.SortStableFunc(r.Topics, func(a, b kmsg.CreatePartitionsResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
}
