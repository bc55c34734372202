package group

import (
	"slices"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// reconciliation moves one member towards its target assignment (Kafka's CurrentAssignmentBuilder): first it gives up what is not in
// the target, and keeps its epoch until it says that it did; then it gets the target's epoch with all that nobody else has, and the rest as
// soon as that is free. So a partition has one owner at most.
type reconciliation struct {
	g             *consumerGroup
	image         *metadata.Image
	member        *consumerMember
	epoch         int32 // of the target
	target        assignor.Assignment
	subscriptions bool // the member's subscription changed
	// reported is what the member says it has; nil if it did not say.
	reported []kmsg.ConsumerGroupHeartbeatRequestTopic
}

// run returns the member as it is next: the same one if nothing changes.
func (r *reconciliation) run() (*consumerMember, error) {
	m := r.member
	switch m.state {
	case memberStable:
		if m.epoch != r.epoch {
			return r.next(m.epoch), nil
		}
		return r.unsubscribe(), nil
	case unrevokedPartitions:
		if r.holds(m.revoking) {
			return r.unsubscribe(), nil
		}
		return r.next(m.epoch), nil
	case unreleasedPartitions:
		return r.next(m.epoch), nil
	default:
		if r.reported == nil || len(r.reported) > 0 {
			return nil, protocol.Errorf(protocol.FencedMemberEpoch,
				"The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
		}
		return r.next(r.epoch), nil
	}
}

// holds reports whether the member still has, as far as it said, one of these partitions.
func (r *reconciliation) holds(partitions owned) bool {
	if r.reported == nil {
		return true
	}
	for i := range r.reported {
		t, ok := partitions.topic(r.reported[i].TopicID)
		if !ok {
			continue
		}
		for _, p := range r.reported[i].Partitions {
			if _, found := slices.BinarySearch(t.partitions, p); found {
				return true
			}
		}
	}
	return false
}

// subscribes reports whether the member subscribes to a topic that exists.
func (r *reconciliation) subscribes(id protocol.UUID) bool {
	t := r.image.TopicByID(id)
	if t == nil {
		return false
	}
	if _, ok := slices.BinarySearch(r.member.topics, t.Name); ok {
		return true
	}
	_, ok := slices.BinarySearch(r.g.resolved[r.member.regex].topics, t.Name)
	return ok
}

// unsubscribe takes the topics away that the member no longer subscribes to, without waiting for a new target.
func (r *reconciliation) unsubscribe() *consumerMember {
	m := r.member
	if !r.subscriptions {
		return m
	}
	var kept, gone owned
	for _, t := range m.assigned {
		if r.subscribes(t.id) {
			kept = append(kept, t)
		} else {
			gone = append(gone, t)
		}
	}
	none := len(m.topics) == 0 && len(r.g.resolved[m.regex].topics) == 0
	if len(gone) == 0 && (!none || len(m.revoking) > 0) {
		return m
	}
	revoking := m.revoking.with(gone)
	next := r.advance(m.epoch)
	next.assigned = kept
	if len(revoking) > 0 && r.holds(revoking) {
		next.state, next.revoking = unrevokedPartitions, revoking
	}
	return next
}

// next computes the member's next assignment; epoch is what it keeps while it has something to give up.
func (r *reconciliation) next(epoch int32) *consumerMember {
	m := r.member
	var kept, revoking, all owned
	unreleased := false
	for _, id := range r.topicIDs() {
		current, _ := m.assigned.topic(id)
		var target []int32
		if r.subscribes(id) {
			target = r.target[id]
		}
		keep, revoke, have := ownedTopic{id: id}, ownedTopic{id: id}, ownedTopic{id: id}
		for i, p := range current.partitions {
			if _, ok := slices.BinarySearch(target, p); ok {
				keep.put(p, current.epochs[i])
			} else {
				revoke.put(p, current.epochs[i])
			}
		}
		for _, p := range target {
			if i, ok := slices.BinarySearch(current.partitions, p); ok {
				have.put(p, current.epochs[i])
				continue
			}
			if _, own := m.revoking.epoch(id, p); !own && r.g.ownerEpoch(id, p) != noOwner {
				unreleased = true
				continue
			}
			have.put(p, r.epoch)
		}
		kept, revoking, all = kept.appended(keep), revoking.appended(revoke), all.appended(have)
	}
	if len(revoking) > 0 && r.holds(revoking) {
		next := r.advance(epoch)
		next.state, next.assigned, next.revoking = unrevokedPartitions, kept, revoking
		return next
	}
	next := r.advance(r.epoch)
	next.state, next.assigned, next.revoking = memberStable, all, nil
	if unreleased {
		next.state = unreleasedPartitions
	}
	return next
}

// advance copies the member with an epoch; the one it had becomes the previous.
func (r *reconciliation) advance(epoch int32) *consumerMember {
	next := *r.member
	next.epoch, next.previousEpoch = epoch, r.member.epoch
	return &next
}

// topicIDs are the topics of the target and of what the member has, ascending.
func (r *reconciliation) topicIDs() []protocol.UUID {
	ids := make([]protocol.UUID, 0, len(r.target)+len(r.member.assigned))
	for id := range r.target {
		ids = append(ids, id)
	}
	for _, t := range r.member.assigned {
		ids = append(ids, t.id)
	}
	slices.SortFunc(ids, compareIDs)
	return slices.Compact(ids)
}

// appended adds a topic that comes after all others; one without partitions is left out.
func (o owned) appended(t ownedTopic) owned {
	if len(t.partitions) == 0 {
		return o
	}
	return append(o, t)
}

// reconcile moves a member towards its target, and returns it as it is then, with the records of that. A member that has to give something up
// is fenced if it does not within its rebalance timeout.
func (s *shard) reconcile(env runtime.Env, r *reconciliation, records []runtime.Record) (*consumerMember, []runtime.Record, error) {
	if !r.subscriptions && r.member.reconciled(r.epoch) {
		return r.member, records, nil
	}
	next, err := r.run()
	if err != nil {
		return nil, nil, err
	}
	if next.sameAssignment(r.member) {
		return r.member, records, nil
	}
	if next.classic == nil {
		if next.state == unrevokedPartitions {
			s.setRebalanceTimeout(env, r.g.id, next)
		} else {
			env.Timers.Cancel(rebalanceKey(r.g.id, next.id))
		}
	}
	return next, append(records, currentRecord(r.g.id, next)), nil
}
