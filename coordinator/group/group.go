package group

import (
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// kind is the type of a group (Kafka's GroupType). Its text is how ListGroups v5 names it (KIP-848).
type kind string

const (
	classicKind  kind = "classic"
	consumerKind kind = "consumer"
)

// group is one group of a shard, of any kind: what offsets, expiry and the admin requests need to know of it (Kafka's Group).
type group interface {
	groupID() string
	kind() kind
	// stateName is Kafka's name of the state, as ListGroups shows it.
	stateName() string
	// protocolTypeName is the protocol type, as ListGroups shows it; "" if there is none.
	protocolTypeName() string
	// size is the number of members.
	size() int
	// isEmpty reports whether the group is there and has no members, so that it may expire or be deleted.
	isEmpty() bool
	// subscribes reports whether a member may be reading the topic: its offsets neither expire nor can be deleted.
	subscribes(topic string) bool
	// checkCommit decides whether by may commit offsets; partitions is nil unless each partition is to be checked as well.
	checkCommit(by committer) (partitions partitionCheck, err error)
	// checkFetch decides whether a member may read offsets (OffsetFetch v9 and later name it); nil and -1 is nobody.
	checkFetch(memberID *string, memberEpoch int32) error
	// checkOffsetDelete decides whether offsets may be deleted one by one (OffsetDelete).
	checkOffsetDelete() error
	// checkDelete decides whether the group may be deleted.
	checkDelete() error
	// expirationBase tells from when on an offset's retention counts, in ms; ok is false while none may expire.
	expirationBase() (base func(*offsetValue) int64, ok bool)
	// tombstones appends the records that remove the group, without its offsets.
	tombstones(records []runtime.Record) []runtime.Record
}

var _ group = (*classicGroup)(nil)

// committer is who commits offsets. epoch is the generation of a classic member or the epoch of another; negative with an empty member id is
// nobody: an administrator, or a consumer without membership.
type committer struct {
	memberID      string
	instanceID    *string
	epoch         int32
	transactional bool  // TxnOffsetCommit
	version       int16 // of the request
}

// partitionCheck decides whether the committer may commit the offset of one partition.
type partitionCheck func(topic string, topicID protocol.UUID, partition int32) error

// classic returns the classic group of that id.
func (s *shard) classic(id string) (*classicGroup, bool) {
	g, ok := s.groups[id].(*classicGroup)
	return g, ok
}
