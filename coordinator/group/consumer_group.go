package group

import (
	"time"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/protocol"
)

// consumerGroup is a group of the consumer protocol (KIP-848; Kafka's ConsumerGroup). All that is durable of it changes only in the
// replay of its records.
type consumerGroup struct {
	id    string
	epoch int32 // raised by every change that asks for a new assignment
	// metadataHash is of the topics that are subscribed, as of epoch.
	metadataHash int64
	members      map[string]*consumerMember
	static       map[string]string // instance id to member id

	// The target assignment, and for which epoch and when (ms, 0: not known) it was computed.
	assignmentEpoch     int32
	assignmentTimestamp int64
	target              map[string]assignor.Assignment // by member

	// Sums over the members.
	subscribed subscriptions                     // by topic
	regexes    map[string]int                    // members by regular expression
	assignors  map[string]int                    // members by the assignor that they ask for
	classic    int                               // members of the classic protocol
	protocols  map[string]int                    // members of the classic protocol by protocol that they support
	owners     map[protocol.UUID]map[int32]int32 // epoch of the member that has a partition

	resolved map[string]resolvedRegex // by regular expression

	// The topics are looked at again at refreshAt, or when the epoch is not refreshEpoch any more because a record was lost. Not durable.
	refreshAt    time.Time
	refreshEpoch int32

	hasPartitionMetadata bool // a record of type 4, of a version before 4.1, is still there
}

// subscribers counts who subscribes to a topic: members by its name, and regular expressions that matched it.
type subscribers struct{ names, regexes int }

// subscriptions are the subscribers by topic.
type subscriptions map[string]subscribers

// less takes subscribers away; a topic that has none left is not kept.
func (all subscriptions) less(topic string, by subscribers) {
	n := all[topic]
	if n = (subscribers{n.names - by.names, n.regexes - by.regexes}); n == (subscribers{}) {
		delete(all, topic)
		return
	}
	all[topic] = n
}

// resolvedRegex is what a regular expression matched.
type resolvedRegex struct {
	topics    []string // ascending
	version   int64    // offset of the metadata image
	timestamp int64    // ms
}

// firstConsumerEpoch is what a group has before its first record.
const firstConsumerEpoch = 1

func newConsumerGroup(id string) *consumerGroup {
	return &consumerGroup{
		id: id, epoch: firstConsumerEpoch, assignmentEpoch: firstConsumerEpoch,
		members: map[string]*consumerMember{}, static: map[string]string{}, target: map[string]assignor.Assignment{},
		subscribed: subscriptions{}, regexes: map[string]int{}, assignors: map[string]int{}, protocols: map[string]int{},
		owners: map[protocol.UUID]map[int32]int32{}, resolved: map[string]resolvedRegex{},
	}
}

// noOwner is the epoch of a partition that no member has.
const noOwner = -1

// ownerEpoch is the epoch of the member that has a partition, or is to give it up; noOwner if nobody has it.
func (g *consumerGroup) ownerEpoch(id protocol.UUID, partition int32) int32 {
	if epoch, ok := g.owners[id][partition]; ok {
		return epoch
	}
	return noOwner
}

// staticMember returns the member with an instance id, nil if there is none.
func (g *consumerGroup) staticMember(instanceID *string) *consumerMember {
	if instanceID == nil {
		return nil
	}
	return g.members[g.static[*instanceID]]
}

// targetFor is the present target assignment of a member; one that takes a static member's place has that one's.
func (g *consumerGroup) targetFor(m *consumerMember) assignor.Assignment {
	if m.instanceID != nil {
		return g.target[g.static[*m.instanceID]]
	}
	return g.target[m.id]
}

// setMember puts a member into the place of the one with its id, and keeps the sums.
func (s *shard) setMember(g *consumerGroup, m *consumerMember) {
	old := g.members[m.id]
	g.members[m.id] = m
	if m.instanceID != nil {
		g.static[*m.instanceID] = m.id
	}
	s.countMember(g, m, 1)
	if old != nil {
		s.countMember(g, old, -1)
		g.release(old)
	}
	g.own(m)
}

// removeMember takes a member out.
func (s *shard) removeMember(g *consumerGroup, m *consumerMember) {
	delete(g.members, m.id)
	if m.instanceID != nil && g.static[*m.instanceID] == m.id {
		delete(g.static, *m.instanceID)
	}
	s.countMember(g, m, -1)
	g.release(m)
}

// countMember adds a member to the sums, or takes it out.
func (s *shard) countMember(g *consumerGroup, m *consumerMember, by int) {
	for _, t := range m.topics {
		s.countSubscribers(g, t, subscribers{names: by})
	}
	if m.regex != "" {
		count(g.regexes, m.regex, by)
	}
	if m.assignor != nil {
		count(g.assignors, *m.assignor, by)
	}
	if m.classic != nil {
		g.classic += by
		for _, p := range m.classic.SupportedProtocols {
			count(g.protocols, p.Name, by)
		}
	}
}

// count adds to a sum; one that is 0 is not kept.
func count(sums map[string]int, key string, by int) {
	if sums[key] += by; sums[key] == 0 {
		delete(sums, key)
	}
}

// own notes that the member has its partitions, since its epoch.
func (g *consumerGroup) own(m *consumerMember) {
	for _, partitions := range []owned{m.assigned, m.revoking} {
		for _, t := range partitions {
			owners := g.owners[t.id]
			if owners == nil {
				owners = make(map[int32]int32, len(t.partitions))
				g.owners[t.id] = owners
			}
			for _, p := range t.partitions {
				if epoch, ok := owners[p]; !ok || epoch < m.epoch {
					owners[p] = m.epoch
				}
			}
		}
	}
}

// release notes that the member no longer has its partitions, where no other has taken them since.
func (g *consumerGroup) release(m *consumerMember) {
	for _, partitions := range []owned{m.assigned, m.revoking} {
		for _, t := range partitions {
			owners := g.owners[t.id]
			for _, p := range t.partitions {
				if epoch, ok := owners[p]; ok && epoch == m.epoch {
					delete(owners, p)
				}
			}
			if len(owners) == 0 {
				delete(g.owners, t.id)
			}
		}
	}
}

// stateName implements group.
func (g *consumerGroup) stateName() string {
	if len(g.members) == 0 {
		return "Empty"
	}
	if g.epoch > g.assignmentEpoch {
		return "Assigning"
	}
	for _, m := range g.members {
		if !m.reconciled(g.assignmentEpoch) {
			return "Reconciling"
		}
	}
	return "Stable"
}

// preferredAssignor is the assignor that most members ask for, after old was replaced by updated (either may be nil); the first in the
// broker's list if nobody asks for one.
func (s *shard) preferredAssignor(g *consumerGroup, old, updated *consumerMember) string {
	preferred, most := s.settings.assignors[0], 0
	for _, name := range s.settings.assignors {
		n := g.assignors[name]
		if old != nil && old.assignor != nil && *old.assignor == name {
			n--
		}
		if updated != nil && updated.assignor != nil && *updated.assignor == name {
			n++
		}
		if n > most {
			preferred, most = name, n
		}
	}
	return preferred
}
