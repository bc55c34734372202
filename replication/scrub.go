package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

const (
	// repairLimit is how long a damaged replica waits to be out of the ISR.
	repairLimit = 30 * time.Second
	// repairRetry is the time between tries, and repairTries their number.
	repairRetry = 5 * time.Second
	repairTries = 60
	// repairLook is how often it looks whether it is.
	repairLook = 50 * time.Millisecond
)

// errNoOtherReplica is why damage stays: what is left of the data is the best there is.
var errNoOtherReplica = errors.New("no other replica is in sync")

// Repair replaces a replica whose log is damaged by a copy of its leader's. The controller is told that the replica has given up its data (KIP-858's lost directory): it
// leaves the ISR, and another one leads if it led. Only then is its folder set aside, and a new log filled as that of any new replica. Where no other replica can lead
// nothing is changed. It is tried again for some minutes, as after a start others may not be in sync yet; it returns when the new log has begun, or the Manager is closed.
//
// Errors: that no other replica is in sync, that the controller did not answer, KafkaStorageError.
func (m *Manager) Repair(tp protocol.TopicPartition) error {
	again := time.NewTicker(repairRetry)
	defer again.Stop()
	for tries := repairTries; ; tries-- {
		err := m.tryRepair(tp)
		if state := m.Image().Partition(tp.Topic, tp.Partition); err == nil || tries <= 1 || state != nil && len(state.Replicas) < 2 {
			return err
		}
		select {
		case <-again.C:
		case <-m.ctx.Done():
			return err
		}
	}
}

func (m *Manager) tryRepair(tp protocol.TopicPartition) error {
	p := m.lookUp(tp)
	if p == nil {
		return nil // it has gone meanwhile
	}
	state := m.Image().Partition(tp.Topic, tp.Partition)
	if m.o.Controller == nil || state == nil || !slices.ContainsFunc(state.ISR, func(id int32) bool { return id != m.o.NodeID }) {
		return errNoOtherReplica
	}
	m.mu.Lock()
	m.repairing[tp] = struct{}{}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(m.ctx, repairLimit)
	defer cancel()
	err := m.giveUp(ctx, p)
	if err == nil {
		err = m.awaitOutOfSync(ctx, p)
	}
	if err == nil {
		err = m.beginAnew(p)
	}
	m.mu.Lock()
	delete(m.repairing, tp)
	m.mu.Unlock()
	m.o.Moved(tp) // the controller is to know where the replica is, whatever has become of it
	return err
}

// Repairing reports whether a replica is giving up its data: the controller must not be told yet where it is.
func (m *Manager) Repairing(tp protocol.TopicPartition) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, is := m.repairing[tp]
	return is
}

// lookUp returns a hosted replica, nil if there is none.
func (m *Manager) lookUp(tp protocol.TopicPartition) *Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.parts[tp]
}

// giveUp tells the controller that the replica's data is lost.
func (m *Manager) giveUp(ctx context.Context, p *Partition) error {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.BrokerEpoch = m.o.NodeID, m.brokerEpoch()
	req.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: metadata.DirectoryLost, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{{
		TopicID: p.topicID, Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: p.tp.Partition}},
	}}}}
	answer, err := m.o.Controller.Handle(ctx, req)
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.AssignReplicasToDirsResponse)
	if !ok {
		return fmt.Errorf("a wrong answer to AssignReplicasToDirs: key %d", answer.Key())
	}
	if resp.ErrorCode != 0 {
		return protocol.Code(resp.ErrorCode)
	}
	for _, d := range resp.Directories {
		for _, t := range d.Topics {
			for _, part := range t.Partitions {
				switch code := protocol.Code(part.ErrorCode); code {
				case protocol.None:
				case protocol.KafkaStorageError:
					return errNoOtherReplica
				default:
					return code
				}
			}
		}
	}
	return nil
}

// mayBeginAnew reports whether another replica leads and this one counts for nothing: only this broker can change that, by an assignment to a directory.
func (m *Manager) mayBeginAnew(state *metadata.Partition) bool {
	if state == nil || state.Leader < 0 || state.Leader == m.o.NodeID || slices.Contains(state.ISR, m.o.NodeID) {
		return false
	}
	at := slices.Index(state.Replicas, m.o.NodeID)
	return at >= 0 && at < len(state.Directories) && state.Directories[at] == metadata.DirectoryLost
}

func (m *Manager) awaitOutOfSync(ctx context.Context, p *Partition) error {
	look := time.NewTicker(repairLook)
	defer look.Stop()
	for !m.mayBeginAnew(m.Image().Partition(p.tp.Topic, p.tp.Partition)) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("the damaged replica is still in sync: %w", ctx.Err())
		}
	}
	return nil
}

// beginAnew sets the replica's log aside and hosts the partition with a new one.
func (m *Manager) beginAnew(p *Partition) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	image := m.Image()
	topic, state := image.Topic(p.tp.Topic), image.Partition(p.tp.Topic, p.tp.Partition)
	m.mu.Lock()
	if m.parts[p.tp] != p || !m.mayBeginAnew(state) {
		m.mu.Unlock()
		return errNotFollowing
	}
	delete(m.parts, p.tp)
	m.mu.Unlock()
	m.fetchers.release(p.tp)
	p.retire()
	if err := m.o.Store.SetAside(p.tp); err != nil {
		return err
	}
	m.o.Logger.Warn("a damaged replica is set aside and copied anew from its leader", zap.Stringer("partition", p.tp), zap.Int32("leader", state.Leader))
	m.applyPartition(image, topic, state)
	m.fetchers.tell()
	return nil
}
