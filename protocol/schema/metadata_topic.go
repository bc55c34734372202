package schema

import "github.com/ottla/ottla/protocol"

// TopicRecord creates a topic; its partitions follow in records of their own.
type TopicRecord struct {
	Name    string
	TopicID protocol.UUID
}

// APIKey implements MetadataRecord.
func (*TopicRecord) APIKey() uint16 { return keyTopic }

// Append implements MetadataRecord.
func (r *TopicRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *TopicRecord) fields(c *coder) {
	c.string(&r.Name)
	c.uuid(&r.TopicID)
	c.tags()
}

// PartitionRecord is the whole state of one partition, at its creation or in a snapshot.
type PartitionRecord struct {
	PartitionID                          int32
	TopicID                              protocol.UUID
	Replicas, ISR, Removing, Adding      []int32
	Leader                               int32 // -1: none
	LeaderRecoveryState                  int8  // 0 recovered, 1 recovering from an unclean election
	LeaderEpoch, PartitionEpoch          int32
	Directories                          []protocol.UUID // by index of Replicas (version 1)
	EligibleLeaderReplicas, LastKnownELR []int32         // KIP-966 (version 2); nil: not given
}

// APIKey implements MetadataRecord.
func (*PartitionRecord) APIKey() uint16 { return keyPartition }

// Append implements MetadataRecord.
func (r *PartitionRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *PartitionRecord) fields(c *coder) {
	c.int32(&r.PartitionID)
	c.uuid(&r.TopicID)
	c.int32s(&r.Replicas)
	c.int32s(&r.ISR)
	c.int32s(&r.Removing)
	c.int32s(&r.Adding)
	c.int32(&r.Leader)
	c.int32(&r.LeaderEpoch)
	c.int32(&r.PartitionEpoch)
	if c.version >= 1 {
		c.uuids(&r.Directories)
	}
	c.tags(
		tag{0, r.LeaderRecoveryState != 0, func() { c.int8(&r.LeaderRecoveryState) }},
		tag{1, r.EligibleLeaderReplicas != nil, func() { c.nullInt32s(&r.EligibleLeaderReplicas) }},
		tag{2, r.LastKnownELR != nil, func() { c.nullInt32s(&r.LastKnownELR) }},
	)
}

// What PartitionChangeRecord.Leader and LeaderRecoveryState say when they change nothing.
const (
	NoLeaderChange              int32 = -2
	NoLeaderRecoveryStateChange int8  = -1
)

// PartitionChangeRecord changes a partition: a nil slice leaves what it names as it is, an empty one empties it. Make it
// with NewPartitionChangeRecord, as the zero value would name broker 0 the leader. Applied, it adds one to the partition
// epoch, and one to the leader epoch if Leader is given.
type PartitionChangeRecord struct {
	PartitionID                          int32
	TopicID                              protocol.UUID
	Leader                               int32 // NoLeaderChange, -1 for none, or a broker
	LeaderRecoveryState                  int8  // NoLeaderRecoveryStateChange, 0 recovered, 1 recovering
	ISR, Replicas, Removing, Adding      []int32
	Directories                          []protocol.UUID
	EligibleLeaderReplicas, LastKnownELR []int32
}

// NewPartitionChangeRecord returns a record that changes nothing yet.
func NewPartitionChangeRecord(topicID protocol.UUID, partition int32) *PartitionChangeRecord {
	return &PartitionChangeRecord{
		TopicID: topicID, PartitionID: partition,
		Leader: NoLeaderChange, LeaderRecoveryState: NoLeaderRecoveryStateChange,
	}
}

// APIKey implements MetadataRecord.
func (*PartitionChangeRecord) APIKey() uint16 { return keyPartitionChange }

// Append implements MetadataRecord.
func (r *PartitionChangeRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *PartitionChangeRecord) fields(c *coder) {
	c.int32(&r.PartitionID)
	c.uuid(&r.TopicID)
	c.tags(
		tag{0, r.ISR != nil, func() { c.nullInt32s(&r.ISR) }},
		tag{1, r.Leader != NoLeaderChange, func() { c.int32(&r.Leader) }},
		tag{2, r.Replicas != nil, func() { c.nullInt32s(&r.Replicas) }},
		tag{3, r.Removing != nil, func() { c.nullInt32s(&r.Removing) }},
		tag{4, r.Adding != nil, func() { c.nullInt32s(&r.Adding) }},
		tag{5, r.LeaderRecoveryState != NoLeaderRecoveryStateChange, func() { c.int8(&r.LeaderRecoveryState) }},
		tag{6, r.EligibleLeaderReplicas != nil, func() { c.nullInt32s(&r.EligibleLeaderReplicas) }},
		tag{7, r.LastKnownELR != nil, func() { c.nullInt32s(&r.LastKnownELR) }},
		tag{8, r.Directories != nil, func() { c.nullUUIDs(&r.Directories) }},
	)
}

// RemoveTopicRecord deletes a topic, its partitions and its configs.
type RemoveTopicRecord struct{ TopicID protocol.UUID }

// APIKey implements MetadataRecord.
func (*RemoveTopicRecord) APIKey() uint16 { return keyRemoveTopic }

// Append implements MetadataRecord.
func (r *RemoveTopicRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RemoveTopicRecord) fields(c *coder) {
	c.uuid(&r.TopicID)
	c.tags()
}

// ClearELRRecord forgets the eligible leader replicas of a topic, or of every topic if TopicName is empty (KIP-966).
type ClearELRRecord struct{ TopicName string }

// APIKey implements MetadataRecord.
func (*ClearELRRecord) APIKey() uint16 { return keyClearELR }

// Append implements MetadataRecord.
func (r *ClearELRRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *ClearELRRecord) fields(c *coder) {
	c.string(&r.TopicName)
	c.tags()
}
