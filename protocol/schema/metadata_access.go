package schema

import "github.com/ottla/ottla/protocol"

// AccessControlEntryRecord adds an ACL. The numbers are those of Kafka's ResourceType, PatternType, AclOperation and
// AclPermissionType on the wire.
type AccessControlEntryRecord struct {
	ID                        protocol.UUID
	ResourceType              int8
	ResourceName              string
	PatternType               int8
	Principal, Host           string
	Operation, PermissionType int8
}

// APIKey implements MetadataRecord.
func (*AccessControlEntryRecord) APIKey() uint16 { return keyAccessControlEntry }

// Append implements MetadataRecord.
func (r *AccessControlEntryRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *AccessControlEntryRecord) fields(c *coder) {
	c.uuid(&r.ID)
	c.int8(&r.ResourceType)
	c.string(&r.ResourceName)
	c.int8(&r.PatternType)
	c.string(&r.Principal)
	c.string(&r.Host)
	c.int8(&r.Operation)
	c.int8(&r.PermissionType)
	c.tags()
}

// RemoveAccessControlEntryRecord removes an ACL.
type RemoveAccessControlEntryRecord struct{ ID protocol.UUID }

// APIKey implements MetadataRecord.
func (*RemoveAccessControlEntryRecord) APIKey() uint16 { return keyRemoveAccessControlEntry }

// Append implements MetadataRecord.
func (r *RemoveAccessControlEntryRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RemoveAccessControlEntryRecord) fields(c *coder) {
	c.uuid(&r.ID)
	c.tags()
}

// UserScramCredentialRecord sets a user's SCRAM credential (KIP-554, KIP-900).
type UserScramCredentialRecord struct {
	Name                       string
	Mechanism                  int8 // 1 SCRAM-SHA-256, 2 SCRAM-SHA-512
	Salt, StoredKey, ServerKey []byte
	Iterations                 int32
}

// APIKey implements MetadataRecord.
func (*UserScramCredentialRecord) APIKey() uint16 { return keyUserScramCredential }

// Append implements MetadataRecord.
func (r *UserScramCredentialRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *UserScramCredentialRecord) fields(c *coder) {
	c.string(&r.Name)
	c.int8(&r.Mechanism)
	c.bytes(&r.Salt)
	c.bytes(&r.StoredKey)
	c.bytes(&r.ServerKey)
	c.int32(&r.Iterations)
	c.tags()
}

// RemoveUserScramCredentialRecord removes a user's SCRAM credential of one mechanism.
type RemoveUserScramCredentialRecord struct {
	Name      string
	Mechanism int8
}

// APIKey implements MetadataRecord.
func (*RemoveUserScramCredentialRecord) APIKey() uint16 { return keyRemoveUserScramCredential }

// Append implements MetadataRecord.
func (r *RemoveUserScramCredentialRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RemoveUserScramCredentialRecord) fields(c *coder) {
	c.string(&r.Name)
	c.int8(&r.Mechanism)
	c.tags()
}

// QuotaEntity is one part of whom a quota is for.
type QuotaEntity struct {
	Type string  // user, client-id or ip
	Name *string // nil: the default of this type
}

// ClientQuotaRecord sets one quota of an entity, or removes it (KIP-546).
type ClientQuotaRecord struct {
	Entity []QuotaEntity
	Key    string
	Value  float64
	Remove bool
}

// APIKey implements MetadataRecord.
func (*ClientQuotaRecord) APIKey() uint16 { return keyClientQuota }

// Append implements MetadataRecord.
func (r *ClientQuotaRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *ClientQuotaRecord) fields(c *coder) {
	array(c, &r.Entity, 3, func(c *coder, e *QuotaEntity) {
		c.string(&e.Type)
		c.nullableString(&e.Name)
		c.tags()
	})
	c.string(&r.Key)
	c.float64(&r.Value)
	c.bool(&r.Remove)
	c.tags()
}

// DelegationTokenRecord creates or renews a delegation token; times are in ms since 1970.
type DelegationTokenRecord struct {
	Owner, Requester                                  string
	Renewers                                          []string
	IssueTimestamp, MaxTimestamp, ExpirationTimestamp int64
	TokenID                                           string
}

// APIKey implements MetadataRecord.
func (*DelegationTokenRecord) APIKey() uint16 { return keyDelegationToken }

// Append implements MetadataRecord.
func (r *DelegationTokenRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *DelegationTokenRecord) fields(c *coder) {
	c.string(&r.Owner)
	c.string(&r.Requester)
	c.strings(&r.Renewers)
	c.int64(&r.IssueTimestamp)
	c.int64(&r.MaxTimestamp)
	c.int64(&r.ExpirationTimestamp)
	c.string(&r.TokenID)
	c.tags()
}

// RemoveDelegationTokenRecord removes a delegation token.
type RemoveDelegationTokenRecord struct{ TokenID string }

// APIKey implements MetadataRecord.
func (*RemoveDelegationTokenRecord) APIKey() uint16 { return keyRemoveDelegationToken }

// Append implements MetadataRecord.
func (r *RemoveDelegationTokenRecord) Append(b []byte) []byte { return AppendMetadata(b, r, 0) }

func (r *RemoveDelegationTokenRecord) fields(c *coder) {
	c.string(&r.TokenID)
	c.tags()
}
