package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn (26) commits or aborts a transaction, and is answered when the decision is durable.
//
//	v1     throttle time changed its meaning
//	v2     clients know PRODUCER_FENCED
//	v3     flexible
//	v4     clients know TRANSACTION_ABORTABLE (KIP-890)
//	v5     each transaction ends with a new epoch, which the answer tells (KIP-890)
func handleEndTxn(_ context.Context, n *Node, r *Request) Result {
	return await(n.Transactions.EndTxn(r.Body.(*kmsg.EndTxnRequest)))
}
