package assignor

import (
	"cmp"
	"slices"

	"github.com/ottla/ottla/protocol"
)

// Range gives each member a run of consecutive partitions of every topic that it subscribes to.
type Range struct{}

// Name implements Assignor.
func (Range) Name() string { return "range" }

// Assign implements Assignor.
func (Range) Assign(spec *Spec) ([]Assignment, error) {
	out := make([]Assignment, len(spec.Members))
	subscribers := map[protocol.UUID][]int{}
	for i := range spec.Members {
		for _, t := range spec.Members[i].Topics {
			subscribers[t] = append(subscribers[t], i)
		}
	}
	for id, members := range subscribers {
		slices.SortStableFunc(members, func(a, b int) int { return compareStatic(&spec.Members[a], &spec.Members[b]) })
		total := spec.Topics[id].Partitions
		share, extra, next := total/int32(len(members)), total%int32(len(members)), int32(0)
		for i, m := range members {
			n := share
			if int32(i) < extra {
				n++
			}
			if n == 0 {
				break
			}
			run := make([]int32, n)
			for j := range run {
				run[j] = next + int32(j)
			}
			next += n
			if out[m] == nil {
				out[m] = Assignment{}
			}
			out[m][id] = run
		}
	}
	return out, nil
}

// compareStatic orders static members first, by instance id, then the others by id.
func compareStatic(a, b *Member) int {
	switch {
	case a.InstanceID != nil && b.InstanceID != nil:
		return cmp.Compare(*a.InstanceID, *b.InstanceID)
	case a.InstanceID != nil:
		return -1
	case b.InstanceID != nil:
		return 1
	default:
		return cmp.Compare(a.ID, b.ID)
	}
}
