package replication

import "slices"

// This file is pure: the rules by which a leader decides, without locks, clocks or I/O.

// role is what the metadata says of one replica, and the change of the ISR that this replica, as the leader, has asked the controller for. It is changed
// with Partition.mu held for writing.
type role struct {
	leader         int32 // -1 none
	leaderEpoch    int32
	partitionEpoch int32
	replicas, isr  []int32      // shared with the image: not changed
	pending        *isrProposal // what the controller has not answered yet, nil if nothing

	epochStart int64 // the log's end when this replica was elected; -1 while it does not lead
	term       int32 // how often this replica has lost its leadership
}

// effectiveMinISR is min.insync.replicas, at most the number of replicas (Kafka's Partition.effectiveMinIsr).
func (r *role) effectiveMinISR(configured int) int {
	return min(configured, len(r.replicas))
}

// belowMinISR reports whether the committed ISR is too small for acks=all and for any commit.
func (r *role) belowMinISR(configured int) bool { return len(r.isr) < r.effectiveMinISR(configured) }

// inMaximalISR reports whether a replica is in the ISR or will be in it if the controller agrees: one that was asked to leave is in it until it has, and one that
// was asked to join counts before anybody can elect it (KIP-497).
func (r *role) inMaximalISR(id int32) bool {
	return slices.Contains(r.isr, id) || r.pending != nil && slices.Contains(r.pending.isr, id)
}

// maximalISRBelow reports whether the maximal ISR has fewer than effectiveMinISR members, for appends that are committed already.
func (r *role) maximalISRBelow(configured int) bool {
	n := len(r.isr)
	if r.pending != nil {
		n = max(n, len(r.pending.isr)) // one of the two has all members of the other
	}
	return n < r.effectiveMinISR(configured)
}

// alone reports whether no other replica has a say in what is committed.
func (r *role) alone() bool { return len(r.replicas) == 1 }

// committed returns the high watermark that a leader with this log end may announce: the lowest log end of the maximal ISR and of replicas that are about to join
// it, so that they get the chance to (Partition.maybeIncrementLeaderHW). It does not move while the ISR is below its minimum (KIP-966): ok is false. eligible says
// whether a replica may join.
func (r *role) committed(minISR int, logEnd int64, followers []progress, c clockAt, eligible func(*progress) bool) (hw int64, ok bool) {
	if r.belowMinISR(minISR) {
		return 0, false
	}
	hw = logEnd
	for i := range followers {
		f := &followers[i]
		if f.logEnd < hw && (r.inMaximalISR(f.id) || f.caughtUp(logEnd, c) && eligible(f)) {
			hw = f.logEnd
		}
	}
	return hw, hw >= 0
}

// joins reports whether a follower has what it takes to join the ISR: all that is committed and all that was there when the leader was elected
// (Partition.isFollowerInSync). That it may join at all is another question.
func (r *role) joins(f *progress, highWatermark int64) bool {
	return r.pending == nil && !slices.Contains(r.isr, f.id) && r.epochStart >= 0 && f.logEnd >= highWatermark && f.logEnd >= r.epochStart
}

// outOfSync returns the members of the ISR that have lagged for too long (Partition.getOutOfSyncReplicas), nil if there are none or a change is under way.
func (r *role) outOfSync(self int32, logEnd int64, followers []progress, c clockAt) []int32 {
	if r.pending != nil {
		return nil
	}
	var out []int32
	for _, id := range r.isr {
		if id == self {
			continue
		}
		for i := range followers {
			if f := &followers[i]; f.id == id && !f.caughtUp(logEnd, c) {
				out = append(out, id)
			}
		}
	}
	return out
}

// without is the ISR less some members.
func (r *role) without(members []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(r.isr), func(id int32) bool { return slices.Contains(members, id) })
}
