package group

import (
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// skipAssignmentVersion is the first version in which a leader can be told not to compute an assignment (KIP-814).
const skipAssignmentVersion = 9

// rejoinStatic handles a static member that returns without its member id: it gets a new one, and the old one is fenced (KIP-345). In a stable group whose
// protocol it does not change there is no rebalance: the member goes on with its assignment, once the new id is durable.
func (s *shard) rejoinStatic(env runtime.Env, g *classicGroup, req *joinRequest, oldID, newID string) runtime.Result {
	s.logger.Debug("a static member returns",
		zap.String("group", g.id), zap.String("instance", *req.InstanceID), zap.String("old_member", oldID), zap.String("member", newID))
	oldLeader := g.leader
	old := g.byID[oldID]
	before := *old
	m := g.replaceStatic(old, newID)
	m.clientID, m.clientHost = req.from.ID, req.from.Host
	g.update(m, req.protocols, req.RebalanceTimeoutMillis, req.SessionTimeoutMillis, req.reply)
	env.Timers.Cancel(sessionKey(g, oldID))
	s.resetSession(env, g, m)

	switch {
	case g.state == stable && g.selectProtocol() == deref(g.protocolName):
		return s.writeStatic(g, m, &before, oldLeader, req)
	case g.state == stable:
		return s.rebalanceOrComplete(env, g, "static member changed the protocol", deref(req.Reason))
	case g.state == completingRebalance:
		// The leader may be assigning to the old id already.
		return s.prepareRebalance(env, g, "static member returned", deref(req.Reason))
	default:
		return s.completeIfAllJoined(env, g)
	}
}

// writeStatic persists a static member's new id, then answers it with the running generation. Clients that cannot skip the assignment are
// told the leader's old id, so that a leader does not take itself for one.
func (s *shard) writeStatic(g *classicGroup, m, before *member, oldLeader string, req *joinRequest) runtime.Result {
	return runtime.Result{
		Records: []runtime.Record{groupRecord(g, (*member).currentAssignment)},
		Applied: true,
		Then: func(env runtime.Env, err error) {
			switch {
			case err != nil:
				s.revertStatic(env, g, m, before, req.reply)
				resp := g.joined(m, oldLeader, false)
				resp.MemberID, resp.ErrorCode = "", int16(runtime.CodeFor(err))
				req.reply.answer(resp)
			case req.Version >= skipAssignmentVersion:
				leads := g.isLeader(m.id)
				resp := g.joined(m, g.leader, leads)
				resp.SkipAssignment = leads
				g.answerJoin(m, resp)
			default:
				g.answerJoin(m, g.joined(m, oldLeader, false))
			}
		},
	}
}

// revertStatic gives the member its old id back, because the new one could not be written. A member that was answered by a rebalance meanwhile
// knows its new id and keeps it.
func (s *shard) revertStatic(env runtime.Env, g *classicGroup, m, before *member, reply *joinReply) {
	if g.byID[m.id] != m || m.awaitingJoin != reply {
		return
	}
	g.update(m, before.protocols, before.rebalanceTimeout, before.sessionTimeout, nil)
	old := g.replaceStatic(m, before.id)
	old.clientID, old.clientHost = before.clientID, before.clientHost
	env.Timers.Cancel(sessionKey(g, m.id))
	s.resetSession(env, g, old)
}

// replaceStatic puts a member with another id into the place of a static one, and answers what the old one has parked with FencedInstanceID.
func (g *classicGroup) replaceStatic(old *member, newID string) *member {
	g.failJoin(old, old.id, protocol.FencedInstanceID)
	old.failSync(protocol.FencedInstanceID)
	m := &member{
		id: newID, instanceID: old.instanceID, clientID: old.clientID, clientHost: old.clientHost,
		rebalanceTimeout: old.rebalanceTimeout, sessionTimeout: old.sessionTimeout,
		protocolType: old.protocolType, protocols: old.protocols, assignment: old.assignment,
	}
	for i, o := range g.members {
		if o == old {
			g.members[i] = m
		}
	}
	delete(g.byID, old.id)
	g.byID[newID] = m
	if g.isLeader(old.id) {
		g.leader = newID
	}
	g.staticID[*m.instanceID] = newID
	return m
}

// currentAssignment is what the member was assigned.
func (m *member) currentAssignment() []byte { return m.assignment }
