package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/config"
	"github.com/ottla/ottla/protocol/schema"
)

// topicEdit is a topic in the making: a copy of the topic with a partition slice of its own.
type topicEdit struct {
	topic   *Topic
	created bool
	changed map[int32]struct{}
	// ahead holds new partitions whose predecessors have not come yet (a snapshot need not list them in order).
	ahead map[int32]*Partition
}

// edit returns the topic in the making, or nil if there is no such topic.
func (b *builder) edit(id protocol.UUID) *topicEdit {
	if e := b.edits[id]; e != nil {
		return e
	}
	t, ok := b.topicsByID.get(id[:])
	if !ok {
		return nil
	}
	return b.addEdit(&topicEdit{topic: &Topic{Name: t.Name, ID: t.ID, Partitions: slices.Clone(t.Partitions)}})
}

func (b *builder) addEdit(e *topicEdit) *topicEdit {
	if b.edits == nil {
		b.edits = map[protocol.UUID]*topicEdit{}
	}
	e.changed = map[int32]struct{}{}
	b.edits[e.topic.ID] = e
	name, id := []byte(e.topic.Name), slices.Clone(e.topic.ID[:])
	b.topics.put(name, e.topic)
	b.topicsByID.put(id, e.topic)
	return e
}

func (b *builder) createTopic(r *schema.TopicRecord) error {
	if t, ok := b.topics.get([]byte(r.Name)); ok {
		return fmt.Errorf("metadata: topic %s is created with id %s, but exists with id %s", r.Name, r.TopicID, t.ID)
	}
	if t, ok := b.topicsByID.get(r.TopicID[:]); ok {
		return fmt.Errorf("metadata: topic %s is created with id %s, which is topic %s", r.Name, r.TopicID, t.Name)
	}
	b.addEdit(&topicEdit{topic: &Topic{Name: r.Name, ID: r.TopicID}, created: true})
	return nil
}

func (b *builder) putPartition(r *schema.PartitionRecord) error {
	e := b.edit(r.TopicID)
	if e == nil {
		return fmt.Errorf("metadata: partition %d of unknown topic %s", r.PartitionID, r.TopicID)
	}
	p := partitionOf(r)
	switch at := int(r.PartitionID); {
	case at < 0:
		return fmt.Errorf("metadata: partition %d of topic %s", r.PartitionID, e.topic.Name)
	case at < len(e.topic.Partitions):
		e.topic.Partitions[at] = p
	case at == len(e.topic.Partitions):
		e.topic.Partitions = append(e.topic.Partitions, p)
		for next := e.ahead[p.ID+1]; next != nil; next = e.ahead[next.ID+1] {
			e.topic.Partitions = append(e.topic.Partitions, next)
			delete(e.ahead, next.ID)
		}
	default:
		if e.ahead == nil {
			e.ahead = map[int32]*Partition{}
		}
		e.ahead[p.ID] = p
	}
	e.changed[p.ID] = struct{}{}
	return nil
}

func (b *builder) changePartition(r *schema.PartitionChangeRecord) error {
	e := b.edit(r.TopicID)
	if e == nil {
		return fmt.Errorf("metadata: change of partition %d of unknown topic %s", r.PartitionID, r.TopicID)
	}
	p := e.topic.Partition(r.PartitionID)
	if p == nil {
		return fmt.Errorf("metadata: change of unknown partition %s-%d", e.topic.Name, r.PartitionID)
	}
	e.topic.Partitions[p.ID] = p.Merge(r)
	e.changed[p.ID] = struct{}{}
	return nil
}

// removeTopic removes a topic and, as Kafka does, its configs.
func (b *builder) removeTopic(r *schema.RemoveTopicRecord) error {
	t, ok := b.topicsByID.get(r.TopicID[:])
	if !ok {
		return fmt.Errorf("metadata: removal of unknown topic %s", r.TopicID)
	}
	b.topics.remove([]byte(t.Name))
	b.topicsByID.remove(r.TopicID[:])
	delete(b.edits, r.TopicID)
	if before := b.base.TopicByID(r.TopicID); before != nil {
		if b.deleted == nil {
			b.deleted = map[protocol.UUID]*Topic{}
		}
		b.deleted[r.TopicID] = before
	}
	configs := b.base.configs[config.Topic]
	if made := b.configs[config.Topic]; made != nil || configs != nil {
		resource := ConfigResource{config.Topic, t.Name}
		if made == nil {
			if _, ok := configs.Get([]byte(t.Name)); !ok {
				return nil
			}
		} else if _, ok := made.get([]byte(t.Name)); !ok {
			return nil
		}
		b.configTable(resource).remove([]byte(t.Name))
	}
	return nil
}

func (b *builder) clearELR(r *schema.ClearELRRecord) error {
	if r.TopicName != "" {
		t, ok := b.topics.get([]byte(r.TopicName))
		if !ok {
			return fmt.Errorf("metadata: ELR of unknown topic %s", r.TopicName)
		}
		b.clearTopicELR(t)
		return nil
	}
	var topics []*Topic
	for t := range all(b.topics.commit()) {
		topics = append(topics, t)
	}
	for _, t := range topics {
		b.clearTopicELR(t)
	}
	return nil
}

func (b *builder) clearTopicELR(t *Topic) {
	for i, p := range t.Partitions {
		if len(p.ELR) == 0 && len(p.LastKnownELR) == 0 {
			continue
		}
		next := *p
		next.ELR, next.LastKnownELR = nil, nil
		e := b.edit(t.ID)
		e.topic.Partitions[i] = &next
		e.changed[p.ID] = struct{}{}
	}
}

// finishTopics checks that every partition found its place and fills the delta.
func (b *builder) finishTopics(d *Delta) error {
	for id, e := range b.edits {
		if len(e.ahead) > 0 {
			return fmt.Errorf("metadata: topic %s has %d partitions beyond partition %d, which is missing",
				e.topic.Name, len(e.ahead), len(e.topic.Partitions))
		}
		d.Topics[id] = &TopicDelta{Topic: e.topic, Created: e.created, Partitions: slices.Sorted(maps.Keys(e.changed))}
	}
	return nil
}
