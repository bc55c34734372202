package controller

import (
	"cmp"
	"slices"
	"strings"

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
				resp.Nodes = append(resp.Nodes, c.describeReplicas(s, &p)...)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// describeReplicas fills in what the leader knows of the replicas, and returns where the voters are reached. Observers are the controllers
// without a vote, and the brokers and controllers that fetch the metadata log here.
func (c *Controller) describeReplicas(s QuorumState, p *kmsg.DescribeQuorumResponseTopicPartition) (nodes []kmsg.DescribeQuorumResponseNode) {
	p.ErrorMessage = ptrTo("")
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = s.LeaderID, s.LeaderEpoch, s.HighWatermark
	voting, observing, kraftVersion := c.quorum.Replicas()
	controllers := map[int32]bool{}
	for _, r := range voting {
		controllers[r.ID] = true
		p.CurrentVoters = append(p.CurrentVoters, describeReplica(r, kraftVersion))
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = r.ID
		if e := r.Endpoint; e.Host != "" {
			listener := cmp.Or(e.Listener, c.o.Endpoint.Listener)
			n.Listeners = append(n.Listeners, kmsg.DescribeQuorumResponseNodeListener{Name: listener, Host: e.Host, Port: e.Port})
		}
		nodes = append(nodes, n)
	}
	for _, r := range observing {
		controllers[r.ID] = true
		p.Observers = append(p.Observers, describeReplica(r, 1))
	}
	for _, o := range c.Observers() {
		if !controllers[o.ID] {
			p.Observers = append(p.Observers, describeReplica(QuorumReplica{
				ID: o.ID, DirectoryID: o.DirectoryID, LogEndOffset: o.LogEndOffset, LastFetch: o.LastFetch, LastCaughtUp: o.LastCaughtUp,
			}, 1))
		}
	}
	slices.SortFunc(p.Observers, func(a, b kmsg.DescribeQuorumResponseTopicPartitionReplicaState) int {
		return cmp.Compare(a.ReplicaID, b.ReplicaID)
	})
	return nodes
}

// describeReplica is one replica. Where the voters are those of the configuration their directories are not known to Kafka.
func describeReplica(r QuorumReplica, kraftVersion int16) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	out := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	out.ReplicaID, out.LogEndOffset = r.ID, r.LogEndOffset
	if kraftVersion > 0 {
		out.ReplicaDirectoryID = r.DirectoryID
	}
	if !r.LastFetch.IsZero() {
		out.LastFetchTimestamp = r.LastFetch.UnixMilli()
	}
	if !r.LastCaughtUp.IsZero() {
		out.LastCaughtUpTimestamp = r.LastCaughtUp.UnixMilli()
	}
	return out
}

func ptrTo[T any](x T) *T { return &x }
