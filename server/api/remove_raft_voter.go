package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// RemoveRaftVoter (81) takes a controller out of the quorum's voters (KIP-853); the active controller decides.

func handleRemoveRaftVoter(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.RemoveRaftVoterRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.RemoveRaftVoterResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
