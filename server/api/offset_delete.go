package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// OffsetDelete (47) deletes the offsets of a group in topics that it does not read (KIP-496). Version 0 only, not flexible.
// Topics and partitions that do not exist are refused one by one; the group is checked in any case.
func handleOffsetDelete(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	accepted, resp := splitDelete(n.Image(), req)
	future := n.Groups.OffsetDelete(accepted)
	return Result{Later: func(ctx context.Context) Result {
		deleted, err := future.Wait(ctx)
		if err != nil {
			return fail(err)
		}
		if deleted.ErrorCode != 0 {
			return reply(deleted)
		}
		mergeDelete(resp, deleted)
		return reply(resp)
	}}
}

// splitDelete separates what exists from what does not. The response has the request's shape, with the codes of what is
// refused.
func splitDelete(image *metadata.Image, req *kmsg.OffsetDeleteRequest) (accepted *kmsg.OffsetDeleteRequest, resp *kmsg.OffsetDeleteResponse) {
	resp = req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	copied := *req
	copied.Topics = nil
	for _, t := range req.Topics {
		if len(t.Partitions) == 0 && image.Topic(t.Topic) != nil {
			continue // Kafka names no topic of which nothing is to be deleted
		}
		good := kmsg.OffsetDeleteRequestTopic{Topic: t.Topic}
		answer := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			code := protocol.None
			if image.Partition(t.Topic, p.Partition) == nil {
				code = protocol.UnknownTopicOrPartition
			} else {
				good.Partitions = append(good.Partitions, p)
			}
			answer.Partitions = append(answer.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		if len(good.Partitions) > 0 {
			copied.Topics = append(copied.Topics, good)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return &copied, resp
}

// mergeDelete fills the coordinator's codes, which come in the request's order, into the gaps of resp.
func mergeDelete(resp, deleted *kmsg.OffsetDeleteResponse) {
	var codes []int16
	for _, t := range deleted.Topics {
		for _, p := range t.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode, codes = codes[0], codes[1:]
			}
		}
	}
}
