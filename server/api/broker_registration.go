package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerRegistration (62) is how a broker joins the cluster (KIP-631); on controller listeners.
//
//	v1  brokers of a ZooKeeper cluster that moves, which are refused
//	v2  the ids of the log dirs (KIP-858)
//	v3  the broker's epoch before its last clean stop (KIP-966)
//	v4  features that may be off have a minimum of 0 (KIP-1022)

func handleBrokerRegistration(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.BrokerRegistrationRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
		resp.ErrorCode, resp.BrokerEpoch = int16(protocol.CodeOf(err)), -1
		return resp
	})
}
