package group

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// The consumer protocol that clients embed in the classic one: what members say of themselves, and what they are assigned
// (ConsumerProtocolSubscription and ConsumerProtocolAssignment). It is read where a group moves between the two protocols, or holds members of
// both.

// latestEmbedded is the newest version of both; later ones begin with the same fields.
const latestEmbedded int16 = 3

// errEmbedded says that what a member sent is not the consumer protocol.
var errEmbedded = protocol.Errorf(protocol.UnknownServerError, "malformed embedded consumer protocol")

// parseSubscription reads a member's metadata. It keeps nothing of b.
func parseSubscription(b []byte) (*kmsg.ConsumerMemberMetadata, error) {
	m := new(kmsg.ConsumerMemberMetadata)
	if err := m.ReadFrom(b); err != nil || m.Version < 0 {
		return nil, errEmbedded
	}
	return m, nil
}

// parseAssignment reads a member's assignment: nothing from no bytes. custom says that it carries data of the client's own assignor.
func parseAssignment(b []byte, image *metadata.Image) (a assignor.Assignment, custom bool, err error) {
	if len(b) == 0 {
		return nil, false, nil
	}
	m := new(kmsg.ConsumerMemberAssignment)
	if err := m.ReadFrom(b); err != nil || m.Version < 0 {
		return nil, false, errEmbedded
	}
	a = assignor.Assignment{}
	for _, t := range m.Topics {
		topic := image.Topic(t.Topic)
		if topic == nil || len(t.Partitions) == 0 {
			continue
		}
		partitions := slices.Clone(t.Partitions)
		slices.Sort(partitions)
		a[topic.ID] = slices.Compact(partitions)
	}
	return a, len(m.UserData) > 0, nil
}

// embeddedVersion is the version in which a member with this metadata reads its assignment.
func embeddedVersion(subscription []byte) (int16, error) {
	if len(subscription) < 2 {
		return 0, errEmbedded
	}
	version := int16(binary.BigEndian.Uint16(subscription))
	if version < 0 {
		return 0, errEmbedded
	}
	return min(version, latestEmbedded), nil
}

// assignmentBytes writes an assignment for a member. Topics that are gone are left out.
func assignmentBytes(version int16, topics []kmsg.ConsumerMemberAssignmentTopic) []byte {
	slices.SortFunc(topics, func(a, b kmsg.ConsumerMemberAssignmentTopic) int { return strings.Compare(a.Topic, b.Topic) })
	m := kmsg.ConsumerMemberAssignment{Version: version, Topics: topics}
	return m.AppendTo(nil)
}

// targetTopics are the topics of a target assignment, by name.
func targetTopics(image *metadata.Image, a assignor.Assignment) []kmsg.ConsumerMemberAssignmentTopic {
	topics := make([]kmsg.ConsumerMemberAssignmentTopic, 0, len(a))
	for id, partitions := range a {
		if t := image.TopicByID(id); t != nil {
			topics = append(topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: partitions})
		}
	}
	return topics
}

// ownedTopics are the topics of what a member has, by name.
func ownedTopics(image *metadata.Image, o owned) []kmsg.ConsumerMemberAssignmentTopic {
	topics := make([]kmsg.ConsumerMemberAssignmentTopic, 0, len(o))
	for _, own := range o {
		if t := image.TopicByID(own.id); t != nil {
			topics = append(topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: own.partitions})
		}
	}
	return topics
}

// reportedTopics are the partitions that a subscription says the member has. It is never nil: a member that says nothing has nothing.
func reportedTopics(image *metadata.Image, m *kmsg.ConsumerMemberMetadata) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := make([]kmsg.ConsumerGroupHeartbeatRequestTopic, 0, len(m.OwnedPartitions))
	for _, own := range m.OwnedPartitions {
		if t := image.Topic(own.Topic); t != nil {
			topics = append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.ID, Partitions: own.Partitions})
		}
	}
	return topics
}

// ownedSince is an assignment as what a member has since an epoch.
func ownedSince(a assignor.Assignment, epoch int32) owned {
	var o owned
	for id, partitions := range a {
		epochs := make([]int32, len(partitions))
		for i := range epochs {
			epochs[i] = epoch
		}
		o = append(o, ownedTopic{id: id, partitions: partitions, epochs: epochs})
	}
	slices.SortFunc(o, func(a, b ownedTopic) int { return compareIDs(a.id, b.id) })
	return o
}

// compareMembers orders members by id.
func compareMembers(a, b *consumerMember) int { return cmp.Compare(a.id, b.id) }
