package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// Members of the classic protocol in a consumer group (KIP-848's online migration). Each is reconciled like the others, but learns by
// REBALANCE_IN_PROGRESS that it has to join again: JoinGroup is its heartbeat with what it has, SyncGroup returns its assignment. Its generation is
// its member epoch; nobody leads.

// joinConsumer handles JoinGroup to a consumer group with members (Kafka's classicGroupJoinToConsumerGroup).
func (s *shard) joinConsumer(env runtime.Env, g *consumerGroup, req *joinRequest) runtime.Result {
	j := &consumerJoin{s: s, g: g, joinRequest: req, unknown: req.MemberID == ""}
	if j.unknown {
		req.MemberID = s.newConsumerID()
	}
	if err := j.check(); err != nil {
		req.reply.fail("", runtime.CodeFor(err))
		return runtime.Result{}
	}
	if j.unknown && req.InstanceID == nil && req.Version >= knownMemberVersion {
		req.reply.fail(req.MemberID, protocol.MemberIDRequired)
		return runtime.Result{}
	}
	records, err := j.run(env)
	if err != nil {
		req.reply.fail("", runtime.CodeFor(err))
		return runtime.Result{}
	}
	return runtime.Result{Records: records, Then: j.answer}
}

// consumerJoin is one JoinGroup to a consumer group.
type consumerJoin struct {
	*joinRequest
	s         *shard
	g         *consumerGroup
	unknown   bool            // the member came without an id
	joined    *consumerMember // as it is then
	downgrade bool            // it makes the group a classic one
}

// check decides what can be decided without the member.
func (j *consumerJoin) check() error {
	s, g := j.s, j.g
	if s.settings.migration.disabled() {
		return protocol.Errorf(protocol.InconsistentGroupProtocol,
			"Cannot join the consumer group %s with the classic protocol because the group migration is disabled.", g.id)
	}
	if _, known := g.members[j.MemberID]; !known && len(g.members) >= s.settings.consumerMaxSize {
		return protocol.Errorf(protocol.GroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", s.settings.consumerMaxSize)
	}
	supported := func(p memberProtocol) bool { return g.protocols[p.name] == g.classic }
	if j.ProtocolType != consumerProtocolType || !slices.ContainsFunc(j.protocols, supported) {
		return protocol.Errorf(protocol.InconsistentGroupProtocol, "Member %s's protocols are not supported.", j.MemberID)
	}
	return nil
}

// run makes the records of the join: as a heartbeat's; of the whole group if it becomes a classic one.
func (j *consumerJoin) run(env runtime.Env) ([]runtime.Record, error) {
	s, g := j.s, j.g
	replaced := g.staticMember(j.InstanceID)
	member, records, err := j.member(replaced)
	if err != nil {
		return nil, err
	}
	j.downgrade = s.mayReplace(g, replaced)
	subscription, err := parseSubscription(j.protocols[0].metadata)
	if err != nil {
		return nil, err
	}
	updated := j.apply(member, subscription)
	subscribed := false
	if !updated.sameMetadata(member) {
		records = append(records, memberRecord(g.id, updated))
		subscribed = !slices.Equal(updated.topics, member.topics)
	}
	regex, records, err := s.updateRegex(env, g, j.from, member, updated, records)
	if err != nil {
		return nil, err
	}
	reported := reportedTopics(env.Image, subscription)
	if j.downgrade {
		return j.convert(env, replaced, member, updated, subscribed || regex != regexUnchanged, reported, records)
	}
	j.joined, records, err = s.advanceMember(env, g, reported, member, updated, subscribed, regex, records)
	return records, err
}

// member returns the member that joins, or a new one. A static member without an id takes the place of the one with its instance id, of either
// protocol.
func (j *consumerJoin) member(replaced *consumerMember) (*consumerMember, []runtime.Record, error) {
	g := j.g
	switch {
	case j.InstanceID == nil || (replaced == nil && j.unknown):
		j.s.logger.Info("a member joins a consumer group with the classic protocol",
			zap.String("group", g.id), zap.String("member", j.MemberID), zap.Stringp("instance", j.InstanceID))
		if m, ok := g.members[j.MemberID]; ok {
			return m, nil, nil
		}
		return newConsumerMember(j.MemberID), nil, nil
	case !j.unknown:
		return replaced, nil, checkStatic(replaced, *j.InstanceID, j.MemberID)
	default:
		j.s.logger.Info("a static member returns to a consumer group with the classic protocol",
			zap.String("group", g.id), zap.Stringp("instance", j.InstanceID), zap.String("old_member", replaced.id), zap.String("member", j.MemberID))
		m, records := g.replace(replaced, j.MemberID, nil)
		return m, records, nil
	}
}

// apply returns the member with what the request says of it.
func (j *consumerJoin) apply(m *consumerMember, subscription *kmsg.ConsumerMemberMetadata) *consumerMember {
	u := *m
	if j.InstanceID != nil {
		u.instanceID = j.InstanceID
	}
	if subscription.Rack != nil {
		u.rackID = subscription.Rack
	}
	if j.RebalanceTimeoutMillis != -1 {
		u.rebalanceTimeout = j.RebalanceTimeoutMillis
	}
	u.topics, u.regex, u.regexNull = sortedDistinct(subscription.Topics), "", false
	u.clientID, u.clientHost = j.from.ID, j.from.Host
	u.classic = classicMetadata(j.SessionTimeoutMillis, j.protocols)
	return &u
}

// convert makes the group a classic one, as the last member of the consumer protocol came back with the classic one. Without a change to its
// topics there is no rebalance.
func (j *consumerJoin) convert(
	env runtime.Env, replaced, member, updated *consumerMember, changed bool,
	reported []kmsg.ConsumerGroupHeartbeatRequestTopic, records []runtime.Record,
) ([]runtime.Record, error) {
	s, g := j.s, j.g
	epoch := g.epoch
	if changed || g.mustRefresh(env) {
		epoch, _, records = s.refreshTopics(env, g, changed, member, updated, records)
	}
	rebalance := g.assignmentEpoch < epoch
	if !rebalance {
		var err error
		updated, records, err = s.reconcile(env, &reconciliation{
			g: g, image: env.Image, member: updated, epoch: g.assignmentEpoch, target: g.target[replaced.id],
			subscriptions: changed, reported: reported,
		}, records)
		if err != nil {
			return nil, err
		}
	}
	j.joined = updated
	members := maps.Clone(g.members)
	delete(members, replaced.id)
	members[updated.id] = updated
	after := *g // as the records so far leave it
	after.members = members
	return s.downgradeTo(env, g, members, replaced.id, after.tombstones(records), rebalance)
}

// answer tells the member its epoch, and waits for its SyncGroup.
func (j *consumerJoin) answer(env runtime.Env, err error) {
	if err != nil {
		j.reply.fail("", runtime.CodeFor(err))
		return
	}
	m := j.joined
	env.Timers.Cancel(rejoinKey(j.g.id, m.id))
	if !j.downgrade {
		j.s.setConsumerSession(env, j.g.id, m)
		j.s.onMember(env, resyncKey(j.g.id, m.id), milliseconds(j.RebalanceTimeoutMillis), j.g.id, m.id,
			func(env runtime.Env, g *consumerGroup, m *consumerMember) runtime.Result {
				return j.s.fenceNow(env, g, m, "it did not send SyncGroup in time")
			})
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation = m.id, m.epoch
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocolType), &j.protocols[0].name
	j.reply.answer(resp)
}

func rejoinKey(group, member string) string { return "consumer-join-" + group + "-" + member }
func resyncKey(group, member string) string { return "consumer-sync-" + group + "-" + member }

// mustRejoin gives a member its rebalance timeout to join again, from when it could know first.
func (s *shard) mustRejoin(env runtime.Env, g *consumerGroup, m *consumerMember) {
	key := rejoinKey(g.id, m.id)
	if _, set := env.Timers.At(key); set {
		return
	}
	s.onMember(env, key, milliseconds(m.rebalanceTimeout), g.id, m.id, func(env runtime.Env, g *consumerGroup, m *consumerMember) runtime.Result {
		return s.fenceNow(env, g, m, "it did not join again within its rebalance timeout")
	})
}

// classicMember returns the member that a request of the classic protocol speaks for: UnknownMemberID, FencedInstanceID, IllegalGeneration.
func (g *consumerGroup) classicMember(memberID string, instanceID *string, generation int32) (*consumerMember, error) {
	m := g.members[memberID]
	if instanceID != nil {
		if m = g.staticMember(instanceID); m != nil && m.id != memberID {
			return nil, checkStatic(m, *instanceID, memberID)
		}
	}
	switch {
	case m == nil && instanceID != nil:
		return nil, protocol.Errorf(protocol.UnknownMemberID, "Member with instance id %s is not a member of group %s.", *instanceID, g.id)
	case m == nil:
		return nil, unknownMember(g.id, memberID)
	case m.classic == nil:
		return nil, protocol.Errorf(protocol.UnknownMemberID, "Member %s does not use the classic protocol.", m.id)
	case m.epoch != generation:
		return nil, protocol.Errorf(protocol.IllegalGeneration,
			"The request generation id %d is not equal to the member epoch %d of member %s.", generation, m.epoch, m.id)
	default:
		return m, nil
	}
}

// syncConsumer handles SyncGroup of a member of a consumer group: it returns the member's assignment.
func (s *shard) syncConsumer(env runtime.Env, g *consumerGroup, req *kmsg.SyncGroupRequest, reply *syncReply) runtime.Result {
	m, err := g.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if err == nil {
		err = s.checkSyncConsumer(env, g, m, req)
	}
	if err != nil {
		reply.fail(runtime.CodeFor(err))
		return runtime.Result{}
	}
	version, err := embeddedVersion(m.classic.SupportedProtocols[0].Metadata)
	if err != nil {
		reply.fail(runtime.CodeFor(err))
		return runtime.Result{}
	}
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType, resp.Protocol = req.ProtocolType, req.Protocol
	resp.MemberAssignment = assignmentBytes(version, ownedTopics(env.Image, m.assigned))
	return runtime.Result{Then: func(env runtime.Env, err error) {
		if err != nil {
			reply.fail(runtime.CodeFor(err))
			return
		}
		env.Timers.Cancel(resyncKey(g.id, m.id))
		s.setConsumerSession(env, g.id, m)
		reply.answer(resp)
	}}
}

// checkSyncConsumer decides whether a member may have its assignment now.
func (s *shard) checkSyncConsumer(env runtime.Env, g *consumerGroup, m *consumerMember, req *kmsg.SyncGroupRequest) error {
	kind, name := consumerProtocolType, m.classic.SupportedProtocols[0].Name
	switch {
	case differs(req.ProtocolType, &kind):
		return protocol.Errorf(protocol.InconsistentGroupProtocol,
			"The protocol type %s from member %s request is not equal to the group protocol type %s.", *req.ProtocolType, m.id, kind)
	case differs(req.Protocol, &name):
		return protocol.Errorf(protocol.InconsistentGroupProtocol,
			"The protocol name %s from member %s request is not equal to the protocol name %s returned in the join response.", *req.Protocol, m.id, name)
	case g.assignmentEpoch > m.epoch && m.state != unrevokedPartitions:
		s.mustRejoin(env, g, m)
		return protocol.Errorf(protocol.RebalanceInProgress,
			"A new rebalance is triggered in group %s and member %s should rejoin to catch up.", g.id, m.id)
	default:
		return nil
	}
}

// heartbeatConsumer handles Heartbeat of a member of a consumer group: it is to join again if there is something for it to give up or to get.
func (s *shard) heartbeatConsumer(env runtime.Env, g *consumerGroup, req *kmsg.HeartbeatRequest) error {
	m, err := g.classicMember(req.MemberID, req.InstanceID, req.Generation)
	if err != nil {
		return err
	}
	s.setConsumerSession(env, g.id, m)
	if m.epoch < g.assignmentEpoch || m.state == unrevokedPartitions || (m.state == unreleasedPartitions && !g.waitsForOthers(m)) {
		s.mustRejoin(env, g, m)
		return protocol.RebalanceInProgress
	}
	return nil
}

// waitsForOthers reports whether another member still has a partition that this one is to get.
func (g *consumerGroup) waitsForOthers(m *consumerMember) bool {
	for id, partitions := range g.target[m.id] {
		for _, p := range partitions {
			if _, has := m.assigned.epoch(id, p); !has && g.ownerEpoch(id, p) != noOwner {
				return true
			}
		}
	}
	return false
}

// leaveConsumer handles LeaveGroup for members of a consumer group, of either protocol.
func (s *shard) leaveConsumer(
	env runtime.Env, g *consumerGroup, req *kmsg.LeaveGroupRequest,
) ([]kmsg.LeaveGroupResponseMember, runtime.Result, error) {
	responses := make([]kmsg.LeaveGroupResponseMember, 0, len(req.Members))
	var left []*consumerMember
	for i := range req.Members {
		r := &req.Members[i]
		m, err := g.leaving(r)
		if err == nil && !slices.Contains(left, m) {
			left = append(left, m)
		}
		responses = append(responses, kmsg.LeaveGroupResponseMember{
			MemberID: r.MemberID, InstanceID: r.InstanceID, ErrorCode: int16(protocol.CodeOf(err)),
		})
	}
	if len(left) == 0 {
		return responses, runtime.Result{}, nil
	}
	records, err := s.fence(env, g, left)
	return responses, runtime.Result{Records: records}, err
}

// leaving returns the member that is to leave. An administrator names a static member by its instance id alone.
func (g *consumerGroup) leaving(r *kmsg.LeaveGroupRequestMember) (*consumerMember, error) {
	if r.InstanceID == nil {
		if m, ok := g.members[r.MemberID]; ok {
			return m, nil
		}
		return nil, unknownMember(g.id, r.MemberID)
	}
	m := g.staticMember(r.InstanceID)
	if m == nil || r.MemberID != "" {
		return m, checkStatic(m, *r.InstanceID, r.MemberID)
	}
	return m, nil
}
