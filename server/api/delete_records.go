package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// DeleteRecords (21) raises the log start offset of partitions (KIP-107). Version 1 changed the meaning of the throttle time, 2 is flexible.
func handleDeleteRecords(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	return Result{Later: func(ctx context.Context) Result {
		waiting, cancel := context.WithTimeout(ctx, time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond)
		defer cancel()
		resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
		resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
		for i := range req.Topics {
			in, out := &req.Topics[i], &resp.Topics[i]
			out.Topic = in.Topic
			out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(in.Partitions))
			for j, p := range in.Partitions {
				low, err := deleteRecords(waiting, n, in.Topic, p.Partition, p.Offset)
				out.Partitions[j] = kmsg.DeleteRecordsResponseTopicPartition{
					Partition: p.Partition, LowWatermark: low, ErrorCode: int16(protocol.CodeOf(err)),
				}
			}
		}
		return reply(resp)
	}}
}

// deleteRecords returns the new low watermark, -1 on errors.
func deleteRecords(ctx context.Context, n *Node, topic string, partition int32, offset int64) (int64, error) {
	p, err := n.Replicas.Partition(topic, partition)
	if err != nil {
		return -1, err
	}
	low, err := p.DeleteRecords(ctx, offset)
	if err != nil {
		return -1, err
	}
	return low, nil
}
