package schema

// ConfigRecord sets one config of a resource, or removes it if Value is nil.
type ConfigRecord struct {
	ResourceType int8   // ConfigResource type: 2 topic, 4 broker, 16 client metrics, 32 group
	ResourceName string // of a broker: its id, or empty for all brokers
	Name         string
	Value        *string
}

// APIKey implements MetadataRecord.
func (*ConfigRecord) APIKey() uint16 { return keyConfig }

// Append implements MetadataRecord.
func (r *ConfigRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *ConfigRecord) fields(c *coder) {
	c.int8(&r.ResourceType)
	c.string(&r.ResourceName)
	c.string(&r.Name)
	c.nullableString(&r.Value)
	c.tags()
}

// FeatureLevelRecord finalizes a feature at a level; level 0 removes it.
type FeatureLevelRecord struct {
	Name         string
	FeatureLevel int16
}

// APIKey implements MetadataRecord.
func (*FeatureLevelRecord) APIKey() uint16 { return keyFeatureLevel }

// Append implements MetadataRecord.
func (r *FeatureLevelRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *FeatureLevelRecord) fields(c *coder) {
	c.string(&r.Name)
	c.int16(&r.FeatureLevel)
	c.tags()
}

// ProducerIDsRecord hands a block of producer ids to a broker (Kafka's ProducerIdsRecord).
type ProducerIDsRecord struct {
	BrokerID       int32
	BrokerEpoch    int64
	NextProducerID int64 // the first id that is still free
}

// APIKey implements MetadataRecord.
func (*ProducerIDsRecord) APIKey() uint16 { return keyProducerIDs }

// Append implements MetadataRecord.
func (r *ProducerIDsRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *ProducerIDsRecord) fields(c *coder) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.int64(&r.NextProducerID)
	c.tags()
}

// NoOpRecord moves the metadata log on and changes nothing.
type NoOpRecord struct{}

// APIKey implements MetadataRecord.
func (*NoOpRecord) APIKey() uint16 { return keyNoOp }

// Append implements MetadataRecord.
func (r *NoOpRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *NoOpRecord) fields(c *coder) { c.tags() }

// BeginTransactionRecord begins records that take effect together, at their EndTransactionRecord (KIP-868).
type BeginTransactionRecord struct{ Name *string }

// APIKey implements MetadataRecord.
func (*BeginTransactionRecord) APIKey() uint16 { return keyBeginTransaction }

// Append implements MetadataRecord.
func (r *BeginTransactionRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *BeginTransactionRecord) fields(c *coder) {
	c.tags(tag{0, r.Name != nil, func() { c.nullableString(&r.Name) }})
}

// EndTransactionRecord puts the records since BeginTransactionRecord into effect.
type EndTransactionRecord struct{}

// APIKey implements MetadataRecord.
func (*EndTransactionRecord) APIKey() uint16 { return keyEndTransaction }

// Append implements MetadataRecord.
func (r *EndTransactionRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *EndTransactionRecord) fields(c *coder) { c.tags() }

// AbortTransactionRecord drops the records since BeginTransactionRecord.
type AbortTransactionRecord struct{ Reason *string }

// APIKey implements MetadataRecord.
func (*AbortTransactionRecord) APIKey() uint16 { return keyAbortTransaction }

// Append implements MetadataRecord.
func (r *AbortTransactionRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *AbortTransactionRecord) fields(c *coder) {
	c.tags(tag{0, r.Reason != nil, func() { c.nullableString(&r.Reason) }})
}

// ZkMigrationStateRecord is left in the logs of clusters that came from ZooKeeper; it has no effect since Kafka 4.
type ZkMigrationStateRecord struct{ ZkMigrationState int8 }

// APIKey implements MetadataRecord.
func (*ZkMigrationStateRecord) APIKey() uint16 { return keyZkMigrationState }

// Append implements MetadataRecord.
func (r *ZkMigrationStateRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *ZkMigrationStateRecord) fields(c *coder) {
	c.int8(&r.ZkMigrationState)
	c.tags()
}
