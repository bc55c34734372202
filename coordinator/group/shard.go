package group

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

// shard is the state of one partition of __consumer_offsets. The runtime's loop owns it.
type shard struct {
	settings      settings
	logger        *zap.Logger
	newID         func() string              // random part of the ids of classic members
	newConsumerID func() string              // ids of members of consumer groups
	registered    func(*metadata.Image) bool // Options.Registered

	groups  map[string]group
	offsets *offsetStore
	parser  offsetParser
	topics  topicIndex

	loaded   bool
	counters *counters            // of the coordinator
	activity map[string]*activity // by group

	resolving   map[string]struct{}                         // groups whose regular expressions are being resolved
	newTopics   int64                                       // offset of the last image that came with new topics
	describable func(from Client, topics []string) []string // of topics, those that a client may know of
}

var _ runtime.Shard = (*shard)(nil)

func newShard(settings settings, logger *zap.Logger) *shard {
	return &shard{
		counters: &counters{}, activity: map[string]*activity{},
		settings: settings, logger: logger, newID: newMemberUUID, newConsumerID: func() string { return protocol.NewUUID().String() },
		registered: func(*metadata.Image) bool { return true },
		groups:     map[string]group{}, offsets: newOffsetStore(), topics: newTopicIndex(),
		resolving: map[string]struct{}{}, describable: func(_ Client, topics []string) []string { return topics },
	}
}

// newMemberUUID is a random UUID of version 4 in its usual text form, as Kafka puts it into member ids.
func newMemberUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails: crypto/rand.Read ends the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Replay implements runtime.Shard. Records of other kinds of groups, and of types that are not known, are skipped.
func (s *shard) Replay(offset, producerID int64, _ int16, key, value []byte) error {
	switch t, ok := recordType(key); {
	case !ok:
		return nil
	case t == offsetKeyV0 || t == offsetKeyV1:
		return s.replayOffset(offset, producerID, key, value)
	case t == groupMetadataKey:
		return s.replayGroup(key, value)
	case t >= schema.ConsumerGroupMetadataType && t <= schema.ConsumerGroupCurrentMemberAssignmentType, t == schema.ConsumerGroupRegularExpressionType:
		return s.replayConsumer(key, value)
	default:
		return nil
	}
}

func (s *shard) replayOffset(offset, producerID int64, key, value []byte) error {
	k, err := s.parser.key(key)
	if err != nil {
		return err
	}
	g, ok := s.groups[k.group]
	if value == nil {
		if ok {
			k.group = g.groupID()
		} else {
			k.group = strings.Clone(k.group)
		}
		s.offsets.put(k, offsetValue{deleted: true, recordOffset: offset, since: offset})
		s.offsets.dropPending(k)
		return nil
	}
	v, err := s.parser.value(value, offset)
	if err != nil {
		return err
	}
	if !ok {
		// Offsets without a group are those of consumers without membership.
		g = newClassicGroup(strings.Clone(k.group), time.UnixMilli(v.commitTimestamp))
		s.groups[g.groupID()] = g
	}
	k.group = g.groupID()
	if producerID >= 0 {
		s.offsets.putPending(producerID, k, v)
	} else {
		s.offsets.put(k, v)
	}
	return nil
}

func (s *shard) replayGroup(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("group metadata key: %w", err)
	}
	if value == nil {
		if _, ok := s.classic(k.Group); ok {
			delete(s.groups, k.Group)
		}
		return nil
	}
	v, err := parseGroupValue(bytes.Clone(value))
	if err != nil {
		return err
	}
	s.groups[k.Group] = loadedGroup(k.Group, v)
	return nil
}

// loadedGroup is a group as its record says: Stable with members, else Empty.
func loadedGroup(id string, v *kmsg.GroupMetadataValue) *classicGroup {
	g := newClassicGroup(id, time.Time{})
	g.stateTimestamp = v.CurrentStateTimestamp
	g.protocolType, g.protocolName, g.generation, g.leader = v.ProtocolType, v.Protocol, v.Generation, deref(v.Leader)
	if len(v.Members) > 0 {
		g.state = stable
	}
	for i := range v.Members {
		r := &v.Members[i]
		m := &member{
			id: r.MemberID, instanceID: r.InstanceID, clientID: r.ClientID, clientHost: r.ClientHost,
			rebalanceTimeout: r.RebalanceTimeoutMillis, sessionTimeout: r.SessionTimeoutMillis, protocolType: v.ProtocolType,
			protocols: []memberProtocol{{name: deref(v.Protocol), metadata: r.Subscription}}, assignment: r.Assignment,
		}
		if m.rebalanceTimeout == -1 { // version 0 has none
			m.rebalanceTimeout = m.sessionTimeout
		}
		g.add(m, nil)
	}
	g.updateSubscribed()
	return g
}

// loadedClassic starts the sessions of a group that was loaded.
func (s *shard) loadedClassic(env runtime.Env, g *classicGroup) {
	for _, m := range g.members {
		s.resetSession(env, g, m)
	}
	if len(g.members) > s.settings.maxSize {
		s.prepareRebalance(env, g, "the group is larger than group.max.size", "")
	}
}

// unloaded answers whoever is parked in a group whose shard is dropped.
func (g *classicGroup) unloaded(env runtime.Env, code protocol.Code) {
	for _, m := range g.members {
		g.failJoin(m, m.id, code)
		m.failSync(code)
	}
	g.transition(dead, env.Now)
}

// ReplayMarker implements runtime.Shard.
func (s *shard) ReplayMarker(offset, producerID int64, _ int16, commit bool) error {
	s.offsets.endTransaction(offset, producerID, commit)
	return nil
}

// Committed implements runtime.Shard.
func (s *shard) Committed(highWatermark int64) { s.offsets.committed(highWatermark) }

// Loaded implements runtime.Shard: members get a full session timeout; a group that is larger than is allowed now rebalances.
func (s *shard) Loaded(env runtime.Env) {
	for _, g := range s.groups {
		switch g := g.(type) {
		case *classicGroup:
			s.loadedClassic(env, g)
		case *consumerGroup:
			s.loadedConsumer(env, g)
		}
	}
	s.loaded = true
	s.newTopics = env.Image.Offset()
	s.scheduleRetention(env)
	s.scheduleVanished(env)
}

// ImageChanged implements runtime.Shard: the offsets of deleted topics go with them.
func (s *shard) ImageChanged(env runtime.Env, d *metadata.Delta) runtime.Result {
	if !s.registered(d.Before) && s.registered(d.Image) {
		s.scheduleVanished(env)
	}
	s.topicsChanged(d)
	if len(d.Deleted) == 0 {
		return runtime.Result{}
	}
	return runtime.Result{Records: s.topicsDeleted(d)}
}

// Unloaded implements runtime.Shard: members that are parked look for the next coordinator.
func (s *shard) Unloaded(env runtime.Env, err error) {
	code := runtime.CodeFor(err)
	if code == protocol.None {
		code = protocol.NotCoordinator
	}
	for _, g := range s.groups {
		if g, ok := g.(*classicGroup); ok {
			g.unloaded(env, code)
		}
	}
}
