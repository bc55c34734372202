package controller

import (
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeQuorum tells the state of the quorum; only its leader does.
func (c *Controller) describeQuorum(req *kmsg.DescribeQuorumRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	s := c.quorum.Describe()
	now := time.Now().UnixMilli()
	for _, t := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = strings.Clone(t.Topic)
		for _, p := range t.Partitions {
			out.Partitions = append(out.Partitions, describePartition(s, c.Image(), t.Topic, p.Partition, c.o.NodeID, now))
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func describePartition(s QuorumState, img *metadata.Image, topic string, partition, node int32, now int64) kmsg.DescribeQuorumResponseTopicPartition {
	out := kmsg.NewDescribeQuorumResponseTopicPartition()
	out.Partition = partition
	out.LeaderID, out.LeaderEpoch, out.HighWatermark = s.LeaderID, s.LeaderEpoch, s.HighWatermark
	var err error
	switch {
	case topic != protocol.ClusterMetadataTopic || partition != 0:
		err = protocol.UnknownTopicOrPartition
	case s.LeaderID != node:
		err = protocol.NotLeaderOrFollower
	default:
		for _, id := range s.Voters {
			r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = id, s.LogEndOffset, now, now
			out.CurrentVoters = append(out.CurrentVoters, r)
		}
	}
	out.ErrorCode, out.ErrorMessage = codeAndMessage(err)
	return out
}
