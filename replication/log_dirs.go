package replication

import (
	"errors"
	"time"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/storage"
)

// MoveTo has this broker's replica of a partition moved to the log dir at path (KIP-113): in the background, while it is used. A move that is under way to another
// dir ends, so a move to where the replica is cancels. A replica that is not here yet will be created there. It says what Kafka's
// ReplicaManager.alterReplicaLogDirs does.
//
// Errors: InvalidTopicException for a name that is too long for the copy's folder, LogDirNotFound, KafkaStorageError if the dir, the replica or (for a new move) any
// dir is offline, ReplicaNotAvailable if other brokers have the replicas, UnknownTopicOrPartition.
func (m *Manager) MoveTo(tp protocol.TopicPartition, path string) error {
	if err := m.o.Store.CheckDir(tp, path); err != nil {
		return err
	}
	m.o.Store.PreferDir(tp, path)
	p, err := m.Partition(tp.Topic, tp.Partition)
	if err == nil {
		err = m.o.Store.Move(tp, path, m.relocation(p))
	}
	if errors.Is(err, protocol.NotLeaderOrFollower) {
		return protocol.ReplicaNotAvailable
	}
	return err
}

// relocation is what a move of p's log needs of this package.
func (m *Manager) relocation(p *Partition) storage.Relocation {
	return storage.Relocation{
		Replace: func(swap func() (*storage.Log, error)) {
			p.replaceLog(swap)
			m.o.Moved(p.tp)
		},
		BytesPerSecond: func() int64 {
			return m.o.Config().Int64("replica.alter.log.dirs.io.max.bytes.per.second")
		},
	}
}

// replaceLog runs swap while nobody appends, and goes on with the log that it returns. Of a replica that is not hosted any more nothing is replaced.
func (p *Partition) replaceLog(swap func() (*storage.Log, error)) {
	p.mu.Lock()
	if !p.retired {
		if log, err := swap(); err == nil {
			p.log.Store(log)
		}
	}
	p.mu.Unlock()
	if p.IsLeader() {
		p.advance()
	}
}

// ReleaseOffline ends the fetching of replicas whose logs are offline, after a log dir has failed. One that has caught up stays in the fetch session without ever being appended
// to: its leader would go on counting it as in sync, and have acks=all wait for it.
func (m *Manager) ReleaseOffline() {
	for _, p := range m.Partitions() {
		if p.Log().Offline() != nil {
			m.fetchers.release(p.tp)
		}
	}
	m.fetchers.tell()
}

// mayBeLost reports whether the log of a partition that was hosted before this start is not found while a log dir is offline: it may be in there, and a
// new, empty one must not take its place.
func (m *Manager) mayBeLost(tp protocol.TopicPartition) bool {
	return m.Image().Offset() < 0 && m.o.Store.Log(tp) == nil && m.o.Store.AnyDirOffline()
}

// retryInterval is how often at most creations that failed are tried again, in ms.
const retryInterval = 1000

// createAgain tries once more to create the log of a partition that ought to be hosted, for somebody who asks for it: a disk that was full may have room
// again. It returns nil if that was tried a moment ago, is not possible now, or must not be.
func (m *Manager) createAgain(tp protocol.TopicPartition) *Partition {
	now, due := time.Now().UnixMilli(), m.retry.Load()
	if now < due || !m.retry.CompareAndSwap(due, now+retryInterval) || !m.applying.TryLock() {
		return nil
	}
	defer m.applying.Unlock()
	image := m.Image()
	topic, state := image.Topic(tp.Topic), image.Partition(tp.Topic, tp.Partition)
	if _, lost := m.lost[tp]; lost || topic == nil || state == nil {
		return nil
	}
	m.applyPartition(image, topic, state)
	m.fetchers.tell()
	return m.hosted(tp, topic.ID)
}

// settled tries once more to create the log of a partition, for a follower, which nobody asks for anything. It reports whether the partition is there, or not to be here.
func (m *Manager) settled(tp protocol.TopicPartition) bool {
	_, err := m.Partition(tp.Topic, tp.Partition)
	return !errors.Is(err, protocol.KafkaStorageError)
}
