package api

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

func TestEndTxn(t *testing.T) {
	eachTransactionVersion(t, 26, func(t *testing.T, n *Node, version int16) {
		addCodes(t, n, 3, map[string][]int32{"one": {0}})
		end := kmsg.NewPtrEndTxnRequest()
		end.Version, end.TransactionalID, end.ProducerID, end.Commit = version, "tx", 1001, true
		ended := ask[*kmsg.EndTxnResponse](t, n, "PLAINTEXT", end)
		wantCode(t, "commit", ended.ErrorCode, protocol.None)
		if version >= 5 && (ended.ProducerID != 1001 || ended.ProducerEpoch != 1) {
			t.Errorf("goes on as %d/%d", ended.ProducerID, ended.ProducerEpoch)
		}
		again := ask[*kmsg.EndTxnResponse](t, n, "PLAINTEXT", end)
		wantCode(t, "commit again", again.ErrorCode, protocol.ConcurrentTransactions)
		if version >= 5 && (again.ProducerID != -1 || again.ProducerEpoch != -1) {
			t.Errorf("goes on as %d/%d", again.ProducerID, again.ProducerEpoch)
		}
		if got := describeTx(t, n); got.State != "PrepareCommit" {
			t.Errorf("described %+v", got)
		}
		end.TransactionalID = ""
		wantCode(t, "commit of nothing", ask[*kmsg.EndTxnResponse](t, n, "PLAINTEXT", end).ErrorCode, protocol.InvalidRequest)
	})
}
