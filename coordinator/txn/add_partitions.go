package txn

import (
	"slices"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
)

// addRequest says which partitions a producer writes to in its transaction.
type addRequest struct {
	id            string
	producerID    int64
	epoch         int16
	partitions    []protocol.TopicPartition
	clientVersion int16 // 0, or 2 of a client that leaves the adding to the brokers it writes to
}

// addPartitions adds partitions to a transaction, which begins with the first.
func (s *shard) addPartitions(env runtime.Env, r *addRequest, reply func(error)) (runtime.Result, error) {
	t := s.transactions[r.id]
	switch {
	case t == nil:
		return runtime.Result{}, protocol.InvalidProducerIDMapping
	case t.pending != none:
		return runtime.Result{}, protocol.ConcurrentTransactions
	case t.producerID != r.producerID:
		return runtime.Result{}, protocol.InvalidProducerIDMapping
	case t.producerEpoch != r.epoch:
		return runtime.Result{}, protocol.ProducerFenced
	case t.state.preparing():
		return runtime.Result{}, protocol.ConcurrentTransactions
	case t.state == ongoing && t.contains(r.partitions):
		reply(nil)
		return runtime.Result{}, nil
	}
	next := t.add(r.partitions, r.clientVersion, env.Now.UnixMilli())
	return s.write(env, t, next, func(_ runtime.Env, err error) { reply(err) }), nil
}

// verifyPartitions says which partitions are part of the transaction, and changes nothing (KIP-890 part 1).
func (s *shard) verifyPartitions(r *addRequest) ([]protocol.Code, error) {
	t := s.transactions[r.id]
	switch {
	case t == nil || t.producerID != r.producerID:
		return nil, protocol.InvalidProducerIDMapping
	case t.producerEpoch != r.epoch:
		return nil, protocol.ProducerFenced
	case t.state.preparing():
		return nil, protocol.ConcurrentTransactions
	}
	codes := make([]protocol.Code, len(r.partitions))
	for i, p := range r.partitions {
		if !slices.Contains(t.partitions, p) {
			codes[i] = protocol.TransactionAbortable
		}
	}
	return codes, nil
}
