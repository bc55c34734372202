package assignor

import (
	"slices"
	"strings"

	"github.com/ottla/ottla/protocol"
)

// Range gives each member one range of partitions of every topic. Members with the same subscription get the same partitions of topics with as
// many partitions, so that they can join them (Kafka's RangeAssignor).
type Range struct{}

// Name implements Assignor.
func (Range) Name() string { return "range" }

// ranges hands out one topic's partitions.
type ranges struct {
	id         protocol.UUID
	partitions int32
	members    int32
	share      int32 // of each member
	extra      int32 // members still to come that get one more
	next       int32
}

// Assign implements Assignor. Static members come first, by instance id, so that they keep their ranges when they come back under another member
// id.
func (Range) Assign(spec *Spec) ([]Assignment, error) {
	order := make([]int, len(spec.Members))
	lists := make([][]*ranges, len(spec.Members)) // of each member's topics
	topics := make(map[protocol.UUID]*ranges, len(spec.Topics))
	for i := range spec.Members {
		order[i] = i
		if i > 0 && (spec.Homogeneous || sameSlice(spec.Members[i].Topics, spec.Members[i-1].Topics)) {
			lists[i] = lists[i-1]
		} else if err := spec.ranges(&lists[i], spec.Members[i].Topics, topics); err != nil {
			return nil, err
		}
		for _, r := range lists[i] {
			r.members++
		}
	}
	for _, r := range topics {
		r.share, r.extra = r.partitions/r.members, r.partitions%r.members
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareStatic(&spec.Members[a], &spec.Members[b]) })
	result := make([]Assignment, len(spec.Members))
	var parts []part
	for _, i := range order {
		parts = parts[:0]
		for _, r := range lists[i] {
			if from, to := r.take(); from < to {
				parts = append(parts, part{r.id, from, to})
			}
		}
		result[i] = assignParts(spec.Members[i].Target, parts)
	}
	return result, nil
}

// ranges finds, or makes, what hands out each topic.
func (spec *Spec) ranges(list *[]*ranges, ids []protocol.UUID, topics map[protocol.UUID]*ranges) error {
	*list = make([]*ranges, 0, len(ids))
	for _, id := range ids {
		r, ok := topics[id]
		if !ok {
			topic, exists := spec.Topics[id]
			if !exists {
				return noTopic(id)
			}
			r = &ranges{id: id, partitions: topic.Partitions}
			topics[id] = r
		}
		*list = append(*list, r)
	}
	return nil
}

func sameSlice(a, b []protocol.UUID) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// compareStatic orders static members first, by instance id, then the others by id.
func compareStatic(a, b *Member) int {
	switch {
	case a.InstanceID != nil && b.InstanceID != nil:
		return strings.Compare(*a.InstanceID, *b.InstanceID)
	case a.InstanceID != nil:
		return -1
	case b.InstanceID != nil:
		return 1
	default:
		return strings.Compare(a.ID, b.ID)
	}
}

// part is a range of one topic's partitions, without its end.
type part struct {
	id       protocol.UUID
	from, to int32
}

// assignParts makes an assignment, or returns the old one if it is the same.
func assignParts(old Assignment, parts []part) Assignment {
	size, same := int32(0), len(parts) == len(old)
	for _, p := range parts {
		size += p.to - p.from
		same = same && isRange(old[p.id], p.from, p.to)
	}
	switch {
	case same:
		return old
	case len(parts) == 0:
		return nil
	}
	a := make(Assignment, len(parts))
	all := make([]int32, 0, size)
	for _, p := range parts {
		first := len(all)
		for partition := p.from; partition < p.to; partition++ {
			all = append(all, partition)
		}
		a[p.id] = all[first:len(all):len(all)]
	}
	return a
}

// take is the range of the next member.
func (r *ranges) take() (from, to int32) {
	from = r.next
	r.next += r.share
	if r.extra > 0 {
		r.extra--
		r.next++
	}
	return from, r.next
}

// isRange reports whether partitions, which are ascending, are those of a range.
func isRange(partitions []int32, from, to int32) bool {
	n := int32(len(partitions))
	return n == to-from && n > 0 && partitions[0] == from && partitions[n-1] == to-1
}
