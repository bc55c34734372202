package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker (64) removes the registration of a broker that is gone for good; the controller decides.

func handleUnregisterBroker(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.UnregisterBrokerRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
		resp.ErrorCode, resp.ErrorMessage = int16(protocol.CodeOf(err)), protocol.MessageOf(err)
		return resp
	})
}
