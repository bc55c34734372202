package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments (46) tells which replicas are being added and removed (KIP-455), as the controller knows it.

func handleListPartitionReassignments(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ListPartitionReassignmentsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
