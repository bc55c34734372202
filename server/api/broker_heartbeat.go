package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerHeartbeat (63) keeps a broker's session and moves it through its life (KIP-631); on controller listeners.
//
//	v1  log dirs that failed (KIP-858)
//	v2  log dirs that take no new replicas

func handleBrokerHeartbeat(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.BrokerHeartbeatRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return resp
	})
}
