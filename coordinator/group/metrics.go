package group

import (
	"sync/atomic"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// Counts are what a coordinator has done since it was made, for groups of all partitions (Kafka's GroupCoordinatorMetrics).
type Counts struct {
	OffsetCommits      int64 // offsets committed, those of transactions too
	OffsetExpirations  int64 // offsets whose retention was over
	OffsetDeletions    int64 // offsets deleted by OffsetDelete
	ClassicRebalances  int64 // generations whose assignment was written
	ConsumerRebalances int64 // new epochs of consumer groups
}

// counters are the Counts; all shards add to them.
type counters struct {
	commits, expirations, deletions, classicRebalances, consumerRebalances atomic.Int64
}

// activity is what one group has done since its shard was loaded. The shard's loop owns it.
type activity struct{ commits, rebalances int64 }

// activityOf is the activity of a group, for changing.
func (s *shard) activityOf(group string) *activity {
	a, ok := s.activity[group]
	if !ok {
		a = &activity{}
		s.activity[group] = a
	}
	return a
}

func (s *shard) countCommits(group string, n int) {
	if g, ok := s.groups[group]; ok && n > 0 {
		s.counters.commits.Add(int64(n))
		s.activityOf(g.groupID()).commits += int64(n)
	}
}

func (s *shard) countClassicRebalance(g *classicGroup) {
	s.counters.classicRebalances.Add(1)
	s.activityOf(g.id).rebalances++
}

// countConsumerEpoch is called with every epoch that a record gives a consumer group.
func (s *shard) countConsumerEpoch(g *consumerGroup, epoch int32) {
	if s.loaded && epoch > g.epoch {
		s.counters.consumerRebalances.Add(1)
		s.activityOf(g.id).rebalances++
	}
}

// dropActivity forgets groups that are gone.
func (s *shard) dropActivity() {
	for id := range s.activity {
		if _, ok := s.groups[id]; !ok {
			delete(s.activity, id)
		}
	}
}

// Info is one group as of a moment.
type Info struct {
	ID, Type     string // the type as ListGroups names it: classic, consumer
	State        string // as ListGroups names it
	ProtocolType string
	Protocol     string // that the members of a classic group agreed on, or the assignor of a consumer group; "" if there is none
	Members      int
	Commits      int64 // offsets committed since this broker coordinates the group
	Rebalances   int64 // generations or epochs since then
	Offsets      []CommittedOffset
}

// CommittedOffset is a durable offset of a group.
type CommittedOffset struct {
	protocol.TopicPartition
	Offset int64
}

// Counts returns what the coordinator has done so far.
func (c *Coordinator) Counts() Counts {
	n := c.counters
	return Counts{
		OffsetCommits: n.commits.Load(), OffsetExpirations: n.expirations.Load(), OffsetDeletions: n.deletions.Load(),
		ClassicRebalances: n.classicRebalances.Load(), ConsumerRebalances: n.consumerRebalances.Load(),
	}
}

// Groups yields the groups that this broker coordinates, in no order. Partitions that are being loaded are left out.
func (c *Coordinator) Groups() *runtime.Future[[]Info] {
	future := runtime.NewFuture[[]Info]()
	partitions := c.runtime.Partitions()
	all := runtime.Gather(len(partitions), func(parts [][]Info) {
		var list []Info
		for _, p := range parts {
			list = append(list, p...)
		}
		future.Complete(list)
	})
	for i, partition := range partitions {
		c.runtime.Read(partition, func(s *shard, _ runtime.Env) { all.Set(i, s.infos()) }, func(error) { all.Set(i, nil) })
	}
	return future
}

func (s *shard) infos() []Info {
	list := make([]Info, 0, len(s.groups))
	for id, g := range s.groups {
		info := Info{ID: id, Type: string(g.kind()), State: g.stateName(), ProtocolType: g.protocolTypeName(), Protocol: s.protocolOf(g), Members: g.size()}
		if a, ok := s.activity[id]; ok {
			info.Commits, info.Rebalances = a.commits, a.rebalances
		}
		for topic, partitions := range s.offsets.groups[id] {
			for partition, e := range partitions {
				if v, ok := e.durable(s.offsets.highWatermark); ok {
					tp := protocol.TopicPartition{Topic: topic, Partition: partition}
					info.Offsets = append(info.Offsets, CommittedOffset{TopicPartition: tp, Offset: v.offset})
				}
			}
		}
		list = append(list, info)
	}
	return list
}

func (s *shard) protocolOf(g group) string {
	switch g := g.(type) {
	case *classicGroup:
		return deref(g.protocolName)
	case *consumerGroup:
		return s.preferredAssignor(g, nil, nil)
	}
	return ""
}
