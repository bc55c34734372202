package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments (45) moves replicas to other brokers, or cancels that (KIP-455); the controller decides. Version 1 can forbid
// a change of the replication factor (KIP-860).

func handleAlterPartitionReassignments(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		for _, t := range req.Topics {
			out := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				out.Partitions = append(out.Partitions, kmsg.AlterPartitionAssignmentsResponseTopicPartition{
					Partition: p.Partition, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage,
				})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}
