package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions (66) lists the transactional ids that this broker coordinates; clients ask every broker (KIP-664).
//
//	v0     filters by state and producer id
//	v1     filter by duration (KIP-994)
//	v2     filter by a pattern of the transactional id (KIP-1152)
func handleListTransactions(_ context.Context, n *Node, r *Request) Result {
	return await(n.Transactions.ListTransactions(r.Body.(*kmsg.ListTransactionsRequest)))
}
