package group

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

func joinKey(g *classicGroup) string                     { return "join-" + g.id }
func syncKey(g *classicGroup) string                     { return "sync-" + g.id }
func sessionKey(g *classicGroup, memberID string) string { return "session-" + g.id + "-" + memberID }

// rebalanceOrComplete starts a rebalance, or completes the join phase of the one that runs if everybody is there.
func (s *shard) rebalanceOrComplete(env runtime.Env, g *classicGroup, reason, clientReason string) runtime.Result {
	if g.canRebalance() {
		return s.prepareRebalance(env, g, reason, clientReason)
	}
	return s.completeIfAllJoined(env, g)
}

// prepareRebalance opens the join phase. A group that was empty waits first for group.initial.rebalance.delay.ms, so that
// members that start together make one generation.
func (s *shard) prepareRebalance(env runtime.Env, g *classicGroup, reason, clientReason string) runtime.Result {
	if g.state == completingRebalance {
		s.resetAssignments(env, g, protocol.RebalanceInProgress)
	}
	s.stopAwaitingSync(env, g)
	initial := g.state == empty
	if initial {
		delay := s.settings.initialRebalanceDelay
		s.setInitialDelay(env, g, delay, max(g.rebalanceTimeout()-delay, 0))
	}
	g.transition(preparingRebalance, env.Now)
	s.logger.Debug("preparing a rebalance", zap.String("group", g.id), zap.Int32("old_generation", g.generation),
		zap.Int("members", len(g.members)), zap.String("reason", reason), zap.String("client_reason", clientReason))
	if initial {
		return runtime.Result{}
	}
	if g.allJoined() {
		return s.completeJoin(env, g)
	}
	s.setJoinTimeout(env, g, 0)
	return runtime.Result{}
}

// setInitialDelay schedules the end of the initial delay. remaining is by how much it may still be extended.
func (s *shard) setInitialDelay(env runtime.Env, g *classicGroup, delay, remaining time.Duration) {
	env.Timers.Set(joinKey(g), env.Now.Add(delay), s.onGroup(g, func(env runtime.Env) runtime.Result {
		if !g.newMemberAdded || remaining == 0 {
			return s.completeJoin(env, g)
		}
		g.newMemberAdded = false
		s.setInitialDelay(env, g, min(s.settings.initialRebalanceDelay, remaining), max(remaining-delay, 0))
		return runtime.Result{}
	}))
}

// minRejoinWait is the shortest wait for static members of whom none rejoined: their rebalance timeout may be 0.
const minRejoinWait = time.Second

// setJoinTimeout schedules the end of the join phase, whoever is missing then.
func (s *shard) setJoinTimeout(env runtime.Env, g *classicGroup, atLeast time.Duration) {
	env.Timers.Set(joinKey(g), env.Now.Add(max(g.rebalanceTimeout(), atLeast)), s.onGroup(g, func(env runtime.Env) runtime.Result {
		return s.completeJoin(env, g)
	}))
}

// onGroup makes a timer's operation that does nothing once the group is gone.
func (s *shard) onGroup(g *classicGroup, op func(env runtime.Env) runtime.Result) func(env runtime.Env) runtime.Result {
	return func(env runtime.Env) runtime.Result {
		if s.groups[g.id] != g || g.state == dead {
			return runtime.Result{}
		}
		return op(env)
	}
}

// completeIfAllJoined ends the join phase when nobody is missing, except in a first rebalance, which lasts its delay.
func (s *shard) completeIfAllJoined(env runtime.Env, g *classicGroup) runtime.Result {
	if g.state != preparingRebalance || g.previous == empty || !g.allJoined() {
		return runtime.Result{}
	}
	return s.completeJoin(env, g)
}

// completeJoin ends the join phase: dynamic members that did not join are removed, and the others get a new generation.
func (s *shard) completeJoin(env runtime.Env, g *classicGroup) runtime.Result {
	env.Timers.Cancel(joinKey(g))
	var missing []string
	for _, m := range slices.Clone(g.members) {
		if m.awaitingJoin == nil && m.instanceID == nil {
			g.remove(m.id)
			env.Timers.Cancel(sessionKey(g, m.id))
			missing = append(missing, m.id)
		}
	}
	if len(missing) > 0 {
		s.logger.Info("removed members that did not rejoin", zap.String("group", g.id), zap.Strings("members", missing))
	}
	if !g.electJoinedLeader() && len(g.members) > 0 {
		// Only static members are left, and none joined: wait until their sessions end.
		s.logger.Info("no member rejoined", zap.String("group", g.id))
		s.setJoinTimeout(env, g, minRejoinWait)
		return runtime.Result{}
	}
	g.nextGeneration(env.Now)
	if g.state == empty {
		s.logger.Info("the group is empty", zap.String("group", g.id), zap.Int32("generation", g.generation))
		return runtime.Result{Records: []runtime.Record{groupRecord(g, (*member).currentAssignment)}, Applied: true, Then: s.warnNotWritten(g)}
	}
	s.logger.Info("a generation begins", zap.String("group", g.id), zap.Int32("generation", g.generation),
		zap.Int("members", len(g.members)), zap.Stringp("protocol", g.protocolName), zap.String("leader", g.leader))
	for _, m := range g.members {
		g.answerJoin(m, g.joined(m, g.leader, g.isLeader(m.id)))
		s.resetSession(env, g, m)
		m.fresh = false
		g.pendingSync[m.id] = struct{}{}
	}
	s.awaitSync(env, g)
	return runtime.Result{}
}

// warnNotWritten logs that an empty generation is not durable. A new coordinator would see the last one, whose members it then times out.
func (s *shard) warnNotWritten(g *classicGroup) func(runtime.Env, error) {
	return func(_ runtime.Env, err error) {
		if err != nil {
			s.logger.Warn("could not write an empty group", zap.String("group", g.id), zap.Error(err))
		}
	}
}

// awaitSync schedules the removal of members that do not send SyncGroup within the rebalance timeout.
func (s *shard) awaitSync(env runtime.Env, g *classicGroup) {
	generation := g.generation
	env.Timers.Set(syncKey(g), env.Now.Add(g.rebalanceTimeout()), s.onGroup(g, func(env runtime.Env) runtime.Result {
		if g.generation != generation || len(g.pendingSync) == 0 || (g.state != completingRebalance && g.state != stable) {
			return runtime.Result{}
		}
		missing := slices.Sorted(maps.Keys(g.pendingSync))
		for _, id := range missing {
			g.remove(id)
			env.Timers.Cancel(sessionKey(g, id))
		}
		s.logger.Info("removed members that did not send SyncGroup", zap.String("group", g.id), zap.Strings("members", missing))
		return s.prepareRebalance(env, g, "members did not send SyncGroup", "")
	}))
}

func (s *shard) stopAwaitingSync(env runtime.Env, g *classicGroup) {
	clear(g.pendingSync)
	env.Timers.Cancel(syncKey(g))
}

// synced notes that the member sent SyncGroup; the last one ends the wait.
func (s *shard) synced(env runtime.Env, g *classicGroup, memberID string) {
	delete(g.pendingSync, memberID)
	if len(g.pendingSync) == 0 {
		env.Timers.Cancel(syncKey(g))
	}
}

// resetAssignments answers all parked SyncGroups with an error and takes the assignments away.
func (s *shard) resetAssignments(env runtime.Env, g *classicGroup, code protocol.Code) {
	for _, m := range g.members {
		m.assignment = nil
	}
	s.propagate(env, g, code)
}

// propagate answers all parked SyncGroups. Sessions start anew: those that ended while the members were parked were let pass.
func (s *shard) propagate(env runtime.Env, g *classicGroup, code protocol.Code) {
	for _, m := range g.members {
		resp := g.synced(m)
		if code != protocol.None {
			resp = kmsg.NewPtrSyncGroupResponse()
			resp.ErrorCode = int16(code)
		}
		if m.answerSync(resp) {
			s.resetSession(env, g, m)
		}
	}
}

// synced is a member's answer to SyncGroup.
func (g *classicGroup) synced(m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType = g.protocolTypeOrNil()
	resp.Protocol = g.protocolName
	resp.MemberAssignment = m.assignment
	return resp
}
