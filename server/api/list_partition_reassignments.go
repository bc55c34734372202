package api

import (
	"context"
	"errors"

	"github.com/ottla/ottla/protocol"
	"github.com/ottla/ottla/replication/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments (46) tells which replicas are being added and removed (KIP-455), as the active controller knows it. A controller that is asked at its own
// listener answers with what it knows, active or not, as in Apache Kafka.

func handleListPartitionReassignments(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ListPartitionReassignmentsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		if n.Direct && errors.Is(err, protocol.NotController) {
			controller.ListReassignments(n.Image(), req, resp)
			return resp
		}
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
