package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// noOffset is what OffsetFetch answers where nothing is committed.
const noOffset = -1

// fetchOffsets handles one group of an OffsetFetch. It answers from what is durable; with latest from what was written last, for which the
// caller waits. With latest, the offsets that an open transaction has written are UnstableOffsetCommit.
func (s *shard) fetchOffsets(req *kmsg.OffsetFetchRequestGroup, latest bool) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = req.Group
	if g, ok := s.groups[req.Group]; ok {
		if err := g.checkFetch(req.MemberID, req.MemberEpoch); err != nil {
			resp.ErrorCode = int16(protocol.CodeOf(err))
			return resp
		}
	}
	if req.Topics == nil {
		resp.Topics = s.fetchAll(req.Group, latest)
		return resp
	}
	resp.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic, TopicID: t.TopicID}
		topic.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, s.fetchOffset(offsetKey{req.Group, t.Topic, p}, t.TopicID, latest))
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// fetchAll lists every offset of a group, by topic and partition.
func (s *shard) fetchAll(group string, latest bool) []kmsg.OffsetFetchResponseGroupTopic {
	topics := s.offsets.groups[group]
	list := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(topics))
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		topic := kmsg.OffsetFetchResponseGroupTopic{Topic: name}
		for _, p := range slices.Sorted(maps.Keys(topics[name])) {
			key := offsetKey{group, name, p}
			if _, ok := s.offsets.read(key, latest); ok {
				topic.Partitions = append(topic.Partitions, s.fetchOffset(key, protocol.UUID{}, latest))
			}
		}
		if len(topic.Partitions) > 0 {
			list = append(list, topic)
		}
	}
	return list
}

// fetchOffset reads one offset. What was committed in another topic of the same name does not count, where both ids are known (not zero).
func (s *shard) fetchOffset(k offsetKey, topicID protocol.UUID, latest bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.OffsetFetchResponseGroupTopicPartition{Partition: k.partition, Offset: noOffset, LeaderEpoch: -1, Metadata: new(string)}
	if latest && s.offsets.isPending(k) {
		p.ErrorCode = int16(protocol.UnstableOffsetCommit)
		return p
	}
	if v, ok := s.offsets.read(k, latest); ok && (topicID.IsZero() || v.topicID.IsZero() || v.topicID == topicID) {
		p.Offset, p.LeaderEpoch, p.Metadata = v.offset, v.leaderEpoch, kmsg.StringPtr(v.metadata)
	}
	return p
}
