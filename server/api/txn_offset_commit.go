package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/coordinator/group"
	"github.com/ottla/ottla/coordinator/runtime"
	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
	"github.com/ottla/ottla/replication/metadata"
)

// TxnOffsetCommit (28) stores how far a group has read, as part of a transaction.
//
//	v1     throttle time changed its meaning
//	v2     leader epoch (KIP-320); clients know COORDINATOR_LOAD_IN_PROGRESS
//	v3     flexible; generation, member id and group instance id (KIP-447)
//	v4     clients know TRANSACTION_ABORTABLE (KIP-890)
//	v5     as v4; the group's partition joins the transaction by it (KIP-890 part 2)
//	v6     topics by id; clients know GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH (KIP-1319)
//
// Topics and partitions that do not exist are refused one by one; the others are committed, and stand behind them in the answer.

// txnCommitLoadVersion is the first version whose clients know CoordinatorLoadInProgress (KAFKA-7296).
const txnCommitLoadVersion = 2

// txnCommitByID is the first version with topic ids.
const txnCommitByID = 6

func handleTxnOffsetCommit(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.TxnOffsetCommitRequest)
	accepted, resp := splitTxnCommit(n.Image(), req)
	if len(accepted.Topics) == 0 {
		return reply(resp)
	}
	return Result{Later: func(ctx context.Context) Result {
		committed, err := commitTxnOffsets(ctx, n, accepted)
		if err != nil {
			return fail(err)
		}
		mergeTxnCommit(resp, committed)
		return reply(resp)
	}}
}

// commitTxnOffsets has the group's partition verified and the offsets written. The error is ctx's.
func commitTxnOffsets(ctx context.Context, n *Node, req *kmsg.TxnOffsetCommitRequest) (*kmsg.TxnOffsetCommitResponse, error) {
	if req.Group == "" {
		return group.TxnOffsetCommitError(req, protocol.InvalidGroupID), nil
	}
	var guard uint64
	if support := replication.OffsetCommitTxnSupport(req.Version); n.Replicas.VerifiesTxn(support) {
		v := &replication.TxnVerification{
			TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch, Support: support,
			Partitions: []replication.TxnPartition{{
				TopicPartition: protocol.TopicPartition{Topic: protocol.GroupMetadataTopic, Partition: n.Groups.PartitionFor(req.Group)}, Sequence: -1,
			}},
		}
		n.Replicas.VerifyTxn(ctx, v)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := v.Partitions[0].Err; err != nil {
			return group.TxnOffsetCommitError(req, runtime.CodeFor(err)), nil
		}
		guard = uint64(v.Partitions[0].Guard)
	}
	return n.Groups.TxnOffsetCommit(req, guard).Wait(ctx)
}

// splitTxnCommit separates what exists from what does not: resp has the codes of what is refused, and the accepted topics have names in every version.
func splitTxnCommit(image *metadata.Image, req *kmsg.TxnOffsetCommitRequest) (accepted *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) {
	resp = req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	copied := *req
	copied.Topics = nil
	for i := range req.Topics {
		asked := &req.Topics[i]
		name, unknown := asked.Topic, protocol.UnknownTopicOrPartition
		if req.Version >= txnCommitByID {
			name = ""
			if known := image.TopicByID(asked.TopicID); known != nil {
				name = known.Name
			} else {
				unknown = protocol.UnknownTopicID
			}
		}
		good := kmsg.TxnOffsetCommitRequestTopic{Topic: name, TopicID: asked.TopicID}
		bad := kmsg.TxnOffsetCommitResponseTopic{Topic: asked.Topic, TopicID: asked.TopicID}
		for _, p := range asked.Partitions {
			if image.Partition(name, p.Partition) != nil {
				good.Partitions = append(good.Partitions, p)
				continue
			}
			bad.Partitions = append(bad.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(unknown)})
		}
		if len(good.Partitions) > 0 {
			copied.Topics = append(copied.Topics, good)
		}
		if len(bad.Partitions) > 0 {
			resp.Topics = append(resp.Topics, bad)
		}
	}
	return &copied, resp
}

// mergeTxnCommit adds the coordinator's answer to resp, with codes that the version's clients know.
func mergeTxnCommit(resp, committed *kmsg.TxnOffsetCommitResponse) {
	for i := range committed.Topics {
		t := &committed.Topics[i]
		if resp.Version >= txnCommitByID {
			t.Topic = "" // as in what is there already
		}
		for j := range t.Partitions {
			if p := &t.Partitions[j]; resp.Version < txnCommitLoadVersion && p.ErrorCode == int16(protocol.CoordinatorLoadInProgress) {
				p.ErrorCode = int16(protocol.CoordinatorNotAvailable)
			}
		}
		at := slices.IndexFunc(resp.Topics, func(known kmsg.TxnOffsetCommitResponseTopic) bool {
			return known.Topic == t.Topic && known.TopicID == t.TopicID
		})
		if at < 0 {
			resp.Topics = append(resp.Topics, *t)
			continue
		}
		resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, t.Partitions...)
	}
}
