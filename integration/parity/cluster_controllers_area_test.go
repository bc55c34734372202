package parity

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterControllers sends what brokers send to controllers: to brokers, who do not know it, to the active controller, who does not know the sender, and to another controller.
func clusterControllers(c *conversation) {
	found := until(c.node(1), "the active controller", quorumRequest(1), func(r *kmsg.DescribeQuorumResponse) bool {
		return r.ErrorCode == 0 && r.Topics[0].Partitions[0].LeaderID > 0
	})
	leader := int(found.Topics[0].Partitions[0].LeaderID)
	controllers := c.server.trio.controllers
	topic := until(c.node(1), "a topic", metadata(12, "seen"), func(r *kmsg.MetadataResponse) bool { return r.Topics[0].ErrorCode == 0 }).Topics[0].TopicID
	for _, req := range brokerRequests(topic) {
		c.try("to a broker", req)
		for i, addr := range []string{controllers[leader-1], controllers[leader%3]} {
			who := []string{"to the active controller", "to another controller"}[i]
			c.dialTo(addr, "parity").send(who, req).wait()
		}
	}
	for i, addr := range []string{controllers[leader-1], controllers[leader%3]} {
		who := []string{"at the active controller", "at another controller"}[i]
		for _, v := range versions(0, 2) {
			for _, kind := range []int8{1, 2} {
				req := kmsg.NewPtrDescribeClusterRequest()
				req.Version, req.EndpointType = v, kind
				ask[*kmsg.DescribeClusterResponse](c.dialTo(addr, "parity"), who, req, describedCluster)
			}
			c.dialTo(addr, "parity").send(who, quorumRequest(v), votersInOrder).wait()
		}
		unregister := kmsg.NewPtrUnregisterBrokerRequest()
		unregister.BrokerID = 9
		list := kmsg.NewPtrListPartitionReassignmentsRequest()
		elect := kmsg.NewPtrElectLeadersRequest()
		elect.Version, elect.TimeoutMillis, elect.Topics = 2, 1000, []kmsg.ElectLeadersRequestTopic{{Topic: "seen", Partitions: []int32{0}}}
		for _, req := range []kmsg.Request{
			create(7, true, newTopic("at-controller", 1, 3)), unregister, alter(1, false, moved("absent", to(0, 1))), list, elect, metadata(12), findCoordinator(4, 0, "a"),
		} {
			c.dialTo(addr, "parity").send(who, req).wait()
		}
	}
}

// brokerRequests are of brokers that there are not, or that come with another epoch than theirs.
func brokerRequests(topic [16]byte) (all []kmsg.Request) {
	for _, id := range []int32{1, 9, -1} {
		for _, v := range versions(0, 1) {
			heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
			heartbeat.Version, heartbeat.BrokerID, heartbeat.BrokerEpoch = v, id, 0
			all = append(all, heartbeat)
		}
		for _, v := range versions(2, 3) {
			part := kmsg.NewAlterPartitionRequestTopicPartition()
			part.NewISR = []int32{1}
			part.NewEpochISR = []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{{BrokerID: 1, BrokerEpoch: -1}}
			isr := kmsg.NewPtrAlterPartitionRequest()
			isr.Version, isr.BrokerID, isr.BrokerEpoch = v, id, 0
			isr.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: topic, Partitions: []kmsg.AlterPartitionRequestTopicPartition{part}}}
			all = append(all, isr)
		}
		ids := kmsg.NewPtrAllocateProducerIDsRequest()
		ids.BrokerID, ids.BrokerEpoch = id, 0
		dirs := kmsg.NewPtrAssignReplicasToDirsRequest()
		dirs.BrokerID, dirs.BrokerEpoch = id, 0
		dirs.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: [16]byte{1, 2, 3}, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{{
			TopicID: topic, Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: 0}},
		}}}}
		all = append(all, ids, dirs)
		for _, v := range versions(0, 4) {
			register := kmsg.NewPtrBrokerRegistrationRequest()
			register.Version, register.BrokerID, register.ClusterID, register.IncarnationID = v, id, fmt.Sprintf("%022d", 7), [16]byte{7}
			all = append(all, register)
		}
	}
	return all
}
