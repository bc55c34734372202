package group

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// joinRequest is one JoinGroup on its way through the shard.
type joinRequest struct {
	*kmsg.JoinGroupRequest
	protocols []memberProtocol
	from      Client
	reply     *joinReply
}

// knownMemberVersion is the first version whose clients come back with the member id they are given (KIP-394).
const knownMemberVersion = 4

// join handles JoinGroup. A group is created for a member without an id; its first record says that it exists. An empty consumer group makes way.
func (s *shard) join(env runtime.Env, req *joinRequest) runtime.Result {
	old, _ := s.groups[req.Group].(*consumerGroup)
	if old != nil && !old.isEmpty() {
		return s.joinConsumer(env, old, req)
	}
	g, known := s.classic(req.Group)
	if !known {
		if req.MemberID != "" {
			req.reply.fail(req.MemberID, protocol.UnknownMemberID)
			return runtime.Result{}
		}
		g = newClassicGroup(strings.Clone(req.Group), env.Now)
		s.groups[g.id] = g
	}
	var result runtime.Result
	switch {
	case !s.accepts(g, req.MemberID):
		g.remove(req.MemberID)
		req.reply.fail("", protocol.GroupMaxSizeReached)
	case req.MemberID == "":
		result = s.joinNew(env, g, req)
	default:
		result = s.joinKnown(env, g, req)
	}
	if !known && len(result.Records) == 0 {
		return s.writeNewGroup(g, old, req)
	}
	return result
}

// writeNewGroup makes a new group durable before it has a generation. It takes the place of old, an empty group, unless that is nil.
func (s *shard) writeNewGroup(g *classicGroup, old *consumerGroup, req *joinRequest) runtime.Result {
	var records []runtime.Record
	if old != nil {
		s.logger.Info("an empty consumer group becomes a classic group", zap.String("group", g.id))
		records = old.tombstones(nil)
	}
	return runtime.Result{
		Records: append(records, newGroupRecord(g)),
		Applied: true,
		Then: func(env runtime.Env, err error) {
			if err == nil {
				return
			}
			s.logger.Warn("could not write a new group", zap.String("group", g.id), zap.Error(err))
			code := runtime.CodeFor(err)
			req.reply.fail("", code)
			if s.groups[g.id] == g && protocol.CodeOf(err) != protocol.RequestTimedOut {
				s.forget(env, g, code)
				if old != nil {
					s.groups[g.id] = old
				}
			}
		},
	}
}

// forget undoes the creation of a group that could not be written.
func (s *shard) forget(env runtime.Env, g *classicGroup, code protocol.Code) {
	for _, m := range g.members {
		g.failJoin(m, m.id, code)
		env.Timers.Cancel(sessionKey(g, m.id))
	}
	for id := range g.pendingJoin {
		env.Timers.Cancel(sessionKey(g, id))
	}
	env.Timers.Cancel(joinKey(g))
	env.Timers.Cancel(syncKey(g))
	g.transition(dead, env.Now)
	delete(s.groups, g.id)
}

// accepts applies group.max.size. During the join phase those count that have joined, so that a group that became too large loses the
// last ones.
func (s *shard) accepts(g *classicGroup, memberID string) bool {
	m, known := g.byID[memberID]
	switch g.state {
	case preparingRebalance:
		return (known && m.awaitingJoin != nil) || g.awaitingJoin < s.settings.maxSize
	case completingRebalance, stable:
		return known || len(g.members) < s.settings.maxSize
	default:
		return true
	}
}

// joinNew handles a JoinGroup without a member id.
func (s *shard) joinNew(env runtime.Env, g *classicGroup, req *joinRequest) runtime.Result {
	if g.state == dead {
		req.reply.fail("", protocol.CoordinatorNotAvailable)
		return runtime.Result{}
	}
	if !g.supports(req.ProtocolType, req.protocols) {
		req.reply.fail("", protocol.InconsistentGroupProtocol)
		return runtime.Result{}
	}
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + s.newID()
		if old, ok := g.staticID[*req.InstanceID]; ok {
			return s.rejoinStatic(env, g, req, old, id)
		}
		return s.addMember(env, g, req, id)
	}
	id := req.from.ID + "-" + s.newID()
	if req.Version >= knownMemberVersion {
		g.pendingJoin[id] = struct{}{}
		s.setSession(env, g, id, milliseconds(req.SessionTimeoutMillis))
		req.reply.fail(id, protocol.MemberIDRequired)
		return runtime.Result{}
	}
	return s.addMember(env, g, req, id)
}

// joinKnown handles a JoinGroup with a member id.
func (s *shard) joinKnown(env runtime.Env, g *classicGroup, req *joinRequest) runtime.Result {
	if g.state == dead {
		req.reply.fail(req.MemberID, protocol.CoordinatorNotAvailable)
		return runtime.Result{}
	}
	if !g.supports(req.ProtocolType, req.protocols) {
		req.reply.fail(req.MemberID, protocol.InconsistentGroupProtocol)
		return runtime.Result{}
	}
	if _, pending := g.pendingJoin[req.MemberID]; pending {
		if req.InstanceID != nil { // a static member never gets a pending id
			req.reply.fail(req.MemberID, protocol.UnknownServerError)
			return runtime.Result{}
		}
		return s.addMember(env, g, req, req.MemberID)
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		req.reply.fail(req.MemberID, protocol.CodeOf(err))
		return runtime.Result{}
	}
	return s.rejoin(env, g, g.byID[req.MemberID], req)
}

// rejoin handles a JoinGroup of a member. Members whose protocols did not change get the running generation's answer again, but
// a leader that rejoins a stable group wants a new assignment.
func (s *shard) rejoin(env runtime.Env, g *classicGroup, m *member, req *joinRequest) runtime.Result {
	same := m.matches(req.protocols)
	switch {
	case g.state == preparingRebalance:
		return s.updateMember(env, g, m, req, "member joins during the rebalance")
	case g.state == completingRebalance && same:
		req.reply.answer(g.joined(m, g.leader, g.isLeader(m.id)))
	case g.state == completingRebalance:
		return s.updateMember(env, g, m, req, "member changed its metadata")
	case g.state == stable && g.isLeader(m.id):
		return s.updateMember(env, g, m, req, "leader rejoins")
	case g.state == stable && !same:
		return s.updateMember(env, g, m, req, "member changed its metadata")
	case g.state == stable:
		req.reply.answer(g.joined(m, g.leader, false))
	default:
		req.reply.fail(m.id, protocol.UnknownMemberID)
	}
	return runtime.Result{}
}

// updateMember parks a member's JoinGroup.
func (s *shard) updateMember(env runtime.Env, g *classicGroup, m *member, req *joinRequest, reason string) runtime.Result {
	g.update(m, req.protocols, req.RebalanceTimeoutMillis, req.SessionTimeoutMillis, req.reply)
	return s.rebalanceOrComplete(env, g, reason, deref(req.Reason))
}

// addMember parks the JoinGroup of a new member. The client of a new member cannot send heartbeats, and may have given up: it stays
// for newMemberJoinTimeout.
func (s *shard) addMember(env runtime.Env, g *classicGroup, req *joinRequest, memberID string) runtime.Result {
	m := &member{
		id: strings.Clone(memberID), instanceID: req.InstanceID, clientID: req.from.ID, clientHost: req.from.Host,
		rebalanceTimeout: req.RebalanceTimeoutMillis, sessionTimeout: req.SessionTimeoutMillis,
		protocolType: strings.Clone(req.ProtocolType), protocols: req.protocols,
		fresh: true,
	}
	if g.state == preparingRebalance && g.previous == empty {
		g.newMemberAdded = true
	}
	g.add(m, req.reply)
	s.setSession(env, g, m.id, newMemberJoinTimeout)
	return s.rebalanceOrComplete(env, g, "new member", deref(req.Reason))
}
