package api

import (
	"context"

	"github.com/ottla/ottla/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AssignReplicasToDirs (73) is how a broker tells in which log dirs its replicas are (KIP-858); on controller listeners.

func handleAssignReplicasToDirs(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.AssignReplicasToDirsRequest)
	return forward(n, req, func(err error) kmsg.Response {
		resp := req.ResponseKind().(*kmsg.AssignReplicasToDirsResponse)
		resp.ErrorCode = int16(protocol.CodeOf(err))
		return resp
	})
}
