package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
)

// OffsetCommit (8) stores how far a group has read.
//
//	v0     no generation or member: kept as a commit without membership
//	v1     generation and member; a timestamp for each partition, until v1
//	v2     retention time, until v4 (KIP-211)
//	v3     throttle time
//	v6     leader epoch (KIP-320)
//	v7     group instance id (KIP-345)
//	v8     flexible
//	v9     clients know GROUP_ID_NOT_FOUND and STALE_MEMBER_EPOCH (KIP-848)
//	v10    topics by id
//
// Topics and partitions that do not exist are refused one by one; the others are committed.

// commitByID is the first version with topic ids.
const commitByID = 10

func handleOffsetCommit(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	accepted, resp := splitCommit(n.Image(), req)
	switch {
	case resp == nil:
		return await(n.Groups.OffsetCommit(accepted))
	case len(accepted.Topics) == 0:
		return reply(resp)
	}
	return awaitThen(n.Groups.OffsetCommit(accepted), func(committed *kmsg.OffsetCommitResponse) kmsg.Response {
		fillCommit(resp, committed)
		return resp
	})
}

// splitCommit separates what exists from what does not. The response has the request's shape, with the codes of what is refused; the accepted
// topics have names in every version. If nothing is refused, the request itself is accepted, and there is no response.
func splitCommit(image *metadata.Image, req *kmsg.OffsetCommitRequest) (accepted *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) {
	if nameCommit(image, req) {
		return req, nil
	}
	resp = req.ResponseKind().(*kmsg.OffsetCommitResponse)
	copied := *req
	copied.Topics = nil
	for i := range req.Topics {
		asked := &req.Topics[i]
		topic, unknown := committedTopic(image, req.Version, asked)
		answer := kmsg.OffsetCommitResponseTopic{Topic: asked.Topic, TopicID: asked.TopicID}
		good := kmsg.OffsetCommitRequestTopic{TopicID: asked.TopicID}
		for _, p := range asked.Partitions {
			code := protocol.None
			switch {
			case topic == nil:
				code = unknown
			case topic.Partition(p.Partition) == nil:
				code = protocol.UnknownTopicOrPartition
			default:
				good.Topic = topic.Name
				good.Partitions = append(good.Partitions, p)
			}
			answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		if len(good.Partitions) > 0 {
			copied.Topics = append(copied.Topics, good)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return &copied, resp
}

// nameCommit gives the topics of a request their names, and reports whether all of them have partitions in it and all of these exist.
func nameCommit(image *metadata.Image, req *kmsg.OffsetCommitRequest) bool {
	for i := range req.Topics {
		asked := &req.Topics[i]
		topic, _ := committedTopic(image, req.Version, asked)
		if topic == nil || len(asked.Partitions) == 0 {
			return false
		}
		for j := range asked.Partitions {
			if topic.Partition(asked.Partitions[j].Partition) == nil {
				return false
			}
		}
		asked.Topic = topic.Name
	}
	return len(req.Topics) > 0
}

// committedTopic is the topic that a commit names, or nil and what it is answered.
func committedTopic(image *metadata.Image, version int16, asked *kmsg.OffsetCommitRequestTopic) (topic *metadata.Topic, unknown protocol.Code) {
	if version >= commitByID {
		return image.TopicByID(asked.TopicID), protocol.UnknownTopicID
	}
	return image.Topic(asked.Topic), protocol.UnknownTopicOrPartition
}

// fillCommit fills the coordinator's codes, which come in the request's order, into the gaps of resp.
func fillCommit(resp, committed *kmsg.OffsetCommitResponse) {
	var codes []int16
	for i := range committed.Topics {
		for _, p := range committed.Topics[i].Partitions {
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
