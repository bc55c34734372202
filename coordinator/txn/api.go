package txn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime"
)

// InitProducerID gives a transactional id its producer id and epoch; the request must carry a transactional id.
func (c *Coordinator) InitProducerID(req *kmsg.InitProducerIDRequest) *runtime.Future[*kmsg.InitProducerIDResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.InitProducerIDResponse))
}

// AddPartitionsToTxn adds partitions to transactions, or verifies that they are part of them where a transaction of version 4 and later says VerifyOnly.
func (c *Coordinator) AddPartitionsToTxn(req *kmsg.AddPartitionsToTxnRequest) *runtime.Future[*kmsg.AddPartitionsToTxnResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse))
}

// AddOffsetsToTxn adds partition groupPartition of __consumer_offsets, which holds the request's group, to a transaction.
func (c *Coordinator) AddOffsetsToTxn(req *kmsg.AddOffsetsToTxnRequest, groupPartition int32) *runtime.Future[*kmsg.AddOffsetsToTxnResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse))
}

// EndTxn commits or aborts a transaction. It is answered once the decision is durable; the markers follow.
func (c *Coordinator) EndTxn(req *kmsg.EndTxnRequest) *runtime.Future[*kmsg.EndTxnResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.EndTxnResponse))
}

// DescribeTransactions describes transactional ids, in the order of the request.
func (c *Coordinator) DescribeTransactions(req *kmsg.DescribeTransactionsRequest) *runtime.Future[*kmsg.DescribeTransactionsResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.DescribeTransactionsResponse))
}

// ListTransactions lists the transactional ids that this broker coordinates.
func (c *Coordinator) ListTransactions(req *kmsg.ListTransactionsRequest) *runtime.Future[*kmsg.ListTransactionsResponse] {
	return runtime.Done(req.ResponseKind().(*kmsg.ListTransactionsResponse))
}
