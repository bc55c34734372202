package parity

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// beat is one ConsumerGroupHeartbeat that changes nothing but what is set on it.
func beat(version int16, group, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch = version, group, member, epoch
	return req
}

// joining is the first heartbeat of a member, with all that it must say.
func joining(version int16, group, member string, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := beat(version, group, member, 0)
	req.RebalanceTimeoutMillis, req.Topics = 30000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	req.SubscribedTopicNames = append([]string{}, topics...)
	return req
}

// static makes a heartbeat that of a static member.
func static(req *kmsg.ConsumerGroupHeartbeatRequest, instance string) *kmsg.ConsumerGroupHeartbeatRequest {
	req.InstanceID = &instance
	return req
}

// owning makes a heartbeat say what the member has.
func owning(req *kmsg.ConsumerGroupHeartbeatRequest, topics ...kmsg.ConsumerGroupHeartbeatRequestTopic) *kmsg.ConsumerGroupHeartbeatRequest {
	req.Topics = append([]kmsg.ConsumerGroupHeartbeatRequestTopic{}, topics...)
	return req
}

func partitionsOf(id [16]byte, partitions ...int32) kmsg.ConsumerGroupHeartbeatRequestTopic {
	return kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: partitions}
}

// owned is what an answer assigned, as a member tells it back.
func owned(r *kmsg.ConsumerGroupHeartbeatResponse) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	var all []kmsg.ConsumerGroupHeartbeatRequestTopic
	if r.Assignment != nil {
		for _, t := range r.Assignment.Topics {
			all = append(all, partitionsOf(t.TopicID, t.Partitions...))
		}
	}
	return all
}

// beats sends a heartbeat and compares its answer; topics, whose ids are random, are in order of their number of partitions.
func (cl *client) beats(label string, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	return ask[*kmsg.ConsumerGroupHeartbeatResponse](cl, label, req, assignmentSorted)
}

func assignmentSorted(_ server, answer kmsg.Response) {
	if r, ok := answer.(*kmsg.ConsumerGroupHeartbeatResponse); ok && r.Assignment != nil {
		for _, t := range r.Assignment.Topics {
			slices.Sort(t.Partitions)
		}
		slices.SortFunc(r.Assignment.Topics, func(a, b kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic) int {
			return cmp.Or(cmp.Compare(len(a.Partitions), len(b.Partitions)), slices.Compare(a.Partitions, b.Partitions))
		})
	}
}

func describeConsumers(version int16, groups ...string) *kmsg.ConsumerGroupDescribeRequest {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Version, req.Groups = version, groups
	return req
}

// describes compares a description in both versions, and what the requests for all groups say of it.
func (cl *client) describes(label string, groups ...string) {
	for _, v := range versions(0, 1) {
		ask[*kmsg.ConsumerGroupDescribeResponse](cl, label, describeConsumers(v, groups...), consumersSorted)
	}
	ask[*kmsg.DescribeGroupsResponse](cl, label, describeGroups(6, groups...), groupsSorted)
	ask[*kmsg.ListGroupsResponse](cl, label, listGroups(5, nil, nil), groupsSorted, onlyGroups(groups...))
}

func consumersSorted(_ server, answer kmsg.Response) {
	r, ok := answer.(*kmsg.ConsumerGroupDescribeResponse)
	if !ok {
		return
	}
	sorted := func(a []kmsg.AssignmentTopicPartition) {
		for _, t := range a {
			slices.Sort(t.Partitions)
		}
		slices.SortFunc(a, func(a, b kmsg.AssignmentTopicPartition) int { return cmp.Compare(a.Topic, b.Topic) })
	}
	slices.SortStableFunc(r.Groups, func(a, b kmsg.ConsumerGroupDescribeResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	for _, g := range r.Groups {
		slices.SortFunc(g.Members, func(a, b kmsg.ConsumerGroupDescribeResponseGroupMember) int {
			return cmp.Compare(a.MemberID, b.MemberID)
		})
		for i := range g.Members {
			slices.Sort(g.Members[i].SubscribedTopics)
			sorted(g.Members[i].Assignment.TopicPartitions)
			sorted(g.Members[i].TargetAssignment.TopicPartitions)
		}
	}
}

func deleteGroups(version int16, groups ...string) *kmsg.DeleteGroupsRequest {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = version, groups
	return req
}

// onlyGroups keeps the groups of one script in a list.
func onlyGroups(names ...string) option {
	return func(_ server, answer kmsg.Response) {
		if r, ok := answer.(*kmsg.ListGroupsResponse); ok {
			r.Groups = slices.DeleteFunc(r.Groups, func(g kmsg.ListGroupsResponseGroup) bool { return !slices.Contains(names, g.Group) })
		}
	}
}

// assignable waits until the coordinator knows of topics: until members of groups of their own were assigned them.
func (cl *client) assignable(topics ...string) {
	for _, topic := range topics {
		until(cl, topic+" can be assigned", joining(1, "assignable-"+topic, "probe", topic), func(r *kmsg.ConsumerGroupHeartbeatResponse) bool {
			return r.Assignment != nil && len(r.Assignment.Topics) > 0
		})
	}
}
