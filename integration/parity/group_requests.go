package parity

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// findCoordinator asks for the coordinator of keys; versions before 4 know one key.
func findCoordinator(version int16, kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorType, req.CoordinatorKeys = version, kind, keys
	if len(keys) > 0 {
		req.CoordinatorKey = keys[0]
	}
	return req
}

// coordinated waits until the coordinator of group serves.
func (cl *client) coordinated(group string) {
	until(cl, "offsets topic", findCoordinator(4, 0, group), func(r *kmsg.FindCoordinatorResponse) bool { return r.Coordinators[0].ErrorCode == 0 })
	until(cl, "coordinator loaded", offsetFetch(7, group, nil), func(r *kmsg.OffsetFetchResponse) bool { return r.ErrorCode == 0 })
}

// protocols are those of a JoinGroup request, with a subscription that Kafka can read: it never answers a consumer's whose
// metadata breaks off.
func protocols(names ...string) []kmsg.JoinGroupRequestProtocol {
	var all []kmsg.JoinGroupRequestProtocol
	for _, name := range names {
		subscription := kmsg.NewConsumerMemberMetadata()
		subscription.Topics, subscription.UserData = []string{"times"}, []byte(name)
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, subscription.AppendTo(nil)
		all = append(all, p)
	}
	return all
}

func join(version int16, group, member string, instance *string, names ...string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID = version, group, member, instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis, req.ProtocolType, req.Protocols = 30000, 30000, "consumer", protocols(names...)
	return req
}

func syncRequest(version int16, group string, generation int32, member string, instance *string, assigned ...string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = version, group, generation, member, instance
	req.ProtocolType, req.Protocol = ptr("consumer"), ptr("range")
	for _, m := range assigned {
		a := kmsg.NewSyncGroupRequestGroupAssignment()
		a.MemberID, a.MemberAssignment = m, []byte("assignment")
		req.GroupAssignment = append(req.GroupAssignment, a)
	}
	return req
}

func heartbeat(version int16, group string, generation int32, member string, instance *string) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.InstanceID = version, group, generation, member, instance
	return req
}

func leave(version int16, group, member string, instance *string) *kmsg.LeaveGroupRequest {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group, req.MemberID = version, group, member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID, m.InstanceID, m.Reason = member, instance, ptr("the script says so")
	req.Members = append(req.Members, m)
	return req
}

// commit commits offset for partition 0 of topic.
func commit(version int16, group string, generation int32, member, topic string, id [16]byte, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID, req.RetentionTimeMillis = version, group, generation, member, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = offset, 3, ptr("note")
	t.Topic, t.TopicID, t.Partitions = topic, id, []kmsg.OffsetCommitRequestTopicPartition{p}
	req.Topics = append(req.Topics, t)
	return req
}

// offsetFetch asks for all offsets of a group where topics is nil.
func offsetFetch(version int16, group string, topics []kmsg.OffsetFetchRequestGroupTopic) *kmsg.OffsetFetchRequest {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group = version, group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch, g.Topics = group, -1, topics
	req.Groups = append(req.Groups, g)
	if topics != nil {
		req.Topics = []kmsg.OffsetFetchRequestTopic{}
	}
	for _, t := range topics {
		one := kmsg.NewOffsetFetchRequestTopic()
		one.Topic, one.Partitions = t.Topic, t.Partitions
		req.Topics = append(req.Topics, one)
	}
	return req
}

func describeGroups(version int16, groups ...string) *kmsg.DescribeGroupsRequest {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = version, groups
	return req
}

// groupsSorted sorts what Kafka answers in no order, or with what is refused first where Ottla keeps the request's order.
func groupsSorted(_ server, answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.DescribeGroupsResponse:
		slices.SortStableFunc(r.Groups, func(a, b kmsg.DescribeGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
		for _, g := range r.Groups {
			slices.SortFunc(g.Members, func(a, b kmsg.DescribeGroupsResponseGroupMember) int { return cmp.Compare(a.ClientID, b.ClientID) })
		}
	case *kmsg.ListGroupsResponse:
		slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	case *kmsg.DeleteGroupsResponse:
		slices.SortStableFunc(r.Groups, func(a, b kmsg.DeleteGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
	case *kmsg.OffsetCommitResponse:
		for _, t := range r.Topics {
			slices.SortStableFunc(t.Partitions, func(a, b kmsg.OffsetCommitResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		}
		slices.SortStableFunc(r.Topics, func(a, b kmsg.OffsetCommitResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	case *kmsg.OffsetDeleteResponse:
		for _, t := range r.Topics {
			slices.SortStableFunc(t.Partitions, func(a, b kmsg.OffsetDeleteResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		}
	case *kmsg.OffsetFetchResponse:
		for _, g := range r.Groups {
			slices.SortStableFunc(g.Topics, func(a, b kmsg.OffsetFetchResponseGroupTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		}
		slices.SortStableFunc(r.Topics, func(a, b kmsg.OffsetFetchResponseTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	case *kmsg.JoinGroupResponse:
		slices.SortFunc(r.Members, func(a, b kmsg.JoinGroupResponseMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
	}
}
