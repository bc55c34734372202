package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ottla/ottla/protocol"
)

// ConsumerGroupDescribe (69) shows consumer groups: epochs, members, what each has and what it is to have (KIP-848).
//
//	v1     member types
func handleConsumerGroupDescribe(_ context.Context, n *Node, r *Request) Result {
	req := r.Body.(*kmsg.ConsumerGroupDescribeRequest)
	if !consumerGroupsServed(n) {
		resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		for _, id := range req.Groups {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = id, int16(protocol.UnsupportedVersion)
			resp.Groups = append(resp.Groups, g)
		}
		return reply(resp)
	}
	operations := operationsNotAskedFor
	if req.IncludeAuthorizedOperations {
		operations = allGroupOperations
	}
	future := n.Groups.ConsumerGroupDescribe(req)
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
