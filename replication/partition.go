package replication

import (
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/ottla/ottla/storage"
)

// Partition is one hosted replica. The manager applies metadata to it; everything else is safe for concurrent use.
type Partition struct {
	o       Options
	tp      protocol.TopicPartition
	topicID protocol.UUID
	log     atomic.Pointer[storage.Log] // stored under mu: it is another one after a move between log dirs

	// mu guards state and retired. Appends hold it for reading over the log write, and so does what must not hit a log that is being replaced.
	mu      sync.RWMutex
	state   role
	retired bool // not hosted any more

	waiters waiters
}

func newPartition(o Options, tp protocol.TopicPartition, topicID protocol.UUID, log *storage.Log) *Partition {
	p := &Partition{o: o, tp: tp, topicID: topicID, state: role{leader: -1, leaderEpoch: -1}}
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

// WithLog runs fn on the replica's log. If fn fails because the log was replaced meanwhile, by a move between log dirs, it runs again on the next one.
func (p *Partition) WithLog(fn func(*storage.Log) error) error {
	log := p.Log()
	for {
		err := fn(log)
		if err == nil {
			return nil
		}
		p.mu.RLock() // waits for a replacement that is under way
		next := p.Log()
		p.mu.RUnlock()
		if next == log {
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
	led, epoch := p.state.leader == p.o.NodeID, p.state.leaderEpoch
	p.state = role{
		leader: s.Leader, leaderEpoch: s.LeaderEpoch, partitionEpoch: s.PartitionEpoch,
		replicas: slices.Clone(s.Replicas), isr: slices.Clone(s.ISR),
	}
	leads := s.Leader == p.o.NodeID
	elected := leads && (!led || s.LeaderEpoch != epoch)
	if elected {
		p.Log().AssignEpoch(s.LeaderEpoch)
	}
	p.mu.Unlock()

	if elected {
		p.o.Logger.Debug("leading a partition", zap.Stringer("partition", p.tp), zap.Int32("epoch", s.LeaderEpoch))
	}
	if led && !leads { // who waits on a leader that is elected anew in its place loses nothing: its log goes on
		p.waiters.failAll(protocol.NotLeaderOrFollower)
	}
	if leads {
		p.advance()
	}
}

// configure replaces the log's configuration while no other log takes its place, which would have the one before.
func (p *Partition) configure(c storage.LogConfig) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	p.Log().Configure(c)
}

// retire ends the replica's life here: whoever waits on it is answered.
func (p *Partition) retire() {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	p.waiters.failAll(protocol.NotLeaderOrFollower)
}

// advance moves the high watermark to what is committed now and wakes who waited for it.
func (p *Partition) advance() {
	p.mu.RLock()
	moved := p.advanceHighWatermark()
	p.mu.RUnlock()
	if moved {
		p.waiters.committed(p.Log().Offsets().HighWatermark)
	}
}

// advanceHighWatermark needs mu held for reading.
func (p *Partition) advanceHighWatermark() bool {
	hw, ok := p.state.committed(p.o.NodeID, p.Log().Config().MinInSyncReplicas, p.Log().Committable())
	return ok && p.Log().AdvanceHighWatermark(hw)
}
