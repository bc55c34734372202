package group

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// Types of the records in __consumer_offsets that are read here: the first two bytes of the key. Types 3 and up belong to
// other kinds of groups.
const (
	offsetKeyV0      = 0
	offsetKeyV1      = 1
	groupMetadataKey = 2
)

// Versions of the values. Offset values are written in version 3, which every tool reads; in 1 where an expiry was asked for, which no later
// version has; in 4 where the client named the topic by id, which no earlier version has.
const (
	offsetValueVersion        = 3
	offsetValueExpireVersion  = 1
	offsetValueTopicIDVersion = 4
	groupValueVersion         = 3
)

// offsetRecord is the record of one committed offset.
func offsetRecord(k offsetKey, v offsetValue) runtime.Record {
	value := kmsg.OffsetCommitValue{
		Version: offsetValueVersion, Offset: v.offset, LeaderEpoch: v.leaderEpoch, Metadata: v.metadata, CommitTimestamp: v.commitTimestamp,
	}
	switch {
	case v.expireTimestamp != noTimestamp:
		value.Version, value.ExpireTimestamp = offsetValueExpireVersion, v.expireTimestamp
	case !v.topicID.IsZero():
		value.Version, value.TopicID = offsetValueTopicIDVersion, v.topicID
	}
	b := offsetKeyTo(make([]byte, 0, offsetKeySize(k)+offsetValueSize+len(v.metadata)), k)
	n := len(b)
	b = value.AppendTo(b)
	return runtime.Record{Key: b[:n:n], Value: b[n:]}
}

// offsetValueSize is about what the value of an offset takes besides its metadata.
const offsetValueSize = 48

// offsetTombstone removes a committed offset.
func offsetTombstone(k offsetKey) runtime.Record { return runtime.Record{Key: offsetRecordKey(k)} }

func offsetRecordKey(k offsetKey) []byte { return offsetKeyTo(make([]byte, 0, offsetKeySize(k)), k) }

func offsetKeyTo(dst []byte, k offsetKey) []byte {
	key := kmsg.OffsetCommitKey{Version: offsetKeyV1, Group: k.group, Topic: k.topic, Partition: k.partition}
	return key.AppendTo(dst)
}

// offsetKeySize is the size of the key: version, two strings, a number.
func offsetKeySize(k offsetKey) int { return 2 + 2 + len(k.group) + 2 + len(k.topic) + 4 }

func compareOffsetKeys(a, b offsetKey) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

// What the value of a group takes besides its members and its strings, and a member besides its strings and bytes, in bytes.
const (
	groupValueSize  = 2 + 2 + 4 + 2 + 2 + 8 + 4
	groupMemberSize = 2 + 2 + 2 + 2 + 4 + 4 + 4 + 4
)

// groupRecord is the durable form of a classic group, with the assignment that each member gets.
func groupRecord(g *classicGroup, assignment func(*member) []byte) runtime.Record {
	value := kmsg.GroupMetadataValue{
		Version: groupValueVersion, ProtocolType: g.protocolType, Generation: g.generation, Protocol: g.protocolName,
		CurrentStateTimestamp: g.stateTimestamp,
	}
	if g.leader != "" {
		value.Leader = &g.leader
	}
	size := groupValueSize + len(g.protocolType) + len(deref(g.protocolName)) + len(g.leader)
	value.Members = make([]kmsg.GroupMetadataValueMember, 0, len(g.members))
	for _, m := range g.members {
		value.Members = append(value.Members, kmsg.GroupMetadataValueMember{
			MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			RebalanceTimeoutMillis: m.rebalanceTimeout, SessionTimeoutMillis: m.sessionTimeout,
			Subscription: m.metadata(deref(g.protocolName)), Assignment: assignment(m),
		})
		last := &value.Members[len(value.Members)-1]
		size += groupMemberSize + len(m.id) + len(deref(m.instanceID)) + len(m.clientID) + len(m.clientHost) + len(last.Subscription) + len(last.Assignment)
	}
	return runtime.Record{Key: groupRecordKey(g.id), Value: value.AppendTo(make([]byte, 0, size))}
}

// newGroupRecord says that a group exists, before it has a generation.
func newGroupRecord(g *classicGroup) runtime.Record {
	value := kmsg.GroupMetadataValue{Version: groupValueVersion, CurrentStateTimestamp: g.stateTimestamp}
	return runtime.Record{Key: groupRecordKey(g.id), Value: value.AppendTo(nil)}
}

// groupTombstone removes a group.
func groupTombstone(id string) runtime.Record { return runtime.Record{Key: groupRecordKey(id)} }

func groupRecordKey(id string) []byte {
	key := kmsg.GroupMetadataKey{Version: groupMetadataKey, Group: id}
	return key.AppendTo(nil)
}

// recordType is the type in a record's key; ok is false if the key is too short to have one.
func recordType(key []byte) (t int16, ok bool) {
	if len(key) < 2 {
		return 0, false
	}
	return int16(binary.BigEndian.Uint16(key)), true
}

// offsetParser reads the records of offsets. It is kept, because a partition has very many of them.
type offsetParser struct {
	keyRecord   kmsg.OffsetCommitKey
	valueRecord kmsg.OffsetCommitValue
}

// key reads a key; its strings alias b.
func (p *offsetParser) key(b []byte) (offsetKey, error) {
	key := &p.keyRecord
	if err := key.UnsafeReadFrom(b); err != nil {
		return offsetKey{}, fmt.Errorf("offset commit key: %w", err)
	}
	return offsetKey{key.Group, key.Topic, key.Partition}, nil
}

// value reads a value of version 0 to 4; its string aliases b.
func (p *offsetParser) value(b []byte, recordOffset int64) (offsetValue, error) {
	value := &p.valueRecord
	*value = kmsg.OffsetCommitValue{} // reading leaves a topic id in place that the record does not have
	if err := checkVersion(b, offsetValueTopicIDVersion); err != nil {
		return offsetValue{}, fmt.Errorf("offset commit value: %w", err)
	}
	if err := value.UnsafeReadFrom(b); err != nil {
		return offsetValue{}, fmt.Errorf("offset commit value: %w", err)
	}
	v := offsetValue{
		offset: value.Offset, leaderEpoch: value.LeaderEpoch, metadata: value.Metadata, commitTimestamp: value.CommitTimestamp,
		expireTimestamp: noTimestamp, topicID: protocol.UUID(value.TopicID), recordOffset: recordOffset, since: recordOffset,
	}
	if value.Version < 3 {
		v.leaderEpoch = -1
	}
	if value.Version == offsetValueExpireVersion {
		v.expireTimestamp = value.ExpireTimestamp
	}
	return v, nil
}

// parseGroupValue reads versions 0 to 4. The value's bytes alias b.
func parseGroupValue(b []byte) (*kmsg.GroupMetadataValue, error) {
	const latest = 4
	if err := checkVersion(b, latest); err != nil {
		return nil, fmt.Errorf("group metadata value: %w", err)
	}
	value := new(kmsg.GroupMetadataValue)
	if err := value.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("group metadata value: %w", err)
	}
	return value, nil
}

func checkVersion(b []byte, latest int16) error {
	if version, ok := recordType(b); !ok || version < 0 || version > latest {
		return fmt.Errorf("version is not 0 to %d", latest)
	}
	return nil
}
