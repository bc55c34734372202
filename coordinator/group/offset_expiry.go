package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

const retentionKey = "retention"

// scheduleRetention runs the retention check after offsets.retention.check.interval.ms, again and again.
func (s *shard) scheduleRetention(env runtime.Env) {
	env.Timers.Set(retentionKey, env.Now.Add(s.settings.retentionCheck), func(env runtime.Env) runtime.Result {
		s.scheduleRetention(env)
		s.dropActivity()
		records := s.expired(env)
		if len(records) > 0 {
			s.logger.Info("removing expired offsets and groups", zap.Int("tombstones", len(records)))
		}
		return runtime.Result{Records: records, Split: true}
	})
}

// expired makes the tombstones of offsets whose retention is over, and of empty groups that have none left (KIP-211).
func (s *shard) expired(env runtime.Env) []runtime.Record {
	var records []runtime.Record
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		var all bool
		records, all = s.expiredOffsets(records, env, g)
		if all && g.isEmpty() && !s.offsets.hasPending(id) {
			records = g.tombstones(records)
		}
	}
	return records
}

// expiredOffsets appends the tombstones of one group's expired offsets; all says that none are left.
func (s *shard) expiredOffsets(records []runtime.Record, env runtime.Env, g group) (_ []runtime.Record, all bool) {
	base, may := g.expirationBase()
	all = true
	now := env.Now.UnixMilli()
	var keys []offsetKey
	for k, v := range s.offsets.all(g.groupID()) {
		if !may || g.subscribes(k.topic) || s.offsets.isPending(k) || !s.isExpired(v, base, now) {
			all = false
			continue
		}
		keys = append(keys, k)
	}
	s.counters.expirations.Add(int64(len(keys)))
	return appendTombstones(records, keys), all
}

func (s *shard) isExpired(v *offsetValue, base func(*offsetValue) int64, now int64) bool {
	if v.expireTimestamp != noTimestamp {
		return now >= v.expireTimestamp
	}
	return now-base(v) >= s.settings.offsetsRetention.Milliseconds()
}

// topicsDeleted makes the tombstones of all offsets in deleted topics. An offset that is known to belong to another topic of the same name stays.
func (s *shard) topicsDeleted(d *metadata.Delta) []runtime.Record {
	names := make(map[string]protocol.UUID, len(d.Deleted))
	for id, t := range d.Deleted {
		names[t.Name] = id
	}
	var keys []offsetKey
	for group, topics := range s.offsets.groups {
		for name, id := range names { // few, while a group may have very many offsets
			for partition, e := range topics[name] {
				if v := &e.latest; !v.deleted && (v.topicID.IsZero() || v.topicID == id) {
					keys = append(keys, offsetKey{group, name, partition})
				}
			}
		}
	}
	for k, v := range s.offsets.pendingValues() {
		if id, ok := names[k.topic]; ok && (v.topicID.IsZero() || v.topicID == id) {
			keys = append(keys, k)
		}
	}
	return appendTombstones(nil, keys)
}

// deleteAllOffsets makes the tombstones of all offsets of a group.
func (s *shard) deleteAllOffsets(records []runtime.Record, group string) []runtime.Record {
	var keys []offsetKey
	for k := range s.offsets.all(group) {
		keys = append(keys, k)
	}
	keys = slices.AppendSeq(keys, s.offsets.pendingOf(group))
	return appendTombstones(records, keys)
}

// deleteOffsets handles OffsetDelete (KIP-496). Partitions that nothing is committed for are deleted without a record.
func (s *shard) deleteOffsets(req *kmsg.OffsetDeleteRequest) (*kmsg.OffsetDeleteResponse, []runtime.Record, error) {
	g, ok := s.groups[req.Group]
	if !ok {
		return nil, nil, protocol.GroupIDNotFound
	}
	if err := g.checkOffsetDelete(); err != nil {
		return nil, nil, err
	}
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	var keys []offsetKey
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		code := protocol.None
		if g.subscribes(t.Topic) {
			code = protocol.GroupSubscribedToTopic
		}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			k := offsetKey{req.Group, t.Topic, p.Partition}
			if _, exists := s.offsets.latest(k); code == protocol.None && (exists || s.offsets.isPending(k)) {
				keys = append(keys, k)
			}
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp, appendTombstones(nil, keys), nil
}

// appendTombstones appends one tombstone for each key, in order of group, topic, partition.
func appendTombstones(records []runtime.Record, keys []offsetKey) []runtime.Record {
	slices.SortFunc(keys, compareOffsetKeys)
	for _, k := range slices.Compact(keys) {
		records = append(records, offsetTombstone(k))
	}
	return records
}
