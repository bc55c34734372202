package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ControllerRegistration (70) is how a controller tells the active one its listeners and features (KIP-919); on controller listeners.

func handleControllerRegistration(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ControllerRegistrationRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.ControllerRegistrationResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
