package api

import (
	"context"
	"iter"
	"slices"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions (75) describes topics page by page (KIP-966).
//
//	v0     topics by name, at most so many partitions at a time, with a cursor to go on; eligible leader replicas
//
// Topics are answered by name, each once; none in the request means all of them. The cursor names the first partition to answer, and
// the answer's cursor the first one that did not fit. When topics are named, the cursor's must be among them, even if it is gone.

func handleDescribeTopicPartitions(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	if code := checkTopicsAndCursor(req); code != protocol.None {
		for _, asked := range req.Topics {
			t := kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.ErrorCode, t.Topic, t.AuthorizedOperations = int16(code), &asked.Topic, operationsNotAskedFor
			resp.Topics = append(resp.Topics, t)
		}
		return reply(resp)
	}
	image := n.Image()
	p := topicPage{
		view:      listenerView{image: image, listener: r.Listener},
		remaining: max(1, min(n.Config().Int("max.request.partition.size.limit"), int(req.ResponsePartitionLimit))),
		resp:      resp,
	}
	for name, topic := range topicsToDescribe(image, req) {
		start := int32(0)
		if req.Cursor != nil && req.Cursor.Topic == name {
			start = req.Cursor.Partition
		}
		if !p.add(name, topic, start) {
			break
		}
	}
	return reply(resp)
}

// checkTopicsAndCursor refuses an empty name with Kafka's code for what it stumbles over, and requires that the cursor's partition
// is one and its topic among those asked for.
func checkTopicsAndCursor(req *kmsg.DescribeTopicPartitionsRequest) protocol.Code {
	asked := func(name string) bool {
		return slices.ContainsFunc(req.Topics, func(t kmsg.DescribeTopicPartitionsRequestTopic) bool { return t.Topic == name })
	}
	switch {
	case asked(""):
		return protocol.UnknownServerError
	case req.Cursor != nil && (req.Cursor.Partition < 0 || len(req.Topics) > 0 && !asked(req.Cursor.Topic)):
		return protocol.InvalidRequest
	}
	return protocol.None
}

// topicsToDescribe yields names, in order from the cursor's on, with their topics; nil for those that do not exist.
func topicsToDescribe(image *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) iter.Seq2[string, *metadata.Topic] {
	from := ""
	if req.Cursor != nil {
		from = req.Cursor.Topic
	}
	return func(yield func(string, *metadata.Topic) bool) {
		if len(req.Topics) == 0 {
			for t := range image.TopicsFrom(from) {
				if !yield(t.Name, t) {
					return
				}
			}
			return
		}
		names := make([]string, 0, len(req.Topics))
		for _, t := range req.Topics {
			if t.Topic >= from {
				names = append(names, t.Topic)
			}
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if !yield(name, image.Topic(name)) {
				return
			}
		}
	}
}

// topicPage is one answer being filled.
type topicPage struct {
	view      listenerView
	remaining int // partitions that still fit
	resp      *kmsg.DescribeTopicPartitionsResponse
}

// add answers a topic from partition start on; false when the page is full, with the cursor set.
func (p *topicPage) add(name string, topic *metadata.Topic, start int32) bool {
	if p.remaining == 0 {
		p.resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
		return false
	}
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.IsInternal, out.AuthorizedOperations = &name, protocol.IsInternalTopic(name), allTopicOperations
	if topic == nil {
		out.ErrorCode = int16(protocol.UnknownTopicOrPartition)
		if err := protocol.ValidateTopicName(name); err != nil {
			out.ErrorCode = int16(protocol.CodeOf(err))
		}
		p.resp.Topics = append(p.resp.Topics, out)
		return true
	}
	out.TopicID = topic.ID
	first := min(int(start), len(topic.Partitions))
	end := min(first+p.remaining, len(topic.Partitions))
	for _, partition := range topic.Partitions[first:end] {
		out.Partitions = append(out.Partitions, p.partition(partition))
	}
	p.resp.Topics = append(p.resp.Topics, out)
	p.remaining -= end - first
	if end < len(topic.Partitions) {
		p.resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(end)}
		return false
	}
	return true
}

func (p *topicPage) partition(m *metadata.Partition) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	out := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	out.Partition, out.LeaderID, out.LeaderEpoch = m.ID, p.view.leader(m), m.LeaderEpoch
	out.Replicas, out.ISR, out.OfflineReplicas = m.Replicas, m.ISR, p.view.offlineReplicas(m)
	// Empty, not null: that would say that the cluster does not know of such replicas.
	out.EligibleLeaderReplicas = append([]int32{}, m.ELR...)
	out.LastKnownELR = append([]int32{}, m.LastKnownELR...)
	return out
}
