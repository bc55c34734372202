package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// Types of members, as ConsumerGroupDescribe v1 shows them.
const (
	classicMemberType  = 0
	consumerMemberType = 1
)

// describeConsumer shows one consumer group. Topics that are gone are left out.
func (s *shard) describeConsumer(env runtime.Env, id string) kmsg.ConsumerGroupDescribeResponseGroup {
	resp := kmsg.NewConsumerGroupDescribeResponseGroup()
	resp.Group = id
	g, err := s.consumerGroup(id)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	}
	resp.State, resp.Epoch, resp.AssignmentEpoch, resp.AssignorName = g.stateName(), g.epoch, g.assignmentEpoch, s.preferredAssignor(g, nil, nil)
	for _, id := range slices.Sorted(maps.Keys(g.members)) {
		m := g.members[id]
		d := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		d.MemberID, d.InstanceID, d.RackID, d.MemberEpoch, d.ClientID, d.ClientHost = m.id, m.instanceID, m.rackID, m.epoch, m.clientID, m.clientHost
		d.SubscribedTopics = slices.Clone(m.topics)
		if !m.regexNull {
			d.SubscribedTopicRegex = &m.regex
		}
		d.MemberType = consumerMemberType
		if m.classic != nil {
			d.MemberType = classicMemberType
		}
		for _, t := range m.assigned.with(m.revoking) {
			d.Assignment.TopicPartitions = appendPartitions(d.Assignment.TopicPartitions, env, t.id, t.partitions)
		}
		target := g.target[m.id]
		for _, topic := range slices.SortedFunc(maps.Keys(target), compareIDs) {
			d.TargetAssignment.TopicPartitions = appendPartitions(d.TargetAssignment.TopicPartitions, env, topic, target[topic])
		}
		resp.Members = append(resp.Members, d)
	}
	return resp
}

func appendPartitions(
	list []kmsg.AssignmentTopicPartition, env runtime.Env, id protocol.UUID, partitions []int32,
) []kmsg.AssignmentTopicPartition {
	t := env.Image.TopicByID(id)
	if t == nil {
		return list
	}
	p := kmsg.NewAssignmentTopicPartition()
	p.TopicID, p.Topic, p.Partitions = id, t.Name, partitions
	return append(list, p)
}
