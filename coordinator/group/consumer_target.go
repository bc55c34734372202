package group

import (
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/group/assignor"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// refreshTopics looks at the topics that the group subscribes to once old is replaced by updated; a change of them, or bump, gives the
// group a new epoch.
func (s *shard) refreshTopics(
	env runtime.Env, g *consumerGroup, bump bool, old, updated *consumerMember, records []runtime.Record,
) (epoch int32, all audience, _ []runtime.Record) {
	all = audience{g.changedRegexes(old, updated), g.changedSubscriptions(old, updated), len(g.members)}
	hash := s.metadataHash(env, all.subscribed)
	if _, known := g.members[updated.id]; !known && g.staticMember(updated.instanceID) == nil {
		all.members++
	}
	epoch = g.epoch
	if bump || hash != g.metadataHash {
		epoch++
		records = append(records, epochRecord(g.id, epoch, hash))
		s.logger.Info("a consumer group has a new epoch", zap.String("group", g.id), zap.Int32("epoch", epoch))
	}
	g.refreshed(env, epoch)
	if g.hasPartitionMetadata {
		records = append(records, consumerTombstone(schema.ConsumerGroupPartitionMetadataType, g.id, ""))
	}
	return epoch, all, records
}

// changedRegexes counts members by regular expression once old is replaced by updated.
func (g *consumerGroup) changedRegexes(old, updated *consumerMember) map[string]int {
	if old.regex == updated.regex {
		return g.regexes
	}
	regexes := maps.Clone(g.regexes)
	if old.regex != "" && regexes[old.regex] > 0 {
		count(regexes, old.regex, -1)
	}
	if updated.regex != "" {
		count(regexes, updated.regex, 1)
	}
	return regexes
}

// changedSubscriptions counts subscribers by topic once old is replaced by updated.
func (g *consumerGroup) changedSubscriptions(old, updated *consumerMember) subscriptions {
	last := old.regex != "" && old.regex != updated.regex && g.regexes[old.regex] == 1
	if !last && slices.Equal(old.topics, updated.topics) {
		return g.subscribed
	}
	subscribed := maps.Clone(g.subscribed)
	for _, t := range old.topics {
		subscribed.less(t, subscribers{names: 1})
	}
	for _, t := range updated.topics {
		subscribed[t] = subscribers{subscribed[t].names + 1, subscribed[t].regexes}
	}
	if last {
		for _, t := range g.resolved[old.regex].topics {
			subscribed.less(t, subscribers{regexes: 1})
		}
	}
	return subscribed
}

// audience sums up who subscribes to what: members by regular expression, subscribers by topic, and all members.
type audience struct {
	regexes    map[string]int
	subscribed subscriptions
	members    int
}

// homogeneous reports whether all members subscribe to the same topics.
func (a *audience) homogeneous() bool {
	byRegex := len(a.regexes) > 0
	for _, n := range a.regexes {
		if n != a.members {
			return false
		}
	}
	for _, n := range a.subscribed {
		if byRegex && (n.regexes != 1 || n.names > 0) || !byRegex && n.names != a.members {
			return false
		}
	}
	return true
}

// updateTarget computes a new target assignment if the present one is for an older epoch than the group's, but not more often than the
// assignment interval allows: a later heartbeat does it then. It returns the epoch of the target, and what it says of updated.
func (s *shard) updateTarget(
	env runtime.Env, g *consumerGroup, epoch int32, all audience, old, updated *consumerMember, records []runtime.Record,
) (int32, assignor.Assignment, []runtime.Record, error) {
	if g.assignmentEpoch >= epoch || !s.mayAssign(env, g) {
		return g.assignmentEpoch, g.targetFor(updated), records, nil
	}
	by := assignorNamed(s.preferredAssignor(g, old, updated))
	spec := g.spec(env.Image, all.homogeneous(), updated)
	assignments, err := by.Assign(spec)
	if err != nil {
		s.logger.Error("could not compute a target assignment", zap.String("group", g.id), zap.Int32("epoch", epoch), zap.Error(err))
		return 0, nil, nil, protocol.Errorf(protocol.UnknownServerError, "Failed to compute a new target assignment for epoch %d: %v", epoch, err)
	}
	s.logger.Debug("computed a target assignment", zap.String("group", g.id), zap.Int32("epoch", epoch), zap.String("assignor", by.Name()), zap.Int("members", len(spec.Members)))
	var own assignor.Assignment
	for i := range spec.Members {
		id := spec.Members[i].ID
		if id == updated.id {
			own = assignments[i]
		}
		if before, ok := g.target[id]; !ok || !equalTargets(before, assignments[i]) {
			records = append(records, targetMemberRecord(g.id, id, assignments[i]))
		}
	}
	return epoch, own, append(records, targetEpochRecord(g.id, epoch, env.Now.UnixMilli())), nil
}

// mayAssign reports whether the last target assignment is long enough ago.
func (s *shard) mayAssign(env runtime.Env, g *consumerGroup) bool {
	each := s.settings.assignment
	each.value = s.settings.live().Int(assignmentIntervalKey)
	interval := each.of(env.Image, g.id).Milliseconds()
	return g.assignmentTimestamp == 0 || interval == 0 || env.Now.UnixMilli() >= g.assignmentTimestamp+interval
}

// assignorNamed returns an assignor of the broker's list.
func assignorNamed(name string) assignor.Assignor {
	if name == (assignor.Range{}).Name() {
		return assignor.Range{}
	}
	return assignor.Uniform{}
}

// spec is what an assignor is told, once updated is in the group.
func (g *consumerGroup) spec(image *metadata.Image, homogeneous bool, updated *consumerMember) *assignor.Spec {
	spec := &assignor.Spec{
		Members: make([]assignor.Member, 0, len(g.members)+1), Homogeneous: homogeneous, Topics: map[protocol.UUID]assignor.Topic{},
	}
	resolve := g.topicResolver(image, spec)
	replaced := g.staticMember(updated.instanceID)
	for _, m := range g.members {
		if m.id != updated.id && m != replaced {
			spec.Members = append(spec.Members, assignor.Member{ID: m.id, InstanceID: m.instanceID, Topics: resolve(m), Target: g.target[m.id]})
		}
	}
	target := g.target[updated.id]
	if replaced != nil {
		target = g.target[replaced.id]
	}
	spec.Members = append(spec.Members, assignor.Member{ID: updated.id, InstanceID: updated.instanceID, Topics: resolve(updated), Target: target})
	slices.SortFunc(spec.Members, func(a, b assignor.Member) int { return strings.Compare(a.ID, b.ID) })
	return spec
}

// topicResolver returns a function that finds the topics that a member subscribes to and that exist. Members with the same subscription share
// the result. Topics that are found are added to the spec.
func (g *consumerGroup) topicResolver(image *metadata.Image, spec *assignor.Spec) func(*consumerMember) []protocol.UUID {
	known := map[string][]protocol.UUID{}
	return func(m *consumerMember) []protocol.UUID {
		key := m.regex + "\x00" + strings.Join(m.topics, "\x00")
		if ids, ok := known[key]; ok {
			return ids
		}
		names := m.topics
		if matched := g.resolved[m.regex].topics; len(matched) > 0 {
			names = sortedDistinct(slices.Concat(names, matched))
		}
		ids := make([]protocol.UUID, 0, len(names))
		for _, name := range names {
			if t := image.Topic(name); t != nil {
				ids = append(ids, t.ID)
				spec.Topics[t.ID] = assignor.Topic{Name: name, Partitions: int32(len(t.Partitions))}
			}
		}
		slices.SortFunc(ids, compareIDs)
		known[key] = ids
		return ids
	}
}
