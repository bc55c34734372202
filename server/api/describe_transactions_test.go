package api

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// describeTx describes the transactional id "tx", and two that are not known.
func describeTx(t *testing.T, n *Node) kmsg.DescribeTransactionsResponseTransactionState {
	t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{"tx", "nobody", ""}
	states := ask[*kmsg.DescribeTransactionsResponse](t, n, "PLAINTEXT", req).TransactionStates
	if len(states) != 3 || protocol.Code(states[1].ErrorCode) != protocol.TransactionalIDNotFound || protocol.Code(states[2].ErrorCode) != protocol.InvalidRequest {
		t.Errorf("described %+v", states)
	}
	return states[0]
}

func TestDescribeTransactions(t *testing.T) {
	eachTransactionVersion(t, 65, func(t *testing.T, n *Node, _ int16) {
		addCodes(t, n, 3, map[string][]int32{"two": {1, 0}})
		got := describeTx(t, n)
		if got.State != "Ongoing" || got.TimeoutMillis != 60_000 || got.ProducerID != 1001 || got.ProducerEpoch != 0 || got.StartTimestamp <= 0 ||
			len(got.Topics) != 1 || got.Topics[0].Topic != "two" || !slices.Equal(got.Topics[0].Partitions, []int32{1, 0}) {
			t.Errorf("described %+v", got)
		}
	})
}
