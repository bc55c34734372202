package server

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
)

// txnVerifier asks transaction coordinators about partitions that transactional records are about to be written to, with one request for all partitions of
// a produce request (Kafka's AddPartitionsToTxnManager). Safe for concurrent use.
type txnVerifier struct {
	image        func() *metadata.Image
	partitionFor func(transactionalID string) int32 // of __transaction_state
	ask          func(ctx context.Context, node int32, req kmsg.Request) (kmsg.Response, error)
}

var _ replication.Verifier = (*txnVerifier)(nil)

// VerifyTxn implements replication.Verifier.
func (v *txnVerifier) VerifyTxn(ctx context.Context, t replication.TxnPartitions) ([]protocol.Code, protocol.Code) {
	node, ok := v.coordinator(t.TransactionalID)
	if !ok {
		return nil, protocol.CoordinatorNotAvailable
	}
	answer, err := v.ask(ctx, node, verifyRequest(t))
	resp, ok := answer.(*kmsg.AddPartitionsToTxnResponse)
	switch {
	case errors.Is(err, protocol.UnsupportedVersion): // an older broker that cannot verify
		return make([]protocol.Code, len(t.Partitions)), protocol.None
	case err != nil || !ok:
		return nil, protocol.NetworkException
	case protocol.Code(resp.ErrorCode) == protocol.ClusterAuthorizationFailed: // which is none of the client's business
		return nil, protocol.InvalidTxnState
	case resp.ErrorCode != 0:
		return nil, protocol.Code(resp.ErrorCode)
	}
	codes := make(map[protocol.TopicPartition]protocol.Code, len(t.Partitions))
	for i := range resp.Transactions {
		for _, topic := range resp.Transactions[i].Topics {
			for _, p := range topic.Partitions {
				codes[protocol.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = protocol.Code(p.ErrorCode)
			}
		}
	}
	all := make([]protocol.Code, len(t.Partitions))
	for i, tp := range t.Partitions {
		all[i] = codes[tp]
	}
	return all, protocol.None
}

// coordinator is the broker that leads the transactional id's partition; ok is false while there is none.
func (v *txnVerifier) coordinator(transactionalID string) (node int32, ok bool) {
	image := v.image()
	p := image.Partition(protocol.TransactionStateTopic, v.partitionFor(transactionalID))
	if p == nil || p.Leader < 0 {
		return -1, false
	}
	return p.Leader, serves(image, p.Leader)
}

func verifyRequest(t replication.TxnPartitions) *kmsg.AddPartitionsToTxnRequest {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version = 5
	asked := kmsg.NewAddPartitionsToTxnRequestTransaction()
	asked.TransactionalID, asked.ProducerID, asked.ProducerEpoch, asked.VerifyOnly = t.TransactionalID, t.ProducerID, t.ProducerEpoch, !t.Add
	at := make(map[string]int, 1)
	for _, tp := range t.Partitions {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(asked.Topics)
			at[tp.Topic] = i
			asked.Topics = append(asked.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: tp.Topic})
		}
		asked.Topics[i].Partitions = append(asked.Topics[i].Partitions, tp.Partition)
	}
	req.Transactions = append(req.Transactions, asked)
	return req
}
