package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// OffsetForLeaderEpoch (23) says where a leader epoch ends, so that clients and followers notice truncation (KIP-101, KIP-320).
//
//	v1     the answer names the epoch found
//	v2     the client's current leader epoch is checked; throttle time
//	v3     replica id (-1 consumer, -2 debugging)
//	v4     flexible
func handleOffsetForLeaderEpoch(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(in.Partitions))
		for j := range in.Partitions {
			p, answer := &in.Partitions[j], &out.Partitions[j]
			answer.Partition = p.Partition
			var err error
			answer.LeaderEpoch, answer.EndOffset, err = endOfEpoch(n, in.Topic, p)
			answer.ErrorCode = int16(protocol.CodeOf(err))
		}
	}
	return reply(resp)
}

// endOfEpoch returns the largest known epoch up to the one asked for and its end; -1 and -1 for an epoch yet unknown, and on errors.
func endOfEpoch(n *Node, topic string, in *kmsg.OffsetForLeaderEpochRequestTopicPartition) (epoch int32, end int64, err error) {
	p, err := n.Replicas.Partition(topic, in.Partition)
	if err != nil {
		return -1, -1, err
	}
	if err := checkCurrentEpoch(p, in.CurrentLeaderEpoch); err != nil {
		return -1, -1, err
	}
	epoch, end = p.Log().EndOffsetForEpoch(in.LeaderEpoch)
	return epoch, end, nil
}
