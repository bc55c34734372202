package controller

import (
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
