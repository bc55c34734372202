package replication

import "slices"

// This file is pure: the rules by which a leader decides, without locks, clocks or I/O.

// role is what the metadata says of one replica. It is replaced as a whole, never changed.
type role struct {
	leader         int32 // -1 none
	leaderEpoch    int32
	partitionEpoch int32
	replicas, isr  []int32
}

// effectiveMinISR is min.insync.replicas, at most the number of replicas (Kafka's Partition.effectiveMinIsr).
func (r *role) effectiveMinISR(configured int) int {
	return min(configured, len(r.replicas))
}

// belowMinISR reports whether the ISR is too small for acks=all and for any commit.
func (r *role) belowMinISR(configured int) bool { return len(r.isr) < r.effectiveMinISR(configured) }

// committed returns the high watermark that a leader with this log end may announce, and whether it may announce any:
// the high watermark does not move while the ISR is below its minimum (KIP-966). A leader that is alone in its ISR
// commits what it has written.
func (r *role) committed(self int32, minISR int, logEnd int64) (int64, bool) {
	if r.belowMinISR(minISR) {
		return 0, false
	}
	if len(r.isr) == 1 && slices.Contains(r.isr, self) {
		return logEnd, true
	}
	return 0, false
}
