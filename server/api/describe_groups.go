package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// DescribeGroups (15) shows classic groups and their members.
//
//	v1     throttle time
//	v3     authorized operations (KIP-430)
//	v4     group instance ids (KIP-345)
//	v5     flexible
//	v6     a group that does not exist is GROUP_ID_NOT_FOUND, with a message; before, it is Dead without an error (KIP-1043)

// allGroupOperations are the operations that are possible on a group (AclOperation, by bit).
const allGroupOperations int32 = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func handleDescribeGroups(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	operations := operationsNotAskedFor
	if req.Version >= 3 && req.IncludeAuthorizedOperations {
		operations = allGroupOperations
	}
	future := n.Groups.DescribeGroups(req)
	return Result{Detached: true, Later: func(ctx context.Context) Result {
		resp, err := future.Wait(ctx)
		if err != nil {
			return fail(err)
		}
		for i := range resp.Groups {
			g := &resp.Groups[i]
			g.AuthorizedOperations = operationsNotAskedFor
			if protocol.Code(g.ErrorCode) == protocol.None {
				g.AuthorizedOperations = operations
			}
		}
		return reply(resp)
	}}
}
