package group

import (
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// The methods by which a classic group is one group among others.

func (g *classicGroup) groupID() string          { return g.id }
func (g *classicGroup) kind() kind               { return classicKind }
func (g *classicGroup) stateName() string        { return g.state.String() }
func (g *classicGroup) protocolTypeName() string { return g.protocolType }
func (g *classicGroup) isEmpty() bool            { return g.state == empty }
func (g *classicGroup) size() int                { return len(g.members) }

// checkCommit implements group (ClassicGroup.validateOffsetCommit).
func (g *classicGroup) checkCommit(by committer) (partitionCheck, error) {
	if g.state == dead {
		return nil, protocol.CoordinatorNotAvailable
	}
	if by.epoch < 0 && g.state == empty {
		return nil, nil // an administrator, or a consumer without membership
	}
	if by.epoch >= 0 || by.memberID != "" || by.instanceID != nil {
		if err := g.check(by.memberID, by.instanceID); err != nil {
			return nil, err
		}
		if by.epoch != g.generation {
			return nil, protocol.IllegalGeneration
		}
	} else if g.state != empty && !by.transactional {
		return nil, protocol.UnknownMemberID
	}
	if g.state == completingRebalance && !by.transactional {
		return nil, protocol.RebalanceInProgress
	}
	return nil, nil
}

// checkFetch implements group: a classic group lets everybody read its offsets.
func (g *classicGroup) checkFetch(*string, int32) error {
	return nil
}

// checkOffsetDelete implements group: a group with members must be one whose subscriptions can be read.
func (g *classicGroup) checkOffsetDelete() error {
	switch {
	case g.state == dead:
		return protocol.Errorf(protocol.GroupIDNotFound, "Group %s is in dead state.", g.id)
	case g.state != empty && !g.usesConsumerProtocol():
		return protocol.NonEmptyGroup
	default:
		return nil
	}
}

// checkDelete implements group.
func (g *classicGroup) checkDelete() error {
	switch g.state {
	case dead:
		return protocol.Errorf(protocol.GroupIDNotFound, "Group %s is in dead state.", g.id)
	case empty:
		return nil
	default:
		return protocol.NonEmptyGroup
	}
}

// tombstones implements group.
func (g *classicGroup) tombstones(records []runtime.Record) []runtime.Record {
	return append(records, groupTombstone(g.id))
}
