package controller

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// partitionKey names a partition in the index.
type partitionKey struct {
	topic     protocol.UUID
	partition int32
}

// partitionSet is a set of partitions.
type partitionSet map[partitionKey]struct{}

// holding says what a broker is to a partition.
type holding uint8

const (
	inISR   holding = 1 << iota // in its ISR
	inELR                       // in its ELR
	leading                     // its leader
)

// index finds the partitions that a change of a broker or a directory touches, so that what follows costs what changed (Kafka's
// BrokersToIsrs, BrokersToElrs and directoriesToPartitions). It belongs to a View and follows its deltas.
type index struct {
	brokers     map[int32]map[partitionKey]holding
	led         map[int32]int                  // number of partitions that a broker leads
	preferred   map[int32]int                  // number of partitions whose first replica a broker is
	directories map[protocol.UUID]partitionSet // of directories that are known
	leaderless  partitionSet
	imbalanced  partitionSet // led by another than their first replica, or by nobody
	reassigning partitionSet
	partitions  int
}

func newIndex(img *metadata.Image) *index {
	x := &index{
		brokers: map[int32]map[partitionKey]holding{}, led: map[int32]int{}, preferred: map[int32]int{},
		directories: map[protocol.UUID]partitionSet{},
		leaderless:  partitionSet{}, imbalanced: partitionSet{}, reassigning: partitionSet{},
	}
	for t := range img.Topics() {
		for _, p := range t.Partitions {
			x.replace(partitionKey{t.ID, p.ID}, nil, p)
		}
	}
	return x
}

// follow takes in what changed.
func (x *index) follow(d *metadata.Delta) {
	for id, t := range d.Deleted {
		for _, p := range t.Partitions {
			x.replace(partitionKey{id, p.ID}, p, nil)
		}
	}
	for id, td := range d.Topics {
		before := d.Before.TopicByID(id)
		for _, p := range td.Partitions {
			x.replace(partitionKey{id, p}, before.Partition(p), td.Topic.Partition(p))
		}
	}
}

// replace makes the index know a partition as now, nil for gone, instead of as before, nil for new.
func (x *index) replace(k partitionKey, before, now *metadata.Partition) {
	switch {
	case before == nil:
		x.partitions++
	case now == nil:
		x.partitions--
	}
	if before != nil {
		x.remove(k, before, now)
	}
	if now != nil {
		x.add(k, before, now)
	}
}

// remove takes out what was said of before and is no longer so.
func (x *index) remove(k partitionKey, before, now *metadata.Partition) {
	for _, ids := range [][]int32{before.ISR, before.ELR, {before.Leader}} {
		for _, id := range ids {
			if id != noBroker && holdingOf(now, id) == 0 {
				delete(x.brokers[id], k)
				if len(x.brokers[id]) == 0 {
					delete(x.brokers, id)
				}
			}
		}
	}
	if before.Leader != noBroker {
		subtract(x.led, before.Leader)
	}
	if len(before.Replicas) > 0 {
		subtract(x.preferred, before.Replicas[0])
	}
	for _, dir := range before.Directories {
		if set := x.directories[dir]; set != nil && (now == nil || !slices.Contains(now.Directories, dir)) {
			if delete(set, k); len(set) == 0 {
				delete(x.directories, dir)
			}
		}
	}
	if now == nil {
		delete(x.leaderless, k)
		delete(x.imbalanced, k)
		delete(x.reassigning, k)
	}
}

// add puts in what is so now.
func (x *index) add(k partitionKey, before, now *metadata.Partition) {
	for _, ids := range [][]int32{now.ISR, now.ELR, {now.Leader}} {
		for _, id := range ids {
			if id == noBroker {
				continue
			}
			h := holdingOf(now, id)
			if before != nil && holdingOf(before, id) == h {
				continue
			}
			if x.brokers[id] == nil {
				x.brokers[id] = map[partitionKey]holding{}
			}
			x.brokers[id][k] = h
		}
	}
	if now.Leader != noBroker {
		x.led[now.Leader]++
	}
	if len(now.Replicas) > 0 {
		x.preferred[now.Replicas[0]]++
	}
	for _, dir := range now.Directories {
		if reserved(dir) || (before != nil && slices.Contains(before.Directories, dir)) {
			continue
		}
		if x.directories[dir] == nil {
			x.directories[dir] = partitionSet{}
		}
		x.directories[dir][k] = struct{}{}
	}
	x.leaderless.set(k, now.Leader == noBroker)
	x.imbalanced.set(k, !preferred(now))
	x.reassigning.set(k, reassigning(now))
}

// holdingOf is what a broker is to p; 0 for nothing, or if p is nil.
func holdingOf(p *metadata.Partition, id int32) holding {
	h := holding(0)
	if p == nil {
		return h
	}
	if slices.Contains(p.ISR, id) {
		h |= inISR
	}
	if slices.Contains(p.ELR, id) {
		h |= inELR
	}
	if p.Leader == id {
		h |= leading
	}
	return h
}

func subtract(counts map[int32]int, id int32) {
	if counts[id]--; counts[id] == 0 {
		delete(counts, id)
	}
}

// set makes k a member, or not.
func (s partitionSet) set(k partitionKey, member bool) {
	if member {
		s[k] = struct{}{}
	} else {
		delete(s, k)
	}
}

// all yields the members.
func (s partitionSet) all() iter.Seq[partitionKey] {
	return func(yield func(partitionKey) bool) {
		for k := range s {
			if !yield(k) {
				return
			}
		}
	}
}

// held yields the partitions of which a broker is one of what.
func (x *index) held(id int32, what holding) iter.Seq[partitionKey] {
	return func(yield func(partitionKey) bool) {
		for k, h := range x.brokers[id] {
			if h&what != 0 && !yield(k) {
				return
			}
		}
	}
}

// inOrder lists partitions by topic id and number, so that those of a topic are together.
func inOrder(keys iter.Seq[partitionKey]) []partitionKey {
	return slices.SortedFunc(keys, func(a, b partitionKey) int {
		return cmp.Or(bytes.Compare(a.topic[:], b.topic[:]), cmp.Compare(a.partition, b.partition))
	})
}
