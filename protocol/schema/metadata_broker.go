package schema

import "github.com/ottla/ottla/protocol"

// BrokerEndpoint is one listener of a broker or a controller.
type BrokerEndpoint struct {
	Name, Host       string
	Port             uint16
	SecurityProtocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

func (e *BrokerEndpoint) fields(c *coder) {
	c.string(&e.Name)
	c.string(&e.Host)
	c.uint16(&e.Port)
	c.int16(&e.SecurityProtocol)
	c.tags()
}

// BrokerFeature is the range of levels of one feature that a broker or a controller supports.
type BrokerFeature struct {
	Name                                     string
	MinSupportedVersion, MaxSupportedVersion int16
}

func (f *BrokerFeature) fields(c *coder) {
	c.string(&f.Name)
	c.int16(&f.MinSupportedVersion)
	c.int16(&f.MaxSupportedVersion)
	c.tags()
}

func (c *coder) endpoints(v *[]BrokerEndpoint) {
	array(c, v, 7, func(c *coder, e *BrokerEndpoint) { e.fields(c) })
}

func (c *coder) features(v *[]BrokerFeature) {
	array(c, v, 6, func(c *coder, f *BrokerFeature) { f.fields(c) })
}

// RegisterBrokerRecord registers a broker, or a new incarnation of it. The broker epoch is this record's offset.
type RegisterBrokerRecord struct {
	BrokerID             int32
	IsMigratingZkBroker  bool // version 2; refused by Kafka 4
	IncarnationID        protocol.UUID
	BrokerEpoch          int64
	EndPoints            []BrokerEndpoint
	Features             []BrokerFeature
	Rack                 *string
	Fenced               bool
	InControlledShutdown bool            // version 1
	LogDirs              []protocol.UUID // version 3
	CordonedLogDirs      []protocol.UUID // version 4; nil: not given
}

// APIKey implements MetadataRecord.
func (*RegisterBrokerRecord) APIKey() uint16 { return keyRegisterBroker }

// Append implements MetadataRecord.
func (r *RegisterBrokerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RegisterBrokerRecord) fields(c *coder) {
	c.int32(&r.BrokerID)
	if c.version >= 2 {
		c.bool(&r.IsMigratingZkBroker)
	}
	c.uuid(&r.IncarnationID)
	c.int64(&r.BrokerEpoch)
	c.endpoints(&r.EndPoints)
	c.features(&r.Features)
	c.nullableString(&r.Rack)
	c.bool(&r.Fenced)
	if c.version >= 1 {
		c.bool(&r.InControlledShutdown)
	}
	c.tags(
		tag{0, len(r.LogDirs) > 0, func() { c.uuids(&r.LogDirs) }},
		tag{1, r.CordonedLogDirs != nil, func() { c.nullUUIDs(&r.CordonedLogDirs) }},
	)
}

// UnregisterBrokerRecord removes a broker's registration.
type UnregisterBrokerRecord struct {
	BrokerID    int32
	BrokerEpoch int64
}

// APIKey implements MetadataRecord.
func (*UnregisterBrokerRecord) APIKey() uint16 { return keyUnregisterBroker }

// Append implements MetadataRecord.
func (r *UnregisterBrokerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *UnregisterBrokerRecord) fields(c *coder) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.tags()
}

// What BrokerRegistrationChangeRecord says of fencing and controlled shutdown.
const (
	FenceUnfence              int8 = -1 // the broker is no longer fenced
	FenceNone                 int8 = 0  // no change
	FenceFence                int8 = 1  // the broker is fenced
	ControlledShutdownNone    int8 = 0
	ControlledShutdownStarted int8 = 1
)

// BrokerRegistrationChangeRecord changes parts of a broker's registration; its zero values change nothing.
type BrokerRegistrationChangeRecord struct {
	BrokerID             int32
	BrokerEpoch          int64
	Fenced               int8            // FenceUnfence, FenceNone, FenceFence
	InControlledShutdown int8            // version 1
	LogDirs              []protocol.UUID // version 2; empty: no change
	CordonedLogDirs      []protocol.UUID // version 3; nil: no change
}

// APIKey implements MetadataRecord.
func (*BrokerRegistrationChangeRecord) APIKey() uint16 { return keyBrokerRegistrationChange }

// Append implements MetadataRecord.
func (r *BrokerRegistrationChangeRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *BrokerRegistrationChangeRecord) fields(c *coder) {
	c.int32(&r.BrokerID)
	c.int64(&r.BrokerEpoch)
	c.tags(
		tag{0, r.Fenced != FenceNone, func() { c.int8(&r.Fenced) }},
		tag{1, r.InControlledShutdown != ControlledShutdownNone, func() { c.int8(&r.InControlledShutdown) }},
		tag{2, len(r.LogDirs) > 0, func() { c.uuids(&r.LogDirs) }},
		tag{3, r.CordonedLogDirs != nil, func() { c.nullUUIDs(&r.CordonedLogDirs) }},
	)
}

// lowestVersion is the lowest version that holds what the record changes.
func (r *BrokerRegistrationChangeRecord) lowestVersion() int16 {
	switch {
	case r.CordonedLogDirs != nil:
		return 3
	case len(r.LogDirs) > 0:
		return 2
	case r.InControlledShutdown != ControlledShutdownNone:
		return 1
	}
	return 0
}

// FenceBrokerRecord fences a broker: the form that older controllers wrote.
type FenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// APIKey implements MetadataRecord.
func (*FenceBrokerRecord) APIKey() uint16 { return keyFenceBroker }

// Append implements MetadataRecord.
func (r *FenceBrokerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *FenceBrokerRecord) fields(c *coder) {
	c.int32(&r.ID)
	c.int64(&r.Epoch)
	c.tags()
}

// UnfenceBrokerRecord ends a broker's fencing: the form that older controllers wrote.
type UnfenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// APIKey implements MetadataRecord.
func (*UnfenceBrokerRecord) APIKey() uint16 { return keyUnfenceBroker }

// Append implements MetadataRecord.
func (r *UnfenceBrokerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *UnfenceBrokerRecord) fields(c *coder) {
	c.int32(&r.ID)
	c.int64(&r.Epoch)
	c.tags()
}

// RegisterControllerRecord registers a controller (KIP-919).
type RegisterControllerRecord struct {
	ControllerID     int32
	IncarnationID    protocol.UUID
	ZkMigrationReady bool
	EndPoints        []BrokerEndpoint
	Features         []BrokerFeature
}

// APIKey implements MetadataRecord.
func (*RegisterControllerRecord) APIKey() uint16 { return keyRegisterController }

// Append implements MetadataRecord.
func (r *RegisterControllerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RegisterControllerRecord) fields(c *coder) {
	c.int32(&r.ControllerID)
	c.uuid(&r.IncarnationID)
	c.bool(&r.ZkMigrationReady)
	c.endpoints(&r.EndPoints)
	c.features(&r.Features)
	c.tags()
}

// UnregisterControllerRecord removes a controller's registration (Kafka 4.4).
type UnregisterControllerRecord struct{ ControllerID int32 }

// APIKey implements MetadataRecord.
func (*UnregisterControllerRecord) APIKey() uint16 { return keyUnregisterController }

// Append implements MetadataRecord.
func (r *UnregisterControllerRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *UnregisterControllerRecord) fields(c *coder) {
	c.int32(&r.ControllerID)
	c.tags()
}
