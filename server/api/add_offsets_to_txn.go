package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddOffsetsToTxn (25) adds the offsets of a group to a transaction: the partition of __consumer_offsets that holds them.
//
//	v1     throttle time changed its meaning
//	v2     clients know PRODUCER_FENCED
//	v3     flexible
//	v4     clients know TRANSACTION_ABORTABLE (KIP-890)
func handleAddOffsetsToTxn(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AddOffsetsToTxnRequest)
	return await(n.Transactions.AddOffsetsToTxn(req, n.Groups.PartitionFor(req.Group)))
}
