package parity

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// anyNode stands for a node of the cluster that is one side's own choice: who leads the quorum, or a coordinator.
const anyNode = 1

// ownController puts a Metadata answer in order: a broker names any broker for the controller, as in Apache Kafka.
func ownController(s server, answer kmsg.Response) {
	r := answer.(*kmsg.MetadataResponse)
	if r.ControllerID > 0 {
		r.ControllerID = anyNode
	}
	slices.SortFunc(r.Brokers, func(a, b kmsg.MetadataResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	byTopic(s, answer)
}

// anyPlaces leaves of each partition how many replicas it has: where they are is one side's own choice.
func anyPlaces(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.MetadataResponse)
	for _, t := range r.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			p.Leader = min(p.Leader, anyNode)
			slices.Sort(p.Replicas)
			slices.Sort(p.ISR)
		}
	}
}

// made creates a topic whose replicas are placed, and waits until every node that runs sees every replica that does in sync, and the leaders lead.
func (c *conversation) made(name string, placed map[int32][]int32, configs ...string) [16]byte {
	cl := c.node(1)
	resp := ask[*kmsg.CreateTopicsResponse](cl, "make "+name, create(7, false, assigned(newTopic(name, -1, -1, configs...), placed)), createdByName)
	c.settled(name, func(r *kmsg.MetadataResponse) bool {
		return len(r.Topics[0].Partitions) == len(placed) && !slices.ContainsFunc(r.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
			return p.Leader < 0 || len(p.ISR) != len(p.Replicas)
		})
	})
	for p, replicas := range placed {
		until(c.node(int(replicas[0])), name+" is led", listOffsets(7, 0, name, p, -1), func(r *kmsg.ListOffsetsResponse) bool { return r.Topics[0].Partitions[0].ErrorCode == 0 })
	}
	return resp.Topics[0].TopicID
}

// settled waits until every node that is known sees a topic as it is to be.
func (c *conversation) settled(name string, done func(*kmsg.MetadataResponse) bool) {
	first := until(c.node(1), name+" is settled", metadata(12, name), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 0 && done(r) })
	for _, b := range first.Brokers {
		if b.NodeID != 1 {
			until(c.node(int(b.NodeID)), name+" is settled", metadata(12, name), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 0 && done(r) })
		}
	}
}

// clusterTopics makes topics of three replicas, and asks for what cannot be.
func clusterTopics(c *conversation) {
	c.whole(3)
	cl := c.node(2)
	for _, v := range versions(2, 7) {
		name := fmt.Sprint("trio-", v)
		for _, replicas := range []int16{4, 32767, 0, -2} {
			ask[*kmsg.CreateTopicsResponse](cl, "too many or too few replicas", create(v, false, newTopic(name, 2, replicas)), createdByName)
		}
		ask[*kmsg.CreateTopicsResponse](cl, "validated only", create(v, true, newTopic(name, 2, 3)), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "made", create(v, false, newTopic(name, 2, 3, "min.insync.replicas=2")), createdByName)
		ask[*kmsg.CreateTopicsResponse](cl, "as many replicas as by default", create(v, false, newTopic(name+"-default", -1, -1)), createdByName)
	}
	c.settled("trio-7", func(r *kmsg.MetadataResponse) bool { return len(r.Topics[0].Partitions) == 2 })
	for _, v := range versions(0, 13) {
		ask[*kmsg.MetadataResponse](cl, "made", metadata(v, "trio-2", "trio-7", "trio-3-default"), ownController, anyPlaces)
	}
	manual := newTopic("trio-m", -1, -1)
	for _, placed := range []map[int32][]int32{
		{0: {1, 2, 3}, 1: {1, 2}}, {0: {1, 9}}, {0: {9}}, {0: {1, 1}}, {0: {}}, {0: {1, 2, 3, 4}}, {0: {-1, 2}}, {1: {1, 2}}, {0: {1, 2}, 2: {2, 3}}, {0: {3, 1}, 1: {2, 3}},
	} {
		ask[*kmsg.CreateTopicsResponse](cl, fmt.Sprint("placed ", placed), create(7, true, assigned(manual, placed)), createdByName)
	}
	counted := assigned(newTopic("trio-m", 1, 3), map[int32][]int32{0: {1, 2, 3}})
	ask[*kmsg.CreateTopicsResponse](cl, "placed and counted", create(7, true, counted), createdByName)
	c.made("trio-grown", map[int32][]int32{0: {2, 3}})
	for _, v := range versions(0, 3) {
		grow := func(label string, count int32, placed ...[]int32) {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Version, req.TimeoutMillis, req.ValidateOnly = v, 10_000, true
			t := kmsg.NewCreatePartitionsRequestTopic()
			t.Topic, t.Count = "trio-grown", count
			for _, replicas := range placed {
				t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
			}
			req.Topics = append(req.Topics, t)
			ask[*kmsg.CreatePartitionsResponse](cl, label, req)
		}
		grow("anywhere", 3)
		grow("placed", 3, []int32{1, 2}, []int32{3, 1})
		grow("placed too few", 3, []int32{1, 2})
		grow("other number of replicas", 2, []int32{1, 2, 3})
		grow("a broker that is not there", 2, []int32{1, 9})
		grow("twice", 2, []int32{1, 1})
		grow("nowhere", 2, []int32{})
		grow("as it is", 1)
	}
}

// describedCluster puts an answer in order; which controller is active is one side's own choice.
func describedCluster(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.DescribeClusterResponse)
	if r.ControllerID > 0 {
		r.ControllerID = anyNode
	}
	slices.SortFunc(r.Brokers, func(a, b kmsg.DescribeClusterResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
}

// describe asks every node that is told of for what it knows of topics and the cluster.
func (c *conversation) describe(label string, nodes []int, names ...string) {
	for _, id := range nodes {
		cl := c.node(id)
		for _, v := range versions(0, 13) {
			ask[*kmsg.MetadataResponse](cl, fmt.Sprintf("%s, at node %d", label, id), metadata(v, names...), ownController)
		}
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 100
		for _, name := range names {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
		}
		ask[*kmsg.DescribeTopicPartitionsResponse](cl, fmt.Sprintf("%s, at node %d", label, id), req)
		for _, v := range versions(0, 2) {
			for _, kind := range []int8{1, 2} {
				for _, fenced := range []bool{false, true} {
					req := kmsg.NewPtrDescribeClusterRequest()
					req.Version, req.EndpointType, req.IncludeFencedBrokers = v, kind, fenced
					ask[*kmsg.DescribeClusterResponse](cl, fmt.Sprintf("%s, type %d, at node %d", label, kind, id), req, describedCluster)
				}
			}
		}
	}
}

func clusterMetadata(c *conversation) {
	c.made("seen", map[int32][]int32{0: {1, 2, 3}, 1: {2, 3, 1}, 2: {3, 1, 2}}, "min.insync.replicas=2")
	c.made("seen-alone", map[int32][]int32{0: {2}})
	c.describe("whole", []int{1, 2, 3}, "seen", "seen-alone")
}

// votersInOrder is ownQuorum for several voters, any of which may lead.
func votersInOrder(s server, answer kmsg.Response) {
	ownQuorum(s, answer)
	r := answer.(*kmsg.DescribeQuorumResponse)
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			p.LeaderID = min(p.LeaderID, anyNode)
			slices.SortFunc(p.CurrentVoters, func(a, b kmsg.DescribeQuorumResponseTopicPartitionReplicaState) int {
				return cmp.Compare(a.ReplicaID, b.ReplicaID)
			})
		}
	}
}

func quorumRequest(version int16) *kmsg.DescribeQuorumRequest {
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = version
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}}}
	return req
}

func clusterQuorum(c *conversation) {
	for id := 1; id <= 3; id++ {
		cl := c.node(id)
		until(cl, "every voter has fetched", quorumRequest(1), func(r *kmsg.DescribeQuorumResponse) bool {
			return r.ErrorCode == 0 && !slices.ContainsFunc(r.Topics[0].Partitions[0].CurrentVoters, func(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState) bool {
				return s.LogEndOffset < 0 || s.LastFetchTimestamp < 0 || s.LastCaughtUpTimestamp < 0
			})
		})
		for _, v := range versions(0, 2) {
			ask[*kmsg.DescribeQuorumResponse](cl, fmt.Sprint("at node ", id), quorumRequest(v), votersInOrder)
		}
	}
}

// ownCoordinator leaves of a coordinator that there is one.
func ownCoordinator(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.FindCoordinatorResponse)
	r.NodeID, r.Port = min(r.NodeID, anyNode), min(r.Port, 1)
	for i := range r.Coordinators {
		k := &r.Coordinators[i]
		k.NodeID, k.Port = min(k.NodeID, anyNode), min(k.Port, 1)
	}
}

func clusterCoordinators(c *conversation) {
	for id := 1; id <= 3; id++ {
		for _, kind := range []int8{0, 1} {
			until(c.node(id), "coordinators", findCoordinator(4, kind, "a", "b", "c", "d", "e", "f"), func(r *kmsg.FindCoordinatorResponse) bool {
				return !slices.ContainsFunc(r.Coordinators, func(k kmsg.FindCoordinatorResponseCoordinator) bool { return k.ErrorCode != 0 })
			})
		}
	}
	for id := 1; id <= 3; id++ {
		cl := c.node(id)
		for _, v := range versions(0, 6) {
			for _, kind := range []int8{0, 1} {
				ask[*kmsg.FindCoordinatorResponse](cl, "one", findCoordinator(v, kind, "a"), ownCoordinator)
				if v >= 4 {
					ask[*kmsg.FindCoordinatorResponse](cl, "several", findCoordinator(v, kind, "f", "a", "", "c", "a"), ownCoordinator)
				}
			}
		}
		ask[*kmsg.MetadataResponse](cl, "the topics of coordinators", metadata(13, "__consumer_offsets", "__transaction_state"), ownController, anyPlaces)
	}
	// Who does not coordinate a group says so.
	found := until(c.node(1), "the coordinator", findCoordinator(4, 0, "a"), func(r *kmsg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	other := c.node(int(found.Coordinators[0].NodeID%3) + 1)
	ask[*kmsg.HeartbeatResponse](other, "elsewhere", &kmsg.HeartbeatRequest{Version: 4, Group: "a", MemberID: "m"})
	ask[*kmsg.ListGroupsResponse](other, "no groups", listGroups(5, nil, nil))
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Version, describe.Groups = 5, []string{"a"}
	ask[*kmsg.DescribeGroupsResponse](other, "elsewhere", describe)
}
