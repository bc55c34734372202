package assignor

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/ottla/ottla/protocol"
)

// nobody owns a place that is free.
const nobody = -1

// problem is a Spec in numbers: the members in their order, the topics by id, and each partition of each subscribed topic as one place. Kafka goes through members
// and topics in the order of its hash tables; here it is that of the ids.
type problem struct {
	members []memberState
	topics  []topicState
	owners  []int32 // of each place: the member, or nobody
}

type topicState struct {
	id          protocol.UUID
	partitions  int32
	base        int32   // place of partition 0
	subscribers []int32 // members in order; nil if all are
}

type memberState struct {
	spec    *Member
	size    int32 // places that it owns
	changed bool  // it does not keep exactly what it had
	owned   []held
}

// held is what a member has of one topic and may keep.
type held struct {
	topic      int32
	partitions []int32
}

// newProblem numbers the members and topics of spec, and gives each member what it has of topics that it is subscribed to.
func newProblem(spec *Spec) (*problem, error) {
	p := &problem{members: make([]memberState, len(spec.Members))}
	topics := 0
	for i := range spec.Members {
		p.members[i].spec = &spec.Members[i]
		topics += len(spec.Members[i].Target)
	}
	numbers, err := p.addTopics(spec)
	if err != nil {
		return nil, err
	}
	all := make([]held, 0, topics)
	for m := range p.members {
		all = p.keep(int32(m), numbers, all)
	}
	return p, nil
}

// addTopics numbers the subscribed topics.
func (p *problem) addTopics(spec *Spec) (numbers map[protocol.UUID]int32, err error) {
	if len(p.members) == 0 {
		return nil, nil
	}
	var subscribers map[protocol.UUID][]int32
	ids := p.members[0].spec.Topics
	if spec.Homogeneous {
		ids = slices.Clone(ids)
	} else {
		subscribers = p.subscribers()
		ids = slices.Collect(maps.Keys(subscribers))
	}
	slices.SortFunc(ids, compareIDs)
	numbers = make(map[protocol.UUID]int32, len(ids))
	places := int32(0)
	for i, id := range ids {
		topic, ok := spec.Topics[id]
		if !ok {
			return nil, noTopic(id)
		}
		p.topics = append(p.topics, topicState{id: id, partitions: topic.Partitions, base: places, subscribers: subscribers[id]})
		numbers[id] = int32(i)
		places += topic.Partitions
	}
	p.owners = make([]int32, places)
	for i := range p.owners {
		p.owners[i] = nobody
	}
	return numbers, nil
}

// subscribers lists the members of each topic.
func (p *problem) subscribers() map[protocol.UUID][]int32 {
	numbers := map[protocol.UUID]int{}
	var lists [][]int32
	var current []int // the lists of the member's topics
	for m := range p.members {
		topics := p.members[m].spec.Topics
		if m == 0 || !sameSlice(topics, p.members[m-1].spec.Topics) {
			current = current[:0]
			for _, id := range topics {
				n, ok := numbers[id]
				if !ok {
					n = len(lists)
					numbers[id] = n
					lists = append(lists, nil)
				}
				current = append(current, n)
			}
		}
		for _, n := range current {
			lists[n] = append(lists[n], int32(m))
		}
	}
	subscribers := make(map[protocol.UUID][]int32, len(lists))
	for id, n := range numbers {
		subscribers[id] = lists[n]
	}
	return subscribers
}

// keep gives a member what it has, as far as it may keep that; all is where its parts are stored.
func (p *problem) keep(m int32, numbers map[protocol.UUID]int32, all []held) []held {
	member, first := &p.members[m], len(all)
	for id, partitions := range member.spec.Target {
		t, ok := numbers[id]
		if !ok || !p.topics[t].subscribed(m) {
			member.changed = true
			continue
		}
		all = append(all, held{t, partitions})
	}
	member.owned = all[first:len(all):len(all)]
	slices.SortFunc(member.owned, func(a, b held) int { return cmp.Compare(a.topic, b.topic) })
	for i := range member.owned {
		o := &member.owned[i]
		o.partitions = p.claim(m, &p.topics[o.topic], o.partitions)
	}
	return all
}

// claim makes the member the owner of partitions, and returns those that it got: all, unless the target was broken.
func (p *problem) claim(m int32, t *topicState, partitions []int32) []int32 {
	for i, partition := range partitions {
		if partition < 0 || partition >= t.partitions || p.owners[t.base+partition] != nobody {
			p.members[m].changed = true
			return p.claimEach(m, t, partitions[:i:i], partitions[i:])
		}
		p.owners[t.base+partition] = m
		p.members[m].size++
	}
	return partitions
}

func (p *problem) claimEach(m int32, t *topicState, claimed, partitions []int32) []int32 {
	for _, partition := range partitions {
		if partition >= 0 && partition < t.partitions && p.owners[t.base+partition] == nobody {
			claimed = append(claimed, partition)
			p.owners[t.base+partition] = m
			p.members[m].size++
		}
	}
	return claimed
}

func (t *topicState) subscribed(m int32) bool {
	if t.subscribers == nil {
		return true
	}
	_, ok := slices.BinarySearch(t.subscribers, m)
	return ok
}

// give makes the member the owner of a place, which may have had another one.
func (p *problem) give(place, m int32) {
	if old := p.owners[place]; old != nobody {
		p.members[old].size--
		p.members[old].changed = true
	}
	p.owners[place] = m
	p.members[m].size++
	p.members[m].changed = true
}

// result is every member's assignment.
func (p *problem) result() []Assignment {
	result := make([]Assignment, len(p.members))
	lists := make([][]int32, len(p.members)) // places of the members whose assignment changed
	for m := range p.members {
		member := &p.members[m]
		if member.changed {
			lists[m] = make([]int32, 0, member.size)
		} else {
			result[m] = member.spec.Target
		}
	}
	for place, m := range p.owners {
		if m != nobody && p.members[m].changed {
			lists[m] = append(lists[m], int32(place))
		}
	}
	for m := range p.members {
		if p.members[m].changed {
			result[m] = p.assignment(lists[m])
		}
	}
	return result
}

// assignment makes an assignment of places in order. It takes places over.
func (p *problem) assignment(places []int32) Assignment {
	if len(places) == 0 {
		return nil
	}
	a := Assignment{}
	t := 0
	for len(places) > 0 {
		for p.topics[t].base+p.topics[t].partitions <= places[0] {
			t++
		}
		topic := &p.topics[t]
		n := 0
		for ; n < len(places) && places[n] < topic.base+topic.partitions; n++ {
			places[n] -= topic.base
		}
		a[topic.id] = places[:n:n]
		places = places[n:]
	}
	return a
}

// compareIDs orders topics as Kafka's Uuid.compareTo does: as two signed numbers.
func compareIDs(a, b protocol.UUID) int {
	half := func(u protocol.UUID, i int) int64 { return int64(binary.BigEndian.Uint64(u[i:])) }
	return cmp.Or(cmp.Compare(half(a, 0), half(b, 0)), cmp.Compare(half(a, 8), half(b, 8)))
}

func noTopic(id protocol.UUID) error {
	return protocol.Errorf(protocol.UnknownServerError, "Members are subscribed to topic %s which doesn't exist in the topic metadata.", id)
}
