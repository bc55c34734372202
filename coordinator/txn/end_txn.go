package txn

import (
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// endRequest is an EndTxn.
type endRequest struct {
	id            string
	producerID    int64
	epoch         int16
	commit        bool
	clientVersion int16 // 0, or 2 where each transaction ends with a new epoch
}

func (r *endRequest) decision() state {
	if r.commit {
		return prepareCommit
	}
	return prepareAbort
}

// endReply answers an EndTxn with the id and epoch that the producer goes on with.
type endReply func(id int64, epoch int16, err error)

// endTxn commits or aborts. reply is called once the decision is durable; the error is the answer where there is nothing to write.
func (s *shard) endTxn(env runtime.Env, r *endRequest, newID idSource, reply endReply) (runtime.Result, error) {
	t := s.transactions[r.id]
	if t == nil {
		return runtime.Result{}, protocol.InvalidProducerIDMapping
	}
	check := checkEnd
	if r.clientVersion >= epochBumpVersion {
		check = checkEndWithBump
	}
	done, err := check(t, r)
	if err != nil {
		return runtime.Result{}, err
	}
	if done {
		reply(t.producerID, t.producerEpoch, nil)
		return runtime.Result{}, nil
	}
	return s.decide(env, t, r.decision(), r.clientVersion, newID, reply)
}

// checkEnd says whether a client that keeps its epoch may end the transaction; done that it has been ended so already.
func checkEnd(t *transaction, r *endRequest) (done bool, err error) {
	switch {
	case t.producerID != r.producerID:
		return false, protocol.InvalidProducerIDMapping
	case t.producerEpoch != r.epoch:
		return false, protocol.ProducerFenced
	case t.pending != none:
		return false, protocol.ConcurrentTransactions
	case t.state == ongoing:
		return false, nil
	case r.commit && t.state == completeCommit, !r.commit && t.state == completeAbort:
		return true, nil
	case t.state == r.decision():
		return false, protocol.ConcurrentTransactions
	default:
		return false, protocol.InvalidTxnState
	}
}

// checkEndWithBump is checkEnd for a client that gets a new epoch with each transaction: one that repeats its request is known by the old epoch, and an
// abort without a transaction is fine.
func checkEndWithBump(t *transaction, r *endRequest) (done bool, err error) {
	if t.pending != none {
		return false, protocol.ConcurrentTransactions
	}
	overflown := t.previousProducerID == r.producerID && r.epoch == lastEpoch && t.producerEpoch == 0
	repeated := overflown || int(t.producerEpoch) == int(r.epoch)+1
	current := t.producerEpoch == r.epoch
	if t.producerID != r.producerID && !overflown {
		return false, protocol.InvalidProducerIDMapping
	}
	switch t.state {
	case prepareCommit, prepareAbort:
		if int(t.producerEpoch) != int(r.epoch)+1 {
			return false, protocol.ProducerFenced
		}
		if t.state == r.decision() {
			return false, protocol.ConcurrentTransactions
		}
		return false, protocol.InvalidTxnState
	case completeCommit, completeAbort:
		if !repeated && !current {
			return false, protocol.ProducerFenced
		}
		if same := r.commit == (t.state == completeCommit); repeated {
			if !same {
				return false, protocol.InvalidTxnState
			}
			return true, nil
		}
	default:
		if !current {
			return false, protocol.ProducerFenced
		}
		if t.state == ongoing {
			return false, nil
		}
	}
	if r.commit {
		return false, protocol.InvalidTxnState
	}
	return false, nil
}

// decide makes a decision durable, answers, and has the markers written.
func (s *shard) decide(env runtime.Env, t *transaction, decision state, clientVersion int16, newID idSource, reply endReply) (runtime.Result, error) {
	nextID := noProducerID
	if clientVersion >= epochBumpVersion && t.exhausted() {
		id, err := newID()
		if err != nil {
			return runtime.Result{}, err
		}
		nextID = id
	}
	return s.prepare(env, t, t.end(decision, clientVersion, nextID, env.Now.UnixMilli()), reply), nil
}

// prepare writes a decision.
func (s *shard) prepare(env runtime.Env, t *transaction, next snapshot, reply endReply) runtime.Result {
	return s.write(env, t, next, func(env runtime.Env, err error) {
		if err != nil {
			reply(noProducerID, noEpoch, err)
			return
		}
		complete := s.finish(env, t)
		reply(complete.producerID, complete.producerEpoch, nil)
	})
}

// fence aborts an open transaction with an epoch that its producer does not have. The abort is done by the cluster's transaction.version.
func (s *shard) fence(env runtime.Env, t *transaction, newID idSource, done func(error)) (runtime.Result, error) {
	reply := func(_ int64, _ int16, err error) { done(err) }
	if transactionVersion(env.Image) >= epochBumpVersion {
		return s.decide(env, t, prepareAbort, epochBumpVersion, newID, reply)
	}
	next := t.end(prepareAbort, 0, noProducerID, env.Now.UnixMilli())
	if next.producerEpoch <= lastEpoch {
		next.producerEpoch++
	}
	next.lastProducerEpoch = noEpoch
	return s.prepare(env, t, next, reply), nil
}
