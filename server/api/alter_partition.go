package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartition (56) is how the leader of partitions changes their ISR (KIP-497); on controller listeners.
//
//	v2  topics by id, how far a leader has recovered
//	v3  the epoch of each broker of the new ISR (KIP-903)

func handleAlterPartition(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AlterPartitionRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return resp
	})
}
