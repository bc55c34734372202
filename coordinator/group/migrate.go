package group

import (
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
)

// A group that is used changes its protocol in one batch: tombstones of all records of the old kind, then all of the new kind. The state changes with
// the replay of that batch, so that a batch which cannot be written changes nothing.

// migration is group.consumer.migration.policy (Kafka's ConsumerGroupMigrationPolicy).
type migration struct{ upgrade, downgrade bool }

func migrationOf(policy string) migration {
	switch strings.ToLower(policy) {
	case "upgrade":
		return migration{upgrade: true}
	case "downgrade":
		return migration{downgrade: true}
	case "bidirectional":
		return migration{upgrade: true, downgrade: true}
	default:
		return migration{}
	}
}

func (m migration) disabled() bool { return m == migration{} }

// upgradeClassic makes a consumer group of a classic group with members, because one of the consumer protocol joins it: its present generation becomes the
// epoch, and everybody keeps what it has. The group that is returned is not the shard's: that one comes with the records' replay.
func (s *shard) upgradeClassic(env runtime.Env, g *classicGroup) (*consumerGroup, []runtime.Record, error) {
	if err := s.checkUpgrade(g); err != nil {
		s.logger.Info("a classic group cannot become a consumer group", zap.String("group", g.id), zap.Error(err))
		return nil, nil, err
	}
	members, err := upgradedMembers(env, g)
	if err != nil {
		s.logger.Warn("a classic group cannot become a consumer group", zap.String("group", g.id), zap.Error(err))
		return nil, nil, err
	}
	for _, m := range g.members {
		g.failJoin(m, m.id, protocol.RebalanceInProgress)
		m.failSync(protocol.RebalanceInProgress)
	}
	records := append([]runtime.Record{groupTombstone(g.id)}, s.upgradeRecords(env, g, members)...)
	upgraded, err := s.replayed(g.id, records)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range members {
		s.setConsumerSession(env, g.id, m)
	}
	s.logger.Info("a classic group becomes a consumer group", zap.String("group", g.id), zap.Int32("generation", g.generation), zap.Int("members", len(members)))
	return upgraded, records, nil
}

// checkUpgrade finds out whether the group may become a consumer group: GroupIDNotFound.
func (s *shard) checkUpgrade(g *classicGroup) error {
	var reason string
	switch {
	case !s.settings.migration.upgrade:
		reason = "online upgrade is disabled"
	case !g.usesConsumerProtocol():
		reason = "the group does not use the consumer embedded protocol"
	case len(g.members) > s.settings.consumerMaxSize:
		reason = "the group size exceeds the consumer group maximum size"
	default:
		return nil
	}
	return cannotUpgrade(g, reason)
}

func cannotUpgrade(g *classicGroup, reason string) error {
	return protocol.Errorf(protocol.GroupIDNotFound, "Cannot upgrade classic group %s to consumer group because %s.", g.id, reason)
}

// upgradedMembers are the members of a classic group as those of a consumer group, by id.
func upgradedMembers(env runtime.Env, g *classicGroup) ([]*consumerMember, error) {
	name := deref(g.protocolName)
	if g.protocolName == nil {
		name = g.selectProtocol() // the first generation has not begun
	}
	members := make([]*consumerMember, 0, len(g.members))
	for _, m := range g.members {
		target, custom, err := parseAssignment(m.assignment, env.Image)
		if err != nil {
			return nil, cannotUpgrade(g, "the embedded consumer protocol is malformed")
		}
		if custom {
			return nil, cannotUpgrade(g, "an unsupported custom assignor is in use. "+
				"Please refer to the documentation or switch to a default assignor before re-attempting the upgrade")
		}
		subscription, err := parseSubscription(m.metadata(name))
		if err != nil {
			return nil, cannotUpgrade(g, "the embedded consumer protocol is malformed")
		}
		u := newConsumerMember(m.id)
		u.epoch, u.previousEpoch = g.generation, g.generation
		u.instanceID, u.clientID, u.clientHost, u.rebalanceTimeout = m.instanceID, m.clientID, m.clientHost, m.rebalanceTimeout
		u.topics, u.rackID = sortedDistinct(subscription.Topics), subscription.Rack
		u.assigned = ownedSince(target, g.generation)
		u.classic = classicMetadata(m.sessionTimeout, m.protocols)
		members = append(members, u)
	}
	slices.SortFunc(members, compareMembers)
	return members, nil
}

// classicMetadata is what a consumer group keeps of a member of the classic protocol.
func classicMetadata(sessionTimeout int32, protocols []memberProtocol) *schema.ClassicMemberMetadata {
	m := &schema.ClassicMemberMetadata{SessionTimeoutMs: sessionTimeout, SupportedProtocols: make([]schema.ClassicProtocol, 0, len(protocols))}
	for _, p := range protocols {
		m.SupportedProtocols = append(m.SupportedProtocols, schema.ClassicProtocol{Name: p.name, Metadata: p.metadata})
	}
	return m
}

// upgradeRecords are all records of the consumer group (ConsumerGroup.createConsumerGroupRecords).
func (s *shard) upgradeRecords(env runtime.Env, g *classicGroup, members []*consumerMember) []runtime.Record {
	subscribed := subscriptions{}
	var records, targets, current []runtime.Record
	for _, m := range members {
		for _, t := range m.topics {
			subscribed[t] = subscribers{names: subscribed[t].names + 1}
		}
		records = append(records, memberRecord(g.id, m))
		targets = append(targets, targetMemberRecord(g.id, m.id, m.assigned.target()))
		current = append(current, currentRecord(g.id, m))
	}
	records = append(records, epochRecord(g.id, g.generation, s.metadataHash(env, subscribed)))
	records = append(records, targets...)
	records = append(records, targetEpochRecord(g.id, g.generation, 0))
	return append(records, current...)
}

// replayed is the consumer group that records make, beside the shard's own state.
func (s *shard) replayed(id string, records []runtime.Record) (*consumerGroup, error) {
	aside := newShard(s.settings, s.logger)
	for _, r := range records {
		if err := aside.Replay(-1, -1, -1, r.Key, r.Value); err != nil {
			return nil, err
		}
	}
	return aside.replayedConsumer(id), nil
}

// mayDowngrade reports whether the group is to become a classic one when members leave it: only members of the classic protocol are left
// (validateOnlineDowngradeWithFencedMembers).
func (s *shard) mayDowngrade(g *consumerGroup, leaving []*consumerMember) bool {
	classic := g.classic
	for _, m := range leaving {
		if m.classic != nil {
			classic--
		}
	}
	left := len(g.members) - len(leaving)
	return left > 0 && classic == left && s.downgradeAllowed(g, left)
}

// mayReplace reports whether the group is to become a classic one when a member of the classic protocol takes the place of old: it was the last one
// of the consumer protocol (validateOnlineDowngradeWithReplacedMember).
func (s *shard) mayReplace(g *consumerGroup, old *consumerMember) bool {
	return old != nil && old.classic == nil && g.classic == len(g.members)-1 && s.downgradeAllowed(g, len(g.members))
}

func (s *shard) downgradeAllowed(g *consumerGroup, members int) bool {
	switch {
	case !s.settings.migration.downgrade:
		s.logger.Info("a consumer group cannot become a classic group: online downgrade is disabled", zap.String("group", g.id))
		return false
	case members > s.settings.maxSize:
		s.logger.Info("a consumer group cannot become a classic group: it is larger than group.max.size", zap.String("group", g.id))
		return false
	}
	return true
}

// downgrade makes a classic group of a consumer group that members leave, and has it rebalance.
func (s *shard) downgrade(env runtime.Env, g *consumerGroup, leaving []*consumerMember) ([]runtime.Record, error) {
	members := maps.Clone(g.members)
	for _, m := range leaving {
		delete(members, m.id)
	}
	return s.downgradeTo(env, g, members, "", g.tombstones(nil), true)
}

// downgradeTo makes a classic group with these members; replaces is the member whose target a new member among them takes, or "". tombstones remove the
// consumer group. It rebalances once it is there.
func (s *shard) downgradeTo(
	env runtime.Env, g *consumerGroup, members map[string]*consumerMember, replaces string, tombstones []runtime.Record, rebalance bool,
) ([]runtime.Record, error) {
	classic := newClassicGroup(g.id, env.Now)
	classic.state, classic.generation = stable, g.epoch
	for _, id := range slices.Sorted(maps.Keys(members)) {
		classic.add(downgradedMember(members[id]), nil)
	}
	name := classic.selectProtocol()
	classic.protocolName = &name
	for _, m := range classic.members {
		version, err := embeddedVersion(m.metadata(name))
		if err != nil {
			return nil, protocol.Errorf(protocol.GroupIDNotFound, "Cannot downgrade the classic group %s: %w.", g.id, err)
		}
		target := g.target[m.id]
		if _, known := g.members[m.id]; !known {
			target = g.target[replaces]
		}
		m.assignment = assignmentBytes(version, targetTopics(env.Image, target))
	}
	for id := range g.members {
		cancelMemberTimers(env, g.id, id)
	}
	s.afterDowngrade(env, classic, rebalance)
	return append(tombstones, groupRecord(classic, (*member).currentAssignment)), nil
}

// downgradedMember is a member of a consumer group as that of a classic one.
func downgradedMember(m *consumerMember) *member {
	c := &member{
		id: m.id, instanceID: m.instanceID, clientID: m.clientID, clientHost: m.clientHost, protocolType: consumerProtocolType,
		rebalanceTimeout: m.rebalanceTimeout, sessionTimeout: m.classic.SessionTimeoutMs,
	}
	for _, p := range m.classic.SupportedProtocols {
		c.protocols = append(c.protocols, memberProtocol{name: p.Name, metadata: p.Metadata})
	}
	return c
}

// afterDowngrade starts the members' sessions, and a rebalance, once the group's records are replayed: at the end of this round of the shard. The
// records name only the protocol that is in use; the members support all that they told before.
func (s *shard) afterDowngrade(env runtime.Env, as *classicGroup, rebalance bool) {
	env.Timers.Set("downgraded-"+as.id, env.Now, func(env runtime.Env) runtime.Result {
		g, ok := s.groups[as.id].(*classicGroup)
		if !ok {
			return runtime.Result{} // it could not be written
		}
		s.logger.Info("a consumer group became a classic group", zap.String("group", g.id), zap.Int32("generation", g.generation), zap.Int("members", len(g.members)))
		for _, m := range g.members {
			if known, ok := as.byID[m.id]; ok {
				g.update(m, known.protocols, m.rebalanceTimeout, m.sessionTimeout, m.awaitingJoin)
			}
			s.resetSession(env, g, m)
		}
		if rebalance && g.canRebalance() {
			return s.prepareRebalance(env, g, "the group was a consumer group", "")
		}
		return runtime.Result{}
	})
}

// target is what a member has as an assignment.
func (o owned) target() map[protocol.UUID][]int32 {
	a := make(map[protocol.UUID][]int32, len(o))
	for _, t := range o {
		a[t.id] = t.partitions
	}
	return a
}
