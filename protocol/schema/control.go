package schema

import (
	"encoding/binary"

	"github.com/ottla/ottla/protocol"
)

// ControlType is the kind of a control record (Kafka's ControlRecordType), as its key says.
type ControlType int16

// The kinds of control records.
const (
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

// AppendControlKey appends the key of a control record: version 0 and the type.
func AppendControlKey(b []byte, t ControlType) []byte {
	b = binary.BigEndian.AppendUint16(b, 0)
	return binary.BigEndian.AppendUint16(b, uint16(t))
}

// ParseControlKey reads the key of a control record. Types beyond the known ones are returned as they are: Kafka skips them.
func ParseControlKey(key []byte) (ControlType, error) {
	if len(key) < 4 {
		return 0, protocol.Errorf(protocol.CorruptMessage, "control record key of %d bytes", len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return 0, protocol.Errorf(protocol.CorruptMessage, "control record key has version %d", version)
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// Control is the value of one of a Raft log's control records. Its implementations are the pointers to the structs here.
type Control interface {
	// Type is the type that the record's key names.
	Type() ControlType
	// Append appends the record's value. Its version stands in its first field.
	Append(b []byte) []byte

	head() *int16
	fields(c *coder)
}

// ParseControl reads the value of a control record of a Raft log. Nothing of value is kept. Versions and types that are not
// known are protocol.UnsupportedVersion.
func ParseControl(t ControlType, value []byte) (Control, error) {
	var r Control
	var newest int16
	switch t {
	case ControlLeaderChange:
		r, newest = &LeaderChange{}, 1
	case ControlSnapshotHeader:
		r = &SnapshotHeader{}
	case ControlSnapshotFooter:
		r = &SnapshotFooter{}
	case ControlKRaftVersion:
		r = &KRaftVersion{}
	case ControlKRaftVoters:
		r = &KRaftVoters{}
	default:
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "control record type %d has no value of this kind", t)
	}
	c := &coder{b: value, reading: true}
	c.int16(r.head())
	if c.version = *r.head(); c.err == nil && (c.version < 0 || c.version > newest) {
		return nil, protocol.Errorf(protocol.UnsupportedVersion, "control record type %d has version %d; the newest known is %d", t, c.version, newest)
	}
	r.fields(c)
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d bytes after control record type %d", len(c.b), t)
	}
	if c.err != nil {
		return nil, c.err
	}
	return r, nil
}

func appendControl(b []byte, r Control) []byte {
	c := &coder{b: b, version: *r.head()}
	c.int16(r.head())
	r.fields(c)
	return c.b
}

// LeaderChange begins the epoch of a new leader of a Raft log (Kafka's LeaderChangeMessage). Version 1 has directory ids.
type LeaderChange struct {
	Version        int16
	LeaderID       int32
	Voters         []ReplicaKey
	GrantingVoters []ReplicaKey // who voted for the leader
}

// ReplicaKey is one voter; the zero directory id means that it is not known.
type ReplicaKey struct {
	ID          int32
	DirectoryID protocol.UUID
}

// Type implements Control.
func (*LeaderChange) Type() ControlType { return ControlLeaderChange }

// Append implements Control.
func (r *LeaderChange) Append(b []byte) []byte { return appendControl(b, r) }

func (r *LeaderChange) head() *int16 { return &r.Version }

func (r *LeaderChange) fields(c *coder) {
	voter := func(c *coder, k *ReplicaKey) {
		c.int32(&k.ID)
		if c.version >= 1 {
			c.uuid(&k.DirectoryID)
		}
		c.tags()
	}
	c.int32(&r.LeaderID)
	array(c, &r.Voters, 5, voter)
	array(c, &r.GrantingVoters, 5, voter)
	c.tags()
}

// SnapshotHeader is the first record of a snapshot.
type SnapshotHeader struct {
	Version                   int16
	LastContainedLogTimestamp int64 // ms since 1970, of the last record that went into the snapshot
}

// Type implements Control.
func (*SnapshotHeader) Type() ControlType { return ControlSnapshotHeader }

// Append implements Control.
func (r *SnapshotHeader) Append(b []byte) []byte { return appendControl(b, r) }

func (r *SnapshotHeader) head() *int16 { return &r.Version }

func (r *SnapshotHeader) fields(c *coder) {
	c.int64(&r.LastContainedLogTimestamp)
	c.tags()
}

// SnapshotFooter is the last record of a snapshot: a snapshot without it is not whole.
type SnapshotFooter struct{ Version int16 }

// Type implements Control.
func (*SnapshotFooter) Type() ControlType { return ControlSnapshotFooter }

// Append implements Control.
func (r *SnapshotFooter) Append(b []byte) []byte { return appendControl(b, r) }

func (r *SnapshotFooter) head() *int16 { return &r.Version }

func (r *SnapshotFooter) fields(c *coder) { c.tags() }

// KRaftVersion is the level of kraft.version (KIP-853): 0 static voters, 1 voters in the log.
type KRaftVersion struct {
	Version      int16
	KRaftVersion int16
}

// Type implements Control.
func (*KRaftVersion) Type() ControlType { return ControlKRaftVersion }

// Append implements Control.
func (r *KRaftVersion) Append(b []byte) []byte { return appendControl(b, r) }

func (r *KRaftVersion) head() *int16 { return &r.Version }

func (r *KRaftVersion) fields(c *coder) {
	c.int16(&r.KRaftVersion)
	c.tags()
}

// KRaftVoters is the set of voters (Kafka's VotersRecord, KIP-853).
type KRaftVoters struct {
	Version int16
	Voters  []Voter
}

// Voter is one voter of a quorum.
type Voter struct {
	ReplicaKey
	Endpoints                        []VoterEndpoint
	MinKRaftVersion, MaxKRaftVersion int16
}

// VoterEndpoint is one controller listener of a voter.
type VoterEndpoint struct {
	Name, Host string
	Port       uint16
}

// Type implements Control.
func (*KRaftVoters) Type() ControlType { return ControlKRaftVoters }

// Append implements Control.
func (r *KRaftVoters) Append(b []byte) []byte { return appendControl(b, r) }

func (r *KRaftVoters) head() *int16 { return &r.Version }

func (r *KRaftVoters) fields(c *coder) {
	array(c, &r.Voters, 27, func(c *coder, v *Voter) {
		c.int32(&v.ID)
		c.uuid(&v.DirectoryID)
		array(c, &v.Endpoints, 5, func(c *coder, e *VoterEndpoint) {
			c.string(&e.Name)
			c.string(&e.Host)
			c.uint16(&e.Port)
			c.tags()
		})
		c.int16(&v.MinKRaftVersion)
		c.int16(&v.MaxKRaftVersion)
		c.tags() // of KRaftVersionFeature
		c.tags()
	})
	c.tags()
}
