package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// heartbeat handles Heartbeat: it keeps the member's session, and tells of a rebalance only while members are to join again.
func (s *shard) heartbeat(env runtime.Env, req *kmsg.HeartbeatRequest) error {
	if g, ok := s.groups[req.Group].(*consumerGroup); ok {
		return s.heartbeatConsumer(env, g, req)
	}
	g, ok := s.classic(req.Group)
	if !ok {
		return protocol.UnknownMemberID
	}
	if g.state == dead {
		return protocol.CoordinatorNotAvailable
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	if req.Generation != g.generation {
		return protocol.IllegalGeneration
	}
	if g.state == empty {
		return protocol.UnknownMemberID
	}
	s.resetSession(env, g, g.byID[req.MemberID])
	if g.state == preparingRebalance {
		return protocol.RebalanceInProgress
	}
	return nil
}

// resetSession gives the member a full session timeout from now.
func (s *shard) resetSession(env runtime.Env, g *classicGroup, m *member) {
	s.setSession(env, g, m.id, milliseconds(m.sessionTimeout))
}

// setSession schedules the end of a member's, or a pending member's, session.
func (s *shard) setSession(env runtime.Env, g *classicGroup, memberID string, timeout time.Duration) {
	env.Timers.Set(sessionKey(g, memberID), env.Now.Add(timeout), s.onGroup(g, func(env runtime.Env) runtime.Result {
		return s.expireSession(env, g, memberID)
	}))
}

// expireSession removes a member that sent nothing for its session timeout.
func (s *shard) expireSession(env runtime.Env, g *classicGroup, memberID string) runtime.Result {
	if _, pending := g.pendingJoin[memberID]; pending {
		s.logger.Debug("a pending member did not come back", zap.String("group", g.id), zap.String("member", memberID))
		g.remove(memberID)
		if g.state == preparingRebalance && g.allJoined() {
			return s.completeJoin(env, g)
		}
		return runtime.Result{}
	}
	m, ok := g.byID[memberID]
	if !ok || m.keepsSession() {
		return runtime.Result{}
	}
	s.logger.Info("a member's session ended", zap.String("group", g.id), zap.String("member", memberID))
	// A client that is still parked tries again with the code that it gets.
	g.failJoin(m, "", protocol.UnknownMemberID)
	g.remove(memberID)
	switch {
	case g.state == stable || g.state == completingRebalance:
		return s.rebalanceOrComplete(env, g, "session ended", "")
	case g.state == preparingRebalance && g.allJoined():
		return s.completeJoin(env, g)
	}
	return runtime.Result{}
}
