package controller

import (
	"slices"

	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	noBroker   int32 = -1
	recovering int8  = 1
)

// reelect appends the changes of leader and ISR that follow for the partitions that pick picks when the broker remove can no longer
// lead, or the broker add can again; noBroker for neither (ReplicationControlManager.generateLeaderAndIsrUpdates).
func reelect(v *View, remove, add int32, pick func(*metadata.Partition) bool, records []schema.MetadataRecord) []schema.MetadataRecord {
	for t := range v.Image.Topics() {
		unclean, known := false, false
		for _, p := range t.Partitions {
			if !pick(p) {
				continue
			}
			if !known {
				unclean, known = v.TopicConfig(t.Name).Bool("unclean.leader.election.enable"), true
			}
			if r := partitionChange(v, t, p, remove, add, unclean); r != nil {
				records = append(records, r)
			}
		}
	}
	return records
}

// partitionChange elects a leader among the ISR without remove: the one it has, else the first in the order of the replicas, else
// none, or with unclean any active replica. The last member of an ISR stays in it. nil if nothing changes.
func partitionChange(v *View, t *metadata.Topic, p *metadata.Partition, remove, add int32, unclean bool) *schema.PartitionChangeRecord {
	acceptable := func(id int32) bool { return id != remove && (id == add || v.active(id)) }
	isr := without(p.ISR, remove)
	valid := func(id int32) bool { return slices.Contains(isr, id) && acceptable(id) }

	r := schema.NewPartitionChangeRecord(t.ID, p.ID)
	changed := false
	leader := p.Leader
	if !valid(leader) {
		leader = first(p.Replicas, valid)
	}
	if leader == noBroker && unclean {
		if leader = first(p.Replicas, acceptable); leader != noBroker {
			r.ISR, changed = []int32{leader}, true
			if p.LeaderRecoveryState != recovering {
				r.LeaderRecoveryState = recovering
			}
		}
	}
	if leader != p.Leader {
		r.Leader, changed = leader, true
	}
	if r.ISR == nil && len(isr) > 0 && !slices.Equal(isr, p.ISR) {
		r.ISR, changed = isr, true
	}
	if !changed {
		return nil
	}
	return r
}

// first returns the first of ids that is good, or noBroker.
func first(ids []int32, good func(int32) bool) int32 {
	if i := slices.IndexFunc(ids, good); i >= 0 {
		return ids[i]
	}
	return noBroker
}

// without returns ids without id; ids itself if it is not among them.
func without(ids []int32, id int32) []int32 {
	if !slices.Contains(ids, id) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(x int32) bool { return x == id })
}

func inISR(id int32) func(*metadata.Partition) bool {
	return func(p *metadata.Partition) bool { return slices.Contains(p.ISR, id) }
}

func leaderless(p *metadata.Partition) bool { return p.Leader == noBroker }

// leads reports whether a broker leads any partition.
func leads(img *metadata.Image, id int32) bool {
	for t := range img.Topics() {
		for _, p := range t.Partitions {
			if p.Leader == id {
				return true
			}
		}
	}
	return false
}
