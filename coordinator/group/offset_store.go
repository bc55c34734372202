package group

import (
	"iter"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// offsetValue is one committed offset.
type offsetValue struct {
	offset          int64
	leaderEpoch     int32 // -1: unknown
	deleted         bool  // a tombstone that is not committed yet
	metadata        string
	commitTimestamp int64         // ms
	expireTimestamp int64         // ms; -1: none given
	topicID         protocol.UUID // zero: not known
	recordOffset    int64         // of the record in the log
	since           int64         // offset of the record that made it count: its own, or the marker of its transaction
}

// offsetEntry is one partition's offset: the latest value, and older ones back to the newest that is durable.
type offsetEntry struct {
	latest offsetValue
	older  []offsetValue // ascending by since; nil once latest is durable
}

// partitionOffsets are the offsets of one group in one topic.
type partitionOffsets map[int32]*offsetEntry

// topicOffsets are the offsets of one group.
type topicOffsets map[string]partitionOffsets

// offsetKey names one offset.
type offsetKey struct {
	group, topic string
	partition    int32
}

// offsetStore holds the offsets of a shard: what was written, and what of it is durable.
type offsetStore struct {
	groups        map[string]topicOffsets
	highWatermark int64
	written       []writtenOffset // not durable yet, by since
	pending       pendingOffsets
}

type writtenOffset struct {
	since int64
	key   offsetKey
}

func newOffsetStore() *offsetStore {
	return &offsetStore{groups: map[string]topicOffsets{}, pending: newPendingOffsets()}
}

// put sets an offset, or removes it with a deleted value. k.topic and v.metadata are copied where they are kept; k.group is the store's to keep.
func (s *offsetStore) put(k offsetKey, v offsetValue) {
	e := s.groups[k.group][k.topic][k.partition]
	durable := v.since < s.highWatermark
	if e != nil && e.latest.metadata == v.metadata {
		v.metadata = e.latest.metadata
	} else {
		v.metadata = strings.Clone(v.metadata)
	}
	switch {
	case e == nil && v.deleted:
		return
	case e == nil:
		s.entry(k).latest = v
	case durable:
		if v.deleted {
			s.drop(k)
			return
		}
		e.latest, e.older = v, nil
	default:
		e.older = append(e.older, e.latest)
		e.latest = v
	}
	if !durable {
		k.topic = strings.Clone(k.topic)
		s.written = append(s.written, writtenOffset{since: v.since, key: k})
	}
}

func (s *offsetStore) entry(k offsetKey) *offsetEntry {
	topics, ok := s.groups[k.group]
	if !ok {
		topics = topicOffsets{}
		s.groups[k.group] = topics
	}
	partitions, ok := topics[k.topic]
	if !ok {
		partitions = partitionOffsets{}
		topics[strings.Clone(k.topic)] = partitions
	}
	e := &offsetEntry{}
	partitions[k.partition] = e
	return e
}

func (s *offsetStore) drop(k offsetKey) {
	topics := s.groups[k.group]
	delete(topics[k.topic], k.partition)
	if len(topics[k.topic]) == 0 {
		delete(topics, k.topic)
	}
	if len(topics) == 0 {
		delete(s.groups, k.group)
	}
}

// committed takes on a high watermark: values below it are durable, and those that they replaced are forgotten.
func (s *offsetStore) committed(highWatermark int64) {
	s.highWatermark = highWatermark
	n := 0
	for n < len(s.written) && s.written[n].since < highWatermark {
		s.settle(s.written[n].key)
		n++
	}
	if s.written = s.written[n:]; len(s.written) == 0 {
		s.written = nil
	}
}

// settle forgets what a durable value replaced.
func (s *offsetStore) settle(k offsetKey) {
	e := s.groups[k.group][k.topic][k.partition]
	switch {
	case e == nil:
	case e.latest.since < s.highWatermark:
		if e.older = nil; e.latest.deleted {
			s.drop(k)
		}
	default:
		for len(e.older) > 1 && e.older[1].since < s.highWatermark {
			e.older = e.older[1:]
		}
	}
}

// latest returns what was written last, durable or not.
func (s *offsetStore) latest(k offsetKey) (*offsetValue, bool) {
	e := s.groups[k.group][k.topic][k.partition]
	if e == nil || e.latest.deleted {
		return nil, false
	}
	return &e.latest, true
}

// durable returns the value that every later coordinator will know.
func (e *offsetEntry) durable(highWatermark int64) (*offsetValue, bool) {
	if e.latest.since < highWatermark {
		return &e.latest, !e.latest.deleted
	}
	for i := len(e.older) - 1; i >= 0; i-- {
		if v := &e.older[i]; v.since < highWatermark {
			return v, !v.deleted
		}
	}
	return nil, false
}

// read returns the offset as OffsetFetch sees it: the latest one, or the latest durable one.
func (s *offsetStore) read(k offsetKey, latest bool) (*offsetValue, bool) {
	if latest {
		return s.latest(k)
	}
	e := s.groups[k.group][k.topic][k.partition]
	if e == nil {
		return nil, false
	}
	return e.durable(s.highWatermark)
}

// all yields the latest offsets of a group, in no order. They must not be changed meanwhile.
func (s *offsetStore) all(group string) iter.Seq2[offsetKey, *offsetValue] {
	return func(yield func(offsetKey, *offsetValue) bool) {
		for topic, partitions := range s.groups[group] {
			for partition, e := range partitions {
				if !e.latest.deleted && !yield(offsetKey{group, topic, partition}, &e.latest) {
					return
				}
			}
		}
	}
}
