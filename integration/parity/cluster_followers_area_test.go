package parity

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterFollowers asks brokers that do not lead: one that follows, and one without a replica.
func clusterFollowers(c *conversation) {
	led := c.made("led", map[int32][]int32{0: {1, 2}}, "min.insync.replicas=2")
	now := c.now.UnixMilli()
	c.node(1).put("led", of(now, "a", "b"), of(now+1, "c"))
	follower, stranger := c.node(2), c.node(3)
	until(follower, "the follower knows of all", fetch(12, "led", led, 0), func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].HighWatermark == 3 })
	for i, cl := range []*client{follower, stranger} {
		who := []string{"follower", "stranger"}[i]
		for _, v := range versions(3, 13) {
			for _, acks := range []int16{1, -1} {
				ask[*kmsg.ProduceResponse](cl, fmt.Sprintf("%s, acks %d", who, acks), produce(v, acks, "led", led, 0, of(now, "x").bytes()))
			}
		}
		for _, v := range versions(4, 18) {
			for _, offset := range []int64{0, 1, 3, 4} {
				ask[*kmsg.FetchResponse](cl, fmt.Sprintf("%s, offset %d", who, offset), fetch(v, "led", led, offset))
			}
			for _, epoch := range []int32{0, 1, 7} {
				req := fetch(v, "led", led, 0)
				req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				ask[*kmsg.FetchResponse](cl, fmt.Sprintf("%s, leader epoch %d", who, epoch), req)
			}
			rack := fetch(v, "led", led, 0)
			rack.Rack = "r1"
			ask[*kmsg.FetchResponse](cl, who+", of the leader's rack", rack)
			ask[*kmsg.FetchResponse](cl, who+", as a replica that there is not", fetchAs(v, 9, led))
		}
		for _, v := range versions(1, 11) {
			for _, at := range []int64{-1, -2, now} {
				ask[*kmsg.ListOffsetsResponse](cl, fmt.Sprintf("%s, %d", who, min(at, 0)), listOffsets(v, 0, "led", 0, at))
			}
			req := listOffsets(v, 0, "led", 0, -1)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = 7
			ask[*kmsg.ListOffsetsResponse](cl, who+", leader epoch 7", req)
		}
		for _, v := range versions(2, 4) {
			for _, epoch := range []int32{-1, 0, 7} {
				ask[*kmsg.OffsetForLeaderEpochResponse](cl, fmt.Sprintf("%s, leader epoch %d", who, epoch), epochEnd(v, "led", epoch))
			}
		}
		for _, v := range versions(0, 2) {
			ask[*kmsg.DeleteRecordsResponse](cl, who, deleteRecords(v, "led", 0, 1))
		}
		producers := kmsg.NewPtrDescribeProducersRequest()
		producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "led", Partitions: []int32{0}}}
		ask[*kmsg.DescribeProducersResponse](cl, who, producers)
	}
	leader := c.node(1)
	for _, v := range versions(4, 18) {
		ask[*kmsg.FetchResponse](leader, "leader, as a replica that there is not", fetchAs(v, 9, led))
		for _, epoch := range []int32{0, 1, 7} {
			req := fetch(v, "led", led, 0)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
			ask[*kmsg.FetchResponse](leader, fmt.Sprintf("leader, leader epoch %d", epoch), req)
		}
	}
}

// fetchAs is a fetch of topic led by a follower.
func fetchAs(version int16, replica int32, id [16]byte) *kmsg.FetchRequest {
	req := fetch(version, "led", id, 0)
	if req.ReplicaID = replica; version >= 15 {
		req.ReplicaID, req.ReplicaState.ID = -1, replica
	}
	return req
}

func epochEnd(version int16, topic string, current int32) *kmsg.OffsetForLeaderEpochRequest {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -1
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.CurrentLeaderEpoch, p.LeaderEpoch = current, 0
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	return req
}

// clusterRacks has consumers of each rack ask the leader, who sends them to the replica in theirs (KIP-392).
func clusterRacks(c *conversation) {
	id := c.made("racks", map[int32][]int32{0: {1, 2}})
	c.node(1).put("racks", of(c.now.UnixMilli(), "a"))
	near := fetch(13, "racks", id, 1)
	near.Rack = "r2"
	until(c.node(1), "the follower has all", near, func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].PreferredReadReplica == 2 })
	until(c.node(2), "and knows that it is committed", fetch(13, "racks", id, 0), func(r *kmsg.FetchResponse) bool { return r.Topics[0].Partitions[0].HighWatermark == 1 })
	for _, at := range []int{1, 2, 3} {
		cl := c.node(at)
		for _, v := range versions(11, 18) {
			for _, rack := range []string{"", "r1", "r2", "r3", "r9"} {
				for _, offset := range []int64{0, 1, 2} {
					req := fetch(v, "racks", id, offset)
					req.Rack = rack
					ask[*kmsg.FetchResponse](cl, fmt.Sprintf("rack %q, offset %d, at node %d", rack, offset, at), req)
				}
			}
		}
	}
}
