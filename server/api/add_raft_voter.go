package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddRaftVoter (80) makes a controller a voter of the quorum (KIP-853); the active controller decides.
//
//	v1  whether the answer waits until the change is committed

func handleAddRaftVoter(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AddRaftVoterRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.AddRaftVoterResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
