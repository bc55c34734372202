package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListTransactions(t *testing.T) {
	eachTransactionVersion(t, 66, func(t *testing.T, n *Node, version int16) {
		req := kmsg.NewPtrListTransactionsRequest()
		req.Version, req.StateFilters = version, []string{"Empty", "Nothing"}
		resp := ask[*kmsg.ListTransactionsResponse](t, n, "PLAINTEXT", req)
		if len(resp.TransactionStates) != 1 || resp.TransactionStates[0].TransactionalID != "tx" || resp.TransactionStates[0].ProducerID != 1001 ||
			!slices.Equal(resp.UnknownStateFilters, []string{"Nothing"}) {
			t.Errorf("listed %+v", resp)
		}
		req.StateFilters, req.TransactionalIDPattern = nil, ptr("t")
		if resp := ask[*kmsg.ListTransactionsResponse](t, n, "PLAINTEXT", req); len(resp.TransactionStates) != map[bool]int{true: 0, false: 1}[version >= 2] {
			t.Errorf("listed by a pattern %+v", resp)
		}
	})
}
