package group

import (
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	vanishedKey = "vanished"
	// vanishedDelay is the time from the load to the look at the topics. It keeps a shard whose log takes no records from being loaded again
	// and again without a pause.
	vanishedDelay = time.Second
)

// scheduleVanished takes the offsets of topics away that were deleted while nobody looked: a broker that ends between the deletion of a topic
// and the tombstones of its offsets never sees that change again.
func (s *shard) scheduleVanished(env runtime.Env) {
	env.Timers.Set(vanishedKey, env.Now.Add(vanishedDelay), func(env runtime.Env) runtime.Result {
		if !s.registered(env.Image) {
			return runtime.Result{} // ImageChanged comes when it is
		}
		records := s.vanished(env.Image)
		if len(records) > 0 {
			s.logger.Info("removing offsets of topics that were deleted", zap.Int("tombstones", len(records)))
		}
		return runtime.Result{Records: records, Split: true}
	})
}

// vanished makes the tombstones of all offsets whose topic is not in image: by name, and by id where the offset has one.
func (s *shard) vanished(image *metadata.Image) []runtime.Record {
	gone := func(topic *metadata.Topic, id protocol.UUID) bool {
		return topic == nil || (!id.IsZero() && id != topic.ID)
	}
	var keys []offsetKey
	for group, topics := range s.offsets.groups {
		for name, partitions := range topics {
			topic := image.Topic(name)
			for partition, e := range partitions {
				if !e.latest.deleted && gone(topic, e.latest.topicID) {
					keys = append(keys, offsetKey{group, name, partition})
				}
			}
		}
	}
	for k, v := range s.offsets.pendingValues() {
		if gone(image.Topic(k.topic), v.topicID) {
			keys = append(keys, k)
		}
	}
	return appendTombstones(nil, keys)
}
