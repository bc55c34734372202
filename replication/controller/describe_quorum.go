package controller

import (
	"strings"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeQuorum tells the state of the quorum; only its leader does. A request that asks for anything but partition 0 of
// __cluster_metadata alone is refused for all that it names (KafkaRaftClient.handleDescribeQuorumRequest).
func (c *Controller) describeQuorum(req *kmsg.DescribeQuorumRequest) (kmsg.Response, error) {
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	resp.ErrorMessage = ptrTo("")
	s := c.quorum.Describe()
	valid := len(req.Topics) == 1 && req.Topics[0].Topic == protocol.ClusterMetadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	for _, t := range req.Topics {
		out := kmsg.NewDescribeQuorumResponseTopic()
		out.Topic = strings.Clone(t.Topic)
		for _, asked := range t.Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = asked.Partition
			switch {
			case !valid:
				p.ErrorCode = int16(protocol.UnknownTopicOrPartition)
				p.ErrorMessage = ptrTo("This server does not host this topic-partition.")
			case s.LeaderID != c.o.NodeID:
				p.ErrorCode = int16(protocol.NotLeaderOrFollower)
				p.ErrorMessage = ptrTo("For requests intended only for the leader, this error indicates that the broker is not the current leader. " +
					"For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition.")
			default:
				describeReplicas(s, &p)
				for _, id := range s.Voters {
					resp.Nodes = append(resp.Nodes, kmsg.DescribeQuorumResponseNode{NodeID: id})
				}
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// describeReplicas fills in what the leader knows of the replicas.
func describeReplicas(s QuorumState, p *kmsg.DescribeQuorumResponseTopicPartition) {
	p.ErrorMessage = ptrTo("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = s.LeaderID, s.LeaderEpoch, s.HighWatermark
	now := time.Now().UnixMilli()
	for _, id := range s.Voters {
		r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = id, s.LogEndOffset, now, now
		p.CurrentVoters = append(p.CurrentVoters, r)
	}
}

func ptrTo[T any](x T) *T { return &x }
