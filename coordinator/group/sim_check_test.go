package group

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// simPartition is a partition by its topic's id.
type simPartition struct {
	topic     protocol.UUID
	partition int32
}

// check holds after every event. Those that changed nothing are left out.
func (s *sim) check() {
	s.dirty = false
	s.checkOwners()
	s.checkEpoch()
}

// checkOwners finds partitions that two members take for their own, both in an epoch that the coordinator holds them to be in. A member that it has fenced
// may not know that yet; its epoch keeps it from doing harm.
func (s *sim) checkOwners() {
	clear(s.owners)
	for _, m := range s.members {
		if !m.alive || !s.current(m) {
			continue
		}
		for id, partitions := range m.role().owns() {
			for _, p := range partitions {
				if other, ok := s.owners[simPartition{id, p}]; ok {
					s.fail("partition %d of %s belongs to %s and %s\n%s", p, s.h.image.TopicByID(id).Name, other.name, m.name, s.durable())
					return
				}
				s.owners[simPartition{id, p}] = m
			}
		}
	}
}

// current reports whether the coordinator knows the member in the epoch in which it got what it has. A member of the classic protocol in a consumer group that was
// removed is taken in again by its next JoinGroup without being told, as in Kafka; until it has its new assignment it is such a one.
func (s *sim) current(m *simMember) bool {
	id, _ := m.role().identity()
	epoch := m.role().ownsSince()
	switch g := s.shard.groups[testGroup].(type) {
	case *consumerGroup:
		known, ok := g.members[id]
		return ok && (known.epoch == epoch || known.previousEpoch == epoch)
	case *classicGroup:
		_, ok := g.byID[id]
		return ok && g.generation == epoch
	default:
		return false
	}
}

// checkEpoch finds out whether the group's epoch went back. An empty group may begin anew.
func (s *sim) checkEpoch() {
	var epoch int32
	var kind kind
	if g := s.shard.groups[testGroup]; g == nil || g.isEmpty() {
		s.lastEpoch = 0
		return
	}
	switch g := s.shard.groups[testGroup].(type) {
	case *consumerGroup:
		epoch, kind = g.epoch, consumerKind
	case *classicGroup:
		if len(g.members) == 0 {
			s.lastEpoch = 0 // it is empty as soon as nobody is pending any more
			return
		}
		if g.state != stable {
			return // a generation counts once it is durable
		}
		epoch, kind = g.generation, classicKind
	}
	if epoch < s.lastEpoch {
		s.fail("the %s group's epoch goes back from %d to %d", kind, s.lastEpoch, epoch)
	}
	s.lastEpoch = epoch
}

// durable is what the log holds of the group, "" if part of it is memory: a rebalance of a classic group.
func (s *sim) durable() string {
	var b strings.Builder
	switch g := s.shard.groups[testGroup].(type) {
	case *consumerGroup:
		fmt.Fprintf(&b, "consumer epoch %d hash %d assignment %d at %d\n", g.epoch, g.metadataHash, g.assignmentEpoch, g.assignmentTimestamp)
		for _, id := range slices.Sorted(maps.Keys(g.members)) {
			m := g.members[id]
			fmt.Fprintf(&b, "%s %q %q epoch %d of %d state %d %v %q classic %v assigned %v revoking %v target %v\n", id, deref(m.instanceID), m.clientID,
				m.epoch, m.previousEpoch, m.state, m.topics, m.regex, m.classic != nil, m.assigned, m.revoking, g.target[id])
		}
		for _, regex := range slices.Sorted(maps.Keys(g.resolved)) {
			fmt.Fprintf(&b, "%q %v\n", regex, g.resolved[regex])
		}
		fmt.Fprintln(&b, "subscribed", g.subscribed, "owners", g.owners, "static", g.static, "classic", g.classic, g.protocols, g.regexes, g.assignors)
	case *classicGroup:
		if g.state != stable {
			return ""
		}
		fmt.Fprintf(&b, "classic generation %d %s leader %s\n", g.generation, deref(g.protocolName), g.leader)
		for _, m := range g.members {
			fmt.Fprintf(&b, "%s %q %q %x\n", m.id, deref(m.instanceID), m.clientID, m.assignment)
		}
	}
	return b.String()
}

// durableOffsets is what the log holds of offsets.
func (s *sim) durableOffsets() string {
	var lines []string
	for k, v := range s.shard.offsets.all(testGroup) {
		lines = append(lines, fmt.Sprint(k.topic, "-", k.partition, " ", v.offset, " at ", v.commitTimestamp, " in ", v.recordOffset))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// checkAtRest finds out whether the group came to rest once all faults were over: each partition of a subscribed topic has one owner, and the committed
// offsets are those that the members were told.
func (s *sim) checkAtRest() {
	subscribed := map[string]bool{}
	owners := map[offsetKey]int{}
	for _, m := range s.members {
		if !m.alive {
			continue
		}
		if !s.current(m) {
			s.fail("%s is not in the group\n%s", m.name, s.durable())
		}
		for _, t := range m.subscribed() {
			subscribed[t] = true
		}
		for _, k := range m.keys() {
			owners[k]++
		}
	}
	for name := range subscribed {
		for p := range int32(len(s.h.image.Topic(name).Partitions)) {
			if n := owners[offsetKey{testGroup, name, p}]; n != 1 {
				s.fail("partition %d of %s has %d owners\n%s", p, name, n, s.durable())
			}
		}
	}
	for k, offset := range s.acked {
		if s.committed[k] < offset-50 || s.committed[k] == 0 {
			s.fail("%v: %d was acknowledged, %d is committed", k, offset, s.committed[k])
		}
	}
}

// subscribed are the topics of the member's subscription that exist.
func (m *simMember) subscribed() (topics []string) {
	names := []string{"t0", "t1", "t2", "t3"} // t[0-3]
	if m.classic != nil {
		names = m.classic.topics
	} else if m.modern.regex == nil {
		names = m.modern.topics
	}
	for _, name := range names {
		if m.sim.h.image.Topic(name) != nil {
			topics = append(topics, name)
		}
	}
	return topics
}
