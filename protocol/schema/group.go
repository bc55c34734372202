package schema

import (
	"encoding/binary"
	"math"

	"github.com/ottla/ottla/protocol"
)

// Types of the records of consumer groups (KIP-848) in __consumer_offsets: the first two bytes of a key.
const (
	ConsumerGroupMetadataType                 int16 = 3
	ConsumerGroupPartitionMetadataType        int16 = 4 // only tombstones are written since 4.1
	ConsumerGroupMemberMetadataType           int16 = 5
	ConsumerGroupTargetAssignmentMetadataType int16 = 6
	ConsumerGroupTargetAssignmentMemberType   int16 = 7
	ConsumerGroupCurrentMemberAssignmentType  int16 = 8
	ConsumerGroupRegularExpressionType        int16 = 16
)

// ConsumerGroupKey is the key of a record of a consumer group. Name is the member's id, or the regular expression; types 3, 4 and 6 are of the whole
// group and have none.
type ConsumerGroupKey struct {
	Type  int16
	Group string
	Name  string
}

func (k *ConsumerGroupKey) hasName() bool {
	switch k.Type {
	case ConsumerGroupMetadataType, ConsumerGroupPartitionMetadataType, ConsumerGroupTargetAssignmentMetadataType:
		return false
	default:
		return true
	}
}

// Append appends the key as Kafka writes it: the type, then its strings with two bytes of length. Strings that are too long for
// that cannot come from a client.
func (k *ConsumerGroupKey) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(k.Type))
	b = appendKeyString(b, k.Group)
	if k.hasName() {
		b = appendKeyString(b, k.Name)
	}
	return b
}

func appendKeyString(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxInt16)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// ParseConsumerGroupKey reads a key of one of the types above; its strings are copies. Anything else is protocol.CorruptMessage.
func ParseConsumerGroupKey(b []byte) (ConsumerGroupKey, error) {
	c := &coder{b: b, reading: true}
	var k ConsumerGroupKey
	c.int16(&k.Type)
	c.keyString(&k.Group)
	if k.hasName() {
		c.keyString(&k.Name)
	}
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes after a key of type %d", len(c.b), k.Type)
	}
	return k, c.err
}

// keyString reads a string of the encoding that is not flexible.
func (c *coder) keyString(v *string) {
	var n int16
	c.int16(&n)
	if n < 0 {
		c.fail("null for a string that cannot be null")
	}
	if b := c.take(int(n)); c.err == nil {
		*v = string(b)
	}
}

// ConsumerGroupValue is the value of a record of a consumer group; its implementations are the pointers to the structs named so.
type ConsumerGroupValue interface {
	// Append appends the value with its version before it.
	Append(b []byte) []byte

	fields(c *coder)
}

// consumerGroupVersion is the only version of all values.
const consumerGroupVersion = 0

func appendConsumerGroupValue(b []byte, v ConsumerGroupValue) []byte {
	c := &coder{b: binary.BigEndian.AppendUint16(b, consumerGroupVersion), version: consumerGroupVersion}
	v.fields(c)
	return c.b
}

// ParseConsumerGroupValue reads a value into v, which should be empty. Nothing of b is kept. A version that is not known is
// protocol.UnsupportedVersion, malformed bytes are protocol.CorruptMessage.
func ParseConsumerGroupValue(b []byte, v ConsumerGroupValue) error {
	c := &coder{b: b, reading: true}
	if c.int16(&c.version); c.err == nil && c.version != consumerGroupVersion {
		return protocol.Errorf(protocol.UnsupportedVersion, "%T has version %d; the newest known is %d", v, c.version, consumerGroupVersion)
	}
	v.fields(c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes after %T", len(c.b), v)
	}
	return c.err
}

// ConsumerGroupMetadataValue is the group's epoch and the hash of the topics that it subscribes to.
type ConsumerGroupMetadataValue struct {
	Epoch        int32
	MetadataHash int64
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupMetadataValue) Append(b []byte) []byte { return appendConsumerGroupValue(b, v) }

func (v *ConsumerGroupMetadataValue) fields(c *coder) {
	c.int32(&v.Epoch)
	c.tags(tag{0, v.MetadataHash != 0, func() { c.int64(&v.MetadataHash) }})
}

// ConsumerGroupMemberMetadataValue is what a member asks for.
type ConsumerGroupMemberMetadataValue struct {
	InstanceID, RackID   *string
	ClientID, ClientHost string
	SubscribedTopicNames []string
	SubscribedTopicRegex *string
	RebalanceTimeoutMs   int32
	ServerAssignor       *string
	// Classic is there for a member that uses the classic protocol.
	Classic *ClassicMemberMetadata
}

// ClassicMemberMetadata is what a member of the classic protocol in a consumer group has besides.
type ClassicMemberMetadata struct {
	SessionTimeoutMs   int32
	SupportedProtocols []ClassicProtocol
}

// ClassicProtocol is one protocol that a member supports, with its opaque metadata.
type ClassicProtocol struct {
	Name     string
	Metadata []byte
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupMemberMetadataValue) Append(b []byte) []byte {
	return appendConsumerGroupValue(b, v)
}

func (v *ConsumerGroupMemberMetadataValue) fields(c *coder) {
	c.nullableString(&v.InstanceID)
	c.nullableString(&v.RackID)
	c.string(&v.ClientID)
	c.string(&v.ClientHost)
	c.strings(&v.SubscribedTopicNames)
	c.nullableString(&v.SubscribedTopicRegex)
	c.int32(&v.RebalanceTimeoutMs)
	c.nullableString(&v.ServerAssignor)
	// In Kafka's encoder the default is an empty structure: that is left out, and nil is written, as null.
	if c.reading {
		v.Classic = &ClassicMemberMetadata{}
	}
	c.tags(tag{0, v.Classic == nil || v.Classic.SessionTimeoutMs != 0 || len(v.Classic.SupportedProtocols) > 0, func() { v.Classic = v.Classic.code(c) }})
}

// code codes a structure in a tag that may be null: 0 for nothing, 1 before its fields.
func (m *ClassicMemberMetadata) code(c *coder) *ClassicMemberMetadata {
	var there uint32
	if m != nil {
		there = 1
	}
	if c.uvarint(&there); c.err != nil || there == 0 {
		return nil
	}
	if m == nil {
		m = &ClassicMemberMetadata{}
	}
	c.int32(&m.SessionTimeoutMs)
	array(c, &m.SupportedProtocols, 3, func(c *coder, p *ClassicProtocol) {
		c.string(&p.Name)
		c.bytes(&p.Metadata)
		c.tags()
	})
	c.tags()
	return m
}

// ConsumerGroupTargetAssignmentMetadataValue says for which group epoch the target assignment was computed, and when, in ms since 1970.
type ConsumerGroupTargetAssignmentMetadataValue struct {
	AssignmentEpoch     int32
	AssignmentTimestamp int64 // 0: not known
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupTargetAssignmentMetadataValue) Append(b []byte) []byte {
	return appendConsumerGroupValue(b, v)
}

func (v *ConsumerGroupTargetAssignmentMetadataValue) fields(c *coder) {
	c.int32(&v.AssignmentEpoch)
	c.tags(tag{0, v.AssignmentTimestamp != 0, func() { c.int64(&v.AssignmentTimestamp) }})
}

// ConsumerGroupTargetAssignmentMemberValue is the target assignment of one member.
type ConsumerGroupTargetAssignmentMemberValue struct{ TopicPartitions []TargetTopicPartitions }

// TargetTopicPartitions are the partitions of one topic that a member is to have.
type TargetTopicPartitions struct {
	TopicID    protocol.UUID
	Partitions []int32
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupTargetAssignmentMemberValue) Append(b []byte) []byte {
	return appendConsumerGroupValue(b, v)
}

func (v *ConsumerGroupTargetAssignmentMemberValue) fields(c *coder) {
	array(c, &v.TopicPartitions, 18, func(c *coder, t *TargetTopicPartitions) {
		c.uuid(&t.TopicID)
		c.int32s(&t.Partitions)
		c.tags()
	})
	c.tags()
}

// ConsumerGroupCurrentMemberAssignmentValue is where a member stands on the way to its target assignment.
type ConsumerGroupCurrentMemberAssignmentValue struct {
	MemberEpoch, PreviousMemberEpoch int32
	State                            int8 // 0 stable, 1 unrevoked partitions, 2 unreleased partitions
	Assigned, PendingRevocation      []CurrentTopicPartitions
}

// CurrentTopicPartitions are the partitions of one topic that a member has, each with the epoch since when. The epochs are missing
// in records of versions before 4.3.
type CurrentTopicPartitions struct {
	TopicID          protocol.UUID
	Partitions       []int32
	AssignmentEpochs []int32 // nil: not known
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupCurrentMemberAssignmentValue) Append(b []byte) []byte {
	return appendConsumerGroupValue(b, v)
}

func (v *ConsumerGroupCurrentMemberAssignmentValue) fields(c *coder) {
	c.int32(&v.MemberEpoch)
	c.int32(&v.PreviousMemberEpoch)
	c.int8(&v.State)
	array(c, &v.Assigned, 18, currentTopicPartitions)
	array(c, &v.PendingRevocation, 18, currentTopicPartitions)
	c.tags()
}

func currentTopicPartitions(c *coder, t *CurrentTopicPartitions) {
	c.uuid(&t.TopicID)
	c.int32s(&t.Partitions)
	c.tags(tag{0, t.AssignmentEpochs != nil, func() { c.nullInt32s(&t.AssignmentEpochs) }})
}

// ConsumerGroupRegularExpressionValue is what a regular expression matched.
type ConsumerGroupRegularExpressionValue struct {
	Topics    []string
	Version   int64 // of the metadata image
	Timestamp int64 // ms since 1970
}

// Append implements ConsumerGroupValue.
func (v *ConsumerGroupRegularExpressionValue) Append(b []byte) []byte {
	return appendConsumerGroupValue(b, v)
}

func (v *ConsumerGroupRegularExpressionValue) fields(c *coder) {
	c.strings(&v.Topics)
	c.int64(&v.Version)
	c.int64(&v.Timestamp)
	c.tags()
}
