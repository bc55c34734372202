package replication

import (
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// This file is what a leader does when a follower fetches from it, and when the ISR changes: the shell around leader.go and progress.go.

// fetchedBy takes over what a follower's fetch tells of it, moves the high watermark and proposes the follower for the ISR if it has caught up. It returns where the two logs diverge
// (epoch -1: they do not), and whether the follower is in the ISR by now. again says that the same fetch is looked at once more: it tells nothing new.
//
// Errors: those of CheckEpoch; OffsetOutOfRange; NotLeaderOrFollower if the follower is none of the replicas, or comes with an old broker epoch.
func (p *Partition) fetchedBy(r *FetchRequest, f *FetchPartition) (diverging EpochEnd, inSync bool, err error) {
	now := time.Now().UnixMilli()
	diverging.Epoch = -1
	p.mu.RLock()
	if err := p.checkEpoch(f.CurrentLeaderEpoch); err != nil {
		p.mu.RUnlock()
		return diverging, false, err
	}
	log := p.Log()
	at := log.Offsets()
	i := p.followerIndex(r.ReplicaID)
	switch {
	case i < 0:
		err = protocol.Errorf(protocol.NotLeaderOrFollower, "broker %d has no replica of partition %s", r.ReplicaID, p.tp)
	case p.m.replacedBroker(r.ReplicaID, r.BrokerEpoch):
		err = protocol.Errorf(protocol.NotLeaderOrFollower, "the fetch of broker %d has the old epoch %d", r.ReplicaID, r.BrokerEpoch)
	default:
		diverging, err = compareEpochs(log, at, f)
	}
	if err == nil && diverging.Epoch < 0 && (f.FetchOffset < at.LogStart || f.FetchOffset > at.LogEnd) {
		err = protocol.OffsetOutOfRange
	}
	inSync = slices.Contains(p.state.isr, r.ReplicaID)
	if err != nil || diverging.Epoch >= 0 || r.again {
		p.mu.RUnlock()
		return diverging, inSync, err
	}

	p.followersMu.Lock()
	follower := &p.followers[i]
	moved := follower.logEnd != f.FetchOffset
	started := follower.logStart != f.LogStartOffset
	follower.fetch(followerFetch{f.FetchOffset, f.LogStartOffset, r.BrokerEpoch, r.Clock}, at.LogEnd, now)
	joins := p.state.joins(follower, at.HighWatermark) && p.eligible(follower)
	p.followersMu.Unlock()
	moved = moved && p.advanceHighWatermark(now)
	p.mu.RUnlock()

	if moved {
		p.waiters.committed(p.Log().Offsets().HighWatermark)
	}
	if started {
		p.waiters.lowWatermarkMoved()
	}
	if joins {
		p.proposeJoin(r.ReplicaID)
	}
	return diverging, inSync, nil
}

// followerIndex is the place of a follower, -1 if it is none. It needs mu held for reading, and not followersMu: ids do not change.
func (p *Partition) followerIndex(id int32) int {
	for i := range p.followers {
		if p.followers[i].id == id {
			return i
		}
	}
	return -1
}

// compareEpochs compares the last epoch that a reader has with the log: the epoch up to which they are alike and where it ends, epoch -1 if they do not diverge. OffsetOutOfRange for an
// epoch before the log's first.
func compareEpochs(log *storage.Log, at storage.Offsets, f *FetchPartition) (EpochEnd, error) {
	none := EpochEnd{Epoch: -1, EndOffset: -1}
	if f.LastFetchedEpoch < 0 {
		return none, nil
	}
	epoch, end := log.EndOffsetForEpoch(f.LastFetchedEpoch)
	switch {
	case epoch < 0:
		return none, protocol.Errorf(protocol.OffsetOutOfRange, "Could not determine the end offset of the last fetched epoch %d", f.LastFetchedEpoch)
	case f.FetchOffset < at.LogStart:
		return none, protocol.OffsetOutOfRange
	case epoch < f.LastFetchedEpoch || end < f.FetchOffset:
		return EpochEnd{epoch, end}, nil
	}
	return none, nil
}

// forgetClock notes that a follower's session does not hold this partition any more.
func (p *Partition) forgetClock(clock *FetchClock) {
	p.followersMu.Lock()
	defer p.followersMu.Unlock()
	for i := range p.followers {
		if f := &p.followers[i]; f.clock == clock {
			f.lastFetch, f.lastCaughtUp, f.clock = f.fetchedAt(), f.caughtUpAt(), nil
		}
	}
}

// proposeJoin asks the controller to take a follower into the ISR. Until the answer it counts as a member.
func (p *Partition) proposeJoin(id int32) {
	p.propose(func(at storage.Offsets, _ clockAt) []int32 {
		i := p.followerIndex(id)
		if i < 0 || !p.state.joins(&p.followers[i], at.HighWatermark) || !p.eligible(&p.followers[i]) {
			return nil
		}
		p.o.Logger.Debug("expanding the ISR", zap.Stringer("partition", p.tp), zap.Int32s("isr", p.state.isr), zap.Int32("replica", id))
		return append(slices.Clone(p.state.isr), id)
	})
}

// shrink asks the controller to take those out of the ISR that lag for too long.
func (p *Partition) shrink() {
	p.mu.RLock()
	lag := p.lagging(p.Log().Offsets(), p.m.clockAt())
	behind := p.state.leader == p.o.NodeID && !p.state.alone()
	p.mu.RUnlock()
	if len(lag) > 0 {
		p.propose(func(at storage.Offsets, c clockAt) []int32 {
			out := p.state.outOfSync(p.o.NodeID, at.LogEnd, p.followers, c)
			if len(out) == 0 {
				return nil
			}
			p.o.Logger.Debug("shrinking the ISR", zap.Stringer("partition", p.tp), zap.Int32s("isr", p.state.isr), zap.Int32s("replicas", out),
				zap.Int64("high watermark", at.HighWatermark), zap.Int64("log end offset", at.LogEnd))
			return p.state.without(out)
		})
	} else if behind {
		p.advance() // one that was waited for, as it was about to join, may be given up by now
	}
}

// lagging needs mu held for reading.
func (p *Partition) lagging(at storage.Offsets, c clockAt) []int32 {
	if p.retired || p.state.leader != p.o.NodeID {
		return nil
	}
	p.followersMu.Lock()
	defer p.followersMu.Unlock()
	return p.state.outOfSync(p.o.NodeID, at.LogEnd, p.followers, c)
}

// propose asks the controller for the ISR that decide returns, which is called with mu and followersMu held; nil leaves it as it is.
func (p *Partition) propose(decide func(storage.Offsets, clockAt) []int32) {
	if p.o.Controller == nil {
		return
	}
	p.mu.Lock()
	if p.retired || p.state.leader != p.o.NodeID {
		p.mu.Unlock()
		return
	}
	p.followersMu.Lock()
	isr := decide(p.Log().Offsets(), p.m.clockAt())
	var proposal *isrProposal
	if isr != nil {
		slices.Sort(isr) // as in Apache Kafka, whose leaders keep a hash set
		proposal = &isrProposal{p: p, from: p.state.isr, isr: isr, leaderEpoch: p.state.leaderEpoch, partitionEpoch: p.state.partitionEpoch}
		for _, id := range isr {
			proposal.brokerEpochs = append(proposal.brokerEpochs, p.brokerEpochOf(id))
		}
		p.state.pending = proposal
	}
	p.followersMu.Unlock()
	p.mu.Unlock()
	if proposal != nil {
		p.m.changes.submit(proposal)
	}
}

// brokerEpochOf is the epoch of a member of the ISR as this leader knows it, -1 if it does not. Caller holds followersMu.
func (p *Partition) brokerEpochOf(id int32) int64 {
	if id == p.o.NodeID {
		return p.m.brokerEpoch()
	}
	if i := p.followerIndex(id); i >= 0 {
		return max(p.followers[i].brokerEpoch, epochNotTold)
	}
	return epochNotTold
}

// proposes reports whether a proposal is still what the partition waits for.
func (p *Partition) proposes(proposal *isrProposal) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.state.pending == proposal && !p.retired
}

// answered takes the controller's answer to a proposal. What the metadata has said meanwhile goes before it.
func (p *Partition) answered(proposal *isrProposal, a *kmsg.AlterPartitionResponseTopicPartition) isrReaction {
	reaction := isrReactionTo(protocol.Code(a.ErrorCode))
	p.mu.Lock()
	if p.state.pending != proposal {
		p.mu.Unlock()
		return isrKeep
	}
	if reaction == isrTake && (a.LeaderEpoch != p.state.leaderEpoch || a.PartitionEpoch < p.state.partitionEpoch) {
		reaction = isrKeep
	}
	switch reaction {
	case isrTake:
		p.state.isr, p.state.partitionEpoch, p.state.pending = a.ISR, a.PartitionEpoch, nil
	case isrRevert:
		p.state.pending = nil
	case isrKeep, isrRetry:
	}
	p.mu.Unlock()
	if reaction == isrTake {
		p.o.Logger.Debug("the ISR has changed", zap.Stringer("partition", p.tp), zap.Int32s("isr", a.ISR), zap.Int32("partition epoch", a.PartitionEpoch))
	} else {
		p.o.Logger.Debug("a change of the ISR was not taken", zap.Stringer("partition", p.tp), zap.Stringer("code", protocol.Code(a.ErrorCode)))
	}
	if reaction == isrTake || reaction == isrRevert {
		p.waiters.lookAgain()
		p.advance()
	}
	return reaction
}

// EpochStart is the log's end when this replica was elected for the epoch that it leads in, -1 if it does not lead.
func (p *Partition) EpochStart() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.state.epochStart
}

// ISR returns the replicas that the controller has in sync, as this replica knows of it.
func (p *Partition) ISR() []int32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.state.isr)
}

// lowWatermark is the least log start of the replicas that are alive (Partition.lowWatermarkIfLeader); ok is false where this replica does not lead.
func (p *Partition) lowWatermark() (low int64, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.checkEpoch(-1) != nil {
		return -1, false
	}
	low = p.Log().Offsets().LogStart
	p.followersMu.Lock()
	defer p.followersMu.Unlock()
	for i := range p.followers {
		if f := &p.followers[i]; f.logStart < low && p.m.alive(f.id) {
			low = f.logStart
		}
	}
	return low, true
}

// clockAt is the time by which followers are judged.
func (m *Manager) clockAt() clockAt { return clockAt{time.Now().UnixMilli(), m.maxLag} }

// eligible reports whether a follower may join an ISR by what is known of its broker: it is alive, and the one that has fetched (Partition.isReplicaIsrEligible).
func (m *Manager) eligible(f *progress) bool {
	b := m.brokers.Load().Broker(f.id)
	if b == nil || b.Fenced || b.InControlledShutdown || f.brokerEpoch == epochUnknown {
		return false
	}
	return f.brokerEpoch == epochNotTold || f.brokerEpoch == b.Epoch
}

// eligible reports whether a follower may join the ISR: besides, its broker has the log dir that the metadata names for it. One whose dir has failed may have been caught up a moment ago,
// and would hold up what is committed for as long as that counts.
func (p *Partition) eligible(f *progress) bool {
	if !p.m.eligible(f) {
		return false
	}
	image := p.m.brokers.Load()
	s := image.Partition(p.tp.Topic, p.tp.Partition)
	if s == nil {
		return true
	}
	at := slices.Index(s.Replicas, f.id)
	return at < 0 || at >= len(s.Directories) || image.Broker(f.id).HasOnlineDirectory(s.Directories[at])
}

// alive reports whether a broker is registered and not fenced.
func (m *Manager) alive(id int32) bool {
	b := m.brokers.Load().Broker(id)
	return b != nil && !b.Fenced
}

// replacedBroker reports whether a broker has registered anew since it had this epoch; -1 is not checked.
func (m *Manager) replacedBroker(id int32, epoch int64) bool {
	b := m.brokers.Load().Broker(id)
	return epoch >= 0 && b != nil && !b.Fenced && b.Epoch > epoch
}

// brokerEpoch is this broker's, -1 before it is registered.
func (m *Manager) brokerEpoch() int64 {
	if b := m.brokers.Load().Broker(m.o.NodeID); b != nil {
		return b.Epoch
	}
	return -1
}

// shrinkAll looks at every led partition for followers that lag, until the manager is closed.
func (m *Manager) shrinkAll() {
	if m.maxLag <= 0 || m.maxLag > math.MaxInt64/int64(time.Millisecond) {
		return
	}
	tick := time.NewTicker(max(time.Duration(m.maxLag)*time.Millisecond/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, p := range m.Partitions() {
				p.shrink()
			}
		case <-m.ctx.Done():
			return
		}
	}
}
