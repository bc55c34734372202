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
	return verifiedCodes(t.Partitions, resp), protocol.None
}

// verifiedCodes puts the codes of an answer, which mostly has the order of the request, in the order of partitions.
func verifiedCodes(partitions []protocol.TopicPartition, resp *kmsg.AddPartitionsToTxnResponse) []protocol.Code {
	codes := make([]protocol.Code, 0, len(partitions))
	inOrder := eachVerified(resp, func(tp protocol.TopicPartition, code protocol.Code) bool {
		if len(codes) == len(partitions) || partitions[len(codes)] != tp {
			return false
		}
		codes = append(codes, code)
		return true
	})
	if inOrder && len(codes) == len(partitions) {
		return codes
	}
	answered := make(map[protocol.TopicPartition]protocol.Code, len(partitions))
	eachVerified(resp, func(tp protocol.TopicPartition, code protocol.Code) bool {
		answered[tp] = code
		return true
	})
	codes = codes[:0]
	for _, tp := range partitions {
		codes = append(codes, answered[tp])
	}
	return codes
}

// eachVerified calls fn for the partitions of an answer until it returns false, and reports whether it never did.
func eachVerified(resp *kmsg.AddPartitionsToTxnResponse, fn func(tp protocol.TopicPartition, code protocol.Code) bool) bool {
	for i := range resp.Transactions {
		for _, topic := range resp.Transactions[i].Topics {
			for _, p := range topic.Partitions {
				if !fn(protocol.TopicPartition{Topic: topic.Topic, Partition: p.Partition}, protocol.Code(p.ErrorCode)) {
					return false
				}
			}
		}
	}
	return true
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
	for n, tp := range t.Partitions {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(asked.Topics)
			at[tp.Topic] = i
			same := protocol.SameTopic(t.Partitions[n:])
			asked.Topics = append(asked.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: tp.Topic, Partitions: make([]int32, 0, same)})
		}
		asked.Topics[i].Partitions = append(asked.Topics[i].Partitions, tp.Partition)
	}
	req.Transactions = append(req.Transactions, asked)
	return req
}
