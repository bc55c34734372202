package assignor

import (
	"github.com/ottla/ottla/protocol"
)

// Assignor is one way of sharing partitions among members. Implementations are safe for concurrent use.
type Assignor interface {
	// Name is what members ask for, and group.consumer.assignors lists.
	Name() string
	// Assign gives every partition of every subscribed topic to one of the members that subscribe to it. The result has one
	// assignment for each of spec.Members, in their order. An error has a Kafka code.
	Assign(spec *Spec) ([]Assignment, error)
}

// Spec is what an assignor decides on. It must not be changed, and may be shared.
type Spec struct {
	Members []Member // ascending by ID
	// Homogeneous says that all members subscribe to the same topics.
	Homogeneous bool
	// Topics are the topics that members subscribe to and that exist.
	Topics map[protocol.UUID]Topic
}

// Member is one member of the group.
type Member struct {
	ID         string
	InstanceID *string // of a static member (KIP-345)
	// Topics are the topics that it subscribes to and that exist, ascending by id. Members with the same subscription may share it.
	Topics []protocol.UUID
	// Target is what it was assigned last; it may name topics and partitions that it no longer subscribes to or that are gone.
	Target Assignment
}

// Topic is a topic that can be assigned.
type Topic struct {
	Name       string
	Partitions int32
}

// Assignment is partitions by topic: ascending, without doubles, and no topic without partitions. nil is none.
type Assignment map[protocol.UUID][]int32
