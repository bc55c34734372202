package storage

import (
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/record"
)

// VerificationGuard proves that a transactional append was verified with the transaction coordinator (KIP-890): the append succeeds only while
// the guard it was verified under is still the producer's. The zero guard proves nothing.
type VerificationGuard uint64

// verification is a producer's pending verification (Kafka's VerificationStateEntry).
type verification struct {
	guard          VerificationGuard
	created        int64 // ms
	lowestSequence int32 // of the batches that wait for it
	epoch          int16
	epochBump      bool // the client ends every transaction with a new epoch (transaction.version 2), so a producer without state starts at sequence 0
}

// startVerification returns the guard under which an append of the producer must be verified first, or the zero guard if the producer's transaction is
// open here already and needs none, or InvalidProducerEpoch. guard is used if this is the producer's first verification; the caller makes it unique in the process.
func (p *producerStates) startVerification(id int64, epoch int16, sequence int32, epochBump bool, guard VerificationGuard, now int64) (VerificationGuard, error) {
	if p.hasOpenTxn(id, epoch) {
		return 0, nil
	}
	if err := p.checkKnownEpoch(id, epoch); err != nil {
		return 0, err
	}
	v := p.verification[id]
	if v == nil {
		v = &verification{guard: guard, created: now, lowestSequence: sequence, epoch: epoch, epochBump: epochBump}
		if p.verification == nil {
			p.verification = map[int64]*verification{}
		}
		p.verification[id] = v
	}
	switch {
	case epoch == v.epoch:
		v.lowestSequence = min(v.lowestSequence, sequence)
	case epoch > v.epoch:
		v.epoch, v.lowestSequence = epoch, sequence
	}
	return v.guard, nil
}

// checkKnownEpoch refuses an epoch below the one that the producer has here.
func (p *producerStates) checkKnownEpoch(id int64, epoch int16) error {
	if e := p.entries[id]; e != nil && epoch < e.epoch {
		return protocol.Errorf(protocol.InvalidProducerEpoch, "Epoch of producer %d is %d, which is smaller than the last seen epoch %d", id, epoch, e.epoch)
	}
	return nil
}

// nextTxnVerified reports whether b is a marker behind which the producer has already begun to verify its next transaction: the marker's epoch is that of the
// next transaction where each has its own (UnifiedLog.updateProducers).
func (p *producerStates) nextTxnVerified(id int64, b record.Batch) bool {
	v := p.verification[id]
	return b.IsControl() && v != nil && v.epochBump && v.epoch == b.ProducerEpoch()
}

func (p *producerStates) verified(id int64, guard VerificationGuard) bool {
	v := p.verification[id]
	return v != nil && guard != 0 && v.guard == guard
}

// expireVerifications drops those as old as producer.id.expiration.ms.
func (p *producerStates) expireVerifications(now int64) {
	for id, v := range p.verification {
		if now-v.created >= p.config.expiresAfter() {
			delete(p.verification, id)
		}
	}
}
