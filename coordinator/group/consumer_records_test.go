package group

import (
	"testing"
	"time"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// olderGroup is a group of one member as an older version wrote it: with the topics' metadata in a record, without the epochs of partitions.
func olderGroup(topic protocol.UUID, state int8) []runtime.Record {
	key := schema.ConsumerGroupKey{Type: schema.ConsumerGroupPartitionMetadataType, Group: testGroup}
	member := newConsumerMember("m")
	member.topics, member.rebalanceTimeout, member.clientID = []string{"topic"}, 60_000, "modern"
	return []runtime.Record{
		memberRecord(testGroup, member),
		{Key: key.Append(nil), Value: []byte{0, 0, 1, 0}},
		epochRecord(testGroup, 5, 0),
		targetMemberRecord(testGroup, "m", map[protocol.UUID][]int32{topic: {0, 1}}),
		targetEpochRecord(testGroup, 5, 0),
		consumerRecord(schema.ConsumerGroupCurrentMemberAssignmentType, testGroup, "m", &schema.ConsumerGroupCurrentMemberAssignmentValue{
			MemberEpoch: 5, PreviousMemberEpoch: 4, State: state, Assigned: []schema.CurrentTopicPartitions{{TopicID: topic, Partitions: []int32{1, 0}}},
		}),
	}
}

func TestGroupsOfOlderVersions(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		id := h.addTopic("topic", 2)
		h.seed(olderGroup(id, 0)...)
		h.inspect(func(s *shard) {
			g := s.groups[testGroup].(*consumerGroup)
			if since, ok := g.members["m"].assigned.epoch(id, 0); !ok || since != 5 || !g.hasPartitionMetadata {
				t.Errorf("partition 0 since %d, %v; metadata record %v", since, ok, g.hasPartitionMetadata)
			}
		})
		m := h.modern("topic")
		m.id, m.epoch, m.has = "m", 5, map[protocol.UUID][]int32{id: {0, 1}}
		m.join() // the hash of the topics was not known: a new epoch
		m.wantEpoch(6)
		h.inspect(func(s *shard) {
			if g := s.groups[testGroup].(*consumerGroup); g.hasPartitionMetadata || g.metadataHash == 0 {
				t.Errorf("metadata record %v, hash %d", g.hasPartitionMetadata, g.metadataHash)
			}
		})
	})
}

func TestAMemberInAnUnknownStateStartsAnew(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		id := h.addTopic("topic", 2)
		h.seed(olderGroup(id, 77)...)
		m := h.modern("topic")
		m.id, m.epoch, m.has = "m", 5, map[protocol.UUID][]int32{id: {0, 1}}
		wantCode(t, "with partitions", int16(m.beat()), protocol.FencedMemberEpoch)
		m.epoch = 0
		m.join()
		m.wantPartitions("topic", 0, 1)
	})
}

func TestTombstonesOfWhatIsNotThere(t *testing.T) {
	run(t, nil, func(h *harness) {
		id := h.addTopic("topic", 2)
		records := olderGroup(id, 0)
		for _, kind := range []int16{3, 4, 5, 6, 7, 8, 16} {
			records = append(records, consumerTombstone(kind, "nobody", "m"))
		}
		for _, kind := range []int16{4, 5, 7, 8, 16} {
			records = append(records, consumerTombstone(kind, testGroup, "nobody"))
		}
		h.seed(records...)
		a := h.modern("topic")
		a.id, a.epoch = "m", 5
		a.join()
		if got := h.kindOf("nobody"); got != "" {
			t.Errorf("a tombstone made a %s group", got)
		}
	})
}

func TestARecordThatCannotBeReadEndsTheLoad(t *testing.T) {
	run(t, nil, func(h *harness) {
		key := schema.ConsumerGroupKey{Type: schema.ConsumerGroupMetadataType, Group: testGroup}
		h.seed(runtime.Record{Key: key.Append(nil), Value: []byte{0, 9, 1}})
		wantCode(t, "heartbeat", int16(h.modern("topic").beat()), protocol.NotCoordinator)
	})
}

func TestALeaveThatCannotBeWrittenKeepsTheSession(t *testing.T) {
	run(t, everyAssignment, func(h *harness) {
		a := h.modern("topic").join()
		h.log.Refuse(protocol.NotEnoughReplicas)
		gone := *a
		wantCode(t, "leave", int16(gone.leave()), protocol.CoordinatorNotAvailable)
		pass(defaultConsumerSession + time.Second)
		a.join()
		h.log.Refuse(nil)
		pass(defaultConsumerSession)
		h.wantConsumerState("Empty")
	})
}
