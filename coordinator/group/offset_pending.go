package group

import (
	"iter"
	"slices"
	"strings"
)

// pendingOffsets are the offsets that were written in transactions which have not ended (the pending transactional offsets and open transactions
// of Kafka's OffsetMetadataManager).
type pendingOffsets struct {
	byProducer map[int64]map[offsetKey]offsetValue
	open       map[string]map[topicPartition][]int64 // by group: the producers that have written each offset
}

type topicPartition struct {
	topic     string
	partition int32
}

func (k offsetKey) topicPartition() topicPartition { return topicPartition{k.topic, k.partition} }

func newPendingOffsets() pendingOffsets {
	return pendingOffsets{byProducer: map[int64]map[offsetKey]offsetValue{}, open: map[string]map[topicPartition][]int64{}}
}

// putPending keeps an offset of a transaction until its end. k.topic and v.metadata are copied; k.group is the store's to keep.
func (s *offsetStore) putPending(producerID int64, k offsetKey, v offsetValue) {
	offsets := s.pending.byProducer[producerID]
	if offsets == nil {
		offsets = map[offsetKey]offsetValue{}
		s.pending.byProducer[producerID] = offsets
	}
	v.metadata = strings.Clone(v.metadata)
	if _, again := offsets[k]; again {
		offsets[k] = v
		return
	}
	k.topic = strings.Clone(k.topic)
	offsets[k] = v
	group := s.pending.open[k.group]
	if group == nil {
		group = map[topicPartition][]int64{}
		s.pending.open[k.group] = group
	}
	group[k.topicPartition()] = append(group[k.topicPartition()], producerID)
}

// dropPending removes an offset from all open transactions.
func (s *offsetStore) dropPending(k offsetKey) {
	group := s.pending.open[k.group]
	for _, producerID := range group[k.topicPartition()] {
		delete(s.pending.byProducer[producerID], k)
	}
	s.close(k)
}

// close says that no transaction has written the offset.
func (s *offsetStore) close(k offsetKey) {
	group := s.pending.open[k.group]
	if delete(group, k.topicPartition()); len(group) == 0 {
		delete(s.pending.open, k.group)
	}
}

// isPending reports whether an open transaction has written the offset.
func (s *offsetStore) isPending(k offsetKey) bool {
	return len(s.pending.open[k.group][k.topicPartition()]) > 0
}

// hasPending reports whether an open transaction has written any offset of the group.
func (s *offsetStore) hasPending(group string) bool { return len(s.pending.open[group]) > 0 }

// pendingOf yields the offsets of a group in open transactions, each once, in no order.
func (s *offsetStore) pendingOf(group string) iter.Seq[offsetKey] {
	return func(yield func(offsetKey) bool) {
		for tp := range s.pending.open[group] {
			if !yield(offsetKey{group, tp.topic, tp.partition}) {
				return
			}
		}
	}
}

// pendingValues yields what open transactions have written, in no order.
func (s *offsetStore) pendingValues() iter.Seq2[offsetKey, offsetValue] {
	return func(yield func(offsetKey, offsetValue) bool) {
		for _, offsets := range s.pending.byProducer {
			for k, v := range offsets {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// endTransaction makes a transaction's offsets visible, or forgets them, by the marker at the given offset. An offset that was committed outside the
// transaction after the transaction's own write stays.
func (s *offsetStore) endTransaction(marker, producerID int64, commit bool) {
	offsets := s.pending.byProducer[producerID]
	delete(s.pending.byProducer, producerID)
	for k, v := range offsets {
		group, tp := s.pending.open[k.group], k.topicPartition()
		group[tp] = slices.DeleteFunc(group[tp], func(id int64) bool { return id == producerID })
		if len(group[tp]) == 0 {
			s.close(k)
		}
		if !commit {
			continue
		}
		if old, ok := s.latest(k); !ok || v.recordOffset > old.recordOffset {
			v.since = marker
			s.put(k, v)
		}
	}
}
