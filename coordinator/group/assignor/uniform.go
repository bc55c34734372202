package assignor

// Uniform gives all members the same number of partitions, to within one where their subscriptions allow it, and moves as few of them as it can
// (Kafka's UniformAssignor).
type Uniform struct{}

// Name implements Assignor.
func (Uniform) Name() string { return "uniform" }

// Assign implements Assignor.
func (Uniform) Assign(spec *Spec) ([]Assignment, error) {
	p, err := newProblem(spec)
	if err != nil {
		return nil, err
	}
	switch {
	case len(p.topics) == 0: // nobody reads anything
	case spec.Homogeneous:
		p.homogeneous()
	default:
		p.heterogeneous()
	}
	return p.result(), nil
}

// homogeneous solves the case that all members subscribe to the same topics (UniformHomogeneousAssignmentBuilder): each member keeps what it
// has up to its share; what is free goes to those below theirs.
//
// If the partitions do not divide evenly, extra members get one more. Members that have more than the minimum come first; a member with
// less gets one only if there are not enough members left after it.
func (p *problem) homogeneous() {
	minimum := int32(len(p.owners) / len(p.members))
	extra := len(p.owners) % len(p.members)
	var free []int32
	for place, m := range p.owners {
		if m == nobody {
			free = append(free, int32(place))
		}
	}
	room := make([]int32, len(p.members))
	for m := range p.members {
		quota, hasExtra := minimum, extra > 0
		if hasExtra {
			quota++
		}
		quota, free = p.release(&p.members[m], quota, free)
		if quota > 0 && hasExtra && len(p.members)-m > extra {
			quota--
			hasExtra = false
		}
		if hasExtra {
			extra--
		}
		room[m] = quota
	}
	for m, n := range room {
		n = min(n, int32(len(free)))
		for _, place := range free[:n] {
			p.give(place, int32(m))
		}
		free = free[n:]
	}
}

// release takes from a member what is beyond its quota, and returns what is left of that.
func (p *problem) release(m *memberState, quota int32, free []int32) (left int32, _ []int32) {
	for i := range m.owned {
		partitions := m.owned[i].partitions
		keep := min(quota, int32(len(partitions)))
		quota -= keep
		for _, partition := range partitions[keep:] {
			place := p.topics[m.owned[i].topic].base + partition
			p.owners[place] = nobody
			m.size--
			m.changed = true
			free = append(free, place)
		}
	}
	return quota, free
}
