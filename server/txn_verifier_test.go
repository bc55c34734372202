package server

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/protocol/schema"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
)

// verifierImage has __transaction_state: partition 0 led by broker 1, 1 by nobody, 2 by broker 2, which is fenced.
func verifierImage(t *testing.T) *metadata.Image {
	t.Helper()
	id := protocol.NewUUID()
	records := []schema.MetadataRecord{
		&schema.RegisterBrokerRecord{BrokerID: 1}, &schema.RegisterBrokerRecord{BrokerID: 2, Fenced: true},
		&schema.TopicRecord{Name: protocol.TransactionStateTopic, TopicID: id},
	}
	for p, leader := range []int32{1, -1, 2} {
		records = append(records, &schema.PartitionRecord{
			PartitionID: int32(p), TopicID: id, Leader: leader, Replicas: []int32{1}, ISR: []int32{1}, Directories: make([]protocol.UUID, 1),
		})
	}
	image, _, err := metadata.Empty().With(0, 1, records)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestTransactionsAreVerifiedWithTheirCoordinator(t *testing.T) {
	var asked []*kmsg.AddPartitionsToTxnRequest
	var fail error
	var refuse protocol.Code
	image := verifierImage(t)
	v := &txnVerifier{
		image: func() *metadata.Image { return image }, partitionFor: func(id string) int32 { return int32(id[0] - '0') },
		ask: func(_ context.Context, node int32, req kmsg.Request) (kmsg.Response, error) {
			if node != 1 {
				t.Errorf("asked broker %d", node)
			}
			r := req.(*kmsg.AddPartitionsToTxnRequest)
			asked = append(asked, r)
			resp := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
			resp.ErrorCode = int16(refuse)
			answer := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: r.Transactions[0].TransactionalID}
			for _, topic := range slices.Backward(r.Transactions[0].Topics) { // in another order
				out := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: topic.Topic}
				for _, p := range slices.Backward(topic.Partitions) {
					code := protocol.None
					if p == 7 {
						code = protocol.TransactionAbortable
					}
					out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: int16(code)})
				}
				answer.Topics = append(answer.Topics, out)
			}
			resp.Transactions = append(resp.Transactions, answer)
			return resp, fail
		},
	}
	tp := func(topic string, partition int32) protocol.TopicPartition {
		return protocol.TopicPartition{Topic: topic, Partition: partition}
	}
	txn := replication.TxnPartitions{
		TransactionalID: "0", ProducerID: 5, ProducerEpoch: 3, Partitions: []protocol.TopicPartition{tp("a", 1), tp("b", 7), tp("a", 7), tp("b", 2)}, Add: true,
	}
	codes, all := v.VerifyTxn(t.Context(), txn)
	if want := []protocol.Code{0, protocol.TransactionAbortable, protocol.TransactionAbortable, 0}; all != protocol.None || !slices.Equal(codes, want) {
		t.Errorf("%v %v, want %v", codes, all, want)
	}
	if r := asked[0]; len(asked) != 1 || r.Version < 4 || len(r.Transactions) != 1 || len(r.Transactions[0].Topics) != 2 || r.Transactions[0].VerifyOnly ||
		r.Transactions[0].ProducerID != 5 || r.Transactions[0].ProducerEpoch != 3 {
		t.Errorf("asked %+v", asked)
	}
	for id, want := range map[string]protocol.Code{"1": protocol.CoordinatorNotAvailable, "2": protocol.CoordinatorNotAvailable, "3": protocol.CoordinatorNotAvailable} {
		other := txn
		other.TransactionalID = id
		if _, all := v.VerifyTxn(t.Context(), other); all != want {
			t.Errorf("partition %s of the coordinators' topic: %v, want %v", id, all, want)
		}
	}
	for said, want := range map[protocol.Code]protocol.Code{
		protocol.ClusterAuthorizationFailed: protocol.InvalidTxnState, protocol.NotCoordinator: protocol.NotCoordinator,
	} {
		refuse = said
		if _, all := v.VerifyTxn(t.Context(), txn); all != want {
			t.Errorf("refused with %v: %v, want %v", said, all, want)
		}
	}
	refuse, fail = protocol.None, errors.New("gone")
	if _, all := v.VerifyTxn(t.Context(), txn); all != protocol.NetworkException {
		t.Errorf("without an answer: %v", all)
	}
	fail = protocol.UnsupportedVersion
	if codes, all := v.VerifyTxn(t.Context(), txn); all != protocol.None || len(codes) != 4 || slices.Max(codes) != protocol.None {
		t.Errorf("a broker that cannot verify: %v %v", codes, all)
	}
}
