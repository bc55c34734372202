package assignor

import (
	"cmp"
	"slices"
)

// maxPasses bounds how often the topics are balanced one after the other. Each pass is linear, so that the bound keeps the time in check where
// subscriptions overlap in odd ways.
const maxPasses = 16

// heterogeneous solves the case that members subscribe to different topics (UniformHeterogeneousAssignmentBuilder): members keep all they may, free partitions go
// to the least loaded subscriber, then partitions move within each topic from the most to the least loaded until nothing moves in a whole
// round.
func (p *problem) heterogeneous() {
	order := make([]int32, len(p.topics))
	for t := range order {
		order[t] = int32(t)
	}
	slices.SortFunc(order, func(a, b int32) int { return p.topics[a].compare(&p.topics[b]) })
	b := newBalancer(p)
	for _, t := range order {
		b.assignFree(&p.topics[t])
	}
	order = slices.DeleteFunc(order, func(t int32) bool { return len(p.topics[t].subscribers) < 2 })
	last := -1 // where something moved last
	for range maxPasses {
		for i, t := range order {
			if i == last {
				return
			}
			if b.balance(&p.topics[t]) > 0 || last == -1 {
				last = i
			}
		}
	}
}

// compare orders topics: most partitions for each subscriber first, then fewest subscribers. Topics that leave the least choice come early.
func (t *topicState) compare(o *topicState) int {
	load := func(t *topicState) float64 { return float64(t.partitions) / float64(len(t.subscribers)) }
	return cmp.Or(
		cmp.Compare(load(o), load(t)),
		cmp.Compare(len(t.subscribers), len(o.subscribers)),
		compareIDs(t.id, o.id),
	)
}

// balancer hands out the subscribers of one topic, the least loaded and the most loaded ones (Kafka's MemberAssignmentBalancer). It walks a list sorted by
// load from both ends: members at the lower end are raised together, level by level, those at the upper end lowered.
type balancer struct {
	p      *problem
	keys   []uint64 // load and number, to sort by
	sorted []int32  // subscribers by load, then number

	lowEnd   int   // sorted[:lowEnd] have the lowest load
	lowLoad  int32 // that load, before those that were handed out got one more
	nextLow  int
	highFrom int // sorted[highFrom:highEnd] have the highest load
	highEnd  int // beyond are members that have nothing of this topic left to give
	highLoad int32
	nextHigh int

	heads []int32 // by member: its highest partition of the topic that has not been taken; nobody if none
	below []int32 // by partition: the same owner's next lower one
}

func newBalancer(p *problem) *balancer {
	return &balancer{p: p, heads: make([]int32, len(p.members))}
}

func (b *balancer) load(i int) int32 { return b.p.members[b.sorted[i]].size }

// start takes the subscribers of a topic.
func (b *balancer) start(t *topicState) {
	b.keys = b.keys[:0]
	for _, m := range t.subscribers {
		b.keys = append(b.keys, uint64(b.p.members[m].size)<<32|uint64(uint32(m)))
	}
	slices.Sort(b.keys)
	b.sorted = b.sorted[:0]
	for _, key := range b.keys {
		b.sorted = append(b.sorted, int32(uint32(key)))
	}
	n := len(b.sorted)
	b.lowEnd, b.lowLoad, b.nextLow = 0, b.load(0)-1, 0
	b.highFrom, b.highEnd, b.highLoad, b.nextHigh = n, n, b.load(n-1)+1, n-1
}

// low returns the next of the least loaded members. Each counts as having got one more.
func (b *balancer) low() int32 {
	if b.nextLow >= b.lowEnd {
		b.lowLoad++
		for b.lowEnd < len(b.sorted) && b.load(b.lowEnd) == b.lowLoad {
			b.lowEnd++
		}
		b.nextLow = 0
	}
	b.nextLow++
	return b.sorted[b.nextLow-1]
}

// high returns the next of the most loaded members, or nobody. Each counts as having lost one, or is taken out with dropHigh.
func (b *balancer) high() int32 {
	if b.nextHigh < b.highFrom {
		if b.highEnd <= b.highFrom && b.highFrom > 0 {
			b.highLoad = b.load(b.highFrom - 1)
		} else {
			b.highLoad--
		}
		for b.highFrom > 0 && b.load(b.highFrom-1) == b.highLoad {
			b.highFrom--
		}
		b.nextHigh = b.highEnd - 1
	}
	if b.nextHigh < 0 {
		return nobody
	}
	b.nextHigh--
	return b.sorted[b.nextHigh+1]
}

// dropHigh takes out the member that high returned last.
func (b *balancer) dropHigh() {
	i, last := b.nextHigh+1, b.highEnd-1
	b.sorted[i], b.sorted[last] = b.sorted[last], b.sorted[i]
	b.highEnd--
}

func (b *balancer) balanced() bool { return b.highLoad-b.lowLoad <= 1 }

// assignFree gives a topic's free partitions to its least loaded subscribers.
func (b *balancer) assignFree(t *topicState) {
	started := false
	for place := t.base; place < t.base+t.partitions; place++ {
		if b.p.owners[place] != nobody {
			continue
		}
		if !started {
			b.start(t)
			started = true
		}
		b.p.give(place, b.low())
	}
}

// spread is the difference between the highest and the lowest load of a topic's subscribers.
func (p *problem) spread(t *topicState) int32 {
	least, most := p.members[t.subscribers[0]].size, int32(0)
	for _, m := range t.subscribers {
		n := p.members[m].size
		least, most = min(least, n), max(most, n)
	}
	return most - least
}

// balance moves a topic's partitions from the most loaded subscribers to the least loaded ones, each owner's highest partition first, and
// returns how many it moved.
func (b *balancer) balance(t *topicState) (moved int) {
	if b.p.spread(t) <= 1 {
		return 0
	}
	b.start(t)
	b.stack(t)
	for !b.balanced() {
		from := b.high()
		for from != nobody && b.heads[from] == nobody {
			b.dropHigh()
			from = b.high()
		}
		if from == nobody {
			break
		}
		partition := b.heads[from]
		b.heads[from] = b.below[partition]
		to := b.low()
		if b.balanced() {
			break
		}
		b.p.give(t.base+partition, to)
		moved++
	}
	return moved
}

// stack notes each subscriber's partitions of a topic.
func (b *balancer) stack(t *topicState) {
	for _, m := range t.subscribers {
		b.heads[m] = nobody
	}
	b.below = slices.Grow(b.below[:0], int(t.partitions))[:t.partitions]
	for partition := range t.partitions {
		owner := b.p.owners[t.base+partition]
		b.below[partition] = b.heads[owner]
		b.heads[owner] = partition
	}
}
