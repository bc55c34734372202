package group

import (
	"maps"
	"slices"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

var _ group = (*consumerGroup)(nil)

// The methods by which a consumer group is one group among others.

func (g *consumerGroup) groupID() string          { return g.id }
func (g *consumerGroup) kind() kind               { return consumerKind }
func (g *consumerGroup) protocolTypeName() string { return consumerProtocolType }
func (g *consumerGroup) isEmpty() bool            { return len(g.members) == 0 }
func (g *consumerGroup) size() int                { return len(g.members) }

func (g *consumerGroup) subscribes(topic string) bool {
	_, ok := g.subscribed[topic]
	return ok
}

// memberEpochVersion is the first OffsetCommit version whose clients know STALE_MEMBER_EPOCH.
const memberEpochVersion = 9

// checkCommit implements group (ConsumerGroup.validateOffsetCommit). A member that commits with an older epoch than it has by now may do so for the
// partitions that it has had since then.
func (g *consumerGroup) checkCommit(by committer) (partitionCheck, error) {
	if by.epoch < 0 && len(g.members) == 0 {
		return nil, nil // an administrator, or a consumer without membership
	}
	if by.transactional && by.epoch == noEpoch && by.memberID == "" && by.instanceID == nil {
		return nil, nil
	}
	m, ok := g.members[by.memberID]
	if !ok {
		return nil, unknownMember(g.id, by.memberID)
	}
	switch {
	case !by.transactional && m.classic == nil && by.version < memberEpochVersion:
		return nil, protocol.Errorf(protocol.UnsupportedVersion,
			"OffsetCommit version 9 or above must be used by members using the consumer group protocol")
	case by.epoch == m.epoch:
		return nil, nil
	case by.epoch > m.epoch && m.classic != nil:
		return nil, protocol.Errorf(protocol.IllegalGeneration, "Received generation id %d is newer than current member epoch %d.", by.epoch, m.epoch)
	case by.epoch > m.epoch:
		return nil, protocol.Errorf(protocol.StaleMemberEpoch, "Received member epoch %d is newer than current member epoch %d.", by.epoch, m.epoch)
	}
	return func(topic string, id protocol.UUID, partition int32) error {
		return m.checkPartition(by.epoch, topic, id, partition)
	}, nil
}

// checkPartition decides whether a member may commit an offset with an epoch that it no longer has.
func (m *consumerMember) checkPartition(epoch int32, topic string, id protocol.UUID, partition int32) error {
	code := protocol.StaleMemberEpoch
	if m.classic != nil {
		code = protocol.IllegalGeneration
	}
	since, ok := m.assigned.epoch(id, partition)
	if !ok {
		since, ok = m.revoking.epoch(id, partition)
	}
	switch {
	case !ok:
		return protocol.Errorf(code, "Partition %s-%d is not assigned or pending revocation for member.", topic, partition)
	case epoch < since && m.classic != nil:
		return protocol.Errorf(code, "Received generation id %d is older than assignment epoch %d for partition %s-%d.", epoch, since, topic, partition)
	case epoch < since:
		return protocol.Errorf(code, "Received member epoch %d is older than assignment epoch %d for partition %s-%d.", epoch, since, topic, partition)
	default:
		return nil
	}
}

// checkFetch implements group (ConsumerGroup.validateOffsetFetch).
func (g *consumerGroup) checkFetch(memberID *string, epoch int32) error {
	if memberID == nil && epoch < 0 {
		return nil
	}
	m, ok := g.members[deref(memberID)]
	switch {
	case memberID == nil:
		return protocol.UnknownServerError // as in Kafka, where nobody is looked up
	case !ok:
		return unknownMember(g.id, *memberID)
	case epoch == m.epoch:
		return nil
	case m.classic != nil:
		return protocol.Errorf(protocol.IllegalGeneration, "The received generation id %d does not match the expected member epoch %d.", epoch, m.epoch)
	default:
		return protocol.Errorf(protocol.StaleMemberEpoch, "The received member epoch %d does not match the expected member epoch %d.", epoch, m.epoch)
	}
}

func (g *consumerGroup) checkOffsetDelete() error { return nil }

func (g *consumerGroup) checkDelete() error {
	if len(g.members) > 0 {
		return protocol.NonEmptyGroup
	}
	return nil
}

// expirationBase implements group: what no member subscribes to expires by the time of its commit.
func (g *consumerGroup) expirationBase() (base func(*offsetValue) int64, ok bool) {
	return func(v *offsetValue) int64 { return v.commitTimestamp }, true
}

// tombstones implements group: those of the members first.
func (g *consumerGroup) tombstones(records []runtime.Record) []runtime.Record {
	members := slices.Sorted(maps.Keys(g.members))
	for _, id := range members {
		records = append(records, consumerTombstone(schema.ConsumerGroupCurrentMemberAssignmentType, g.id, id))
	}
	for _, id := range members {
		records = append(records, consumerTombstone(schema.ConsumerGroupTargetAssignmentMemberType, g.id, id))
	}
	records = append(records, consumerTombstone(schema.ConsumerGroupTargetAssignmentMetadataType, g.id, ""))
	for _, id := range members {
		records = append(records, consumerTombstone(schema.ConsumerGroupMemberMetadataType, g.id, id))
	}
	for _, regex := range slices.Sorted(maps.Keys(g.resolved)) {
		records = append(records, regexTombstone(g.id, regex))
	}
	return append(records,
		consumerTombstone(schema.ConsumerGroupPartitionMetadataType, g.id, ""),
		consumerTombstone(schema.ConsumerGroupMetadataType, g.id, ""))
}

// consumerGroup returns the consumer group of that id.
func (s *shard) consumerGroup(id string) (*consumerGroup, error) {
	switch g := s.groups[id].(type) {
	case *consumerGroup:
		return g, nil
	case nil:
		return nil, protocol.Errorf(protocol.GroupIDNotFound, "Group %s not found.", id)
	default:
		return nil, protocol.Errorf(protocol.GroupIDNotFound, "Group %s is not a consumer group.", id)
	}
}
