package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// AddPartitionsToTxn (24) adds partitions to transactions before they are written to.
//
//	v1     throttle time changed its meaning
//	v2     clients know PRODUCER_FENCED
//	v3     flexible
//	v4     from brokers: several transactions, which may only be verified (KIP-890)
//	v5     clients know TRANSACTION_ABORTABLE (KIP-890)
//
// One partition that does not exist fails its transaction: the others are answered OPERATION_NOT_ATTEMPTED. So does an internal topic in a
// client's request.

const addBatched = 4 // first version with several transactions

func handleAddPartitionsToTxn(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AddPartitionsToTxnRequest)
	image := n.Image()
	if req.Version >= addBatched {
		return addToSeveral(n, image, req)
	}
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	refused := false
	for _, t := range req.Topics {
		answer := kmsg.AddPartitionsToTxnResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			code := addable(image, t.Topic, p, true)
			refused = refused || code != protocol.OperationNotAttempted
			answer.Partitions = append(answer.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	if refused {
		return reply(resp)
	}
	return await(n.Transactions.AddPartitionsToTxn(req))
}

// addable is what a partition is answered if its transaction is refused: OperationNotAttempted if it is not to blame.
func addable(image *metadata.Image, topic string, partition int32, client bool) protocol.Code {
	switch {
	case client && protocol.IsInternalTopic(topic):
		return protocol.TopicAuthorizationFailed
	case image.Partition(topic, partition) == nil:
		return protocol.UnknownTopicOrPartition
	default:
		return protocol.OperationNotAttempted
	}
}

// addToSeveral passes on the transactions that are not refused, and puts the answers together in the order of the request.
func addToSeveral(n *Node, image *metadata.Image, req *kmsg.AddPartitionsToTxnRequest) Result {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	resp.Transactions = make([]kmsg.AddPartitionsToTxnResponseTransaction, len(req.Transactions))
	passed := *req
	passed.Transactions = nil
	var at []int // of the ones that are passed on
	for i := range req.Transactions {
		t := &req.Transactions[i]
		if refused(image, t) {
			resp.Transactions[i] = refusedTransaction(image, t)
			continue
		}
		passed.Transactions = append(passed.Transactions, *t)
		at = append(at, i)
	}
	if len(at) == 0 {
		return reply(resp)
	}
	future := n.Transactions.AddPartitionsToTxn(&passed)
	if len(at) == len(req.Transactions) {
		return await(future)
	}
	return awaitThen(future, func(added *kmsg.AddPartitionsToTxnResponse) kmsg.Response {
		for j, i := range at {
			resp.Transactions[i] = added.Transactions[j]
		}
		return resp
	})
}

// refused reports whether a partition of a broker's transaction is to blame.
func refused(image *metadata.Image, t *kmsg.AddPartitionsToTxnRequestTransaction) bool {
	for i := range t.Topics {
		for _, p := range t.Topics[i].Partitions {
			if addable(image, t.Topics[i].Topic, p, false) != protocol.OperationNotAttempted {
				return true
			}
		}
	}
	return false
}

// refusedTransaction is the answer for a transaction that is refused.
func refusedTransaction(image *metadata.Image, t *kmsg.AddPartitionsToTxnRequestTransaction) kmsg.AddPartitionsToTxnResponseTransaction {
	answer := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: t.TransactionalID}
	for _, asked := range t.Topics {
		topic := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: asked.Topic}
		for _, p := range asked.Partitions {
			code := addable(image, asked.Topic, p, false)
			topic.Partitions = append(topic.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: int16(code)})
		}
		answer.Topics = append(answer.Topics, topic)
	}
	return answer
}

// awaitThen answers with what then makes of the coordinator's answer. then may use the request's frame.
func awaitThen[R kmsg.Response](f *runtime.Future[R], then func(R) kmsg.Response) Result {
	if resp, ok := f.Value(); ok {
		return reply(then(resp))
	}
	return Result{Later: func(ctx context.Context) Result {
		resp, err := f.Wait(ctx)
		if err != nil {
			return fail(err)
		}
		return reply(then(resp))
	}}
}
