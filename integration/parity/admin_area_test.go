package parity

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// feature is one update; kind 1 upgrade, 2 safe and 3 unsafe downgrade.
func feature(name string, level int16, kind int8) kmsg.UpdateFeaturesRequestFeatureUpdate {
	return kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: name, MaxVersionLevel: level, UpgradeType: kind}
}

func updateFeatures(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(0, 2) {
		update := func(label string, validate bool, updates ...kmsg.UpdateFeaturesRequestFeatureUpdate) {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.Version, req.TimeoutMillis, req.ValidateOnly, req.FeatureUpdates = v, 10_000, validate, updates
			ask[*kmsg.UpdateFeaturesResponse](cl, label, req)
		}
		update("none", false)
		update("as it is", false, feature("group.version", 1, 1))
		update("validated only", true, feature("transaction.version", 2, 1))
		update("two", false, feature("group.version", 1, 1), feature("transaction.version", 2, 1))
		update("too high", false, feature("group.version", 2, 1))
		update("negative", false, feature("group.version", -1, 2))
		update("unknown", false, feature("nope", 1, 1))
		update("unknown, removed", false, feature("nope", 0, 2))
		update("down without leave", false, feature("metadata.version", 29, 1))
		update("metadata lost", false, feature("metadata.version", 29, 2))
		update("metadata lost on purpose", false, feature("metadata.version", 22, 3))
		update("metadata too old", false, feature("metadata.version", 6, 2))
		update("metadata too new", false, feature("metadata.version", 31, 1))
		update("one bad of two", false, feature("group.version", 1, 1), feature("transaction.version", 7, 1))
		if v > 0 {
			update("an unknown type", false, feature("group.version", 1, 0))
			update("down", false, feature("transaction.version", 1, 2))
			cl.leveled("transaction.version", 1)
			ask[*kmsg.ApiVersionsResponse](cl, "after that", apiVersionsRequest(4, "parity", "1.0"), servedAPIs, byName)
			update("up as a downgrade", false, feature("transaction.version", 2, 2))
			update("up", false, feature("transaction.version", 2, 1))
			update("removed", false, feature("group.version", 0, 3))
			update("back", false, feature("group.version", 1, 1))
		}
	}
	cl.leveled("group.version", 1)
	ask[*kmsg.ApiVersionsResponse](cl, "in the end", apiVersionsRequest(4, "parity", "1.0"), servedAPIs, byName)
}

// leveled waits until the broker knows of a feature's level: Apache Kafka answers once the controller has it.
func (cl *client) leveled(feature string, level int16) {
	until(cl, "levels", apiVersionsRequest(4, "parity", "1.0"), func(r *kmsg.ApiVersionsResponse) bool {
		return slices.ContainsFunc(r.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
			return f.Name == feature && f.MaxVersionLevel == level
		})
	})
}

func electLeaders(c *conversation) {
	cl := c.dial("parity")
	ask[*kmsg.CreateTopicsResponse](cl, "made", create(7, false, newTopic("elected", 2, 1)), createdByName)
	for _, v := range versions(0, 2) {
		elect := func(label string, kind int8, topics ...kmsg.ElectLeadersRequestTopic) {
			req := kmsg.NewPtrElectLeadersRequest()
			req.Version, req.ElectionType, req.TimeoutMillis, req.Topics = v, kind, 10_000, topics
			ask[*kmsg.ElectLeadersResponse](cl, label, req)
		}
		mixed := []kmsg.ElectLeadersRequestTopic{{Topic: "elected", Partitions: []int32{0, 1, 5, -1}}, {Topic: "absent", Partitions: []int32{0}}}
		elect("preferred", 0, mixed...)
		elect("no topics", 0, []kmsg.ElectLeadersRequestTopic{}...)
		if v > 0 {
			elect("unclean", 1, mixed...)
			elect("an unknown type", 7, mixed...)
		}
	}
}

// moved asks to move partitions of a topic.
func moved(topic string, partitions ...kmsg.AlterPartitionAssignmentsRequestTopicPartition) kmsg.AlterPartitionAssignmentsRequestTopic {
	return kmsg.AlterPartitionAssignmentsRequestTopic{Topic: topic, Partitions: partitions}
}

func reassignments(c *conversation) {
	cl := c.dial("parity")
	ask[*kmsg.CreateTopicsResponse](cl, "made", create(7, false, newTopic("moved", 2, 1)), createdByName)
	to := func(partition int32, replicas ...int32) kmsg.AlterPartitionAssignmentsRequestTopicPartition {
		return kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: partition, Replicas: replicas}
	}
	none := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Replicas: []int32{}}
	for _, v := range versions(0, 1) {
		for _, allow := range []bool{true, false} {
			alter := func(label string, topics ...kmsg.AlterPartitionAssignmentsRequestTopic) {
				req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
				req.Version, req.TimeoutMillis, req.AllowReplicationFactorChange, req.Topics = v, 10_000, allow, topics
				ask[*kmsg.AlterPartitionAssignmentsResponse](cl, label, req)
			}
			alter("none")
			alter("to where it is", moved("moved", to(0, 1), to(1, 1)))
			alter("cancelled", moved("moved", to(0)))
			alter("nowhere", moved("moved", none))
			alter("to a broker that is not there", moved("moved", to(0, 9)))
			alter("twice", moved("moved", to(0, 1, 1)))
			alter("wider", moved("moved", to(0, 1, 9)))
			alter("what is not there", moved("moved", to(7, 1)), moved("absent", to(0, 1)))
		}
	}
	list := func(label string, topics []kmsg.ListPartitionReassignmentsRequestTopic) {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.TimeoutMillis, req.Topics = 10_000, topics
		ask[*kmsg.ListPartitionReassignmentsResponse](cl, label, req)
	}
	list("all", nil)
	list("no topics", []kmsg.ListPartitionReassignmentsRequestTopic{})
	list("some", []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "moved", Partitions: []int32{0, 1, 7}}, {Topic: "absent", Partitions: []int32{0}}})
}

// ownQuorum removes what each server has of its own: how many records it wrote, where its controller listens, and when.
func ownQuorum(_ server, answer kmsg.Response) {
	r := answer.(*kmsg.DescribeQuorumResponse)
	for i := range r.Nodes {
		r.Nodes[i].Listeners = nil
	}
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p := &r.Topics[i].Partitions[j]
			p.LeaderEpoch, p.HighWatermark = min(p.LeaderEpoch, 1), min(p.HighWatermark, 1)
			for k := range p.CurrentVoters {
				s := &p.CurrentVoters[k]
				s.LogEndOffset, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = min(s.LogEndOffset, 1), min(s.LastFetchTimestamp, 1), min(s.LastCaughtUpTimestamp, 1)
			}
		}
	}
	slices.SortFunc(r.Nodes, func(a, b kmsg.DescribeQuorumResponseNode) int { return cmp.Compare(a.NodeID, b.NodeID) })
}

func quorum(c *conversation) {
	cl := c.dial("parity")
	for _, v := range versions(0, 2) {
		describe := func(label string, topics ...kmsg.DescribeQuorumRequestTopic) {
			req := kmsg.NewPtrDescribeQuorumRequest()
			req.Version, req.Topics = v, topics
			ask[*kmsg.DescribeQuorumResponse](cl, label, req, ownQuorum)
		}
		of := func(topic string, partitions ...int32) kmsg.DescribeQuorumRequestTopic {
			out := kmsg.DescribeQuorumRequestTopic{Topic: topic}
			for _, p := range partitions {
				out.Partitions = append(out.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: p})
			}
			return out
		}
		describe("metadata", of("__cluster_metadata", 0))
		describe("another topic", of("t", 0))
		describe("another partition", of("__cluster_metadata", 1))
		describe("two partitions", of("__cluster_metadata", 0, 1))
		describe("two topics", of("__cluster_metadata", 0), of("t", 0))
	}
	for _, id := range []int32{9, -1} {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		ask[*kmsg.UnregisterBrokerResponse](cl, "unregister a broker that is not there", req)
	}
}
