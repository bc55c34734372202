package parity

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// minISRUnset forgets who set min.insync.replicas of a new topic: where there are eligible leader replicas, which 3.9 has not, it is set for all
// brokers.
func minISRUnset(_ server, answer kmsg.Response) {
	if r, ok := answer.(*kmsg.CreateTopicsResponse); ok {
		for i := range r.Topics {
			for j := range r.Topics[i].Configs {
				if c := &r.Topics[i].Configs[j]; c.Name == "min.insync.replicas" {
					c.Source = 0
				}
			}
		}
	}
}

// oldVersions are the versions below the lowest of 4.x that Ottla serves.
func oldVersions(c *conversation) {
	c.every = []option{minISRUnset}
	cl := c.dial("parity")
	now := c.now.UnixMilli()
	for _, v := range versions(0, 1) {
		name := fmt.Sprintf("old-%d", v)
		for _, validate := range []bool{true, false} {
			if validate && v == 0 {
				continue
			}
			for _, topic := range []kmsg.CreateTopicsRequestTopic{
				newTopic(name, 2, 1, "retention.ms=5000"), newTopic(name, 2, 1), newTopic("a b", 1, 1), newTopic("old-p", 0, 1), newTopic("old-p", -2, 1), newTopic("old-c", 1, 1, "nonsense=1"),
				newTopic("old-c", 1, 1, "retention.ms=x"),
			} {
				ask[*kmsg.CreateTopicsResponse](cl, shown(topic), create(v, validate, topic))
			}
		}
	}
	id := cl.createTopic("old", 1, "flush.messages=7")
	cl.createTopic("old-gone", 1)
	cl.put("old", of(now, "a", "b"), of(now+5, "c"))
	for _, count := range []int32{0, 1, 10} {
		for _, at := range []int64{-1, -2, 0, now, now + 1000000, -3, -7} {
			req := listOffsets(0, 0, "old", 0, at)
			req.Topics[0].Partitions[0].MaxNumOffsets = count
			ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("%d offsets at %d", count, at), req)
		}
	}
	ask[*kmsg.ListOffsetsResponse](cl, "unknown topic", listOffsets(0, 0, "nowhere", 0, -1))
	ask[*kmsg.ListOffsetsResponse](cl, "unknown partition", listOffsets(0, 0, "old", 7, -1))
	for _, v := range versions(0, 1) {
		for _, epoch := range []int32{-1, 0, 1} {
			for _, partition := range []int32{0, 7} {
				req := kmsg.NewPtrOffsetForLeaderEpochRequest()
				req.Version = v
				t := kmsg.NewOffsetForLeaderEpochRequestTopic()
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = partition, epoch, -1
				t.Topic, t.Partitions = "old", []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
				req.Topics = append(req.Topics, t)
				ask[*kmsg.OffsetForLeaderEpochResponse](cl, fmt.Sprintf("epoch %d of partition %d", epoch, partition), req)
			}
		}
	}
	for _, name := range []string{"old", "nowhere"} {
		ask[*kmsg.DescribeConfigsResponse](cl, "topic "+name, describe(0, 2, name, []string{"retention.ms", "flush.messages", "cleanup.policy", "nonsense"}), byKey)
	}
	ask[*kmsg.DescribeConfigsResponse](cl, "broker", describe(0, 4, "1", []string{"num.partitions", "node.id", "ssl.keystore.password", "offsets.topic.num.partitions"}), byKey)
	logs := kmsg.NewPtrDescribeLogDirsRequest()
	logs.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "old", Partitions: []int32{0}}}
	ask[*kmsg.DescribeLogDirsResponse](cl, "asked", logs)
	ask[*kmsg.DeleteTopicsResponse](cl, "known and unknown", deleteRequest(0, "old-gone", "nowhere"), deletedByName)
	cl.coordinated("old")
	wanted := []kmsg.OffsetFetchRequestGroupTopic{{Topic: "old", Partitions: []int32{0, 7}}, {Topic: "nowhere", Partitions: []int32{0}}}
	for _, v := range versions(1, 1) {
		ask[*kmsg.OffsetCommitResponse](cl, "simple", commit(v, "old", -1, "", "old", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "unknown topic", commit(v, "old", -1, "", "nowhere", id, 5))
		ask[*kmsg.OffsetCommitResponse](cl, "unknown group", commit(v, "old-none", 3, "ghost", "old", id, 5))
		ask[*kmsg.OffsetFetchResponse](cl, "committed", offsetFetch(v, "old", wanted[:1]))
	}
	req := commit(5, "old-retained", -1, "", "old", id, 5)
	req.Version, req.RetentionTimeMillis = 4, 60000
	ask[*kmsg.OffsetCommitResponse](cl, "with a retention", req)
}
