package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// memberState is where a member of a consumer group stands on the way to its target assignment, as it is in its record (Kafka's MemberState).
type memberState int8

const (
	memberStable         memberState = 0   // has all that its epoch's target says
	unrevokedPartitions  memberState = 1   // must give up partitions before it gets a new epoch
	unreleasedPartitions memberState = 2   // waits for partitions that others still have
	unknownMemberState   memberState = 127 // of a version not known here
)

// Member epochs that a client sends with a meaning of their own, and what a member has that was never in a group.
const (
	joinEpoch        int32 = 0
	leaveEpoch       int32 = -1
	staticLeaveEpoch int32 = -2 // a static member leaves and will be back
	noEpoch          int32 = -1
)

// consumerMember is one member of a consumer group. It is never changed in place: a change is a new value that replaces it when its record
// is replayed.
type consumerMember struct {
	id               string
	epoch            int32
	previousEpoch    int32
	state            memberState
	instanceID       *string
	rackID           *string
	clientID         string
	clientHost       string
	rebalanceTimeout int32    // ms; -1: not known
	topics           []string // subscribed by name: ascending, distinct
	regex            string   // subscribed by regular expression; "": none
	regexNull        bool     // the record has null for the expression
	assignor         *string  // that it asks for
	assigned         owned
	revoking         owned // to be given up
	// classic is there if it uses the classic protocol.
	classic *schema.ClassicMemberMetadata
}

// newConsumerMember is a member that has not joined yet.
func newConsumerMember(id string) *consumerMember {
	return &consumerMember{id: id, previousEpoch: noEpoch, rebalanceTimeout: -1}
}

// reconciled reports whether the member has all that the target of epoch says.
func (m *consumerMember) reconciled(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

// sameMetadata reports whether the records of what the two members ask for are the same.
func (m *consumerMember) sameMetadata(o *consumerMember) bool {
	return m.id == o.id && equalString(m.instanceID, o.instanceID) && equalString(m.rackID, o.rackID) &&
		m.clientID == o.clientID && m.clientHost == o.clientHost && m.rebalanceTimeout == o.rebalanceTimeout &&
		slices.Equal(m.topics, o.topics) && m.regex == o.regex && m.regexNull == o.regexNull && equalString(m.assignor, o.assignor) &&
		equalClassic(m.classic, o.classic)
}

// sameAssignment reports whether the records of the two members' assignments are the same.
func (m *consumerMember) sameAssignment(o *consumerMember) bool {
	return m.epoch == o.epoch && m.previousEpoch == o.previousEpoch && m.state == o.state && m.assigned.equal(o.assigned) && m.revoking.equal(o.revoking)
}

func equalString(a, b *string) bool {
	return a == b || (a != nil && b != nil && *a == *b)
}

func equalClassic(a, b *schema.ClassicMemberMetadata) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	return a.SessionTimeoutMs == b.SessionTimeoutMs && slices.EqualFunc(a.SupportedProtocols, b.SupportedProtocols, func(p, q schema.ClassicProtocol) bool {
		return p.Name == q.Name && slices.Equal(p.Metadata, q.Metadata)
	})
}

// owned is partitions with the epoch since when a member has each of them: ascending by topic id and partition, without empty topics. It is
// never changed in place.
type owned []ownedTopic

type ownedTopic struct {
	id         protocol.UUID
	partitions []int32
	epochs     []int32
}

func (o owned) equal(other owned) bool {
	return slices.EqualFunc(o, other, func(a, b ownedTopic) bool {
		return a.id == b.id && slices.Equal(a.partitions, b.partitions) && slices.Equal(a.epochs, b.epochs)
	})
}

// topic returns the partitions of one topic.
func (o owned) topic(id protocol.UUID) (ownedTopic, bool) {
	i, ok := slices.BinarySearchFunc(o, id, func(t ownedTopic, id protocol.UUID) int { return compareIDs(t.id, id) })
	if !ok {
		return ownedTopic{}, false
	}
	return o[i], true
}

// epoch is since when the member has the partition; ok is false if it has not.
func (o owned) epoch(id protocol.UUID, partition int32) (epoch int32, ok bool) {
	t, _ := o.topic(id)
	i, ok := slices.BinarySearch(t.partitions, partition)
	if !ok {
		return 0, false
	}
	return t.epochs[i], true
}

// with returns o and other together. Of a partition that is in both, other's epoch counts.
func (o owned) with(other owned) owned {
	all := slices.Clone(o)
	for _, t := range other {
		i, ok := slices.BinarySearchFunc(all, t.id, func(t ownedTopic, id protocol.UUID) int { return compareIDs(t.id, id) })
		if !ok {
			all = slices.Insert(all, i, t)
			continue
		}
		merged := ownedTopic{id: t.id, partitions: slices.Clone(all[i].partitions), epochs: slices.Clone(all[i].epochs)}
		for j, p := range t.partitions {
			merged.put(p, t.epochs[j])
		}
		all[i] = merged
	}
	return all
}

// put adds one partition. Those that are added in ascending order cost no search.
func (t *ownedTopic) put(partition, epoch int32) {
	if n := len(t.partitions); n == 0 || t.partitions[n-1] < partition {
		t.partitions, t.epochs = append(t.partitions, partition), append(t.epochs, epoch)
		return
	}
	i, ok := slices.BinarySearch(t.partitions, partition)
	if ok {
		t.epochs[i] = epoch
		return
	}
	t.partitions, t.epochs = slices.Insert(t.partitions, i, partition), slices.Insert(t.epochs, i, epoch)
}

// sinceZero returns the partitions with epoch 0.
func (o owned) sinceZero() owned {
	all := slices.Clone(o)
	for i := range all {
		all[i].epochs = make([]int32, len(all[i].epochs))
	}
	return all
}

func compareIDs(a, b protocol.UUID) int { return bytes.Compare(a[:], b[:]) }

// ownedOf reads partitions from a record, in any order. Epochs that are not there, or do not fit, are the member's own.
func ownedOf(topics []schema.CurrentTopicPartitions, memberEpoch int32) owned {
	var o owned
	for _, t := range topics {
		if len(t.Partitions) == 0 {
			continue
		}
		one := ownedTopic{id: t.TopicID, partitions: make([]int32, 0, len(t.Partitions)), epochs: make([]int32, 0, len(t.Partitions))}
		for i, p := range t.Partitions {
			epoch := max(memberEpoch, 0)
			if len(t.AssignmentEpochs) == len(t.Partitions) {
				epoch = t.AssignmentEpochs[i]
			}
			one.put(p, epoch)
		}
		o = append(o, one)
	}
	slices.SortFunc(o, func(a, b ownedTopic) int { return compareIDs(a.id, b.id) })
	return o
}

// record returns the partitions as a record has them.
func (o owned) record() []schema.CurrentTopicPartitions {
	topics := make([]schema.CurrentTopicPartitions, 0, len(o))
	for _, t := range o {
		topics = append(topics, schema.CurrentTopicPartitions{TopicID: t.id, Partitions: t.partitions, AssignmentEpochs: t.epochs})
	}
	return topics
}

// targetOf reads a target assignment from a record, in any order.
func targetOf(topics []schema.TargetTopicPartitions) assignor.Assignment {
	a := make(assignor.Assignment, len(topics))
	for _, t := range topics {
		if len(t.Partitions) > 0 {
			p := slices.Clone(t.Partitions)
			slices.Sort(p)
			a[t.TopicID] = slices.Compact(p)
		}
	}
	return a
}

// targetRecord returns a target assignment as a record has it.
func targetRecord(a assignor.Assignment) []schema.TargetTopicPartitions {
	topics := make([]schema.TargetTopicPartitions, 0, len(a))
	for id, partitions := range a {
		topics = append(topics, schema.TargetTopicPartitions{TopicID: id, Partitions: partitions})
	}
	slices.SortFunc(topics, func(a, b schema.TargetTopicPartitions) int { return compareIDs(a.TopicID, b.TopicID) })
	return topics
}

func equalTargets(a, b assignor.Assignment) bool { return maps.EqualFunc(a, b, slices.Equal) }

// sortedDistinct returns names in ascending order, each once.
func sortedDistinct(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}
