package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions (65) shows the state of transactional ids that this broker coordinates (KIP-664).
//
//	v0     state, producer, timeout, start and partitions
func handleDescribeTransactions(_ context.Context, n *Node, r *Request) Result {
	return await(n.Transactions.DescribeTransactions(r.Body.(*kmsg.DescribeTransactionsRequest)))
}
