package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// addCodes adds partitions of topics to the transaction of "tx" and of "nobody", and returns the codes of the first.
func addCodes(t *testing.T, n *Node, version int16, topics map[string][]int32) map[string]protocol.Code {
	t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID = version, "tx", 1001
	batched := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: "tx", ProducerID: 1001}
	for name, partitions := range topics {
		req.Topics = append(req.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: name, Partitions: partitions})
		batched.Topics = append(batched.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: name, Partitions: partitions})
	}
	other := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: "nobody", Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{
		{Topic: "one", Partitions: []int32{0}},
	}}
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{other, batched}
	resp := ask[*kmsg.AddPartitionsToTxnResponse](t, n, "PLAINTEXT", req)
	codes := map[string]protocol.Code{}
	if version < 4 {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				codes[fmt.Sprint(topic.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
			}
		}
		return codes
	}
	if first := resp.Transactions[0]; first.TransactionalID != "nobody" ||
		protocol.Code(first.Topics[0].Partitions[0].ErrorCode) != protocol.InvalidProducerIDMapping {
		t.Errorf("the other transaction: %+v", first)
	}
	for _, topic := range resp.Transactions[1].Topics {
		for _, p := range topic.Partitions {
			codes[fmt.Sprint(topic.Topic, "-", p.Partition)] = protocol.Code(p.ErrorCode)
		}
	}
	return codes
}

func TestAddPartitionsToTxn(t *testing.T) {
	eachTransactionVersion(t, 24, func(t *testing.T, n *Node, version int16) {
		const notAttempted, unknown = protocol.OperationNotAttempted, protocol.UnknownTopicOrPartition
		check := func(topics map[string][]int32, want map[string]protocol.Code) {
			t.Helper()
			if got := addCodes(t, n, version, topics); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v: %v, want %v", topics, got, want)
			}
		}
		check(map[string][]int32{"one": {0, 1, 2}, "gone": {0}}, map[string]protocol.Code{
			"one-0": notAttempted, "one-1": notAttempted, "one-2": unknown, "gone-0": unknown,
		})
		if got := describeTx(t, n); got.State != "Empty" {
			t.Errorf("refused partitions made it %+v", got)
		}
		internal := map[string]protocol.Code{"__consumer_offsets-0": protocol.TopicAuthorizationFailed, "one-0": notAttempted}
		if version >= 4 {
			internal = map[string]protocol.Code{"__consumer_offsets-0": 0, "one-0": 0}
		}
		check(map[string][]int32{"one": {0}, "__consumer_offsets": {0}}, internal)
		check(map[string][]int32{"one": {1}, "two": {0}}, map[string]protocol.Code{"one-1": 0, "two-0": 0})
	})
}
