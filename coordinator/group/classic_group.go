package group

import (
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// state of a classic group.
type state uint8

const (
	empty               state = iota // no members; offsets may be there
	preparingRebalance               // waits for the members to join
	completingRebalance              // waits for the leader's assignment
	stable
	dead // dropped with its shard
)

// String is Kafka's name of the state, as ListGroups and DescribeGroups show it.
func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}

// consumerProtocolType is the protocol type of consumers, whose subscriptions the coordinator can read.
const consumerProtocolType = "consumer"

// classicGroup is a group of the classic rebalance protocol, or, without a protocol type and members, a place for the
// offsets of consumers that do not use membership ("simple group").
type classicGroup struct {
	id             string
	state          state
	previous       state
	stateTimestamp int64  // ms when the state began; -1 if a record of an old version did not tell
	protocolType   string // "": none
	protocolName   *string
	generation     int32
	leader         string // "": none

	members      []*member // in the order they joined
	byID         map[string]*member
	staticID     map[string]string // instance id to member id
	pendingJoin  map[string]struct{}
	pendingSync  map[string]struct{}
	awaitingJoin int            // members with a parked JoinGroup
	supported    map[string]int // members by protocol that they support

	subscribed      map[string]struct{} // topics of all members of a consumer group
	subscribedKnown bool

	newMemberAdded bool // during the initial delay
}

func newClassicGroup(id string, now time.Time) *classicGroup {
	return &classicGroup{
		id: id, state: empty, previous: dead, stateTimestamp: now.UnixMilli(),
		byID: map[string]*member{}, staticID: map[string]string{},
		pendingJoin: map[string]struct{}{}, pendingSync: map[string]struct{}{}, supported: map[string]int{},
	}
}

// transition moves the group to a state.
func (g *classicGroup) transition(to state, now time.Time) {
	g.previous, g.state = g.state, to
	g.stateTimestamp = now.UnixMilli()
}

// canRebalance reports whether a rebalance can begin in the group's state.
func (g *classicGroup) canRebalance() bool {
	return g.state == stable || g.state == completingRebalance || g.state == empty
}

func (g *classicGroup) usesConsumerProtocol() bool { return g.protocolType == consumerProtocolType }

func (g *classicGroup) isLeader(memberID string) bool { return g.leader != "" && g.leader == memberID }

func (g *classicGroup) allJoined() bool {
	return g.awaitingJoin == len(g.members) && len(g.pendingJoin) == 0
}

// rebalanceTimeout is the largest of all members.
func (g *classicGroup) rebalanceTimeout() time.Duration {
	longest := int32(0)
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return milliseconds(longest)
}

// add takes a member in. The first one sets the protocol type and leads.
func (g *classicGroup) add(m *member, reply *joinReply) {
	if m.instanceID != nil {
		g.staticID[*m.instanceID] = m.id
	}
	if len(g.members) == 0 {
		g.protocolType = m.protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	g.count(m, 1)
	g.park(m, reply)
	delete(g.pendingJoin, m.id)
}

// remove takes a member, or a pending one, out; what it has parked is answered with UnknownMemberID. The oldest member left follows a leader.
func (g *classicGroup) remove(memberID string) {
	if m, ok := g.byID[memberID]; ok {
		delete(g.byID, memberID)
		g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
		g.count(m, -1)
		g.failJoin(m, "", protocol.UnknownMemberID)
		m.failSync(protocol.UnknownMemberID)
		if m.instanceID != nil {
			delete(g.staticID, *m.instanceID)
		}
	}
	if g.isLeader(memberID) {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	delete(g.pendingJoin, memberID)
	delete(g.pendingSync, memberID)
}

// park sets or takes away the member's parked JoinGroup. A request that was parked before comes from a connection that its client has given up:
// it is told to join again.
func (g *classicGroup) park(m *member, reply *joinReply) {
	switch {
	case reply != nil && m.awaitingJoin != nil:
		m.awaitingJoin.fail(m.id, protocol.RebalanceInProgress)
	case reply != nil && m.awaitingJoin == nil:
		g.awaitingJoin++
	case reply == nil && m.awaitingJoin != nil:
		g.awaitingJoin--
	}
	m.awaitingJoin = reply
}

// update takes on what a JoinGroup says of a member, and parks it.
func (g *classicGroup) update(m *member, protocols []memberProtocol, rebalanceTimeout, sessionTimeout int32, reply *joinReply) {
	g.count(m, -1)
	m.protocols = protocols
	g.count(m, 1)
	m.rebalanceTimeout, m.sessionTimeout = rebalanceTimeout, sessionTimeout
	g.park(m, reply)
}

func (g *classicGroup) count(m *member, by int) {
	for _, p := range m.protocols {
		if g.supported[p.name] += by; g.supported[p.name] == 0 {
			delete(g.supported, p.name)
		}
	}
}

// answerJoin completes the member's parked JoinGroup, and reports whether there was one.
func (g *classicGroup) answerJoin(m *member, resp *kmsg.JoinGroupResponse) bool {
	if m.awaitingJoin == nil {
		return false
	}
	m.awaitingJoin.answer(resp)
	g.park(m, nil)
	return true
}

// failJoin completes the member's parked JoinGroup with an error.
func (g *classicGroup) failJoin(m *member, memberID string, code protocol.Code) {
	if m.awaitingJoin != nil {
		m.awaitingJoin.fail(memberID, code)
		g.park(m, nil)
	}
}

// check finds out whether a request may speak for a member: UnknownMemberID, FencedInstanceID.
func (g *classicGroup) check(memberID string, instanceID *string) error {
	if instanceID != nil {
		switch known, ok := g.staticID[*instanceID]; {
		case !ok:
			return protocol.UnknownMemberID
		case known != memberID:
			return protocol.FencedInstanceID
		}
	}
	if _, ok := g.byID[memberID]; !ok {
		return protocol.UnknownMemberID
	}
	return nil
}

// supports reports whether a member with these protocols could be in the group.
func (g *classicGroup) supports(protocolType string, protocols []memberProtocol) bool {
	if g.state == empty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p memberProtocol) bool {
		return g.supported[p.name] == len(g.members)
	})
}

// selectProtocol is the protocol that all members support and most vote for; of equals the one that was voted for first.
func (g *classicGroup) selectProtocol() string {
	votes := make(map[string]int)
	for name, n := range g.supported {
		if n == len(g.members) {
			votes[name] = 0
		}
	}
	selected, most := "", 0
	var order []string
	for _, m := range g.members {
		if name, ok := m.vote(votes); ok {
			if votes[name]++; votes[name] == 1 {
				order = append(order, name)
			}
		}
	}
	for _, name := range order {
		if votes[name] > most {
			selected, most = name, votes[name]
		}
	}
	return selected
}

// electJoinedLeader replaces a leader that did not join. It is false if nobody joined, or there are no members.
func (g *classicGroup) electJoinedLeader() bool {
	if leader, ok := g.byID[g.leader]; ok && leader.awaitingJoin != nil {
		return true
	}
	for _, m := range g.members {
		if m.awaitingJoin != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// nextGeneration ends the join phase: Empty without members, else CompletingRebalance.
func (g *classicGroup) nextGeneration(now time.Time) {
	if g.generation == math.MaxInt32 {
		g.generation = 1
	} else {
		g.generation++
	}
	if len(g.members) == 0 {
		g.protocolName = nil
		g.updateSubscribed()
		g.transition(empty, now)
	} else {
		name := g.selectProtocol()
		g.protocolName = &name
		g.updateSubscribed()
		g.transition(completingRebalance, now)
	}
	clear(g.pendingSync)
}

// updateSubscribed reads the members' subscriptions. They stay unknown for other protocol types, and if one cannot be read.
func (g *classicGroup) updateSubscribed() {
	g.subscribed, g.subscribedKnown = nil, false
	if !g.usesConsumerProtocol() {
		return
	}
	topics := make(map[string]struct{})
	if len(g.members) > 0 {
		if g.protocolName == nil {
			return
		}
		for _, m := range g.members {
			if !subscribedTopics(topics, m.metadata(*g.protocolName)) {
				return
			}
		}
	}
	g.subscribed, g.subscribedKnown = topics, true
}

// subscribes reports whether a member may be reading the topic. An unreadable consumer group reads all.
func (g *classicGroup) subscribes(topic string) bool {
	if !g.subscribedKnown {
		return g.usesConsumerProtocol()
	}
	_, ok := g.subscribed[topic]
	return ok
}

// memberList is what the leader gets to know in JoinGroup.
func (g *classicGroup) memberList() []kmsg.JoinGroupResponseMember {
	list := make([]kmsg.JoinGroupResponseMember, 0, len(g.members))
	for _, m := range g.members {
		list = append(list, kmsg.JoinGroupResponseMember{
			MemberID: m.id, InstanceID: m.instanceID, ProtocolMetadata: m.metadata(deref(g.protocolName)),
		})
	}
	return list
}

// joined is the answer to a member of the current generation; members are listed for the leader.
func (g *classicGroup) joined(m *member, leader string, list bool) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = m.id
	resp.Generation = g.generation
	resp.Protocol = g.protocolName
	resp.ProtocolType = g.protocolTypeOrNil()
	resp.LeaderID = leader
	if list {
		resp.Members = g.memberList()
	}
	return resp
}

// protocolTypeOrNil is for responses, which outlive the group's present state.
func (g *classicGroup) protocolTypeOrNil() *string {
	if g.protocolType == "" {
		return nil
	}
	return kmsg.StringPtr(g.protocolType)
}

// expirationBase tells from when on an offset's retention counts, in ms; ok is false while none may expire.
func (g *classicGroup) expirationBase() (base func(*offsetValue) int64, ok bool) {
	byCommit := func(v *offsetValue) int64 { return v.commitTimestamp }
	switch {
	case g.protocolType == "":
		return byCommit, true
	case g.state == empty && g.stateTimestamp >= 0:
		return func(*offsetValue) int64 { return g.stateTimestamp }, true
	case g.state == empty:
		return byCommit, true
	case g.state == stable && g.usesConsumerProtocol() && g.subscribedKnown:
		return byCommit, true
	default:
		return nil, false
	}
}

func milliseconds(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
