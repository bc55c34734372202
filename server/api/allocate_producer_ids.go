package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AllocateProducerIds (67) gives a broker a block of producer ids (KIP-730); on controller listeners.

func handleAllocateProducerIDs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AllocateProducerIDsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return resp
	})
}
