package group

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
)

// consumerLeave handles a ConsumerGroupHeartbeat with a leave epoch. A static member that will be back keeps its assignment until its session ends.
func (s *shard) consumerLeave(env runtime.Env, req *consumerHeartbeat) (*kmsg.ConsumerGroupHeartbeatResponse, []runtime.Record, error) {
	g, err := s.consumerGroup(req.Group)
	if err != nil {
		return nil, nil, err
	}
	m, ok := g.members[req.MemberID]
	if req.InstanceID != nil {
		m = g.staticMember(req.InstanceID)
		err = checkStatic(m, *req.InstanceID, req.MemberID)
	} else if !ok {
		err = unknownMember(g.id, req.MemberID)
	}
	if err != nil {
		return nil, nil, err
	}
	s.logger.Info("a member leaves a consumer group", zap.String("group", g.id), zap.String("member", m.id), zap.Bool("will_be_back", req.MemberEpoch == staticLeaveEpoch))
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	resp.MemberID, resp.MemberEpoch = &req.MemberID, req.MemberEpoch
	if req.MemberEpoch == staticLeaveEpoch && req.InstanceID != nil {
		left := *m
		left.epoch, left.revoking, left.assigned = staticLeaveEpoch, nil, m.assigned.sinceZero()
		return resp, []runtime.Record{currentRecord(g.id, &left)}, nil
	}
	records, err := s.fence(env, g, []*consumerMember{m})
	return resp, records, err
}

// fence removes members, and asks for a new assignment without them. If only members of the classic protocol are left the group becomes a
// classic one, where that is allowed. Their timers stay, as the records may not get written; they do nothing once the members are gone.
func (s *shard) fence(env runtime.Env, g *consumerGroup, members []*consumerMember) ([]runtime.Record, error) {
	if s.mayDowngrade(g, members) {
		return s.downgrade(env, g, members)
	}
	var records []runtime.Record
	subscribed, regexes := maps.Clone(g.subscribed), map[string]int{}
	for _, m := range members {
		records = memberTombstones(records, g.id, m.id)
		for _, t := range m.topics {
			subscribed.less(t, subscribers{names: 1})
		}
		if m.regex != "" {
			regexes[m.regex]++
		}
	}
	for regex, n := range regexes {
		if g.regexes[regex] != n {
			continue
		}
		records = append(records, regexTombstone(g.id, regex))
		for _, t := range g.resolved[regex].topics {
			subscribed.less(t, subscribers{regexes: 1})
		}
	}
	return append(records, epochRecord(g.id, g.epoch+1, s.metadataHash(env, subscribed))), nil
}

func (s *shard) fenceNow(env runtime.Env, g *consumerGroup, m *consumerMember, reason string) runtime.Result {
	s.logger.Info("a member of a consumer group is fenced", zap.String("group", g.id), zap.String("member", m.id), zap.String("reason", reason))
	records, err := s.fence(env, g, []*consumerMember{m})
	if err != nil {
		s.logger.Warn("could not fence a member", zap.String("group", g.id), zap.String("member", m.id), zap.Error(err))
		s.keepSessions(env, g.id)
		return runtime.Result{}
	}
	return runtime.Result{Records: records, Then: func(env runtime.Env, err error) {
		if err != nil {
			s.keepSessions(env, g.id)
		}
	}}
}

// keepSessions gives members whose session ended, but who could not be removed, another one.
func (s *shard) keepSessions(env runtime.Env, group string) {
	g, ok := s.groups[group].(*consumerGroup)
	if !ok {
		return
	}
	for _, m := range g.members {
		if _, there := env.Timers.At(consumerSessionKey(group, m.id)); !there {
			s.setConsumerSession(env, group, m)
		}
	}
}

func consumerSessionKey(group, member string) string {
	return "consumer-session-" + group + "-" + member
}
func rebalanceKey(group, member string) string { return "consumer-rebalance-" + group + "-" + member }

// setConsumerSession gives a member a full session timeout from now.
func (s *shard) setConsumerSession(env runtime.Env, group string, m *consumerMember) {
	timeout := s.settings.consumerSession.of(env.Image, group)
	if m.classic != nil {
		timeout = milliseconds(m.classic.SessionTimeoutMs)
	}
	s.startSession(env, group, m.id, timeout)
}

func (s *shard) startSession(env runtime.Env, group, member string, timeout time.Duration) {
	key := consumerSessionKey(group, member)
	if env.Timers.Move(key, env.Now.Add(timeout)) {
		return
	}
	s.onMember(env, key, timeout, group, member, func(env runtime.Env, g *consumerGroup, m *consumerMember) runtime.Result {
		return s.fenceNow(env, g, m, "its session ended")
	})
}

// setRebalanceTimeout fences a member that does not give up its partitions in time.
func (s *shard) setRebalanceTimeout(env runtime.Env, group string, m *consumerMember) {
	epoch := m.epoch
	s.onMember(env, rebalanceKey(group, m.id), milliseconds(m.rebalanceTimeout), group, m.id, func(env runtime.Env, g *consumerGroup, m *consumerMember) runtime.Result {
		if m.epoch != epoch || m.state != unrevokedPartitions {
			return runtime.Result{}
		}
		return s.fenceNow(env, g, m, "it did not give up its partitions within its rebalance timeout")
	})
}

// onMember sets a timer that does nothing once the member is gone.
func (s *shard) onMember(
	env runtime.Env, key string, after time.Duration, group, member string, op func(runtime.Env, *consumerGroup, *consumerMember) runtime.Result,
) {
	env.Timers.Set(key, env.Now.Add(after), func(env runtime.Env) runtime.Result {
		g, ok := s.groups[group].(*consumerGroup)
		if !ok || g.members[member] == nil {
			return runtime.Result{}
		}
		return op(env, g, g.members[member])
	})
}

func cancelMemberTimers(env runtime.Env, group, member string) {
	env.Timers.Cancel(consumerSessionKey(group, member))
	env.Timers.Cancel(rebalanceKey(group, member))
	env.Timers.Cancel(rejoinKey(group, member))
	env.Timers.Cancel(resyncKey(group, member))
}

// loadedConsumer starts the sessions of a group that was loaded.
func (s *shard) loadedConsumer(env runtime.Env, g *consumerGroup) {
	for _, m := range g.members {
		s.startSession(env, g.id, m.id, s.settings.consumerSession.of(env.Image, g.id)) // members of the classic protocol too
		if m.state == unrevokedPartitions && m.classic == nil {
			s.setRebalanceTimeout(env, g.id, m)
		}
	}
	s.logger.Debug("loaded a consumer group", zap.String("group", g.id), zap.Int("members", len(g.members)))
}
