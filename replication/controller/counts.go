package controller

import (
	"slices"
	"sync/atomic"

	"github.com/ottla/ottla/protocol/schema"
)

// Counts is what a controller has done since its start.
type Counts struct {
	Active           bool  // it leads now
	Activations      int64 // times that it began to lead
	Expired          int64 // sessions of brokers that it ended
	UncleanElections int64 // of replicas that may lack data
}

// counters are written by run and read by anybody.
type counters struct{ activations, expired, unclean atomic.Int64 }

// Counts tells what the controller has done. Safe for concurrent use.
func (c *Controller) Counts() Counts {
	return Counts{
		Active: c.ActiveID() == c.o.NodeID, Activations: c.counters.activations.Load(),
		Expired: c.counters.expired.Load(), UncleanElections: c.counters.unclean.Load(),
	}
}

// note counts what is about to be proposed.
func (n *counters) note(records []schema.MetadataRecord) {
	for _, r := range records {
		if p, ok := r.(*schema.PartitionChangeRecord); ok && p.LeaderRecoveryState == recovering {
			n.unclean.Add(1)
		}
	}
}

// Quorum tells the state of the quorum, and what this controller is in it, by Kafka's words: leader, follower, observer, or unattached while no leader is known. Safe for concurrent use.
func (c *Controller) Quorum() (s QuorumState, state string) {
	s = c.quorum.Describe()
	voting, _, _ := c.quorum.Replicas()
	switch {
	case s.LeaderID == c.o.NodeID:
		state = "leader"
	case s.LeaderID < 0:
		state = "unattached"
	case slices.ContainsFunc(voting, func(r QuorumReplica) bool { return r.ID == c.o.NodeID }):
		state = "follower"
	default:
		state = "observer"
	}
	return s, state
}
