package controller

import (
	"iter"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	noBroker   int32 = -1
	recovered  int8  = 0
	recovering int8  = 1
	// noEpochOnShrink is 3.6-IV0, the metadata.version since which a smaller ISR is no new leader epoch.
	noEpochOnShrink int16 = 12
)

// election says whom a change of a partition may make its leader (PartitionChangeBuilder.Election).
type election int

const (
	electOnline    election = iota // the leader that is, else the first in order of the replicas, out of ISR or ELR
	electPreferred                 // the first replica before the leader that is
	electUnclean                   // as electOnline, but rather any replica that is alive than none
)

// topicRules are what a topic's config says about leaders.
type topicRules struct {
	minISR  int // never above the replication factor
	unclean bool
}

// rules returns the rules of a topic.
func (v *View) rules(t *metadata.Topic) topicRules {
	c := v.TopicConfig(t.Name)
	r := topicRules{minISR: c.Int(minISR), unclean: c.Bool("unclean.leader.election.enable")}
	if len(t.Partitions) > 0 {
		r.minISR = min(r.minISR, len(t.Partitions[0].Replicas))
	}
	return r
}

// election is how leaders are found unless a client says otherwise.
func (r topicRules) election() election {
	if r.unclean {
		return electUnclean
	}
	return electOnline
}

// partitionChange is a change of one partition in the making (Kafka's PartitionChangeBuilder): whoever makes it says how ISR, replicas
// and directories should be, and record adds what follows of it: a reassignment that is complete, the eligible leader replicas
// (KIP-966), the leader and its epoch.
type partitionChange struct {
	v          *View
	topic      *metadata.Topic
	p          *metadata.Partition
	rules      topicRules
	election   election
	acceptable func(int32) bool // which brokers may lead, whatever their directories

	isr, replicas, removing, adding, elr []int32 // as they will be
	recovery                             int8
	unclean                              int32 // the broker that lost what it had not synced; noBroker
	directories                          map[int32]protocol.UUID
}

// change begins a change of p that changes nothing yet.
func (v *View) change(t *metadata.Topic, p *metadata.Partition, r topicRules) *partitionChange {
	return &partitionChange{
		v: v, topic: t, p: p, rules: r, acceptable: v.active,
		isr: p.ISR, replicas: p.Replicas, removing: p.Removing, adding: p.Adding, elr: p.ELR,
		recovery: p.LeaderRecoveryState, unclean: noBroker,
	}
}

// record returns the change, nil if there is none.
func (c *partitionChange) record() *schema.PartitionChangeRecord {
	r := schema.NewPartitionChangeRecord(c.topic.ID, c.p.ID)
	elr := c.v.elrEnabled()
	c.completeReassignment()
	if elr {
		c.fillELR()
	}
	c.elect(r, elr)
	if r.Leader == schema.NoLeaderChange && !containsAll(c.replicas, c.p.Replicas) {
		r.Leader = c.p.Leader // a new epoch fences the replicas that are gone
	}
	if r.ISR != nil || !elr {
		c.elr = nil
	}
	if !slices.Equal(c.elr, c.p.ELR) {
		r.EligibleLeaderReplicas = listed(c.elr)
	}
	if r.ISR == nil && (len(c.isr) > 0 || elr) && !slices.Equal(c.isr, c.p.ISR) {
		r.ISR = listed(c.isr)
	}
	if r.ISR != nil && r.Leader == schema.NoLeaderChange && !containsAll(r.ISR, c.p.ISR) &&
		c.v.Image.FeatureLevel(protocol.MetadataVersion) < noEpochOnShrink {
		r.Leader = c.p.Leader
	}
	if elr {
		c.noteLastLeader(r)
	}
	c.assign(r)
	if c.recovery != c.p.LeaderRecoveryState {
		r.LeaderRecoveryState = c.recovery
	}
	if changesNothing(r) {
		return nil
	}
	return r
}

func changesNothing(r *schema.PartitionChangeRecord) bool {
	return r.ISR == nil && r.EligibleLeaderReplicas == nil && r.LastKnownELR == nil && r.Leader == schema.NoLeaderChange &&
		r.Replicas == nil && r.Removing == nil && r.Adding == nil && r.LeaderRecoveryState == schema.NoLeaderRecoveryStateChange &&
		r.Directories == nil
}

// completeReassignment ends a reassignment whose new replicas are in the ISR; where it makes the partition smaller, all that stay must be.
func (c *partitionChange) completeReassignment() {
	if len(c.removing) == 0 && len(c.adding) == 0 {
		return
	}
	isr, replicas := without(c.isr, c.removing...), without(c.replicas, c.removing...)
	if len(isr) == 0 || len(replicas) == 0 || !containsAll(isr, c.adding) || (len(c.adding) < len(c.removing) && !containsAll(isr, replicas)) {
		return
	}
	c.isr, c.replicas, c.removing, c.adding = isr, replicas, nil, nil
}

// fillELR keeps the replicas that leave an ISR below min.insync.replicas: they have everything that is committed.
func (c *partitionChange) fillELR() {
	if len(c.isr) >= c.rules.minISR {
		c.elr = nil
		return
	}
	candidates := slices.Concat(c.elr, c.p.ISR)
	slices.Sort(candidates)
	c.elr = without(slices.Compact(candidates), append(slices.Clone(c.isr), c.unclean)...)
	// Kafka keeps here who is no replica any more, and elects it without a record once it is one again.
	c.elr = slices.DeleteFunc(slices.Clone(c.elr), func(id int32) bool { return !slices.Contains(c.replicas, id) })
}

// elect finds the leader.
func (c *partitionChange) elect(r *schema.PartitionChangeRecord, elr bool) {
	leader, unclean := c.leader(elr)
	if leader == c.p.Leader {
		return
	}
	if slices.Contains(c.elr, leader) {
		c.isr, c.elr = []int32{leader}, without(c.elr, leader)
	}
	r.Leader = leader
	if unclean {
		r.ISR = []int32{leader}
		if c.p.LeaderRecoveryState != recovering {
			r.LeaderRecoveryState = recovering
		}
	}
}

// leader is who should lead, and whether it might lack what was committed.
func (c *partitionChange) leader(elr bool) (id int32, unclean bool) {
	if c.election == electPreferred && len(c.replicas) > 0 && c.eligible(c.replicas[0]) {
		return c.replicas[0], false
	}
	if c.eligible(c.p.Leader) {
		return c.p.Leader, false
	}
	if id := first(c.replicas, c.eligible); id != noBroker {
		return id, false
	}
	if last := c.p.LastKnownELR; elr && len(c.elr) == 0 && len(c.isr) == 0 && len(last) == 1 && slices.Contains(c.replicas, last[0]) && c.mayLead(last[0]) {
		return last[0], true
	}
	if c.election == electUnclean {
		if id := first(c.replicas, c.mayLead); id != noBroker {
			return id, true
		}
	}
	return noBroker, false
}

// eligible reports whether a replica is alive and has everything that is committed.
func (c *partitionChange) eligible(id int32) bool {
	return (slices.Contains(c.isr, id) || (len(c.isr) == 0 && slices.Contains(c.elr, id))) && c.mayLead(id)
}

// mayLead reports whether a broker is alive and its directory works.
func (c *partitionChange) mayLead(id int32) bool {
	if !c.acceptable(id) {
		return false
	}
	b, at := c.v.Image.Broker(id), slices.Index(c.p.Replicas, id)
	return b != nil && (at < 0 || at >= len(c.p.Directories) || b.HasOnlineDirectory(c.p.Directories[at]))
}

// noteLastLeader keeps who led last while nobody leads.
func (c *partitionChange) noteLastLeader(r *schema.PartitionChangeRecord) {
	switch {
	case r.Leader == noBroker && len(c.p.LastKnownELR) == 0 && c.p.Leader != noBroker:
		r.LastKnownELR = []int32{c.p.Leader}
	case r.Leader >= 0 && len(c.p.LastKnownELR) > 0:
		r.LastKnownELR = []int32{}
	}
}

// assign puts replicas and directories into the record.
func (c *partitionChange) assign(r *schema.PartitionChangeRecord) {
	if len(c.replicas) > 0 {
		dirs := make([]protocol.UUID, len(c.replicas))
		for i, id := range c.replicas {
			dirs[i] = c.directory(id)
		}
		if !slices.Equal(dirs, c.p.Directories) {
			r.Directories = dirs
		}
		if !slices.Equal(c.replicas, c.p.Replicas) {
			r.Replicas = slices.Clone(c.replicas)
		}
	}
	if !slices.Equal(c.removing, c.p.Removing) {
		r.Removing = listed(c.removing)
	}
	if !slices.Equal(c.adding, c.p.Adding) {
		r.Adding = listed(c.adding)
	}
}

// directory is the directory of a replica after the change.
func (c *partitionChange) directory(id int32) protocol.UUID {
	if dir, ok := c.directories[id]; ok {
		return dir
	}
	if at := slices.Index(c.p.Replicas, id); at >= 0 && at < len(c.p.Directories) {
		return c.p.Directories[at]
	}
	return defaultDirectory(c.v.Image.Broker(id))
}

// shift is what happened to the brokers, noBroker for none: one can no longer lead, one can again, one came back without what
// it had not synced.
type shift struct{ remove, add, unclean int32 }

func removed(id int32) shift { return shift{remove: id, add: noBroker, unclean: noBroker} }

// reelect appends the changes of leader and ISR that follow for the partitions (ReplicationControlManager.generateLeaderAndIsrUpdates).
func reelect(v *View, s shift, partitions iter.Seq[partitionKey], records []schema.MetadataRecord) []schema.MetadataRecord {
	var t *metadata.Topic
	var rules topicRules
	for _, k := range inOrder(partitions) {
		if t == nil || t.ID != k.topic {
			t = v.Image.TopicByID(k.topic)
			rules = v.rules(t)
		}
		if r := s.change(v, t, t.Partition(k.partition), rules).record(); r != nil {
			records = append(records, r)
		}
	}
	return records
}

// change begins what a shift changes about one partition.
func (s shift) change(v *View, t *metadata.Topic, p *metadata.Partition, rules topicRules) *partitionChange {
	c := v.change(t, p, rules)
	c.election, c.unclean = rules.election(), s.unclean
	c.acceptable = func(id int32) bool { return id != s.remove && id != s.unclean && (id == s.add || v.active(id)) }
	c.isr = without(p.ISR, s.remove, s.unclean)
	return c
}

// first returns the first of ids that is good, or noBroker.
func first(ids []int32, good func(int32) bool) int32 {
	if i := slices.IndexFunc(ids, good); i >= 0 {
		return ids[i]
	}
	return noBroker
}

// without returns ids without those that are gone; ids itself if none of them is among them.
func without(ids []int32, gone ...int32) []int32 {
	if !slices.ContainsFunc(ids, func(x int32) bool { return slices.Contains(gone, x) }) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(x int32) bool { return slices.Contains(gone, x) })
}

// containsAll reports whether every one of wanted is among ids.
func containsAll(ids, wanted []int32) bool {
	return !slices.ContainsFunc(wanted, func(x int32) bool { return !slices.Contains(ids, x) })
}

// listed is a list for a record, in which nil would mean that nothing changes.
func listed(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return slices.Clone(ids)
}
