package replication

import "slices"

// rackAwareSelector is the class that replica.selector.class names to have consumers read in their own rack (KIP-392). Any other value stands for the leader.
const rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

// readCandidate is a replica that a consumer may read from.
type readCandidate struct {
	id       int32
	logEnd   int64
	caughtUp int64 // ms; the newer the better
}

// better reports whether a consumer is sent to c rather than to other: more records, then caught up more lately.
func (c readCandidate) better(other readCandidate) bool {
	if c.logEnd != other.logEnd {
		return c.logEnd > other.logEnd
	}
	return c.caughtUp > other.caughtUp
}

// preferredReplica is the follower that a consumer of r.Rack is to read from, -1 if it is to stay here: the best of its rack that is in sync and has the offset, unless the
// leader is in that rack too, or none is (RackAwareReplicaSelector). Only leaders send consumers elsewhere.
func (p *Partition) preferredReplica(r *FetchRequest, f *FetchPartition) int32 {
	image := p.m.Image()
	inRack := func(id int32) bool {
		b := image.Broker(id)
		return b != nil && !b.Fenced && b.Rack != nil && *b.Rack == r.Rack && b.Endpoint(r.Listener) != nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if r.ReplicaID != -1 || p.state.leader != p.o.NodeID || p.state.alone() || inRack(p.o.NodeID) {
		return -1
	}
	best := readCandidate{id: -1}
	p.followersMu.Lock()
	defer p.followersMu.Unlock()
	for i := range p.followers {
		at := &p.followers[i]
		if !slices.Contains(p.state.isr, at.id) || at.logEnd < f.FetchOffset || at.logStart > f.FetchOffset || !inRack(at.id) {
			continue
		}
		if c := (readCandidate{at.id, at.logEnd, at.caughtUpAt()}); best.id < 0 || c.better(best) {
			best = c
		}
	}
	return best.id
}
