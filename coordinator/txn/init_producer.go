package txn

import (
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// initRequest is an InitProducerId of a transactional id.
type initRequest struct {
	id         string
	timeout    int32 // ms
	producerID int64 // that a producer which recovers says it has; noProducerID: it says nothing (KIP-360)
	epoch      int16
}

func (r *initRequest) recovers() bool { return r.producerID != noProducerID || r.epoch != noEpoch }

// initProducerID gives a transactional id its producer id and the next epoch, which fences whoever had the one before. A transaction that is open is
// aborted first: that is answered ConcurrentTransactions, and the producer comes again.
func (s *shard) initProducerID(
	env runtime.Env, r *initRequest, newID idSource, reply func(id int64, epoch int16, err error),
) (runtime.Result, error) {
	now := env.Now.UnixMilli()
	t := s.transactions[r.id]
	if t == nil {
		id, err := newID()
		if err != nil {
			return runtime.Result{}, err
		}
		t = newTransaction(r.id, id, r.timeout, now)
		s.transactions[t.id] = t
		s.sort(t)
	}
	switch {
	case t.pending != none:
		return runtime.Result{}, protocol.ConcurrentTransactions
	case r.recovers() && !t.isOf(r.producerID, r.epoch):
		return runtime.Result{}, protocol.ProducerFenced
	case t.state.preparing():
		return runtime.Result{}, protocol.ConcurrentTransactions
	case t.state == ongoing:
		return s.fence(env, t, newID, func(err error) {
			if err == nil {
				err = protocol.ConcurrentTransactions
			}
			reply(noProducerID, noEpoch, err)
		})
	}
	next, err := t.initialize(r, newID, now)
	if err != nil {
		return runtime.Result{}, err
	}
	return s.write(env, t, next, func(_ runtime.Env, err error) { reply(next.producerID, next.producerEpoch, err) }), nil
}

// isOf reports whether a producer that says it has this id and epoch may go on: also one that was never told its new id, because the epochs of
// the old one were used up.
func (t *transaction) isOf(producerID int64, epoch int16) bool {
	return t.producerEpoch == noEpoch || producerID == t.producerID || (producerID == t.previousProducerID && epoch >= lastEpoch)
}

// initialize is the next epoch, or a new producer id when there is none left.
func (t *transaction) initialize(r *initRequest, newID idSource, now int64) (snapshot, error) {
	expected := noEpoch
	if r.recovers() {
		expected = r.epoch
	}
	if !t.exhausted() || (r.recovers() && expected != t.producerEpoch) {
		return t.bump(r.timeout, expected, now)
	}
	id, err := newID()
	if err != nil {
		return snapshot{}, err
	}
	return t.rotate(id, r.timeout, r.recovers(), now), nil
}
