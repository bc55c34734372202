package api

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication"
)

// DeleteRecords (21) raises the log start offset of partitions (KIP-107). Version 1 changed the meaning of the throttle time, 2 is flexible.
func handleDeleteRecords(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	return Result{Later: func(ctx context.Context) Result {
		waiting, cancel := context.WithTimeout(ctx, time.Duration(max(req.TimeoutMillis, 0))*time.Millisecond)
		defer cancel()
		var deletions []deletion
		if err := n.onDisk(ctx, func() { deletions = deleteRecords(n, req, resp) }); err != nil {
			return fail(err)
		}
		// The followers of all partitions are told before any is waited for.
		for _, d := range deletions {
			low, err := d.partition.WaitDeleted(waiting, d.offset)
			if ctx.Err() != nil {
				return fail(ctx.Err())
			}
			d.answer.LowWatermark, d.answer.ErrorCode = low, int16(protocol.CodeOf(err))
		}
		return reply(resp)
	}}
}

// deletion is one partition whose log starts later on this broker, and will on its followers.
type deletion struct {
	partition *replication.Partition
	offset    int64
	answer    *kmsg.DeleteRecordsResponseTopicPartition
}

// deleteRecords deletes on this broker, and returns what the followers are to delete too.
func deleteRecords(n *Node, req *kmsg.DeleteRecordsRequest, resp *kmsg.DeleteRecordsResponse) (deletions []deletion) {
	for i := range req.Topics {
		in, out := &req.Topics[i], &resp.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(in.Partitions))
		for j := range in.Partitions {
			asked, answer := &in.Partitions[j], &out.Partitions[j]
			answer.Partition, answer.LowWatermark = asked.Partition, -1
			p, err := n.Replicas.Partition(in.Topic, asked.Partition)
			if err == nil {
				d := deletion{partition: p, answer: answer}
				if d.offset, err = p.DeleteRecords(asked.Offset); err == nil {
					deletions = append(deletions, d)
				}
			}
			answer.ErrorCode = int16(protocol.CodeOf(err))
		}
	}
	return deletions
}
