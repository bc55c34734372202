package replication

import "github.com/ottla/ottla/protocol"

// Writable tells, without writing, whether an append with acks -1 as leader of epoch would be refused now: NotLeaderOrFollower,
// FencedLeaderEpoch, UnknownLeaderEpoch or NotEnoughReplicas. Coordinators ask before they change their state.
func (p *Partition) Writable(epoch int32) error {
	minISR := p.Log().Config().MinInSyncReplicas
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.checkEpoch(epoch); err != nil {
		return err
	}
	if len(p.state.isr) < p.state.effectiveMinISR(minISR) {
		return protocol.NotEnoughReplicas
	}
	return nil
}
