package txn

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/runtime/runtimetest"
	"github.com/ottla/ottla/protocol"
)

// verify asks which partitions of topic "a" are part of the transaction.
func (h *harness) verify(p producer, partitions ...int32) []protocol.Code {
	h.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version = 5
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
		TransactionalID: testID, ProducerID: p.id, ProducerEpoch: p.epoch, VerifyOnly: true,
		Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "a", Partitions: partitions}},
	}}
	resp := runtimetest.Now(h.t, h.c.AddPartitionsToTxn(req))
	var codes []protocol.Code
	for _, topic := range resp.Transactions[0].Topics {
		for _, partition := range topic.Partitions {
			codes = append(codes, protocol.Code(partition.ErrorCode))
		}
	}
	return codes
}

func TestVerify(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(3, p, 1))
		if got := h.verify(p, 0, 1); !slices.Equal(got, []protocol.Code{protocol.TransactionAbortable, protocol.None}) {
			t.Errorf("verified %v", got)
		}
		h.expect("Ongoing 101/0 [a-1]")
		appends := h.log.Appends()
		h.log.Hold(true)
		added := h.addFuture(3, p, 2)
		runtimetest.Parked(t, added)
		if got := h.verify(p, 2); !slices.Equal(got, []protocol.Code{protocol.TransactionAbortable}) {
			t.Errorf("what is not durable is part of the transaction: %v", got)
		}
		h.log.Commit(-1)
		runtimetest.Now(t, added)
		if got := h.verify(p, 2); !slices.Equal(got, []protocol.Code{protocol.None}) {
			t.Errorf("verified %v", got)
		}
		if n := h.log.Appends() - appends; n != 1 {
			t.Errorf("%d appends, want 1", n)
		}
	})
}

func TestSeveralTransactionsInOneRequest(t *testing.T) {
	run(t, nil, func(h *harness) {
		p := h.init()
		h.must("add", h.add(3, p, 0))
		txn := func(id string, p producer, verify bool, topics ...kmsg.AddPartitionsToTxnRequestTransactionTopic) kmsg.AddPartitionsToTxnRequestTransaction {
			return kmsg.AddPartitionsToTxnRequestTransaction{
				TransactionalID: id, ProducerID: p.id, ProducerEpoch: p.epoch, VerifyOnly: verify, Topics: topics,
			}
		}
		a := func(partitions ...int32) kmsg.AddPartitionsToTxnRequestTransactionTopic {
			return kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: "a", Partitions: partitions}
		}
		b := kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: "b", Partitions: []int32{0}}
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.Version = 4
		req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{
			txn("", p, false, a(1)), txn("nobody", p, true, a(1, 2)), txn(testID, p, true, a(0, 3)), txn(testID, p, false, a(2), b),
		}
		resp := runtimetest.Now(t, h.c.AddPartitionsToTxn(req))
		want := []struct {
			id    string
			codes []protocol.Code
		}{
			{"", []protocol.Code{protocol.InvalidRequest}},
			{"nobody", []protocol.Code{protocol.InvalidProducerIDMapping, protocol.InvalidProducerIDMapping}},
			{testID, []protocol.Code{protocol.None, protocol.TransactionAbortable}},
			{testID, []protocol.Code{protocol.None, protocol.None}},
		}
		for i, w := range want {
			got := resp.Transactions[i]
			var codes []protocol.Code
			for _, topic := range got.Topics {
				for _, partition := range topic.Partitions {
					codes = append(codes, protocol.Code(partition.ErrorCode))
				}
			}
			if got.TransactionalID != w.id || !slices.Equal(codes, w.codes) {
				t.Errorf("transaction %d: %q %v, want %q %v", i, got.TransactionalID, codes, w.id, w.codes)
			}
		}
		h.expect("Ongoing 101/0 [a-0 a-2 b-0]")
	})
}
