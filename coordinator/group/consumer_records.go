package group

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol/schema"
)

func consumerRecord(t int16, group, name string, v schema.ConsumerGroupValue) runtime.Record {
	key := schema.ConsumerGroupKey{Type: t, Group: group, Name: name}
	return runtime.Record{Key: key.Append(nil), Value: v.Append(nil)}
}

func consumerTombstone(t int16, group, name string) runtime.Record {
	key := schema.ConsumerGroupKey{Type: t, Group: group, Name: name}
	return runtime.Record{Key: key.Append(nil)}
}

// epochRecord gives the group an epoch.
func epochRecord(group string, epoch int32, metadataHash int64) runtime.Record {
	return consumerRecord(schema.ConsumerGroupMetadataType, group, "", &schema.ConsumerGroupMetadataValue{Epoch: epoch, MetadataHash: metadataHash})
}

// memberRecord says what a member asks for.
func memberRecord(group string, m *consumerMember) runtime.Record {
	v := &schema.ConsumerGroupMemberMetadataValue{
		InstanceID: m.instanceID, RackID: m.rackID, ClientID: m.clientID, ClientHost: m.clientHost, SubscribedTopicNames: m.topics,
		RebalanceTimeoutMs: m.rebalanceTimeout, ServerAssignor: m.assignor, Classic: m.classic,
	}
	if !m.regexNull {
		v.SubscribedTopicRegex = &m.regex
	}
	return consumerRecord(schema.ConsumerGroupMemberMetadataType, group, m.id, v)
}

// currentRecord says where a member stands.
func currentRecord(group string, m *consumerMember) runtime.Record {
	return consumerRecord(schema.ConsumerGroupCurrentMemberAssignmentType, group, m.id, &schema.ConsumerGroupCurrentMemberAssignmentValue{
		MemberEpoch: m.epoch, PreviousMemberEpoch: m.previousEpoch, State: int8(m.state),
		Assigned: m.assigned.record(), PendingRevocation: m.revoking.record(),
	})
}

// targetMemberRecord gives a member its target assignment.
func targetMemberRecord(group, member string, a assignor.Assignment) runtime.Record {
	return consumerRecord(schema.ConsumerGroupTargetAssignmentMemberType, group, member,
		&schema.ConsumerGroupTargetAssignmentMemberValue{TopicPartitions: targetRecord(a)})
}

// targetEpochRecord ends a new target assignment.
func targetEpochRecord(group string, epoch int32, timestamp int64) runtime.Record {
	return consumerRecord(schema.ConsumerGroupTargetAssignmentMetadataType, group, "",
		&schema.ConsumerGroupTargetAssignmentMetadataValue{AssignmentEpoch: epoch, AssignmentTimestamp: timestamp})
}

// regexRecord says what a regular expression matched.
func regexRecord(group, regex string, r resolvedRegex) runtime.Record {
	return consumerRecord(schema.ConsumerGroupRegularExpressionType, group, regex,
		&schema.ConsumerGroupRegularExpressionValue{Topics: r.topics, Version: r.version, Timestamp: r.timestamp})
}

func regexTombstone(group, regex string) runtime.Record {
	return consumerTombstone(schema.ConsumerGroupRegularExpressionType, group, regex)
}

// memberTombstones removes a member.
func memberTombstones(records []runtime.Record, group, member string) []runtime.Record {
	return append(records,
		consumerTombstone(schema.ConsumerGroupCurrentMemberAssignmentType, group, member),
		consumerTombstone(schema.ConsumerGroupTargetAssignmentMemberType, group, member),
		consumerTombstone(schema.ConsumerGroupMemberMetadataType, group, member))
}

// replayConsumer applies a record of a consumer group. A tombstone of what is not there changes nothing.
func (s *shard) replayConsumer(key, value []byte) error {
	k, err := schema.ParseConsumerGroupKey(key)
	if err != nil {
		return fmt.Errorf("consumer group key: %w", err)
	}
	if value == nil {
		if g, ok := s.groups[k.Group].(*consumerGroup); ok {
			s.replayConsumerTombstone(g, &k)
		}
		return nil
	}
	if err := s.replayConsumerValue(&k, value); err != nil {
		return fmt.Errorf("record of consumer group %q: %w", k.Group, err)
	}
	return nil
}

func (s *shard) replayConsumerValue(k *schema.ConsumerGroupKey, value []byte) error {
	switch k.Type {
	case schema.ConsumerGroupMetadataType:
		var v schema.ConsumerGroupMetadataValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		g := s.replayedConsumer(k.Group)
		s.countConsumerEpoch(g, v.Epoch)
		g.epoch, g.metadataHash = v.Epoch, v.MetadataHash
	case schema.ConsumerGroupPartitionMetadataType:
		s.replayedConsumer(k.Group).hasPartitionMetadata = true
	case schema.ConsumerGroupMemberMetadataType:
		var v schema.ConsumerGroupMemberMetadataValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		s.replayMember(s.replayedConsumer(k.Group), k.Name, &v)
	case schema.ConsumerGroupTargetAssignmentMetadataType:
		var v schema.ConsumerGroupTargetAssignmentMetadataValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		g := s.replayedConsumer(k.Group)
		g.assignmentEpoch, g.assignmentTimestamp = v.AssignmentEpoch, v.AssignmentTimestamp
	case schema.ConsumerGroupTargetAssignmentMemberType:
		var v schema.ConsumerGroupTargetAssignmentMemberValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		s.replayedConsumer(k.Group).target[k.Name] = targetOf(v.TopicPartitions)
	case schema.ConsumerGroupCurrentMemberAssignmentType:
		var v schema.ConsumerGroupCurrentMemberAssignmentValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		s.replayCurrent(s.replayedConsumer(k.Group), k.Name, &v)
	case schema.ConsumerGroupRegularExpressionType:
		var v schema.ConsumerGroupRegularExpressionValue
		if err := schema.ParseConsumerGroupValue(value, &v); err != nil {
			return err
		}
		s.setResolved(s.replayedConsumer(k.Group), k.Name, resolvedRegex{topics: sortedDistinct(v.Topics), version: v.Version, timestamp: v.Timestamp})
	}
	return nil
}

// replayedConsumer is the consumer group that a record is of. It may take the place of a classic group: of one that is only a place for
// offsets, as offsets may come first in a compacted log.
func (s *shard) replayedConsumer(id string) *consumerGroup {
	switch g := s.groups[id].(type) {
	case *consumerGroup:
		return g
	case *classicGroup:
		if g.protocolType != "" || g.state != empty {
			s.logger.Warn("a consumer group takes the place of a classic group that was not removed", zap.String("group", id))
		}
	}
	g := newConsumerGroup(id)
	s.groups[id] = g
	return g
}

func (s *shard) replayMember(g *consumerGroup, id string, v *schema.ConsumerGroupMemberMetadataValue) {
	m := newConsumerMember(id)
	if old, ok := g.members[id]; ok {
		*m = *old
	}
	m.instanceID, m.rackID, m.clientID, m.clientHost = v.InstanceID, v.RackID, v.ClientID, v.ClientHost
	m.topics, m.rebalanceTimeout, m.assignor, m.classic = v.SubscribedTopicNames, v.RebalanceTimeoutMs, v.ServerAssignor, v.Classic
	if !slices.IsSorted(m.topics) {
		m.topics = sortedDistinct(m.topics)
	}
	m.regex, m.regexNull = deref(v.SubscribedTopicRegex), v.SubscribedTopicRegex == nil
	s.setMember(g, m)
}

func (s *shard) replayCurrent(g *consumerGroup, id string, v *schema.ConsumerGroupCurrentMemberAssignmentValue) {
	m := newConsumerMember(id)
	if old, ok := g.members[id]; ok {
		*m = *old
	}
	m.epoch, m.previousEpoch, m.state = v.MemberEpoch, v.PreviousMemberEpoch, memberState(v.State)
	m.assigned, m.revoking = ownedOf(v.Assigned, v.MemberEpoch), ownedOf(v.PendingRevocation, v.MemberEpoch)
	s.setMember(g, m)
}

func (s *shard) replayConsumerTombstone(g *consumerGroup, k *schema.ConsumerGroupKey) {
	switch k.Type {
	case schema.ConsumerGroupMetadataType:
		s.dropConsumer(g)
	case schema.ConsumerGroupPartitionMetadataType:
		g.hasPartitionMetadata = false
	case schema.ConsumerGroupMemberMetadataType:
		if m, ok := g.members[k.Name]; ok {
			s.removeMember(g, m)
		}
	case schema.ConsumerGroupTargetAssignmentMetadataType:
		g.assignmentEpoch, g.assignmentTimestamp = noEpoch, 0
	case schema.ConsumerGroupTargetAssignmentMemberType:
		delete(g.target, k.Name)
	case schema.ConsumerGroupCurrentMemberAssignmentType:
		if old, ok := g.members[k.Name]; ok {
			m := *old
			m.epoch, m.previousEpoch, m.assigned, m.revoking = noEpoch, noEpoch, nil, nil
			s.setMember(g, &m)
		}
	case schema.ConsumerGroupRegularExpressionType:
		s.setResolved(g, k.Name, resolvedRegex{})
		delete(g.resolved, k.Name)
	}
}

// dropConsumer removes a group, and what the shard's index knows of it.
func (s *shard) dropConsumer(g *consumerGroup) {
	for topic, n := range g.subscribed {
		s.countSubscribers(g, topic, subscribers{names: -n.names, regexes: -n.regexes})
	}
	delete(s.groups, g.id)
}

// setResolved notes what a regular expression matched.
func (s *shard) setResolved(g *consumerGroup, regex string, r resolvedRegex) {
	for _, t := range r.topics {
		s.countSubscribers(g, t, subscribers{regexes: 1})
	}
	for _, t := range g.resolved[regex].topics {
		s.countSubscribers(g, t, subscribers{regexes: -1})
	}
	g.resolved[regex] = r
}
