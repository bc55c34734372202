package group

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf16"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/replication/metadata"
)

// topicIndex knows which consumer groups subscribe to a topic, so that a change of a topic costs by the groups concerned, and keeps the
// hashes of subscribed topics.
type topicIndex struct {
	groups map[string]map[*consumerGroup]struct{}
	hashes map[string]int64
}

func newTopicIndex() topicIndex {
	return topicIndex{groups: map[string]map[*consumerGroup]struct{}{}, hashes: map[string]int64{}}
}

// countSubscribers adds to who subscribes to a topic.
func (s *shard) countSubscribers(g *consumerGroup, topic string, by subscribers) {
	n, known := g.subscribed[topic]
	n.names += by.names
	n.regexes += by.regexes
	switch {
	case n == (subscribers{}):
		delete(g.subscribed, topic)
		delete(s.topics.groups[topic], g)
		if len(s.topics.groups[topic]) == 0 {
			delete(s.topics.groups, topic)
			delete(s.topics.hashes, topic)
		}
		return
	case !known:
		groups := s.topics.groups[topic]
		if groups == nil {
			groups = map[*consumerGroup]struct{}{}
			s.topics.groups[topic] = groups
		}
		groups[g] = struct{}{}
	}
	g.subscribed[topic] = n
}

// topicsChanged asks the groups that subscribe to a changed topic to look at their topics with their next heartbeat.
func (s *shard) topicsChanged(d *metadata.Delta) {
	for _, t := range d.Topics {
		if t.Created {
			s.newTopics = d.Image.Offset()
		}
		s.topicChanged(t.Topic.Name)
	}
	for _, t := range d.Deleted {
		s.topicChanged(t.Name)
	}
	if racksChanged(d) {
		for name := range s.topics.groups {
			s.topicChanged(name)
		}
	}
}

func (s *shard) topicChanged(name string) {
	delete(s.topics.hashes, name)
	for g := range s.topics.groups[name] {
		g.requestRefresh()
	}
}

// concernsSubscriptions reports whether a change of the metadata may change the hash of a topic: a new topic or a deleted one, more
// partitions, other replicas, other racks.
func concernsSubscriptions(d *metadata.Delta) bool {
	if len(d.Deleted) > 0 || racksChanged(d) {
		return true
	}
	for id, t := range d.Topics {
		before := d.Before.TopicByID(id)
		if before == nil || len(before.Partitions) != len(t.Topic.Partitions) {
			return true
		}
		for _, p := range t.Partitions {
			if !slices.Equal(replicas(before, p), replicas(t.Topic, p)) {
				return true
			}
		}
	}
	return false
}

func replicas(t *metadata.Topic, partition int32) []int32 {
	if p := t.Partition(partition); p != nil {
		return p.Replicas
	}
	return nil
}

func racksChanged(d *metadata.Delta) bool {
	for id := range d.Brokers {
		before, after := d.Before.Broker(id), d.Image.Broker(id)
		if before != nil && after != nil && !equalString(before.Rack, after.Rack) {
			return true
		}
	}
	return false
}

// requestRefresh makes the next heartbeat look at the group's topics.
func (g *consumerGroup) requestRefresh() { g.refreshAt, g.refreshEpoch = time.Time{}, 0 }

// refreshed notes that the group's topics were looked at, for an epoch whose record may not be written yet.
func (g *consumerGroup) refreshed(env runtime.Env, epoch int32) {
	g.refreshAt, g.refreshEpoch = env.Now.Add(math.MaxInt32*time.Millisecond), epoch
}

// mustRefresh reports whether a heartbeat has to look at the group's topics.
func (g *consumerGroup) mustRefresh(env runtime.Env) bool {
	return !env.Now.Before(g.refreshAt) || g.epoch < g.refreshEpoch
}

// metadataHash is the hash of subscribed topics that exist: 0 for none (KIP-1101; Kafka's computeGroupHash).
func (s *shard) metadataHash(env runtime.Env, subscribed subscriptions) int64 {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(subscribed)) {
		t := env.Image.Topic(name)
		if t == nil {
			continue
		}
		hash, ok := s.topics.hashes[name]
		if !ok {
			hash = topicHash(env.Image, t)
			if _, indexed := s.topics.groups[name]; indexed {
				s.topics.hashes[name] = hash
			}
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(hash))
	}
	if len(b) == 0 {
		return 0
	}
	return int64(xxh3(b))
}

// topicHash is Kafka's hash of what an assignment depends on: the topic's id, name and partitions, and the racks of each partition's replicas.
func topicHash(image *metadata.Image, t *metadata.Topic) int64 {
	b := []byte{0} // the version of this format
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b, _ = appendUTF16(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Partitions)))
	for i := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		var racks []string
		for _, r := range replicas(t, int32(i)) {
			if broker := image.Broker(r); broker != nil && broker.Rack != nil {
				racks = append(racks, *broker.Rack)
			}
		}
		slices.Sort(racks)
		for _, rack := range racks {
			at := len(b)
			var n int
			b = append(b, 0, 0, 0, 0)
			b, n = appendUTF16(b, rack)
			binary.LittleEndian.PutUint32(b[at:], uint32(n))
		}
	}
	return int64(xxh3(b))
}

// appendUTF16 appends a string as Kafka's hash takes it: its UTF-16 units, then their number.
func appendUTF16(b []byte, s string) ([]byte, int) {
	units := utf16.Encode([]rune(s))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return binary.LittleEndian.AppendUint32(b, uint32(len(units))), len(units)
}
