package replication

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Partition is one hosted replica. The manager applies metadata to it; everything else is safe for concurrent use.
type Partition struct {
	m       *Manager
	o       *Options // m's
	tp      protocol.TopicPartition
	topicID protocol.UUID
	log     atomic.Pointer[storage.Log] // stored under mu: it is another one after a move between log dirs

	// mu guards state and retired. Appends hold it for reading over the log write, and so does what must not hit a log that is being replaced.
	mu      sync.RWMutex
	state   role
	retired bool // not hosted any more

	// followersMu guards followers, of a leader: those of the other replicas. It is held for a few instructions only.
	followersMu sync.Mutex
	followers   []progress

	throttled atomic.Uint32 // which of this replica's sides are throttled: throttleLeader, throttleFollower

	waiters waiters
	traffic traffic
	lag     atomic.Int64 // of a follower: records behind the leader's high watermark; stored by its fetcher
}

func newPartition(m *Manager, tp protocol.TopicPartition, topicID protocol.UUID, log *storage.Log) *Partition {
	p := &Partition{m: m, o: &m.o, tp: tp, topicID: topicID, state: role{leader: -1, leaderEpoch: -1, partitionEpoch: -1, epochStart: -1}}
	p.log.Store(log)
	return p
}

// TopicPartition returns the partition's name.
func (p *Partition) TopicPartition() protocol.TopicPartition { return p.tp }

// TopicID returns the id of the partition's topic.
func (p *Partition) TopicID() protocol.UUID { return p.topicID }

// Log returns the replica's log. Appending to it past Partition.Append breaks replication. After a move between log dirs it is another one, and the
// former answers KafkaStorageError: ask again for each use.
func (p *Partition) Log() *storage.Log { return p.log.Load() }

// WithLog runs fn on the replica's log. If fn fails because the log was replaced meanwhile, by a move between log dirs, it runs again on the next one; if it fails as the replica is
// not hosted here any more the error is NotLeaderOrFollower.
func (p *Partition) WithLog(fn func(*storage.Log) error) error {
	log := p.Log()
	for {
		err := fn(log)
		if err == nil {
			return nil
		}
		p.mu.RLock() // waits for a replacement that is under way
		next, retired := p.Log(), p.retired
		p.mu.RUnlock()
		switch {
		case retired: // its log may be closed or gone
			return protocol.NotLeaderOrFollower
		case next == log:
			return err
		}
		log = next
	}
}

// Leader returns the leader's node id (-1 none) and epoch.
func (p *Partition) Leader() (id, epoch int32) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.state.leader, p.state.leaderEpoch
}

// IsLeader reports whether this replica leads.
func (p *Partition) IsLeader() bool { return p.CheckEpoch(-1) == nil }

// CheckEpoch compares the leader epoch that a client knows with the partition's: FencedLeaderEpoch if the client's is
// older, UnknownLeaderEpoch if it is newer, NotLeaderOrFollower if this replica does not lead. Epoch -1 checks leadership
// only (Kafka's Partition.checkCurrentLeaderEpoch, KIP-320).
func (p *Partition) CheckEpoch(epoch int32) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.checkEpoch(epoch)
}

func (p *Partition) checkEpoch(epoch int32) error {
	switch {
	case p.retired:
		return protocol.NotLeaderOrFollower
	case epoch >= 0 && epoch < p.state.leaderEpoch:
		return protocol.FencedLeaderEpoch
	case epoch > p.state.leaderEpoch:
		return protocol.UnknownLeaderEpoch
	case p.state.leader != p.o.NodeID:
		return protocol.NotLeaderOrFollower
	default:
		return nil
	}
}

// apply takes on the role that the metadata gives this replica. A new leader starts its epoch at the log's end before
// anybody can append.
func (p *Partition) apply(s *metadata.Partition) {
	p.mu.Lock()
	before := p.state
	if s.PartitionEpoch < before.partitionEpoch { // the controller's answer to a change of the ISR was here before
		p.mu.Unlock()
		return
	}
	led, leads := before.leader == p.o.NodeID, s.Leader == p.o.NodeID
	elected := leads && (!led || s.LeaderEpoch != before.leaderEpoch)
	p.state = role{
		leader: s.Leader, leaderEpoch: s.LeaderEpoch, partitionEpoch: s.PartitionEpoch, replicas: s.Replicas, isr: s.ISR,
		epochStart: -1, term: before.term,
	}
	if leads {
		p.state.epochStart = before.epochStart
		if led && s.PartitionEpoch == before.partitionEpoch { // nothing new: what was asked of the controller since stays asked
			p.state.isr, p.state.pending = before.isr, before.pending
		}
	}
	if elected {
		p.Log().AssignEpoch(s.LeaderEpoch)
		p.state.epochStart = p.Log().Offsets().LogEnd
	}
	if led && !leads {
		p.state.term++
	}
	p.followersMu.Lock()
	p.followers = followersOf(&p.state, p.followers, p.o.NodeID, led, elected, time.Now().UnixMilli())
	p.followersMu.Unlock()
	start := p.state.epochStart
	p.mu.Unlock()

	if elected {
		p.o.Logger.Debug("leading a partition", zap.Stringer("partition", p.tp), zap.Int32("epoch", s.LeaderEpoch))
		if s.LeaderRecoveryState != 0 && len(s.Replicas) > 1 { // no other replica can have had more than the only one
			p.o.Logger.Warn("a leader that was elected unclean goes on with what it has", zap.Stringer("partition", p.tp),
				zap.Int64("log end offset", start))
		}
	}
	switch {
	case led && !leads: // who waits on a leader that is elected anew in its place loses nothing: its log goes on
		p.waiters.failAll(protocol.NotLeaderOrFollower)
	case s.LeaderEpoch != before.leaderEpoch || s.Leader != before.leader:
		p.waiters.roleChanged()
	default:
		p.waiters.lookAgain()
	}
	if leads {
		p.advance()
	}
}

// followersOf is what a leader knows of its followers after a change of its role: all that it knew of those that it keeps, unless it was elected.
func followersOf(r *role, known []progress, self int32, led, elected bool, now int64) []progress {
	if r.leader != self || r.alone() {
		return nil
	}
	followers := make([]progress, 0, len(r.replicas)-1)
	for _, id := range r.replicas {
		if id == self {
			continue
		}
		inISR := slices.Contains(r.isr, id)
		i := slices.IndexFunc(known, func(f progress) bool { return f.id == id })
		switch {
		case i < 0 || !led: // of one that is added to the replicas nothing is assumed, as it is not in the ISR
			followers = append(followers, newProgress(id, inISR, now))
		case elected:
			followers = append(followers, known[i].reelected(inISR, r.epochStart, now))
		default:
			followers = append(followers, known[i])
		}
	}
	return followers
}

// configure replaces the log's configuration while no other log takes its place, which would have the one before.
func (p *Partition) configure(c storage.LogConfig) {
	p.mu.RLock()
	minISR := p.Log().Config().MinInSyncReplicas
	p.Log().Configure(c)
	leads := p.state.leader == p.o.NodeID && minISR != c.MinInSyncReplicas
	p.mu.RUnlock()
	if leads {
		p.advance()
	}
}

// retire ends the replica's life here: whoever waits on it is answered.
func (p *Partition) retire() {
	p.mu.Lock()
	again := p.retired
	p.retired = true
	p.mu.Unlock()
	if !again {
		p.m.former.add(p.traffic.now())
	}
	p.waiters.failAll(protocol.NotLeaderOrFollower)
}

// advance moves the high watermark to what is committed now and wakes who waited for it.
func (p *Partition) advance() {
	p.mu.RLock()
	moved := p.advanceHighWatermark(time.Now().UnixMilli())
	p.mu.RUnlock()
	if moved {
		p.waiters.committed(p.Log().Offsets().HighWatermark)
	}
}

// advanceHighWatermark needs mu held for reading. now is in ms.
func (p *Partition) advanceHighWatermark(now int64) bool {
	log := p.Log()
	minISR, end := log.Config().MinInSyncReplicas, log.Committable()
	if p.state.leader != p.o.NodeID || p.retired {
		return false
	}
	if p.state.alone() {
		return !p.state.belowMinISR(minISR) && log.AdvanceHighWatermark(end)
	}
	p.followersMu.Lock()
	hw, ok := p.state.committed(minISR, end, p.followers, clockAt{now, p.m.maxLag}, p.eligible)
	p.followersMu.Unlock()
	return ok && log.AdvanceHighWatermark(hw)
}
