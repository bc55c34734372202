package schema

import (
	"github.com/ottla/ottla/protocol"
)

// The api keys of the metadata records (Kafka's MetadataRecordType).
const (
	keyRegisterBroker            uint16 = 0
	keyUnregisterBroker          uint16 = 1
	keyTopic                     uint16 = 2
	keyPartition                 uint16 = 3
	keyConfig                    uint16 = 4
	keyPartitionChange           uint16 = 5
	keyFenceBroker               uint16 = 7
	keyUnfenceBroker             uint16 = 8
	keyRemoveTopic               uint16 = 9
	keyDelegationToken           uint16 = 10
	keyUserScramCredential       uint16 = 11
	keyFeatureLevel              uint16 = 12
	keyClientQuota               uint16 = 14
	keyProducerIDs               uint16 = 15
	keyBrokerRegistrationChange  uint16 = 17
	keyAccessControlEntry        uint16 = 18
	keyRemoveAccessControlEntry  uint16 = 19
	keyNoOp                      uint16 = 20
	keyZkMigrationState          uint16 = 21
	keyRemoveUserScramCredential uint16 = 22
	keyBeginTransaction          uint16 = 23
	keyEndTransaction            uint16 = 24
	keyAbortTransaction          uint16 = 25
	keyRemoveDelegationToken     uint16 = 26
	keyRegisterController        uint16 = 27
	keyClearELR                  uint16 = 28
	keyUnregisterController      uint16 = 29
	frameVersion                 uint32 = 1
)

// MetadataRecord is one record of the metadata log; its implementations are the pointers to the record structs here.
type MetadataRecord interface {
	// APIKey is the type of the record (Kafka's MetadataRecordType).
	APIKey() uint16
	// Append appends the framed record as AppendMetadata does at the latest level of metadata.version.
	Append(b []byte) []byte

	fields(c *coder)
}

// newest returns an empty record of a type and the newest version known for it; nil for an unknown type.
func newest(key uint16) (MetadataRecord, int16) {
	switch key {
	case keyRegisterBroker:
		return &RegisterBrokerRecord{Fenced: true}, 4
	case keyUnregisterBroker:
		return &UnregisterBrokerRecord{}, 0
	case keyTopic:
		return &TopicRecord{}, 0
	case keyPartition:
		return &PartitionRecord{}, 2
	case keyConfig:
		return &ConfigRecord{}, 0
	case keyPartitionChange:
		return NewPartitionChangeRecord(protocol.UUID{}, -1), 2
	case keyFenceBroker:
		return &FenceBrokerRecord{}, 0
	case keyUnfenceBroker:
		return &UnfenceBrokerRecord{}, 0
	case keyRemoveTopic:
		return &RemoveTopicRecord{}, 0
	case keyDelegationToken:
		return &DelegationTokenRecord{}, 0
	case keyUserScramCredential:
		return &UserScramCredentialRecord{}, 0
	case keyFeatureLevel:
		return &FeatureLevelRecord{}, 0
	case keyClientQuota:
		return &ClientQuotaRecord{}, 0
	case keyProducerIDs:
		return &ProducerIDsRecord{}, 0
	case keyBrokerRegistrationChange:
		return &BrokerRegistrationChangeRecord{}, 3
	case keyAccessControlEntry:
		return &AccessControlEntryRecord{}, 0
	case keyRemoveAccessControlEntry:
		return &RemoveAccessControlEntryRecord{}, 0
	case keyNoOp:
		return &NoOpRecord{}, 0
	case keyZkMigrationState:
		return &ZkMigrationStateRecord{}, 0
	case keyRemoveUserScramCredential:
		return &RemoveUserScramCredentialRecord{}, 0
	case keyBeginTransaction:
		return &BeginTransactionRecord{}, 0
	case keyEndTransaction:
		return &EndTransactionRecord{}, 0
	case keyAbortTransaction:
		return &AbortTransactionRecord{}, 0
	case keyRemoveDelegationToken:
		return &RemoveDelegationTokenRecord{}, 0
	case keyRegisterController:
		return &RegisterControllerRecord{}, 0
	case keyClearELR:
		return &ClearELRRecord{}, 0
	case keyUnregisterController:
		return &UnregisterControllerRecord{}, 0
	}
	return nil, 0
}

// ParseMetadata reads a framed metadata record. Nothing of value is kept. A type or version that is not known is
// protocol.UnsupportedVersion, as the log then says things that cannot be followed (Kafka marks no metadata record as
// ignorable); malformed bytes, and bytes after the record, are protocol.CorruptMessage.
func ParseMetadata(value []byte) (MetadataRecord, error) {
	c := &coder{b: value, reading: true}
	var frame, key, version uint32
	c.uvarint(&frame)
	c.uvarint(&key)
	c.uvarint(&version)
	if c.err != nil {
		return nil, c.err
	}
	if frame != frameVersion {
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "metadata record has frame version %d, not %d", frame, frameVersion)
	}
	if key > 0xffff {
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "unknown metadata record type %d", key)
	}
	r, latest := newest(uint16(key))
	if r == nil {
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "unknown metadata record type %d", key)
	}
	if version > uint32(latest) {
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "metadata record type %d has version %d; the newest known is %d", key, version, latest)
	}
	c.version = int16(version)
	r.fields(c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes after metadata record type %d", len(c.b), key)
	}
	if c.err != nil {
		return nil, c.err
	}
	return r, nil
}

// appendFramed writes r in a version.
func appendFramed(b []byte, r MetadataRecord, version int16) []byte {
	c := &coder{b: b, version: version}
	frame, key, v := frameVersion, uint32(r.APIKey()), uint32(version)
	c.uvarint(&frame)
	c.uvarint(&key)
	c.uvarint(&v)
	r.fields(c)
	return c.b
}
