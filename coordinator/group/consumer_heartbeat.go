package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// consumerHeartbeat is one ConsumerGroupHeartbeat on its way through the shard.
type consumerHeartbeat struct {
	*kmsg.ConsumerGroupHeartbeatRequest
	from Client
}

// consumerHeartbeat handles ConsumerGroupHeartbeat (GroupMetadataManager.consumerGroupHeartbeat). A heartbeat that changes nothing costs a timer.
func (s *shard) consumerHeartbeat(env runtime.Env, req *consumerHeartbeat) (*kmsg.ConsumerGroupHeartbeatResponse, []runtime.Record, error) {
	if req.MemberEpoch == leaveEpoch || req.MemberEpoch == staticLeaveEpoch {
		return s.consumerLeave(env, req)
	}
	joins := req.MemberEpoch == joinEpoch
	g, records, err := s.consumerGroupFor(env, req.Group, joins)
	if err != nil {
		return nil, nil, err
	}
	if _, known := g.members[req.MemberID]; !known && len(g.members) >= s.settings.consumerMaxSize {
		return nil, nil, protocol.Errorf(protocol.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", s.settings.consumerMaxSize)
	}
	if req.MemberID == "" {
		req.MemberID = s.newConsumerID()
	}
	member, records, err := s.heartbeatMember(g, req, joins, records)
	if err != nil {
		return nil, nil, err
	}
	updated := req.apply(member)
	subscribed := false
	if !updated.sameMetadata(member) {
		records = append(records, memberRecord(g.id, updated))
		subscribed = !slices.Equal(updated.topics, member.topics)
	}
	regex, records, err := s.updateRegex(env, g, req.from, member, updated, records)
	if err != nil {
		return nil, nil, err
	}
	next, records, err := s.advanceMember(env, g, req.Topics, member, updated, subscribed, regex, records)
	if err != nil {
		return nil, nil, err
	}
	s.setConsumerSession(env, g.id, next)
	return s.heartbeatAnswer(env, g, req, member, next), records, nil
}

// advanceMember gives the group a new epoch and a new target assignment if the heartbeat asks for it, and moves the member towards its own.
func (s *shard) advanceMember(
	env runtime.Env, g *consumerGroup, reported []kmsg.ConsumerGroupHeartbeatRequestTopic, member, updated *consumerMember,
	subscribed bool, regex regexChange, records []runtime.Record,
) (*consumerMember, []runtime.Record, error) {
	epoch, all := g.epoch, audience{g.regexes, g.subscribed, len(g.members)}
	if bump := subscribed || regex == regexResolved; bump || g.mustRefresh(env) {
		epoch, all, records = s.refreshTopics(env, g, bump, member, updated, records)
	}
	targetEpoch, target, records, err := s.updateTarget(env, g, epoch, all, member, updated, records)
	if err != nil {
		return nil, nil, err
	}
	return s.reconcile(env, &reconciliation{
		g: g, image: env.Image, member: updated, epoch: targetEpoch, target: target,
		subscriptions: subscribed || regex != regexUnchanged, reported: reported,
	}, records)
}

// consumerGroupFor returns the group of a heartbeat. A member that joins creates it; where an empty classic group is in the way it is removed first.
func (s *shard) consumerGroupFor(env runtime.Env, id string, create bool) (*consumerGroup, []runtime.Record, error) {
	switch g := s.groups[id].(type) {
	case nil:
		if !create {
			return nil, nil, protocol.Errorf(protocol.GroupIDNotFound, "Consumer group %s not found.", id)
		}
		return newConsumerGroup(id), nil, nil
	case *consumerGroup:
		return g, nil, nil
	case *classicGroup:
		switch {
		case create && g.isEmpty():
			s.logger.Info("an empty classic group becomes a consumer group", zap.String("group", id))
			return newConsumerGroup(id), g.tombstones(nil), nil
		case create:
			return s.upgradeClassic(env, g)
		}
	}
	return nil, nil, protocol.Errorf(protocol.GroupIDNotFound, "Group %s is not a consumer group.", id)
}

// heartbeatMember returns the member that sent the heartbeat, or a new one. A static member that returns under a new id takes the old one's place, with
// its assignment.
func (s *shard) heartbeatMember(g *consumerGroup, req *consumerHeartbeat, joins bool, records []runtime.Record) (*consumerMember, []runtime.Record, error) {
	if req.InstanceID == nil {
		m, ok := g.members[req.MemberID]
		switch {
		case ok:
		case joins:
			m = newConsumerMember(req.MemberID)
		default:
			return nil, nil, unknownMember(g.id, req.MemberID)
		}
		if err := checkMemberEpoch(m, req); err != nil {
			return nil, nil, err
		}
		if joins {
			s.logger.Info("a member joins a consumer group", zap.String("group", g.id), zap.String("member", req.MemberID))
		}
		return m, records, nil
	}
	m := g.staticMember(req.InstanceID)
	if !joins {
		if err := checkStatic(m, *req.InstanceID, req.MemberID); err != nil {
			return nil, nil, err
		}
		return m, records, checkMemberEpoch(m, req)
	}
	if m == nil {
		s.logger.Info("a static member joins a consumer group", zap.String("group", g.id), zap.String("member", req.MemberID), zap.Stringp("instance", req.InstanceID))
		if m = g.members[req.MemberID]; m == nil {
			m = newConsumerMember(req.MemberID)
		}
		return m, records, nil
	}
	if m.classic == nil && m.epoch != staticLeaveEpoch {
		return nil, nil, protocol.Errorf(protocol.UnreleasedInstanceID,
			"Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.", req.MemberID, *req.InstanceID, m.id)
	}
	s.logger.Info("a static member returns to a consumer group",
		zap.String("group", g.id), zap.Stringp("instance", req.InstanceID), zap.String("old_member", m.id), zap.String("member", req.MemberID))
	next, records := g.replace(m, req.MemberID, records)
	return next, records, nil
}

// replace puts a static member that returns under a new id into the place of the old one, with its assignment.
func (g *consumerGroup) replace(old *consumerMember, id string, records []runtime.Record) (*consumerMember, []runtime.Record) {
	next := *old
	next.id, next.epoch, next.previousEpoch = id, joinEpoch, joinEpoch
	records = memberTombstones(records, g.id, old.id)
	return &next, append(records, memberRecord(g.id, &next), targetMemberRecord(g.id, id, g.target[old.id]), currentRecord(g.id, &next))
}

// checkMemberEpoch fences a member whose epoch is not the one that it has. The previous epoch is good if the member missed the answer
// that gave it the next one: then it has nothing that was not assigned to it.
func checkMemberEpoch(m *consumerMember, req *consumerHeartbeat) error {
	switch epoch := req.MemberEpoch; {
	case epoch == joinEpoch:
		return nil
	case epoch > m.epoch:
		return protocol.Errorf(protocol.FencedMemberEpoch, "The consumer group member has a greater member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	case epoch < m.epoch && (epoch != m.previousEpoch || !m.assigned.contains(req.Topics)):
		return protocol.Errorf(protocol.FencedMemberEpoch, "The consumer group member has a smaller member epoch (%d) than the one known by the group coordinator (%d). "+
			"The member must abandon all its partitions and rejoin.", epoch, m.epoch)
	default:
		return nil
	}
}

// contains reports whether all that a member says it has is here; false if it says nothing.
func (o owned) contains(reported []kmsg.ConsumerGroupHeartbeatRequestTopic) bool {
	if reported == nil {
		return false
	}
	for i := range reported {
		t, ok := o.topic(reported[i].TopicID)
		if !ok {
			return false
		}
		for _, p := range reported[i].Partitions {
			if _, found := slices.BinarySearch(t.partitions, p); !found {
				return false
			}
		}
	}
	return true
}

// checkStatic decides whether memberID may speak for m, the static member with that instance id, if there is one.
func checkStatic(m *consumerMember, instanceID, memberID string) error {
	if m == nil {
		return protocol.Errorf(protocol.UnknownMemberID, "Instance id %s is unknown.", instanceID)
	}
	if m.id != memberID {
		return protocol.Errorf(protocol.FencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", memberID, instanceID, m.id)
	}
	return nil
}

func unknownMember(group, member string) error {
	return protocol.Errorf(protocol.UnknownMemberID, "Member %s is not a member of group %s.", member, group)
}

// apply returns the member with what the heartbeat says of it. What it does not say stays.
func (req *consumerHeartbeat) apply(m *consumerMember) *consumerMember {
	u := *m
	if req.InstanceID != nil {
		u.instanceID = req.InstanceID
	}
	if req.RackID != nil {
		u.rackID = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		u.rebalanceTimeout = req.RebalanceTimeoutMillis
	}
	if req.ServerAssignor != nil {
		u.assignor = req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		u.topics = sortedDistinct(req.SubscribedTopicNames)
	}
	if req.SubscribedTopicRegex != nil {
		u.regex, u.regexNull = *req.SubscribedTopicRegex, false
	}
	u.clientID, u.clientHost, u.classic = req.from.ID, req.from.Host, nil
	return &u
}

// heartbeatAnswer tells the member its epoch, and its assignment if it joined, asked for it by telling all of itself, or got another one.
func (s *shard) heartbeatAnswer(env runtime.Env, g *consumerGroup, req *consumerHeartbeat, before, after *consumerMember) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	resp.MemberID, resp.MemberEpoch = &after.id, after.epoch
	resp.HeartbeatIntervalMillis = int32(s.settings.consumerHeartbeat.of(env.Image, g.id).Milliseconds())
	full := req.RebalanceTimeoutMillis != -1 && (req.SubscribedTopicNames != nil || req.SubscribedTopicRegex != nil) && req.Topics != nil
	if req.MemberEpoch != joinEpoch && !full && before.assigned.equal(after.assigned) {
		return resp
	}
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	a.Topics = make([]kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic, 0, len(after.assigned))
	for _, t := range after.assigned {
		a.Topics = append(a.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: t.id, Partitions: t.partitions})
	}
	resp.Assignment = &a
	return resp
}
